//! Who waits for connections.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
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

use deferred_core::{CancelHandle, Deferred, Failure, Panicked, Reactor, gather};
use smol::future::yield_now;
use smol::{Async, Timer};

use super::connection;
use super::socket::Socket;
use super::{Protocol, Transport, named, tell_unless_ended};

/// How many connections are taken at once before the others have their turn.
const AT_ONCE: usize = 64;
/// How long nothing is accepted when the system has no room for another connection.
const BREATH: Duration = Duration::from_millis(100);

/// Listens on a TCP address, for example `"127.0.0.1:8000"`; port 0 lets the system choose one.
/// `factory` makes the protocol of each connection, from the address of its peer.
///
/// Connections are accepted in the turns of the loop. A panic of `factory` closes its connection
/// and is reported. When the system has none to give, because the process has too many files open,
/// say, the next ones wait for a moment and nothing is told.
///
/// Twisted's `listenTCP`.
///
/// # Errors
///
/// If the address is not one, or is taken, with the address in the text; if the reactor is closed.
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
#[track_caller]
pub fn listen_tcp<P: Protocol>(
    reactor: &Reactor,
    address: impl ToSocketAddrs + fmt::Debug,
    factory: impl FnMut(SocketAddr) -> P + 'static,
) -> io::Result<Port> {
    refuse_closed(reactor)?;
    let listener = named("listen on", &address, || TcpListener::bind(&address))?;
    listen_on_tcp(reactor, listener, factory)
}

/// [`listen_tcp`] on a socket that listens already, for example one that was inherited, or has
/// options of its own.
///
/// # Errors
///
/// If the system does not let it be watched; if the reactor is closed.
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
    Ok(Port::open(reactor, address, at, async move |state: &Rc<State>| {
        let (socket, peer) = listener.accept().await?;
        state.start(Socket::Tcp(socket), || factory(peer));
        Ok(())
    }))
}

/// Listens on a Unix socket at `path`, which must not exist yet and is not removed behind it.
///
/// Twisted's `listenUNIX`.
///
/// # Errors
///
/// If something is at `path`, or cannot be made there, with the path in the text; if the reactor is
/// closed.
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
    let listener = Async::new(named("listen on", &path, || UnixListener::bind(path))?)?;
    Ok(Port::open(reactor, None, at, async move |state: &Rc<State>| {
        let (socket, _) = listener.accept().await?;
        state.start(Socket::Unix(socket), &mut factory);
        Ok(())
    }))
}

/// Where connections are accepted, and those that were. Clones mean the same; dropping them changes
/// nothing.
///
/// Twisted's `IListeningPort`.
#[derive(Clone)]
pub struct Port {
    state: Rc<State>,
}

struct State {
    reactor: Reactor,
    address: Option<SocketAddr>,
    at: &'static Location<'static>,
    /// Looked at after each connection, since the coroutine may be the one that stops it.
    listens: Cell<bool>,
    accepts: RefCell<Option<CancelHandle>>,
    connections: RefCell<BTreeMap<u64, Transport>>,
    next: Cell<u64>,
}

impl Port {
    /// `accept` takes one connection and starts it.
    fn open(
        reactor: &Reactor,
        address: Option<SocketAddr>,
        at: &'static Location<'static>,
        mut accept: impl AsyncFnMut(&Rc<State>) -> io::Result<()> + 'static,
    ) -> Port {
        let state = Rc::new(State {
            reactor: reactor.clone(),
            address,
            at,
            listens: Cell::new(true),
            accepts: RefCell::default(),
            connections: RefCell::default(),
            next: Cell::new(0),
        });
        let kept = state.clone();
        let mut accepts = reactor.ensure_deferred_at(at, async move {
            for accepted in 1.. {
                let result = accept(&kept).await;
                if !kept.listens.get() {
                    break;
                }
                match result {
                    Ok(()) if accepted % AT_ONCE == 0 => yield_now().await,
                    Ok(()) => {}
                    Err(error) if is_one_connections(&error) => {}
                    Err(_) => drop(Timer::after(BREATH).await),
                }
            }
            Ok::<_, Failure>(())
        });
        state.accepts.replace(Some(accepts.cancel_handle()));
        // It ends by a cancel or with the loop, and with nothing else.
        drop(accepts.add_errback(tell_unless_ended));
        Port { state }
    }

    /// Where it listens; none for a Unix socket.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.state.address
    }

    /// Accepts no more connections, and closes its socket at once. The connections that were
    /// accepted go on. Calling it again does nothing.
    ///
    /// Twisted's `stopListening`.
    pub fn stop_listening(&self) {
        self.state.listens.set(false);
        let accepts = self.state.accepts.take();
        if let Some(accepts) = accepts {
            accepts.cancel();
        }
    }

    /// The connections that were accepted here and are not over, the oldest first.
    #[must_use]
    pub fn connections(&self) -> Vec<Transport> {
        self.state.connections.borrow().values().cloned().collect()
    }

    /// How many connections that were accepted here are not over.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.connections.borrow().len()
    }

    /// Whether no connection that was accepted here is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.connections.borrow().is_empty()
    }

    /// Fires when every connection that is there now is over.
    ///
    /// # Cancellation
    ///
    /// Ends the waiting, and nothing else.
    #[must_use = "it does nothing but wait"]
    pub fn closed(&self) -> Deferred<()> {
        let closed: Vec<_> = self.connections().iter().map(Transport::closed).collect();
        gather(closed).map_err(Failure::from).map(|_| ())
    }

    /// The end of a server: stops listening, has each connection [lost](Transport::lose_connection)
    /// when it has sent what it has to send, and after `deadline` [aborts](Transport::abort) those
    /// that are left. Fires when all are over, with how many were aborted.
    ///
    /// What is still to be said to the clients is written before this is called.
    ///
    /// # Cancellation
    ///
    /// Ends the waiting, and nothing else.
    ///
    /// # Examples
    ///
    /// Where the loop is stopped, everyone is let go first:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use deferred_smol::{Phase, Reactor, SystemEvent, net::Port};
    /// fn close_in_the_end(reactor: &Reactor, port: Port) {
    ///     reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || {
    ///         port.shut_down(Duration::from_secs(5))
    ///     });
    /// }
    /// ```
    #[must_use = "it fires when all connections are over"]
    pub fn shut_down(&self, deadline: Duration) -> Deferred<usize> {
        self.stop_listening();
        let connections = self.connections();
        connections.iter().for_each(Transport::lose_connection);
        let (port, aborted) = (self.clone(), Rc::new(Cell::new(0)));
        let count = aborted.clone();
        let alarm = self.state.reactor.call_later(deadline, move || {
            let left = port.connections();
            count.set(left.len());
            left.iter().for_each(Transport::abort);
        });
        self.closed().map(move |()| {
            let _ = alarm.cancel(); // or it has run
            aborted.get()
        })
    }
}

/// Nobody would ever accept.
fn refuse_closed(reactor: &Reactor) -> io::Result<()> {
    if reactor.is_closed() { Err(io::Error::other("the reactor is closed: nothing would be accepted")) } else { Ok(()) }
}

/// It is the error of a connection that is gone again, not of the socket that listens.
fn is_one_connections(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

impl State {
    fn start<P: Protocol>(self: &Rc<Self>, socket: Socket, factory: impl FnOnce() -> P) {
        let protocol = match catch_unwind(AssertUnwindSafe(factory)) {
            Ok(protocol) => protocol,
            // Which tells it, with the place where the program listens.
            Err(payload) => {
                let panicked = ready(Err(Panicked::new(payload).into()));
                return drop(self.reactor.ensure_deferred_at::<()>(self.at, panicked));
            }
        };
        if !self.listens.get() {
            return; // the factory has stopped it, and counts on that
        }
        let number = self.next.get();
        self.next.set(number + 1);
        connection::start(&self.reactor, socket, protocol, self.at, |transport| {
            self.connections.borrow_mut().insert(number, transport.clone());
            Some(Guest { port: self.clone(), number })
        });
    }
}

/// A connection that a port has accepted; dropped when it is over.
pub(super) struct Guest {
    port: Rc<State>,
    number: u64,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let left = self.port.connections.borrow_mut().remove(&self.number);
        drop(left); // behind the borrow
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port")
            .field("local_addr", &self.state.address)
            .field("connections", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_error_of_a_connection_that_is_gone_lets_the_next_one_come_at_once() {
        assert!(is_one_connections(&io::ErrorKind::ConnectionAborted.into()));
        assert!(!is_one_connections(&io::ErrorKind::OutOfMemory.into()));
    }
}
