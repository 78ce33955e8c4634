//! `Socket`: a TCP or a Unix socket.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll};

use smol::Async;

/// A stream socket that is registered with smol.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(Async<TcpStream>),
    #[cfg(unix)]
    Unix(Async<UnixStream>),
}

/// Evaluates an expression for either kind.
macro_rules! each {
    ($socket:expr, $inner:ident => $result:expr) => {
        match $socket {
            Socket::Tcp($inner) => $result,
            #[cfg(unix)]
            Socket::Unix($inner) => $result,
        }
    };
}

impl Socket {
    /// Checks whether data can be read, without reading.
    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, socket => socket.poll_readable(context))
    }

    pub(super) fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, socket => socket.poll_writable(context))
    }

    /// Reads without blocking.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        each!(self, socket => uninterrupted(|| socket.get_ref().read(buffer)))
    }

    /// Writes without blocking.
    pub(super) fn write(&self, data: &[u8]) -> io::Result<usize> {
        each!(self, socket => uninterrupted(|| socket.get_ref().write(data)))
    }

    /// Ends this side of the connection.
    pub(super) fn finish(&self) -> io::Result<()> {
        each!(self, socket => socket.get_ref().shutdown(Shutdown::Write))
    }

    /// Replaces the system's "not connected", which it reports for a connection that the peer has
    /// reset, by the stored error.
    pub(super) fn reason(&self, error: io::Error) -> io::Error {
        if error.kind() != io::ErrorKind::NotConnected {
            return error;
        }
        let kept = each!(self, socket => socket.get_ref().take_error());
        kept.ok().flatten().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
    }

    pub(super) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp()?.peer_addr()
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp()?.local_addr()
    }

    pub(super) fn set_nodelay(&self, no_delay: bool) -> io::Result<()> {
        self.tcp()?.set_nodelay(no_delay)
    }

    fn tcp(&self) -> io::Result<&TcpStream> {
        match self {
            Socket::Tcp(socket) => Ok(socket.get_ref()),
            #[cfg(unix)]
            Socket::Unix(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "not supported by a Unix socket")),
        }
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
