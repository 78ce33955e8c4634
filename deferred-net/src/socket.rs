//! `Socket`: the sockets of an executor, as an adapter implements them.

use std::cell::RefCell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockAddr, SockRef};

/// A stream socket of an executor, or any other stream of bytes in both directions. An adapter
/// implements this trait; programs use a [`Transport`](crate::Transport).
///
/// No method waits. All are called on the thread of the loop. They must not use the transport of
/// this socket. A panic in one of them loses the connection like one of a callback.
pub trait Socket: 'static {
    /// Whether [`poll_flush`](Self::poll_flush) has an effect.
    const BUFFERS: bool = false;

    /// Whether the connection waits for the end of the peer, for a short time, after its own side
    /// has ended: the system of a socket that is closed before may discard data that the peer has
    /// not read.
    const LINGERS: bool = true;

    /// Waits until the socket is connected. Called first, until it is ready, for a socket that
    /// connects. By default it is ready at once.
    ///
    /// # Errors
    ///
    /// Returns the error of the connect.
    fn poll_connected(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = context;
        Poll::Ready(Ok(()))
    }

    /// Reads into `buffer`. Returns `Pending` if there is no data, and then wakes the task when
    /// data, the end of the peer or an error arrives. `Ok(0)` means that the peer has ended its
    /// side.
    ///
    /// # Errors
    ///
    /// Returns the error of the connection.
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Reads what the system has now, even if the executor has not yet been notified of it.
    ///
    /// # Errors
    ///
    /// Returns [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no data, or the error of the
    /// connection.
    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes some of `data`. Returns `Pending` if the system's buffer is full, and then wakes the
    /// task when there is room again or an error arrives.
    ///
    /// # Errors
    ///
    /// Returns the error of the connection.
    fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>>;

    /// Passes data that this socket itself has buffered to the system. Like
    /// [`poll_write`](Self::poll_write) otherwise. Not called unless [`BUFFERS`](Self::BUFFERS) is
    /// `true`.
    ///
    /// # Errors
    ///
    /// Returns the error of the connection.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = context;
        Poll::Ready(Ok(()))
    }

    /// Called before the task polls, with `true` if nothing but this socket can have woken it. It
    /// is for an executor whose own thread may wake a task for a socket that it then reports as not
    /// ready. Does nothing by default.
    fn set_woken(&mut self, by_socket: bool) {
        let _ = by_socket;
    }

    /// Ends this side of the connection, after the data that was written. By default this shuts the
    /// socket of the [system](Self::system) down for writing.
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = context;
        Poll::Ready(self.system().map_or(Ok(()), |socket| socket.shutdown(Shutdown::Write)))
    }

    /// Called before the socket is dropped if the peer must not take the end for a regular one,
    /// because data is missing. By default the system resets the connection (`SO_LINGER` of zero).
    fn abort(&mut self) {
        if let Some(socket) = self.system() {
            // An error means that the connection has ended already.
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
    }

    /// Returns the socket of the system, for its addresses and options. `None`, the default, means
    /// that there is none.
    fn system(&self) -> Option<SockRef<'_>> {
        None
    }

    /// Returns the address of the peer, by default that of the socket of the
    /// [system](Self::system).
    ///
    /// # Errors
    ///
    /// Returns the error of the system, or [`Unsupported`](io::ErrorKind::Unsupported) if this is
    /// not an IP socket.
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        ip(&self.system().ok_or_else(no_socket)?.peer_addr()?)
    }

    /// Returns the address of this side. Like [`peer_addr`](Self::peer_addr).
    ///
    /// # Errors
    ///
    /// Like [`peer_addr`](Self::peer_addr).
    fn local_addr(&self) -> io::Result<SocketAddr> {
        ip(&self.system().ok_or_else(no_socket)?.local_addr()?)
    }
}

fn no_socket() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this connection has no socket")
}

/// Returns the address as one of IP.
pub(crate) fn ip(address: &SockAddr) -> io::Result<SocketAddr> {
    address.as_socket().ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "this is not an IP socket"))
}

/// Waits until a socket is connected: for an adapter's [`Socket::poll_connected`], after the
/// executor has reported that the socket can be written.
///
/// # Errors
///
/// Returns the error of the connect, or [`WouldBlock`](io::ErrorKind::WouldBlock) if the socket is
/// not connected yet.
pub fn check_connected(socket: &SockRef<'_>) -> io::Result<()> {
    match socket.take_error()? {
        Some(error) => Err(error),
        None => match socket.peer_addr() {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(error),
        },
    }
}

/// The socket of a connection until that ends, of any type. After the end, each operation fails
/// with [`NotConnected`](io::ErrorKind::NotConnected).
pub(crate) trait SocketCell {
    fn poll_connected(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn poll_read(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;
    fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize>;
    fn poll_write(&self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>>;
    fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn set_woken(&self, by_socket: bool);
    /// Ends this side. Replaces the system's "not connected", which it reports for a connection
    /// that the peer has reset, by the stored error.
    fn poll_finish(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Calls `f` with the socket of the system. Returns an error if there is none.
    fn with_system(&self, f: &mut dyn FnMut(SockRef<'_>) -> io::Result<()>) -> io::Result<()>;
    fn peer_addr(&self) -> io::Result<SocketAddr>;
    fn local_addr(&self) -> io::Result<SocketAddr>;
    /// Adds TLS.
    #[cfg(feature = "rustls")]
    fn start_tls(&self, session: rustls::Connection);
    #[cfg(feature = "rustls")]
    fn poll_handshake(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Calls `f` if there is TLS.
    #[cfg(feature = "rustls")]
    fn with_tls(&self, f: &mut dyn FnMut(&rustls::Connection));
    /// Drops the socket, after it was taken out. The peer gets a reset if `aborts`.
    fn close(&self, aborts: bool);
}

fn over<T>() -> io::Result<T> {
    Err(io::ErrorKind::NotConnected.into())
}

/// A socket as it is stored: with a place for TLS, if that is enabled.
#[cfg(feature = "rustls")]
pub(crate) use crate::tls::MaybeTls as Stored;
#[cfg(not(feature = "rustls"))]
pub(crate) type Stored<S> = S;

/// Stores a socket.
pub(crate) fn stored<S: Socket>(socket: S) -> Stored<S> {
    #[cfg(feature = "rustls")]
    let socket = Stored::Plain(socket);
    socket
}

impl<S: Socket> SocketCell for RefCell<Option<Stored<S>>> {
    fn poll_connected(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.borrow_mut().as_mut().map_or(Poll::Ready(over()), |socket| socket.poll_connected(context))
    }

    fn poll_read(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.borrow_mut().as_mut().map_or(Poll::Ready(over()), |socket| socket.poll_read(context, buffer))
    }

    fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.borrow_mut().as_mut().map_or_else(over, |socket| socket.read_now(buffer))
    }

    fn poll_write(&self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.borrow_mut().as_mut().map_or(Poll::Ready(over()), |socket| socket.poll_write(context, data))
    }

    fn set_woken(&self, by_socket: bool) {
        if let Some(socket) = &mut *self.borrow_mut() {
            socket.set_woken(by_socket);
        }
    }

    fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.borrow_mut().as_mut().map_or(Poll::Ready(over()), |socket| socket.poll_flush(context))
    }

    fn poll_finish(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut slot = self.borrow_mut();
        let Some(socket) = &mut *slot else { return Poll::Ready(over()) };
        socket.poll_finish(context).map_err(|error| match socket.system() {
            Some(system) if error.kind() == io::ErrorKind::NotConnected => {
                let stored = system.take_error().ok().flatten();
                stored.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
            }
            _ => error,
        })
    }

    fn with_system(&self, f: &mut dyn FnMut(SockRef<'_>) -> io::Result<()>) -> io::Result<()> {
        match &*self.borrow() {
            None => over(),
            Some(socket) => f(socket.system().ok_or_else(no_socket)?),
        }
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.borrow().as_ref().map_or_else(over, Socket::peer_addr)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.borrow().as_ref().map_or_else(over, Socket::local_addr)
    }

    #[cfg(feature = "rustls")]
    fn start_tls(&self, session: rustls::Connection) {
        let mut slot = self.borrow_mut();
        *slot = slot.take().map(|socket| socket.start_tls(session));
    }

    #[cfg(feature = "rustls")]
    fn poll_handshake(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.borrow_mut().as_mut().map_or(Poll::Ready(over()), |socket| socket.poll_handshake(context))
    }

    #[cfg(feature = "rustls")]
    fn with_tls(&self, f: &mut dyn FnMut(&rustls::Connection)) {
        if let Some(session) = self.borrow().as_ref().and_then(Stored::session) {
            f(session);
        }
    }

    fn close(&self, aborts: bool) {
        let mut socket = self.take();
        if let Some(socket) = socket.as_mut().filter(|_| aborts) {
            socket.abort();
        }
        drop(socket); // after the borrow
    }
}

/// A socket of tests, on which nothing arrives.
#[cfg(test)]
pub(crate) struct Silent;

#[cfg(test)]
impl Socket for Silent {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn read_now(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn poll_write(&mut self, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(data.len()))
    }
}
