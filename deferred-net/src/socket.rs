//! `Socket`: the sockets of an executor, as an adapter implements them.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

/// A connected stream socket of an executor. An adapter implements this trait; programs use a
/// [`Transport`](crate::Transport).
///
/// No method waits. All are called on the thread of the loop. They must not use the transport of
/// this socket. A panic in one of them loses the connection like one of a callback.
pub trait Socket: 'static {
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

    /// Called before the task polls, with `true` if nothing but this socket can have woken it. It
    /// is for an executor whose own thread may wake a task for a socket that it then reports as not
    /// ready. Does nothing by default.
    fn set_woken(&mut self, by_socket: bool) {
        let _ = by_socket;
    }

    /// Ends this side of the connection, after the data that was written.
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    fn finish(&mut self) -> io::Result<()>;

    /// Returns the error that the system has stored for the socket, and removes it there.
    ///
    /// # Errors
    ///
    /// Returns the error of the call.
    fn take_error(&self) -> io::Result<Option<io::Error>>;

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// Returns the error of the system, or [`Unsupported`](io::ErrorKind::Unsupported) if it is not
    /// an IP socket. By default, this and the next two return that.
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Err(not_ip())
    }

    /// Returns the address of this side.
    ///
    /// # Errors
    ///
    /// Like [`peer_addr`](Self::peer_addr).
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(not_ip())
    }

    /// Sets whether small writes are sent at once.
    ///
    /// # Errors
    ///
    /// Like [`peer_addr`](Self::peer_addr).
    fn set_nodelay(&self, no_delay: bool) -> io::Result<()> {
        let _ = no_delay;
        Err(not_ip())
    }
}

fn not_ip() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this is not an IP socket")
}

/// The socket of a connection until that ends, of any type. After the end, each operation fails
/// with [`NotConnected`](io::ErrorKind::NotConnected).
pub(crate) trait SocketCell {
    fn poll_read(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;
    fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize>;
    fn poll_write(&self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>>;
    fn set_woken(&self, by_socket: bool);
    /// Ends this side. Replaces the system's "not connected", which it reports for a connection
    /// that the peer has reset, by the stored error.
    fn finish(&self) -> io::Result<()>;
    fn peer_addr(&self) -> io::Result<SocketAddr>;
    fn local_addr(&self) -> io::Result<SocketAddr>;
    fn set_nodelay(&self, no_delay: bool) -> io::Result<()>;
    /// Drops the socket, after it was taken out.
    fn close(&self);
}

fn over<T>() -> io::Result<T> {
    Err(io::ErrorKind::NotConnected.into())
}

impl<S: Socket> SocketCell for RefCell<Option<S>> {
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

    fn finish(&self) -> io::Result<()> {
        let mut slot = self.borrow_mut();
        let Some(socket) = &mut *slot else { return over() };
        match socket.finish() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                let stored = socket.take_error().ok().flatten();
                Err(stored.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()))
            }
            finished => finished,
        }
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.borrow().as_ref().map_or_else(over, Socket::peer_addr)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.borrow().as_ref().map_or_else(over, Socket::local_addr)
    }

    fn set_nodelay(&self, no_delay: bool) -> io::Result<()> {
        self.borrow().as_ref().map_or_else(over, |socket| socket.set_nodelay(no_delay))
    }

    fn close(&self) {
        let socket = self.take();
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

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(None)
    }
}
