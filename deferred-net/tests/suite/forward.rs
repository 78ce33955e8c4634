//! A proxy.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use deferred_core::testing::Reports;

use super::{LONG, MS, listen, pattern};
use crate::adapter::net::socket2::SockRef;
use crate::adapter::net::{ClientEndpoint, forward_to};
use crate::adapter::{Failure, inline_callbacks, run_until};

/// Runs a proxy to `server`, and `client` on a thread, which gets the address of the proxy. Returns
/// the client's result when nothing is left.
fn proxied<T: Send + 'static>(server: SocketAddr, client: impl FnOnce(TcpStream) -> T + Send + 'static) -> T {
    run_until(|reactor| {
        let (port, address) = listen(reactor, move |_| forward_to(ClientEndpoint::tcp(server.to_string())));
        let client = thread::spawn(move || client(TcpStream::connect(address).unwrap()));
        let owner = reactor.clone();
        let runs = inline_callbacks(async move {
            while !client.is_finished() || !port.is_empty() || port.stats().accepted == 0 {
                owner.sleep(MS).await?;
            }
            Ok(client.join().unwrap())
        });
        runs.add_timeout(LONG, reactor)
    })
    .unwrap()
}

/// A server on a thread, with one connection.
fn serve(talk: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || talk(listener.accept().unwrap().0));
    address
}

#[test]
fn a_proxy_passes_data_and_the_end_of_each_side_on() {
    const LENGTH: usize = 3_000_000;
    // The server answers when the client has ended its side.
    let server = serve(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all.reverse();
        stream.write_all(&all).unwrap();
    });
    let answer = proxied(server, |mut stream| {
        stream.write_all(&pattern(LENGTH)).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    });
    let mut expected = pattern(LENGTH);
    expected.reverse();
    assert!(answer == expected);

    // The server ends its side first.
    let server = serve(|mut stream| {
        stream.write_all(b"hello").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), LENGTH);
    });
    proxied(server, |mut stream| {
        let mut hello = Vec::new();
        stream.read_to_end(&mut hello).unwrap();
        assert_eq!(hello, b"hello");
        stream.write_all(&pattern(LENGTH)).unwrap();
    });
}

#[test]
fn a_proxy_passes_a_broken_connection_on() {
    let read = |mut stream: TcpStream| stream.read_to_end(&mut Vec::new()).err().map(|error| error.kind());
    let server = serve(|mut stream| {
        stream.write_all(b"half of an ans").unwrap();
        let socket = SockRef::from(&stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    });
    assert_eq!(proxied(server, read), Some(ErrorKind::ConnectionReset));

    // Nothing listens there.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let reports = Reports::collect();
    assert_eq!(proxied(closed, read), Some(ErrorKind::ConnectionReset));
    let reports = reports.take();
    assert!(reports.len() == 1 && reports[0].contains(&closed.to_string()), "{reports:?}");
}

#[test]
fn a_client_that_leaves_ends_the_connection_behind_the_proxy() -> Result<(), Failure> {
    let (ended, ends) = mpsc::channel();
    let server = serve(move |mut stream| ended.send(stream.read_to_end(&mut Vec::new()).is_err()).unwrap());
    proxied(server, |stream| {
        (&stream).write_all(b"x").unwrap();
        let socket = SockRef::from(&stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    });
    assert!(ends.recv_timeout(LONG)?, "a reset");
    Ok(())
}
