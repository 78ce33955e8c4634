//! `MaybeTls`: the socket of a connection, with or without TLS.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use rustls::Connection;
use socket2::SockRef;

use super::stream::TlsSocket;
use crate::socket::Socket;

/// A socket that TLS can be added to.
pub(crate) enum MaybeTls<S> {
    Plain(S),
    Tls(Box<TlsSocket<S>>),
}

macro_rules! on_socket {
    ($self:ident, $socket:ident => $call:expr) => {
        match $self {
            MaybeTls::Plain($socket) => $call,
            MaybeTls::Tls($socket) => $call,
        }
    };
}

impl<S: Socket> MaybeTls<S> {
    /// Adds TLS. The caller checks that there is none.
    pub(crate) fn start_tls(self, session: Connection) -> MaybeTls<S> {
        match self {
            MaybeTls::Plain(socket) => MaybeTls::Tls(Box::new(TlsSocket::new(socket, session))),
            MaybeTls::Tls(_) => self,
        }
    }

    pub(crate) fn session(&self) -> Option<&Connection> {
        match self {
            MaybeTls::Plain(_) => None,
            MaybeTls::Tls(socket) => Some(socket.session()),
        }
    }

    pub(crate) fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            MaybeTls::Plain(_) => Poll::Ready(Ok(())),
            MaybeTls::Tls(socket) => socket.poll_handshake(context),
        }
    }
}

impl<S: Socket> Socket for MaybeTls<S> {
    const BUFFERS: bool = S::BUFFERS;
    const LINGERS: bool = S::LINGERS;

    #[inline]
    fn poll_connected(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, socket => socket.poll_connected(context))
    }

    #[inline]
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        on_socket!(self, socket => socket.poll_read(context, buffer))
    }

    #[inline]
    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        on_socket!(self, socket => socket.read_now(buffer))
    }

    #[inline]
    fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        on_socket!(self, socket => socket.poll_write(context, data))
    }

    #[inline]
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, socket => socket.poll_flush(context))
    }

    #[inline]
    fn set_woken(&mut self, by_socket: bool) {
        on_socket!(self, socket => socket.set_woken(by_socket));
    }

    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, socket => socket.poll_finish(context))
    }

    fn abort(&mut self) {
        on_socket!(self, socket => socket.abort());
    }

    fn system(&self) -> Option<SockRef<'_>> {
        on_socket!(self, socket => socket.system())
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        on_socket!(self, socket => socket.peer_addr())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        on_socket!(self, socket => socket.local_addr())
    }
}
