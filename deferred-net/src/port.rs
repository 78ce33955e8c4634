//! `Port`: a listening socket and its connections.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use deferred_core::{CancelHandle, Deferred, Failure, Reactor, gather};

use super::Transport;
#[cfg(unix)]
use super::bind::SocketFile;

/// A listening socket, and the connections that it has accepted. Clones refer to the same socket.
/// Dropping them has no effect.
///
/// Twisted's `IListeningPort`.
#[doc(alias = "IListeningPort")]
#[derive(Clone)]
pub struct Port {
    state: Rc<PortState>,
}

pub(super) struct PortState {
    pub(super) reactor: Reactor,
    address: Option<SocketAddr>,
    /// The location where the program listens.
    pub(super) at: &'static Location<'static>,
    /// Checked after each connection, whose callbacks may stop the port.
    is_listening: Cell<bool>,
    /// Cancels the coroutine that accepts connections.
    accepting: RefCell<Option<CancelHandle>>,
    /// The file of a Unix socket, which is removed at the end.
    #[cfg(unix)]
    file: RefCell<Option<SocketFile>>,
    connections: RefCell<BTreeMap<u64, Transport>>,
    next: Cell<u64>,
    accepted: Cell<u64>,
    accept_errors: Cell<u64>,
    failed_handshakes: Cell<u64>,
}

/// The numbers of a [`Port`] at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortStats {
    /// The number of open connections.
    pub connections: usize,
    /// The number of connections that were ever accepted.
    pub accepted: u64,
    /// The number of times that accepting a connection has failed, for example because the process
    /// has too many open files.
    pub accept_errors: u64,
    /// The number of accepted connections that have ended before their protocol was called, mostly
    /// because a TLS handshake has failed: the client does not accept the certificate, for example.
    pub failed_handshakes: u64,
}

impl PortState {
    pub(super) fn new(reactor: &Reactor, address: Option<SocketAddr>, at: &'static Location<'static>) -> PortState {
        PortState {
            reactor: reactor.clone(),
            address,
            at,
            is_listening: Cell::new(true),
            accepting: RefCell::default(),
            #[cfg(unix)]
            file: RefCell::default(),
            connections: RefCell::default(),
            next: Cell::new(0),
            accepted: Cell::new(0),
            accept_errors: Cell::new(0),
            failed_handshakes: Cell::new(0),
        }
    }

    pub(super) fn is_listening(&self) -> bool {
        self.is_listening.get()
    }

    pub(super) fn count_accepted(&self) {
        self.accepted.set(self.accepted.get() + 1);
    }

    pub(super) fn count_accept_error(&self) {
        self.accept_errors.set(self.accept_errors.get() + 1);
    }

    #[cfg(unix)]
    fn set_file(&self, file: Option<SocketFile>) {
        *self.file.borrow_mut() = file;
    }

    /// Removes the file of a Unix socket.
    pub(super) fn remove_file(&self) {
        #[cfg(unix)]
        drop(self.file.take());
    }

    pub(super) fn set_accepting(&self, handle: CancelHandle) {
        self.accepting.replace(Some(handle));
    }

    /// Adds a connection to the list of the port, until the returned entry is dropped.
    pub(super) fn add(self: &Rc<Self>, transport: &Transport) -> PortEntry {
        let number = self.next.get();
        self.next.set(number + 1);
        self.connections.borrow_mut().insert(number, transport.clone());
        PortEntry { port: self.clone(), number }
    }
}

impl Port {
    pub(super) fn new(state: Rc<PortState>) -> Port {
        Port { state }
    }

    #[cfg(unix)]
    pub(super) fn set_file(&self, file: Option<SocketFile>) {
        self.state.set_file(file);
    }

    /// Returns the numbers of connections and of errors.
    #[must_use]
    pub fn stats(&self) -> PortStats {
        PortStats {
            connections: self.len(),
            accepted: self.state.accepted.get(),
            accept_errors: self.state.accept_errors.get(),
            failed_handshakes: self.state.failed_handshakes.get(),
        }
    }

    /// Returns the address of the socket. `None` for a Unix socket.
    #[doc(alias = "getHost")]
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.state.address
    }

    /// Stops accepting connections, and closes the socket at once. Accepted connections continue. A
    /// further call does nothing.
    ///
    /// Twisted's `stopListening`.
    #[doc(alias = "stopListening")]
    pub fn stop_listening(&self) {
        self.state.is_listening.set(false);
        self.state.remove_file();
        let accepting = self.state.accepting.take();
        if let Some(accepting) = accepting {
            accepting.cancel();
        }
    }

    /// Returns the accepted connections that have not ended, the oldest first.
    #[must_use]
    pub fn connections(&self) -> Vec<Transport> {
        self.state.connections.borrow().values().cloned().collect()
    }

    /// Returns the number of accepted connections that have not ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.connections.borrow().len()
    }

    /// Returns `true` if all accepted connections have ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.connections.borrow().is_empty()
    }

    /// Returns a Deferred that fires when all connections that exist now have ended.
    ///
    /// # Cancellation
    ///
    /// A cancel ends only the wait.
    #[must_use = "the Deferred only waits; the call has no other effect"]
    pub fn closed(&self) -> Deferred<()> {
        let closed: Vec<_> = self.connections().iter().map(Transport::closed).collect();
        gather(closed).map_err(Failure::from).map(|_| ())
    }

    /// Shuts a server down: stops listening, [loses](Transport::lose_connection) each connection
    /// after its buffered data is sent, and [aborts](Transport::abort_connection) the remaining
    /// ones after `timeout`. The returned Deferred fires when all have ended, with the number of
    /// aborted connections.
    ///
    /// Write any last data to the clients before this call. A connection with a
    /// [producer](Transport::register_producer) ends when the producer has: in a proxy, a client
    /// that is idle on both sides is among those that are aborted.
    ///
    /// # Cancellation
    ///
    /// A cancel ends only the wait.
    ///
    /// # Examples
    ///
    /// Shut down before the loop ends:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use deferred_smol::{Phase, Reactor, SystemEvent, net::Port};
    /// fn close_at_shutdown(reactor: &Reactor, port: Port) {
    ///     reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || {
    ///         port.shut_down(Duration::from_secs(5))
    ///     });
    /// }
    /// ```
    #[must_use = "it fires when all connections are over"]
    pub fn shut_down(&self, timeout: Duration) -> Deferred<usize> {
        self.stop_listening();
        let connections = self.connections();
        connections.iter().for_each(Transport::lose_connection);
        let (port, aborted) = (self.clone(), Rc::new(Cell::new(0)));
        let count = aborted.clone();
        let timer = self.state.reactor.call_later(timeout, move || {
            let left = port.connections();
            count.set(left.len());
            left.iter().for_each(Transport::abort_connection);
        });
        self.closed().map(move |()| {
            let _ = timer.cancel(); // an error means that it has run
            aborted.get()
        })
    }
}

/// The entry of a connection in the list of its port. It is dropped at the end of the connection.
pub(super) struct PortEntry {
    port: Rc<PortState>,
    number: u64,
}

impl PortEntry {
    /// Counts a connection whose protocol was never called.
    pub(super) fn count_failed_handshake(&self) {
        let count = &self.port.failed_handshakes;
        count.set(count.get() + 1);
    }
}

impl Drop for PortEntry {
    fn drop(&mut self) {
        let removed = self.port.connections.borrow_mut().remove(&self.number);
        drop(removed); // after the borrow
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
