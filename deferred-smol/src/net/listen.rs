//! Functions that listen for connections.

use std::fmt;
use std::future::ready;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
#[cfg(unix)]
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use deferred_core::{Failure, Panicked, Reactor};
use smol::future::yield_now;
use smol::{Async, Timer};

use super::Protocol;
use super::connection;
use super::error::{ignore_cancel, with_address};
use super::port::{Port, PortState};
use super::socket::Socket;

/// The number of connections that are accepted before other tasks run.
const ACCEPT_BATCH: usize = 64;
/// The delay after an error of the system, which may have no more file descriptors.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Listens on a TCP address, for example `"127.0.0.1:8000"`; with port 0 the system chooses one.
/// `factory` creates the protocol of each connection from the address of its peer.
///
/// Connections are accepted in the turns of the loop. A panic of `factory` closes its connection
/// and is reported. If the system cannot accept a connection, for example because the process has
/// too many open files, accepting continues after a short delay.
///
/// Twisted's `listenTCP`.
///
/// # Errors
///
/// Returns an error, which names the address, if the address is invalid or in use. Returns an error
/// if the reactor is closed.
///
/// # Examples
///
/// ```
/// use deferred_smol::net::{Protocol, Transport, listen_tcp};
/// use deferred_smol::{Failure, run};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
///         transport.write(data);
///         Ok(())
///     }
/// }
///
/// run(|reactor| {
///     let port = listen_tcp(reactor, "127.0.0.1:0", |_| Echo).unwrap();
///     println!("listening on {}", port.local_addr().unwrap());
///     # reactor.stop();
/// });
/// ```
#[doc(alias = "listenTCP")]
#[doc(alias = "ServerFactory")]
#[doc(alias = "TCP4ServerEndpoint")]
#[track_caller]
pub fn listen_tcp<P: Protocol>(
    reactor: &Reactor,
    address: impl ToSocketAddrs + fmt::Debug,
    factory: impl FnMut(SocketAddr) -> P + 'static,
) -> io::Result<Port> {
    refuse_closed(reactor)?;
    let listener = with_address("listen on", &address, || TcpListener::bind(&address))?;
    listen_on_tcp(reactor, listener, factory)
}

/// Like [`listen_tcp`], but on a listening socket, for example one that was inherited or has
/// special options.
///
/// # Errors
///
/// Returns an error if the socket cannot be registered with smol, or if the reactor is closed.
#[doc(alias = "adoptStreamPort")]
#[track_caller]
pub fn listen_on_tcp<P: Protocol>(
    reactor: &Reactor,
    listener: TcpListener,
    mut factory: impl FnMut(SocketAddr) -> P + 'static,
) -> io::Result<Port> {
    let at = Location::caller();
    refuse_closed(reactor)?;
    let address = listener.local_addr().ok();
    let listener = Async::new(listener)?;
    Ok(open(reactor, address, at, async move |state: &Rc<PortState>| {
        let (socket, peer) = listener.accept().await?;
        start(state, Socket::Tcp(socket), || factory(peer));
        Ok(())
    }))
}

/// Listens on a Unix socket at `path`, which must not exist and is not removed afterwards.
///
/// Twisted's `listenUNIX`.
///
/// # Errors
///
/// Returns an error, which names the path, if `path` exists or the socket cannot be created.
/// Returns an error if the reactor is closed.
#[doc(alias = "listenUNIX")]
#[doc(alias = "UNIXServerEndpoint")]
#[cfg(unix)]
#[track_caller]
pub fn listen_unix<P: Protocol>(
    reactor: &Reactor,
    path: impl AsRef<Path>,
    mut factory: impl FnMut() -> P + 'static,
) -> io::Result<Port> {
    let at = Location::caller();
    refuse_closed(reactor)?;
    let path = path.as_ref();
    let listener = Async::new(with_address("listen on", &path, || UnixListener::bind(path))?)?;
    Ok(open(reactor, None, at, async move |state: &Rc<PortState>| {
        let (socket, _) = listener.accept().await?;
        start(state, Socket::Unix(socket), &mut factory);
        Ok(())
    }))
}

/// Creates a port, and the coroutine that accepts its connections: `accept` accepts one and starts
/// it.
fn open(
    reactor: &Reactor,
    address: Option<SocketAddr>,
    at: &'static Location<'static>,
    mut accept: impl AsyncFnMut(&Rc<PortState>) -> io::Result<()> + 'static,
) -> Port {
    let state = Rc::new(PortState::new(reactor, address, at));
    let port = state.clone();
    let mut accepting = reactor.ensure_deferred_at(at, async move {
        for accepted in 1.. {
            let result = accept(&port).await;
            if !port.is_listening() {
                break;
            }
            match result {
                Ok(()) if accepted % ACCEPT_BATCH == 0 => yield_now().await,
                Ok(()) => {}
                Err(error) => {
                    port.count_accept_error();
                    if !is_connection_error(&error) {
                        let _ = Timer::after(RETRY_DELAY).await;
                    }
                }
            }
        }
        Ok::<_, Failure>(())
    });
    state.set_accepting(accepting.cancel_handle());
    // The accepting coroutine ends only when it is cancelled or the reactor is closed.
    drop(accepting.add_errback(ignore_cancel));
    Port::new(state)
}

/// Returns an error if the reactor is closed, since nothing would be accepted.
fn refuse_closed(reactor: &Reactor) -> io::Result<()> {
    if reactor.is_closed() { Err(io::Error::other("the reactor is closed: nothing would be accepted")) } else { Ok(()) }
}

/// Returns `true` for an error of the connection that was to be accepted, `false` for one of the
/// listening socket or the system.
fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Starts an accepted connection with the protocol that `factory` creates.
fn start<P: Protocol>(port: &Rc<PortState>, socket: Socket, factory: impl FnOnce() -> P) {
    port.count_accepted();
    let protocol = match catch_unwind(AssertUnwindSafe(factory)) {
        Ok(protocol) => protocol,
        // A failed coroutine reports the panic, with the location where the program listens.
        Err(payload) => {
            let panicked = ready(Err(Panicked::new(payload).into()));
            return drop(port.reactor.ensure_deferred_at::<()>(port.at, panicked));
        }
    };
    if !port.is_listening() {
        return; // the factory has stopped the port, and expects no further connection
    }
    connection::start(&port.reactor, socket, protocol, port.at, |transport| Some(port.add(transport)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connection_error_is_not_followed_by_a_delay() {
        assert!(is_connection_error(&io::ErrorKind::ConnectionAborted.into()));
        assert!(!is_connection_error(&io::ErrorKind::OutOfMemory.into()));
    }
}
