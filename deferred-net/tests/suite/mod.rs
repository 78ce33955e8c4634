//! Tests of `crate::adapter::net`.

mod backpressure;
mod clock;
mod connect;
mod context;
mod end;
mod forward;
mod incomplete;
mod life;
mod lines;
mod listen;
mod many;
#[cfg(unix)]
mod process;
mod reports;
#[cfg(unix)]
mod stdio;
mod tls;
mod udp;

use std::cell::RefCell;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::adapter::net::{ConnectionLost, Port, Protocol, Transport, listen_tcp};
use crate::adapter::{Failure, Reactor};

const MS: Duration = Duration::from_millis(1);
/// A time longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

/// A log of events, in order.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    fn note(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// A protocol that consists of closures and logs its callbacks.
struct TestProtocol<M, D> {
    log: Log,
    made: Option<M>,
    data: D,
}

fn protocol<M, D>(log: &Log, made: M, data: D) -> TestProtocol<M, D>
where
    M: FnOnce(&Transport) -> Result<(), Failure> + 'static,
    D: FnMut(&Transport, &[u8]) -> Result<(), Failure> + 'static,
{
    TestProtocol { log: log.clone(), made: Some(made), data }
}

impl<M, D> Protocol for TestProtocol<M, D>
where
    M: FnOnce(&Transport) -> Result<(), Failure> + 'static,
    D: FnMut(&Transport, &[u8]) -> Result<(), Failure> + 'static,
{
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.log.note("made");
        self.made.take().expect("it is made once")(transport)
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.log.note(match std::str::from_utf8(data) {
            Ok(text) if text.len() < 20 => format!("data {text}"),
            _ => "data".to_owned(),
        });
        (self.data)(transport, data)
    }

    fn connection_lost(&mut self, reason: &ConnectionLost) {
        self.log.note(match reason {
            ConnectionLost::Io(error) => format!("lost: {:?}", error.kind()),
            reason => format!("lost: {reason}"),
        });
    }
}

/// Echoes all data, and closes when the peer does.
struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        transport.write(data);
        Ok(())
    }
}

fn listen<P: Protocol>(reactor: &Reactor, factory: impl FnMut(SocketAddr) -> P + 'static) -> (Port, SocketAddr) {
    let port = listen_tcp(reactor, "127.0.0.1:0", factory).unwrap();
    let address = port.local_addr().unwrap();
    (port, address)
}

/// Runs a blocking client on a thread.
fn client<T: Send + 'static>(address: SocketAddr, talk: impl FnOnce(TcpStream) -> T + Send + 'static) -> JoinHandle<T> {
    thread::spawn(move || talk(TcpStream::connect(address).expect("the server listens")))
}

/// Reads until the end of the stream.
fn read_all(mut stream: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("it ends well");
    all
}

/// Returns bytes whose value depends on their position.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 + n / 251) as u8).collect()
}
