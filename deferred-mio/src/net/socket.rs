//! The sockets of mio, as deferred-net needs them.

#[cfg(unix)]
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{self, SocketAddr};
#[cfg(unix)]
use std::os::fd::AsRawFd;
#[cfg(unix)]
use std::os::unix::net as unix;
use std::task::{Context, Poll, ready};

use deferred_core::Reactor;
#[cfg(unix)]
use deferred_net::process::{Pipe, PipeEnd};
use deferred_net::socket2::SockRef;
use deferred_net::{DatagramSocket, Listener, Network, Socket, check_connected};
use mio::event;
use mio::net::{TcpListener, TcpStream, UdpSocket};
#[cfg(unix)]
use mio::net::{UnixListener, UnixStream};
#[cfg(unix)]
use mio::unix::SourceFd;
#[cfg(unix)]
use mio::{Interest, Registry, Token};

use crate::source::Source;

/// The sockets of mio.
pub(super) struct MioNetwork;

impl Network for MioNetwork {
    type TcpStream = Source<TcpStream>;
    type TcpListener = Source<TcpListener>;
    #[cfg(unix)]
    type UnixStream = Source<UnixStream>;
    #[cfg(unix)]
    type UnixListener = Source<UnixListener>;
    type UdpSocket = Source<UdpSocket>;
    #[cfg(unix)]
    type Pipe = Source<MioPipe>;

    fn tcp_stream(&self, reactor: &Reactor, socket: net::TcpStream) -> io::Result<Source<TcpStream>> {
        Source::new(reactor, TcpStream::from_std(socket))
    }

    fn tcp_listener(&self, reactor: &Reactor, socket: net::TcpListener) -> io::Result<Source<TcpListener>> {
        Source::new(reactor, TcpListener::from_std(socket))
    }

    #[cfg(unix)]
    fn unix_stream(&self, reactor: &Reactor, socket: unix::UnixStream) -> io::Result<Source<UnixStream>> {
        Source::new(reactor, UnixStream::from_std(socket))
    }

    #[cfg(unix)]
    fn unix_listener(&self, reactor: &Reactor, socket: unix::UnixListener) -> io::Result<Source<UnixListener>> {
        Source::new(reactor, UnixListener::from_std(socket))
    }

    fn udp_socket(&self, reactor: &Reactor, socket: net::UdpSocket) -> io::Result<Source<UdpSocket>> {
        Source::new(reactor, UdpSocket::from_std(socket))
    }

    #[cfg(unix)]
    fn pipe(&self, reactor: &Reactor, pipe: File, _: PipeEnd) -> io::Result<Source<MioPipe>> {
        Source::new(reactor, MioPipe(pipe))
    }
}

impl Listener for Source<TcpListener> {
    type Socket = Source<TcpStream>;

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(Self::Socket, Option<SocketAddr>)>> {
        let (socket, peer) = ready!(self.poll_read(context, TcpListener::accept))?;
        Poll::Ready(Ok((self.connected_beside(socket)?, Some(peer))))
    }
}

#[cfg(unix)]
impl Listener for Source<UnixListener> {
    type Socket = Source<UnixStream>;

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(Self::Socket, Option<SocketAddr>)>> {
        let (socket, _) = ready!(self.poll_read(context, UnixListener::accept))?;
        Poll::Ready(Ok((self.connected_beside(socket)?, None)))
    }
}

impl DatagramSocket for Source<UdpSocket> {
    fn poll_recv_from(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.poll_read(context, |socket| socket.recv_from(buffer))
    }

    fn system(&self) -> SockRef<'_> {
        self.get().into()
    }
}

/// One end of a pipe.
#[cfg(unix)]
pub(super) struct MioPipe(File);

#[cfg(unix)]
impl event::Source for MioPipe {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.0.as_raw_fd()).deregister(registry)
    }
}

#[cfg(unix)]
impl Pipe for Source<MioPipe> {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Source::poll_read(self, context, |pipe| (&pipe.0).read(buffer))
    }

    fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Source::poll_write(self, context, |pipe| (&pipe.0).write(data))
    }
}

/// Waits until a socket is connected.
pub(super) async fn wait_connected<T: event::Source>(socket: Source<T>) -> io::Result<Source<T>>
where
    for<'a> &'a T: Into<SockRef<'a>>,
{
    poll_fn(|context| socket.poll_connected(context)).await?;
    Ok(socket)
}

impl<T: event::Source> Source<T>
where
    for<'a> &'a T: Into<SockRef<'a>>,
{
    fn poll_connected(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write(context, |socket| check_connected(&socket.into()))
    }
}

impl<T: event::Source + 'static> Socket for Source<T>
where
    for<'a> &'a T: Read + Write + Into<SockRef<'a>>,
{
    fn poll_connected(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Source::poll_connected(self, context)
    }

    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_read_into(context, buffer)
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Source::read_now(self, buffer)
    }

    fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_from(context, data)
    }

    fn system(&self) -> Option<SockRef<'_>> {
        Some(self.get().into())
    }
}
