//! The sockets of smol, as deferred-net needs them.

#[cfg(unix)]
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::task::{Context, Poll, ready};

use deferred_core::Reactor;
#[cfg(unix)]
use deferred_net::process::{Pipe, PipeEnd};
use deferred_net::socket2::SockRef;
use deferred_net::{DatagramSocket, Listener, Network, Socket, check_connected};
use smol::Async;

/// The sockets of smol.
pub(super) struct SmolNetwork;

impl Network for SmolNetwork {
    type TcpStream = SmolSocket<TcpStream>;
    type TcpListener = SmolListener<TcpListener>;
    #[cfg(unix)]
    type UnixStream = SmolSocket<UnixStream>;
    #[cfg(unix)]
    type UnixListener = SmolListener<UnixListener>;
    type UdpSocket = SmolUdpSocket;
    #[cfg(unix)]
    type Pipe = SmolPipe;

    fn tcp_stream(&self, _: &Reactor, socket: TcpStream) -> io::Result<SmolSocket<TcpStream>> {
        Async::new_nonblocking(socket).map(SmolSocket::new)
    }

    fn tcp_listener(&self, _: &Reactor, socket: TcpListener) -> io::Result<SmolListener<TcpListener>> {
        Async::new_nonblocking(socket).map(SmolListener)
    }

    #[cfg(unix)]
    fn unix_stream(&self, _: &Reactor, socket: UnixStream) -> io::Result<SmolSocket<UnixStream>> {
        Async::new_nonblocking(socket).map(SmolSocket::new)
    }

    #[cfg(unix)]
    fn unix_listener(&self, _: &Reactor, socket: UnixListener) -> io::Result<SmolListener<UnixListener>> {
        Async::new_nonblocking(socket).map(SmolListener)
    }

    fn udp_socket(&self, _: &Reactor, socket: UdpSocket) -> io::Result<SmolUdpSocket> {
        Async::new_nonblocking(socket).map(SmolUdpSocket)
    }

    #[cfg(unix)]
    fn pipe(&self, _: &Reactor, pipe: File, _: PipeEnd) -> io::Result<SmolPipe> {
        Async::new_nonblocking(pipe).map(SmolPipe)
    }
}

/// A UDP socket that is registered with smol.
pub(super) struct SmolUdpSocket(Async<UdpSocket>);

impl DatagramSocket for SmolUdpSocket {
    fn poll_recv_from(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        loop {
            match self.0.get_ref().recv_from(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.0.poll_readable(context))?,
                received => return Poll::Ready(received),
            }
        }
    }

    fn system(&self) -> SockRef<'_> {
        self.0.get_ref().into()
    }
}

/// One end of a pipe, registered with smol.
#[cfg(unix)]
pub(super) struct SmolPipe(Async<File>);

#[cfg(unix)]
impl Pipe for SmolPipe {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match uninterrupted(|| self.0.get_ref().read(buffer)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.0.poll_readable(context))?,
                read => return Poll::Ready(read),
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match uninterrupted(|| self.0.get_ref().write(data)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.0.poll_writable(context))?,
                written => return Poll::Ready(written),
            }
        }
    }
}

/// A listening socket that is registered with smol.
pub(super) struct SmolListener<L>(Async<L>);

impl<L> SmolListener<L> {
    /// Accepts a connection with `accept`, or waits until that can succeed.
    fn poll_accept_by<T, A>(
        &self,
        context: &mut Context<'_>,
        accept: impl Fn(&L) -> io::Result<(T, A)>,
    ) -> Poll<io::Result<(T, A)>> {
        loop {
            match accept(self.0.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.0.poll_readable(context))?,
                accepted => return Poll::Ready(accepted),
            }
        }
    }
}

impl Listener for SmolListener<TcpListener> {
    type Socket = SmolSocket<TcpStream>;

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(Self::Socket, Option<SocketAddr>)>> {
        let (socket, peer) = ready!(self.poll_accept_by(context, TcpListener::accept))?;
        Poll::Ready(Ok((SmolSocket::new(Async::new(socket)?), Some(peer))))
    }
}

#[cfg(unix)]
impl Listener for SmolListener<UnixListener> {
    type Socket = SmolSocket<UnixStream>;

    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(Self::Socket, Option<SocketAddr>)>> {
        let (socket, _) = ready!(self.poll_accept_by(context, UnixListener::accept))?;
        Poll::Ready(Ok((SmolSocket::new(Async::new(socket)?), None)))
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

impl<T: 'static> Socket for SmolSocket<T>
where
    for<'a> &'a T: Read + Write + Into<SockRef<'a>>,
{
    fn poll_connected(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket.poll_writable(context))?;
            match check_connected(&self.socket.get_ref().into()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                connected => return Poll::Ready(connected),
            }
        }
    }

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

    fn system(&self) -> Option<SockRef<'_>> {
        Some(self.socket.get_ref().into())
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
