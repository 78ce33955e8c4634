//! The sockets of smol, as deferred-net needs them.

use std::io::{self, Read, Write};
use std::mem;
use std::net::{Shutdown, SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll};

use deferred_net::Socket;
use smol::Async;

/// A stream socket of the standard library.
pub(super) trait Stream: Sized + 'static {
    fn shutdown(&self, side: Shutdown) -> io::Result<()>;
    fn take_error(&self) -> io::Result<Option<io::Error>>;
    /// Returns the same socket if it is one of TCP.
    fn tcp(&self) -> io::Result<&TcpStream>;
}

impl Stream for TcpStream {
    fn shutdown(&self, side: Shutdown) -> io::Result<()> {
        self.shutdown(side)
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.take_error()
    }

    fn tcp(&self) -> io::Result<&TcpStream> {
        Ok(self)
    }
}

#[cfg(unix)]
impl Stream for UnixStream {
    fn shutdown(&self, side: Shutdown) -> io::Result<()> {
        self.shutdown(side)
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.take_error()
    }

    fn tcp(&self) -> io::Result<&TcpStream> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "not supported by a Unix socket"))
    }
}

/// A socket that is registered with smol.
pub(super) struct SmolSocket<T> {
    socket: Async<T>,
    /// Whether data may be available, so that a check by smol can be skipped.
    readable: bool,
    /// Whether the send buffer of the system is full.
    blocked: bool,
    /// Whether the socket may be ready although smol reports that it is not.
    ///
    /// If only smol's own thread polls the sockets, as with a `Clock`, smol may repeatedly wake the
    /// task for a socket that it then reports as not ready. So the operation is tried once without
    /// that check.
    tries_read: bool,
    tries_write: bool,
}

impl<T> SmolSocket<T> {
    pub(super) fn new(socket: Async<T>) -> SmolSocket<T> {
        SmolSocket { socket, readable: false, blocked: false, tries_read: false, tries_write: false }
    }
}

impl<T: Stream> Socket for SmolSocket<T>
where
    for<'a> &'a T: Read + Write,
{
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut tries = mem::take(&mut self.tries_read);
        loop {
            let mut waits = false;
            if !self.readable {
                waits = self.socket.poll_readable(context)?.is_pending();
                if waits && !mem::take(&mut tries) {
                    return Poll::Pending;
                }
            }
            match self.read_now(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if waits {
                        return Poll::Pending;
                    }
                }
                read => return Poll::Ready(read),
            }
        }
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = uninterrupted(|| self.socket.get_ref().read(buffer));
        // A short read has probably emptied the socket. A check costs less than a read that finds
        // no data.
        self.readable = matches!(read, Ok(length) if length == buffer.len());
        read
    }

    fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut waits = false;
            if self.blocked {
                waits = self.socket.poll_writable(context)?.is_pending();
                if waits && !mem::take(&mut self.tries_write) {
                    return Poll::Pending;
                }
            }
            match uninterrupted(|| self.socket.get_ref().write(data)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    if waits {
                        return Poll::Pending;
                    }
                }
                written => {
                    self.blocked = false;
                    return Poll::Ready(written);
                }
            }
        }
    }

    fn set_woken(&mut self, by_socket: bool) {
        self.tries_read = by_socket;
        self.tries_write = by_socket;
    }

    fn finish(&mut self) -> io::Result<()> {
        self.socket.get_ref().shutdown(Shutdown::Write)
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.get_ref().take_error()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().tcp()?.peer_addr()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().tcp()?.local_addr()
    }

    fn set_nodelay(&self, no_delay: bool) -> io::Result<()> {
        self.socket.get_ref().tcp()?.set_nodelay(no_delay)
    }
}

fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
