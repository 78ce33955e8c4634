//! The sockets of mio, as deferred-net needs them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::task::{Context, Poll};

use deferred_net::Socket;
use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;

use crate::source::Source;

/// A stream socket of mio.
pub(super) trait Stream: mio::event::Source + Sized + 'static {
    fn shutdown(&self, side: Shutdown) -> io::Result<()>;
    fn take_error(&self) -> io::Result<Option<io::Error>>;
    /// Returns an error if the socket is not connected.
    fn check_connected(&self) -> io::Result<()>;
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

    fn check_connected(&self) -> io::Result<()> {
        self.peer_addr().map(drop)
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

    fn check_connected(&self) -> io::Result<()> {
        self.peer_addr().map(drop)
    }

    fn tcp(&self) -> io::Result<&TcpStream> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "not supported by a Unix socket"))
    }
}

impl<T: Stream> Socket for Source<T>
where
    for<'a> &'a T: Read + Write,
{
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_read_into(context, buffer)
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Source::read_now(self, buffer)
    }

    fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_from(context, data)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.get().shutdown(Shutdown::Write)
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.get().take_error()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.get().tcp()?.peer_addr()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.get().tcp()?.local_addr()
    }

    fn set_nodelay(&self, no_delay: bool) -> io::Result<()> {
        self.get().tcp()?.set_nodelay(no_delay)
    }
}
