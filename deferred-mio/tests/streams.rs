//! The sockets for coroutines.

use std::cell::Cell;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use deferred_mio::net::{TcpListener, TcpStream, UdpSocket};
use deferred_mio::{
    Cancelled, Failure, LoopingCall, NoReactor, Reactor, TimedOut, gather, inline_callbacks, run_until,
};
use futures::io::{AsyncReadExt, AsyncWriteExt};

/// A time longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

fn run<T: 'static>(main: impl AsyncFnOnce(Reactor) -> Result<T, Failure> + 'static) -> Result<T, Failure> {
    run_until(|reactor| {
        let owned = reactor.clone();
        inline_callbacks(async move { main(owned).await }).add_timeout(LONG, reactor)
    })
}

async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    Ok((client, listener.accept().await?.0))
}

#[test]
fn a_connection_carries_much_in_both_directions_at_once() {
    const LENGTH: usize = 5_000_000;
    async fn send(stream: &TcpStream, byte: u8) -> Result<(), Failure> {
        let mut stream = stream;
        stream.write_all(&vec![byte; LENGTH]).await?;
        Ok(stream.close().await?)
    }
    async fn receive(stream: &TcpStream, byte: u8) -> Result<(), Failure> {
        let (mut stream, mut received) = (stream, Vec::new());
        stream.read_to_end(&mut received).await?;
        assert!(received.len() == LENGTH && received.iter().all(|received| *received == byte));
        Ok(())
    }
    run(async |_| {
        let (client, server) = pair().await?;
        let (client, server) = (Rc::new(client), Rc::new(server));
        let [c1, c2, s1, s2] = [client.clone(), client, server.clone(), server];
        gather([
            inline_callbacks(async move { send(&c1, 1).await }),
            inline_callbacks(async move { receive(&c2, 2).await }),
            inline_callbacks(async move { send(&s1, 2).await }),
            inline_callbacks(async move { receive(&s2, 1).await }),
        ])
        .await?;
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_thousand_connections_are_served_at_once() {
    run(async |_| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = inline_callbacks(async move {
            for _ in 0..1000 {
                let (mut stream, _) = listener.accept().await?;
                drop(inline_callbacks(async move {
                    let mut bytes = [0; 4];
                    stream.read_exact(&mut bytes).await?;
                    Ok(stream.write_all(&bytes).await?)
                }));
            }
            Ok(())
        });
        let clients = (0..1000_u32).map(|number| {
            inline_callbacks(async move {
                let mut stream = TcpStream::connect(address).await?;
                stream.write_all(&number.to_ne_bytes()).await?;
                let mut bytes = [0; 4];
                stream.read_exact(&mut bytes).await?;
                assert_eq!(u32::from_ne_bytes(bytes), number);
                Ok(())
            })
        });
        gather(clients.collect::<Vec<_>>()).await?;
        server.await
    })
    .unwrap();
}

#[test]
fn a_cancelled_read_loses_nothing_that_arrives_later() {
    run(async |reactor| {
        let (mut client, server) = pair().await?;
        let server = Rc::new(server);
        let reads = server.clone();
        let read = inline_callbacks(async move { Ok((&*reads).read_exact(&mut [0; 1]).await?) });
        let timed_out = read.add_timeout(Duration::from_millis(5), &reactor).await.unwrap_err();
        assert!(timed_out.check::<TimedOut>() || timed_out.check::<Cancelled>());
        client.write_all(b"x").await?;
        let mut byte = [0];
        (&*server).read_exact(&mut byte).await?;
        assert_eq!(&byte, b"x");
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_end_of_the_peer_and_a_refused_connection_are_results() {
    run(async |_| {
        let (client, mut server) = pair().await?;
        client.shutdown(Shutdown::Write)?;
        assert_eq!(server.read(&mut [0; 10]).await?, 0);
        assert_eq!(server.read(&mut [0; 10]).await?, 0, "the end stays");
        drop(client);
        let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let refused = TcpStream::connect(free).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(refused.to_string().contains(&free.to_string()), "{refused}");
        let unknown = TcpStream::connect("no-such-name.invalid:80").await.unwrap_err();
        assert!(unknown.to_string().contains("no-such-name.invalid"), "{unknown}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn names_are_looked_up() {
    run(async |_| {
        let listener = TcpListener::bind("localhost:0")?;
        let port = listener.local_addr()?.port();
        let client = TcpStream::connect(("localhost", port)).await?;
        assert_eq!(client.peer_addr()?.port(), port);
        Ok(())
    })
    .unwrap();
}

#[test]
fn datagrams_are_sent_and_received() {
    run(async |_| {
        let (here, there) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        here.connect(there.local_addr()?)?;
        there.connect(here.local_addr()?)?;
        for number in 0..100_u8 {
            here.send(&[number]).await?;
            let mut buffer = [0; 10];
            assert_eq!(there.recv(&mut buffer).await?, 1);
            assert_eq!(buffer[0], number);
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn without_a_reactor_a_socket_is_an_error() {
    let errors = [TcpListener::bind("127.0.0.1:0").map(drop), UdpSocket::bind("127.0.0.1:0").map(drop)];
    for error in errors {
        let error = error.unwrap_err();
        assert!(error.get_ref().is_some_and(|source| source.is::<NoReactor>()), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn unix_sockets_connect_accept_and_carry_data() {
    use deferred_mio::net::{UnixListener, UnixStream};

    let path = std::env::temp_dir().join(format!("deferred-mio-{}", std::process::id()));
    let socket = path.clone();
    run(async move |_| {
        let listener = UnixListener::bind(&socket)?;
        let mut client = UnixStream::connect(socket).await?;
        let mut server = listener.accept().await?;
        client.write_all(b"hello").await?;
        let mut bytes = [0; 5];
        server.read_exact(&mut bytes).await?;
        assert_eq!(&bytes, b"hello");
        Ok(())
    })
    .unwrap();
    std::fs::remove_file(path).unwrap();
}

/// Counts the turns of the loop until the returned function is called.
fn count_turns(reactor: &Reactor) -> impl FnOnce() -> usize {
    let turns = Rc::new(Cell::new(0));
    let counted = turns.clone();
    let ticks = LoopingCall::new(reactor, move || turns.set(turns.get() + 1));
    drop(ticks.start(Duration::ZERO));
    move || {
        ticks.stop();
        counted.get()
    }
}

#[test]
fn a_coroutine_whose_peer_floods_lets_the_loop_run() {
    run(async |reactor| {
        let (mut client, mut server) = pair().await?;
        let sent = client.write(&[0; 64 * 1024]).await?;
        reactor.sleep(Duration::from_millis(10)).await?; // until the data has arrived
        let turns = count_turns(&reactor);
        let (mut received, mut byte) = (0, [0]);
        while received < sent {
            received += server.read(&mut byte).await?;
        }
        let turns = turns();
        assert!(turns >= sent / 100, "the loop ran {turns} times while {sent} bytes were read one by one");

        let receiver = UdpSocket::bind("127.0.0.1:0")?;
        let sender = UdpSocket::bind("127.0.0.1:0")?;
        for _ in 0..100 {
            sender.send_to(b"x", receiver.local_addr()?).await?;
        }
        let turns = count_turns(&reactor);
        for _ in 0..100 {
            receiver.recv_from(&mut byte).await?;
        }
        assert!(turns() >= 3);
        Ok(())
    })
    .unwrap();
}
