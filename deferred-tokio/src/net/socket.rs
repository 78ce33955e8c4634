//! The sockets of tokio, as deferred-net needs them.

#[cfg(unix)]
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use deferred_core::Reactor;
#[cfg(unix)]
use deferred_net::process::{Pipe, PipeEnd};
use deferred_net::socket2::SockRef;
use deferred_net::{DatagramSocket, Listener, Network, Socket, check_connected};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
#[cfg(unix)]
use tokio::net::unix::pipe;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;

/// The sockets of tokio.
pub(super) struct TokioNetwork;

impl Network for TokioNetwork {
    type TcpStream = TokioSocket<TcpStream>;
    type TcpListener = TokioListener<TcpListener>;
    #[cfg(unix)]
    type UnixStream = TokioSocket<UnixStream>;
    #[cfg(unix)]
    type UnixListener = TokioListener<UnixListener>;
    type UdpSocket = TokioUdpSocket;
    #[cfg(unix)]
    type Pipe = TokioPipe;

    fn tcp_stream(&self, _: &Reactor, socket: std::net::TcpStream) -> io::Result<TokioSocket<TcpStream>> {
        check_runtime()?;
        TcpStream::from_std(socket).map(TokioSocket)
    }

    fn tcp_listener(&self, _: &Reactor, socket: std::net::TcpListener) -> io::Result<TokioListener<TcpListener>> {
        check_runtime()?;
        TcpListener::from_std(socket).map(TokioListener)
    }

    #[cfg(unix)]
    fn unix_stream(&self, _: &Reactor, socket: std::os::unix::net::UnixStream) -> io::Result<TokioSocket<UnixStream>> {
        check_runtime()?;
        UnixStream::from_std(socket).map(TokioSocket)
    }

    #[cfg(unix)]
    fn unix_listener(
        &self,
        _: &Reactor,
        socket: std::os::unix::net::UnixListener,
    ) -> io::Result<TokioListener<UnixListener>> {
        check_runtime()?;
        UnixListener::from_std(socket).map(TokioListener)
    }

    fn udp_socket(&self, _: &Reactor, socket: std::net::UdpSocket) -> io::Result<TokioUdpSocket> {
        check_runtime()?;
        UdpSocket::from_std(socket).map(TokioUdpSocket)
    }

    #[cfg(unix)]
    fn pipe(&self, _: &Reactor, pipe: File, end: PipeEnd) -> io::Result<TokioPipe> {
        check_runtime()?;
        match end {
            PipeEnd::Read => pipe::Receiver::from_file(pipe).map(TokioPipe::Read),
            PipeEnd::Write => pipe::Sender::from_file(pipe).map(TokioPipe::Write),
        }
    }
}

/// Returns an error outside of a runtime, where a socket cannot be registered.
fn check_runtime() -> io::Result<()> {
    Handle::try_current().map(drop).map_err(|_| {
        io::Error::other(
            "no tokio runtime: call this inside `deferred_tokio::run`, in a task, or while a runtime is entered by \
             `Runtime::enter`",
        )
    })
}

/// A listening socket that is registered with tokio.
pub(super) struct TokioListener<L>(L);

impl Listener for TokioListener<TcpListener> {
    type Socket = TokioSocket<TcpStream>;

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(Self::Socket, Option<SocketAddr>)>> {
        let (socket, peer) = ready!(self.0.poll_accept(context))?;
        Poll::Ready(Ok((TokioSocket(socket), Some(peer))))
    }
}

#[cfg(unix)]
impl Listener for TokioListener<UnixListener> {
    type Socket = TokioSocket<UnixStream>;

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(Self::Socket, Option<SocketAddr>)>> {
        let (socket, _) = ready!(self.0.poll_accept(context))?;
        Poll::Ready(Ok((TokioSocket(socket), None)))
    }
}

/// A UDP socket that is registered with tokio.
pub(super) struct TokioUdpSocket(UdpSocket);

impl DatagramSocket for TokioUdpSocket {
    fn poll_recv_from(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut buffer = ReadBuf::new(buffer);
        let sender = ready!(self.0.poll_recv_from(context, &mut buffer))?;
        Poll::Ready(Ok((buffer.filled().len(), sender)))
    }

    fn system(&self) -> SockRef<'_> {
        SockRef::from(&self.0)
    }
}

/// One end of a pipe, registered with tokio.
#[cfg(unix)]
pub(super) enum TokioPipe {
    Read(pipe::Receiver),
    Write(pipe::Sender),
}

#[cfg(unix)]
impl Pipe for TokioPipe {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let TokioPipe::Read(pipe) = self else { return Poll::Ready(Err(io::ErrorKind::Unsupported.into())) };
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(pipe).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let TokioPipe::Write(pipe) = self else { return Poll::Ready(Err(io::ErrorKind::Unsupported.into())) };
        Pin::new(pipe).poll_write(context, data)
    }
}

/// A stream socket of tokio.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + 'static {
    fn system(&self) -> SockRef<'_>;
    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Stream for TcpStream {
    fn system(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(context)
    }
}

#[cfg(unix)]
impl Stream for UnixStream {
    fn system(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(context)
    }
}

/// A socket that is registered with tokio.
pub(super) struct TokioSocket<T>(pub(super) T);

impl<T: Stream> Socket for TokioSocket<T> {
    fn poll_connected(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // tokio reports a socket as ready only if it is.
        self.0.poll_write_ready(context).map(|ready| ready.and_then(|()| check_connected(&self.0.system())))
    }

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

    fn system(&self) -> Option<SockRef<'_>> {
        Some(self.0.system())
    }
}
