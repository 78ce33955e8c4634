//! Outgoing connections: refused, timed out, cancelled, and by name.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;

use crate::adapter::net::{ConnectionLost, connect_any, connect_tcp, on_data};
use crate::adapter::{Cancelled, Clock, Failure, Reactor, TimedOut, on_unhandled, over_tcp, run_until, without_driver};

use super::{Echo, LONG, Log, MS, listen, protocol};

/// Returns an address at which nothing listens.
fn closed_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Returns a listener on loopback with a full backlog, to which connection attempts wait, and the
/// sockets that fill it.
fn full() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut streams = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, 200 * MS) {
        streams.push(stream);
    }
    (listener, streams)
}

#[test]
fn a_refused_connection_fails_without_calling_the_protocol() {
    let log = Log::default();
    let noted = log.clone();
    let failed = run_until(|reactor| {
        let protocol = protocol(&noted, |_| Ok(()), |_, _| Ok(()));
        connect_tcp(reactor, closed_address(), LONG, protocol).map(|_| ())
    });
    let failure = failed.unwrap_err();
    assert_eq!(failure.downcast_ref::<io::Error>().unwrap().kind(), ErrorKind::ConnectionRefused);
    assert!(log.take().is_empty());
}

#[test]
fn a_host_that_does_not_answer_times_out() {
    let (listener, _streams) = full();
    let address = listener.local_addr().unwrap();
    let failed = run_until(|reactor| connect_tcp(reactor, address, 30 * MS, Echo).map(|_| ()));
    assert!(failed.unwrap_err().check::<TimedOut>());
}

#[test]
fn an_address_that_does_not_answer_costs_a_short_delay() {
    let (listener, _streams) = full();
    let silent = listener.local_addr().unwrap();
    let connected = run_until(|reactor| {
        let (port, address) = listen(reactor, |_| Echo);
        let addresses: &'static [SocketAddr] = vec![silent, silent, address].leak();
        let begun = reactor.now();
        let reactor = reactor.clone();
        connect_tcp(&reactor.clone(), addresses, LONG, Echo).map(move |transport| {
            port.stop_listening();
            (transport.peer_addr().unwrap() == address, reactor.now() - begun)
        })
    });
    let (is_the_last, took) = connected.unwrap();
    assert!(is_the_last);
    assert!(took >= 500 * MS, "the delay is 250 ms for each: {took:?}");
}

#[test]
fn a_refused_address_is_followed_by_the_next_one_at_once() {
    let clock = Clock::new();
    let attempts = Rc::new(RefCell::new(Vec::new()));
    let noted = attempts.clone();
    let of = |texts: [&str; 4]| texts.map(|text| text.parse().unwrap()).to_vec();
    let addresses: Vec<SocketAddr> = of(["[::1]:1", "[::1]:2", "1.1.1.1:3", "1.1.1.1:4"]);
    let reactor: Reactor = (*clock).clone();
    let connects = clock.ensure_deferred(async move {
        let connected = connect_any(&reactor, "a name", async { Ok(addresses) }, async |address| {
            noted.borrow_mut().push(address.port());
            match address.port() {
                // It does not answer.
                1 => std::future::pending().await,
                4 => Ok("connected"),
                _ => Err(ErrorKind::ConnectionRefused.into()),
            }
        });
        Ok(connected.await?)
    });
    assert_eq!(*attempts.borrow(), [1]);
    clock.advance(249 * MS);
    assert_eq!(*attempts.borrow(), [1]);
    clock.advance(MS);
    assert_eq!(*attempts.borrow(), [1, 3, 2, 4], "the kinds alternate");
    assert_eq!(connects.try_take().unwrap().unwrap(), "connected");
}

#[test]
fn a_cancel_ends_the_attempt() {
    let (listener, _streams) = full();
    let address = listener.local_addr().unwrap();
    let failed = run_until(|reactor| {
        let mut connects = connect_tcp(reactor, address, LONG, Echo).map(|_| ());
        let handle = connects.cancel_handle();
        reactor.call_later(5 * MS, move || handle.cancel());
        connects
    });
    assert!(failed.unwrap_err().check::<Cancelled>());
}

#[test]
fn by_name_and_through_several_addresses() {
    run_until(|reactor| {
        let (port, address) = listen(reactor, |_| Echo);
        let by_name = connect_tcp(reactor, format!("localhost:{}", address.port()), LONG, Echo);
        let several = connect_tcp(reactor, vec![closed_address(), address].leak() as &'static [SocketAddr], LONG, Echo);
        crate::adapter::gather_tuple((by_name, several)).map_err(Failure::from).add_callback(move |(first, second)| {
            assert_eq!(second.peer_addr().unwrap(), address);
            first.abort_connection();
            second.abort_connection();
            port.closed()
        })
    })
    .unwrap();
}

#[test]
fn a_name_without_an_address_is_an_error() {
    let failed = run_until(|reactor| connect_tcp(reactor, &[][..] as &'static [SocketAddr], LONG, Echo).map(|_| ()));
    assert_eq!(failed.unwrap_err().downcast_ref::<io::Error>().unwrap().kind(), ErrorKind::NotFound);
}

#[test]
fn small_writes_are_sent_at_once_by_default() {
    without_driver(|_| {
        let reactor = Reactor::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let same = socket.try_clone().unwrap();
        let transport = over_tcp(&reactor, socket, Echo);
        assert!(same.nodelay().unwrap());
        transport.set_nodelay(false).unwrap();
        assert!(!same.nodelay().unwrap());
    });
}

#[cfg(unix)]
#[test]
fn a_unix_server_with_a_full_backlog_is_asked_again() {
    use std::os::unix::net::UnixListener;

    use crate::adapter::net::socket2::{Domain, SockAddr, Socket, Type};
    use crate::adapter::{SOURCE, net::connect_unix};

    let name = format!("deferred-full-{}-{}", std::process::id(), SOURCE.replace('/', "-"));
    let path = std::env::temp_dir().join(name);
    let server = UnixListener::bind(&path).unwrap();
    let mut waiting = Vec::new();
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        match socket.connect(&SockAddr::unix(&path).unwrap()) {
            Ok(()) => waiting.push(socket),
            Err(_) => break, // the backlog is full
        }
    }
    let (at, _listens) = (path.clone(), server.try_clone().unwrap());
    run_until(|reactor| {
        let connects = connect_unix(reactor, at, LONG, Echo);
        reactor.call_later(30 * MS, move || {
            // The accepted connections make room.
            let accepted: Vec<_> = (0..waiting.len()).map(|_| server.accept().unwrap()).collect();
            drop((accepted, waiting));
        });
        connects.map(|transport| transport.abort_connection())
    })
    .unwrap();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_connect_whose_protocol_fails_at_once_fails() {
    let reports = on_unhandled(|_| ());
    let failure = run_until(|reactor| {
        let (_, address) = listen(reactor, |_| Echo);
        let refuses = on_data(|_, _| ()).on_made(|_| Err::<(), _>(Failure::msg("not this one")));
        connect_tcp(reactor, address, LONG, refuses)
    })
    .unwrap_err();
    assert!(matches!(failure.downcast_ref(), Some(ConnectionLost::Failed(_))), "{failure}");
    drop(reports);
}
