//! UDP sockets.

use std::cell::RefCell;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;

use deferred_core::testing::Reports;

use super::{LONG, Log, MS};
use crate::adapter::net::{DatagramProtocol, UdpTransport, listen_udp, on_datagram};
use crate::adapter::{Deferred, Failure, Reactor, Resolver, SOURCE, inline_callbacks, run, run_until};

/// Logs its callbacks, and answers. `stop` stops, `fail` fails, `panic` panics.
struct Logs(Log);

impl DatagramProtocol for Logs {
    fn started(&mut self, transport: &UdpTransport) -> Result<(), Failure> {
        assert!(transport.local_addr().is_ok());
        self.0.note("started");
        Ok(())
    }

    fn datagram_received(&mut self, transport: &UdpTransport, data: &[u8], sender: SocketAddr) -> Result<(), Failure> {
        self.0.note(String::from_utf8_lossy(data));
        match data {
            b"stop" => transport.stop_listening(),
            b"fail" => return Err(Failure::msg("no")),
            b"panic" => panic!("no"),
            data => transport.send_to(data.to_ascii_uppercase(), sender)?,
        }
        Ok(())
    }

    fn connection_refused(&mut self, _: &UdpTransport) -> Result<(), Failure> {
        self.0.note("refused");
        Ok(())
    }

    fn stopped(&mut self) {
        self.0.note("stopped");
    }
}

/// A client that waits for answers.
struct Collects(Datagrams, usize, Option<Resolver<()>>);

impl DatagramProtocol for Collects {
    fn datagram_received(&mut self, _: &UdpTransport, data: &[u8], _: SocketAddr) -> Result<(), Failure> {
        self.0.borrow_mut().push(data.to_vec());
        if self.0.borrow().len() == self.1 {
            self.2.take().unwrap().callback(());
        }
        Ok(())
    }
}

type Datagrams = Rc<RefCell<Vec<Vec<u8>>>>;

fn collect(reactor: &Reactor, count: usize) -> (UdpTransport, Datagrams, Deferred<()>) {
    let (all, (done, resolver)) = (Rc::default(), Deferred::new());
    let client = listen_udp(reactor, "127.0.0.1:0", Collects(Rc::clone(&all), count, Some(resolver))).unwrap();
    (client, all, done.add_timeout(LONG, reactor))
}

#[test]
fn datagrams_pass_with_their_boundaries() {
    let log = Log::default();
    let noted = log.clone();
    let answers = run_until(|reactor| {
        let server = listen_udp(reactor, "127.0.0.1:0", Logs(noted)).unwrap();
        let (client, all, done) = collect(reactor, 3);
        let address = server.local_addr().unwrap();
        client.send_to("one", address).unwrap();
        client.connect(address).unwrap();
        client.send("").unwrap();
        client.send(vec![b'x'; 40_000]).unwrap();
        done.map(move |()| all.take())
    })
    .unwrap();
    assert_eq!(answers, [b"ONE".to_vec(), Vec::new(), vec![b'X'; 40_000]]);
    let log = log.take();
    assert_eq!((&*log[0], &*log[1], log.last().map(|last| &**last)), ("started", "one", Some("stopped")));
}

#[test]
fn closures_are_called_as_a_protocol_is() {
    let log = Log::default();
    let noted = log.clone();
    run_until(|reactor| {
        let echo = on_datagram(|transport, data, sender| Ok(transport.send_to(data, sender)?));
        let server = listen_udp(reactor, "127.0.0.1:0", echo).unwrap();
        let address = server.local_addr().unwrap();
        let (done, resolver) = Deferred::new();
        let (started, mut resolver) = (noted.clone(), Some(resolver));
        let client = on_datagram(move |_, data, sender| {
            noted.note(String::from_utf8_lossy(data));
            assert_eq!(sender, address);
            if let Some(resolver) = resolver.take() {
                resolver.callback(());
            }
        })
        .on_started(move |transport| {
            started.note("started");
            Ok(transport.send_to("hello", address)?)
        });
        listen_udp(reactor, "127.0.0.1:0", client).unwrap();
        done.add_timeout(LONG, reactor)
    })
    .unwrap();
    assert_eq!(log.take(), ["started", "hello"]);
}

#[test]
fn an_error_of_a_callback_is_reported_and_the_socket_continues() {
    let log = Log::default();
    let noted = log.clone();
    let reports = Reports::collect();
    run_until(|reactor| {
        let server = listen_udp(reactor, "127.0.0.1:0", Logs(noted)).unwrap();
        let (client, _, done) = collect(reactor, 1);
        for data in ["fail", "panic", "ok"] {
            client.send_to(data, server.local_addr().unwrap()).unwrap();
        }
        done
    })
    .unwrap();
    assert_eq!(log.take(), ["started", "fail", "panic", "ok", "stopped"]);
    let reports = reports.take();
    assert_eq!(reports.len(), 2);
    assert!(reports.iter().all(|report| report.contains("Logs failed: ")), "{reports:?}");
}

#[test]
fn a_stopped_socket_is_closed() {
    let log = Log::default();
    let noted = log.clone();
    run_until(|reactor| {
        // Inside its own callback.
        let server = listen_udp(reactor, "127.0.0.1:0", Logs(noted.clone())).unwrap();
        let address = server.local_addr().unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"stop", address).unwrap();
        client.send_to(b"too late", address).unwrap();
        // From outside.
        let other = listen_udp(reactor, "127.0.0.1:0", Logs(noted.clone())).unwrap();
        let taken = other.local_addr().unwrap();
        let refused = listen_udp(reactor, taken, Logs(noted)).unwrap_err();
        assert!(refused.to_string().contains(&taken.to_string()), "{refused}");
        let waits = other.closed();
        other.stop_listening();
        other.stop_listening();
        assert!(other.send_to("x", taken).is_err());
        UdpSocket::bind(taken).unwrap();
        server.closed().add_callback(move |()| {
            assert!(server.local_addr().is_err());
            assert!(server.closed().is_ready());
            waits
        })
    })
    .unwrap();
    let mut log = log.take();
    log.sort();
    assert_eq!(log, ["started", "started", "stop", "stopped", "stopped"]);
}

#[test]
fn a_stop_before_the_first_datagram_works() {
    struct StopsAtOnce(Log);
    impl DatagramProtocol for StopsAtOnce {
        fn started(&mut self, transport: &UdpTransport) -> Result<(), Failure> {
            transport.stop_listening();
            Ok(())
        }

        fn datagram_received(&mut self, _: &UdpTransport, _: &[u8], _: SocketAddr) -> Result<(), Failure> {
            unreachable!("it is stopped")
        }

        fn stopped(&mut self) {
            self.0.note("stopped");
        }
    }
    let log = Log::default();
    run_until(|reactor| listen_udp(reactor, "127.0.0.1:0", StopsAtOnce(log.clone())).unwrap().closed()).unwrap();
    assert_eq!(log.take(), ["stopped"]);
}

#[test]
fn the_end_of_the_loop_stops_the_protocol() {
    let log = Log::default();
    run(|reactor| {
        drop(listen_udp(reactor, "127.0.0.1:0", Logs(log.clone())).unwrap());
        reactor.stop();
    });
    assert_eq!(log.take(), ["started", "stopped"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_connected_socket_learns_that_nothing_listens() {
    if SOURCE.contains("tokio") {
        return; // it does not wake a task for an error of the socket
    }
    let log = Log::default();
    let noted = log.clone();
    run_until(|reactor| {
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = listen_udp(reactor, "127.0.0.1:0", Logs(noted.clone())).unwrap();
        client.connect(closed).unwrap();
        client.send("hello").unwrap();
        let reactor = reactor.clone();
        inline_callbacks(async move {
            while noted.0.borrow().len() < 2 {
                reactor.sleep(MS).await?;
            }
            Ok(())
        })
    })
    .unwrap();
    assert_eq!(log.take(), ["started", "refused", "stopped"]);
}

#[test]
fn a_flood_of_datagrams_does_not_stop_the_loop() {
    let log = Log::default();
    run_until(|reactor| {
        let server = listen_udp(reactor, "127.0.0.1:0", Logs(log.clone())).unwrap();
        let address = server.local_addr().unwrap();
        let floods = std::thread::spawn(move || {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            (0..20_000).for_each(|_| drop(client.send_to(b"x", address)));
        });
        let reactor = reactor.clone();
        inline_callbacks(async move {
            while !floods.is_finished() {
                reactor.sleep(MS).await?;
            }
            floods.join().unwrap();
            Ok(())
        })
    })
    .unwrap();
    assert!(log.take().len() > 2);
}

#[test]
fn the_socket_can_be_stopped_while_it_is_used() {
    let log = Log::default();
    run_until(|reactor| {
        let socket = listen_udp(reactor, "127.0.0.1:0", Logs(log.clone())).unwrap();
        socket
            .with_socket(|used| {
                socket.stop_listening();
                used.local_addr().map(drop)
            })
            .unwrap();
        assert!(socket.local_addr().is_err());
        socket.closed()
    })
    .unwrap();
    assert_eq!(log.take(), ["started", "stopped"]);
}
