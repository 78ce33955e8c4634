//! `listen_tcp` and `listen_unix`: the accepting of connections.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
#[cfg(unix)]
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use deferred_core::driver::YieldNow;
use deferred_core::{Failure, Panicked, Reactor};

#[cfg(unix)]
use super::ServerEndpoint;
use super::bind::{BindOptions, bind_tcp};
use super::connect::without_delay;
use super::connection;
use super::error::ignore_cancel;
use super::network::{AnyListener, network_of};
use super::port::{Port, PortState};
use super::{Protocol, Transport};

/// The number of connections that are accepted before other tasks run.
const ACCEPT_BATCH: usize = 64;
/// The delay after an error of the system, which may have no more file descriptors.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Listens on a TCP address, for example `"127.0.0.1:8000"`; with port 0 the system chooses one.
/// `factory` creates the protocol of each connection from the address of its peer.
///
/// Connections are accepted in the turns of the loop; until then up to 1,024 wait in the backlog,
/// if the system allows that many. A panic of `factory` closes its connection and is reported. If
/// a connection cannot be accepted, for example because the process has too many open files,
/// accepting continues after a short delay. [`ServerEndpoint`](super::ServerEndpoint) has options.
///
/// Twisted's `listenTCP`.
///
/// # Errors
///
/// Returns an error, which names the address, if the address is invalid or in use. Returns an error
/// if the reactor is closed or has no sockets.
///
/// # Examples
///
/// ```
/// use deferred_mio::net::{Protocol, Transport, listen_tcp};
/// use deferred_mio::{Failure, run};
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
    listen_tcp_at(Location::caller(), reactor, address, factory)
}

/// Like [`listen_tcp`], for a caller whose own caller is reported as the location: for adapters.
///
/// # Errors
///
/// Like [`listen_tcp`].
#[doc(hidden)]
pub fn listen_tcp_at<P: Protocol>(
    at: &'static Location<'static>,
    reactor: &Reactor,
    address: impl ToSocketAddrs + fmt::Debug,
    factory: impl FnMut(SocketAddr) -> P + 'static,
) -> io::Result<Port> {
    network_of(reactor)?; // an error before the address is bound
    accept_tcp(at, reactor, bind_tcp(&address, BindOptions::default())?, factory)
}

/// Like [`listen_tcp`], but on a listening socket, for example one that was inherited.
///
/// # Errors
///
/// Returns an error if the socket cannot be registered with the loop, or if the reactor is closed
/// or has no sockets.
#[doc(alias = "adoptStreamPort")]
#[track_caller]
pub fn listen_on_tcp<P: Protocol>(
    reactor: &Reactor,
    listener: TcpListener,
    factory: impl FnMut(SocketAddr) -> P + 'static,
) -> io::Result<Port> {
    accept_tcp(Location::caller(), reactor, listener, factory)
}

fn accept_tcp<P: Protocol>(
    at: &'static Location<'static>,
    reactor: &Reactor,
    listener: TcpListener,
    mut factory: impl FnMut(SocketAddr) -> P + 'static,
) -> io::Result<Port> {
    let network = network_of(reactor)?;
    let address = listener.local_addr()?;
    let listener = network.tcp_listener(reactor, listener)?;
    Ok(accept_on(reactor, at, listener, Some(address), move |transport, peer| {
        without_delay(transport);
        Ok(factory(peer.unwrap_or(address)))
    }))
}

/// Listens on a Unix socket at `path`, which must not exist. The file is removed when the port
/// [stops](Port::stop_listening) or the reactor is closed; one that a killed process has left must
/// be removed by hand.
///
/// Twisted's `listenUNIX`.
///
/// # Errors
///
/// Returns an error, which names the path, if `path` exists or the socket cannot be created.
/// Returns an error if the reactor is closed or has no sockets.
#[doc(alias = "listenUNIX")]
#[doc(alias = "UNIXServerEndpoint")]
#[cfg(unix)]
#[track_caller]
pub fn listen_unix<P: Protocol>(
    reactor: &Reactor,
    path: impl AsRef<Path>,
    mut factory: impl FnMut() -> P + 'static,
) -> io::Result<Port> {
    ServerEndpoint::unix(path.as_ref()).listen(reactor, move |_| factory())
}

/// Accepts the connections of a listening socket.
pub(super) fn accept_on<P: Protocol>(
    reactor: &Reactor,
    at: &'static Location<'static>,
    mut listener: Box<dyn AnyListener>,
    address: Option<SocketAddr>,
    mut factory: impl FnMut(&Transport, Option<SocketAddr>) -> io::Result<P> + 'static,
) -> Port {
    let state = Rc::new(PortState::new(reactor, address, at));
    let ends = EndOnDrop(state.clone());
    let mut accepting = reactor.ensure_deferred_at(at, async move {
        let port = &ends.0;
        for accepted in 1.. {
            let result = poll_fn(|context| listener.poll_accept(&port.reactor, context)).await;
            if !port.is_listening() {
                break;
            }
            match result {
                Ok((transport, peer)) => {
                    start(port, &transport, || factory(&transport, peer));
                    if accepted % ACCEPT_BATCH == 0 {
                        YieldNow::default().await; // other tasks
                    }
                }
                Err(error) => {
                    port.count_accept_error();
                    if !is_connection_error(&error) {
                        port.reactor.sleep(RETRY_DELAY).await?;
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

/// Removes the file of the socket at the end of the coroutine, also if the reactor has dropped it.
struct EndOnDrop(Rc<PortState>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.remove_file();
    }
}

/// Returns `true` for an error of the connection that was to be accepted, `false` for one of the
/// listening socket or the system.
fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Starts an accepted connection with the protocol that `factory` creates.
fn start<P: Protocol>(port: &Rc<PortState>, transport: &Transport, factory: impl FnOnce() -> io::Result<P>) {
    port.count_accepted();
    let protocol = match catch_unwind(AssertUnwindSafe(factory)) {
        Ok(Ok(protocol)) => protocol,
        Ok(Err(_)) => {
            port.count_accept_error();
            return connection::discard(transport, port.at);
        }
        Err(payload) => {
            connection::report(&port.reactor, port.at, Panicked::new(payload).into());
            return connection::discard(transport, port.at);
        }
    };
    if !port.is_listening() {
        // The factory has stopped the port, and expects no further connection.
        return connection::discard(transport, port.at);
    }
    connection::start(transport, protocol, port.at, Some(port.add(transport)));
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
