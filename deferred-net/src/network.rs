//! `Network`: the sockets of an executor, as an adapter implements them, and their place in a
//! reactor.

use std::cell::RefCell;
#[cfg(unix)]
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::task::{Context, Poll};

use deferred_core::Reactor;

#[cfg(unix)]
use super::process::{Pipe, PipeEnd};
use super::socket::Socket;
use super::{DatagramSocket, Transport};

/// The sockets of an executor. An adapter implements this trait; its drivers [install] the
/// implementation in their reactors, and all functions of this crate that create connections use
/// it.
///
/// Each method registers a non-blocking socket or pipe of the system with the executor. All are
/// called on the thread of the loop.
///
/// [install]: install_network
pub trait Network: 'static {
    /// A TCP connection.
    type TcpStream: Socket;
    /// A socket on which TCP connections arrive.
    type TcpListener: Listener<Socket = Self::TcpStream>;
    /// A connection on a Unix socket.
    #[cfg(unix)]
    type UnixStream: Socket;
    /// A Unix socket on which connections arrive.
    #[cfg(unix)]
    type UnixListener: Listener<Socket = Self::UnixStream>;
    /// A UDP socket.
    type UdpSocket: DatagramSocket;
    /// One end of a pipe.
    #[cfg(unix)]
    type Pipe: Pipe;

    /// Registers a TCP connection, or a socket that [connects](Socket::poll_connected).
    ///
    /// # Errors
    ///
    /// Returns the error of the executor or of the system. So do the other methods.
    fn tcp_stream(&self, reactor: &Reactor, socket: TcpStream) -> io::Result<Self::TcpStream>;

    /// Registers a listening TCP socket.
    ///
    /// # Errors
    ///
    /// Like [`tcp_stream`](Self::tcp_stream).
    fn tcp_listener(&self, reactor: &Reactor, socket: TcpListener) -> io::Result<Self::TcpListener>;

    /// Registers a connection on a Unix socket, or a socket that connects.
    ///
    /// # Errors
    ///
    /// Like [`tcp_stream`](Self::tcp_stream).
    #[cfg(unix)]
    fn unix_stream(&self, reactor: &Reactor, socket: UnixStream) -> io::Result<Self::UnixStream>;

    /// Registers a listening Unix socket.
    ///
    /// # Errors
    ///
    /// Like [`tcp_stream`](Self::tcp_stream).
    #[cfg(unix)]
    fn unix_listener(&self, reactor: &Reactor, socket: UnixListener) -> io::Result<Self::UnixListener>;

    /// Registers a UDP socket.
    ///
    /// # Errors
    ///
    /// Like [`tcp_stream`](Self::tcp_stream).
    fn udp_socket(&self, reactor: &Reactor, socket: UdpSocket) -> io::Result<Self::UdpSocket>;

    /// Registers one end of a pipe.
    ///
    /// # Errors
    ///
    /// Like [`tcp_stream`](Self::tcp_stream).
    #[cfg(unix)]
    fn pipe(&self, reactor: &Reactor, pipe: File, end: PipeEnd) -> io::Result<Self::Pipe>;
}

/// A listening socket of an executor. An adapter implements this trait.
pub trait Listener: 'static {
    /// An accepted connection.
    type Socket: Socket;

    /// Accepts a connection. Returns `Pending` if there is none, and then wakes the task when one
    /// arrives. Returns it with the address of its peer, if that is an IP address.
    ///
    /// # Errors
    ///
    /// Returns the error of the system, for example if the process has too many open files.
    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(Self::Socket, Option<SocketAddr>)>>;
}

/// Installs the sockets that connections of `reactor` use, in place of those that were installed
/// before. Connections that exist keep theirs.
///
/// A program needs this only to create connections before its driver has the reactor, or on a
/// driver without sockets. Adapters have a function for it, such as `deferred_smol::net::install`.
pub fn install_network(reactor: &Reactor, network: impl Network) {
    let before = reactor.extension(Installed::default).0.replace(Some(Rc::new(network)));
    drop(before); // after the borrow
}

/// Like [`install_network`], but does nothing if `reactor` has sockets already: for drivers.
pub fn install_default_network(reactor: &Reactor, network: impl Network) {
    let installed = reactor.extension(Installed::default);
    let is_empty = installed.0.borrow().is_none();
    if is_empty {
        install_network(reactor, network);
    }
}

#[derive(Default)]
struct Installed(RefCell<Option<Rc<dyn AnyNetwork>>>);

/// Returns the sockets of a reactor.
///
/// # Errors
///
/// Returns an error if none are installed, or if the reactor is closed.
pub(super) fn network_of(reactor: &Reactor) -> io::Result<Rc<dyn AnyNetwork>> {
    if reactor.is_closed() {
        return Err(io::Error::other("the reactor is closed: no connection could be served"));
    }
    reactor.extension(Installed::default).0.borrow().clone().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::Unsupported,
            "this reactor has no sockets: start it with `run`, `run_until`, `react`, `start_thread` or `drive` of \
             deferred_mio, deferred_smol or deferred_tokio first, or call `net::install(&reactor)` of one of these",
        )
    })
}

/// A [`Network`] of any type. Its connections are not started yet.
pub(super) trait AnyNetwork {
    fn tcp_stream(&self, reactor: &Reactor, socket: TcpStream) -> io::Result<Transport>;
    fn tcp_listener(&self, reactor: &Reactor, socket: TcpListener) -> io::Result<Box<dyn AnyListener>>;
    #[cfg(unix)]
    fn unix_stream(&self, reactor: &Reactor, socket: UnixStream) -> io::Result<Transport>;
    #[cfg(unix)]
    fn unix_listener(&self, reactor: &Reactor, socket: UnixListener) -> io::Result<Box<dyn AnyListener>>;
    fn udp_socket(&self, reactor: &Reactor, socket: UdpSocket) -> io::Result<Rc<dyn DatagramSocket>>;
    #[cfg(unix)]
    fn pipe(&self, reactor: &Reactor, pipe: File, end: PipeEnd) -> io::Result<Box<dyn Pipe>>;
}

impl<N: Network> AnyNetwork for N {
    fn tcp_stream(&self, reactor: &Reactor, socket: TcpStream) -> io::Result<Transport> {
        socket.set_nonblocking(true)?;
        Ok(Transport::new(reactor, Network::tcp_stream(self, reactor, socket)?))
    }

    fn tcp_listener(&self, reactor: &Reactor, socket: TcpListener) -> io::Result<Box<dyn AnyListener>> {
        socket.set_nonblocking(true)?;
        Ok(Box::new(Network::tcp_listener(self, reactor, socket)?))
    }

    #[cfg(unix)]
    fn unix_stream(&self, reactor: &Reactor, socket: UnixStream) -> io::Result<Transport> {
        socket.set_nonblocking(true)?;
        Ok(Transport::new(reactor, Network::unix_stream(self, reactor, socket)?))
    }

    #[cfg(unix)]
    fn unix_listener(&self, reactor: &Reactor, socket: UnixListener) -> io::Result<Box<dyn AnyListener>> {
        socket.set_nonblocking(true)?;
        Ok(Box::new(Network::unix_listener(self, reactor, socket)?))
    }

    fn udp_socket(&self, reactor: &Reactor, socket: UdpSocket) -> io::Result<Rc<dyn DatagramSocket>> {
        socket.set_nonblocking(true)?;
        Ok(Rc::new(Network::udp_socket(self, reactor, socket)?))
    }

    #[cfg(unix)]
    fn pipe(&self, reactor: &Reactor, pipe: File, end: PipeEnd) -> io::Result<Box<dyn Pipe>> {
        Ok(Box::new(Network::pipe(self, reactor, pipe, end)?))
    }
}

/// A [`Listener`] of any type.
pub(super) trait AnyListener {
    fn poll_accept(
        &mut self,
        reactor: &Reactor,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(Transport, Option<SocketAddr>)>>;
}

impl<L: Listener> AnyListener for L {
    fn poll_accept(
        &mut self,
        reactor: &Reactor,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(Transport, Option<SocketAddr>)>> {
        let accepted = Listener::poll_accept(self, context)?;
        accepted.map(|(socket, peer)| Ok((Transport::new(reactor, socket), peer)))
    }
}
