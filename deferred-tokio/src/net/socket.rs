//! The sockets of tokio, as deferred-net needs them.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use deferred_net::Socket;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// A stream socket of tokio.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Returns the socket of the system.
    fn system(&self) -> SockRef<'_>;
    /// Returns the same socket if it is one of TCP.
    fn tcp(&self) -> io::Result<&TcpStream>;
}

impl Stream for TcpStream {
    fn system(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    fn tcp(&self) -> io::Result<&TcpStream> {
        Ok(self)
    }
}

#[cfg(unix)]
impl Stream for UnixStream {
    fn system(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    fn tcp(&self) -> io::Result<&TcpStream> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "not supported by a Unix socket"))
    }
}

/// A socket that is registered with tokio.
pub(super) struct TokioSocket<T>(pub(super) T);

impl<T: Stream> Socket for TokioSocket<T> {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // tokio reads only after a notification.
        (&*self.0.system()).read(buffer)
    }

    fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, data)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.system().shutdown(Shutdown::Write)
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.system().take_error()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.tcp()?.peer_addr()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.tcp()?.local_addr()
    }

    fn set_nodelay(&self, no_delay: bool) -> io::Result<()> {
        self.0.tcp()?.set_nodelay(no_delay)
    }
}
