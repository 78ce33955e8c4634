//! `TlsSocket`: a TLS session on a socket.

use std::io::{self, Read, Write};
use std::mem;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use rustls::Connection;
use socket2::SockRef;

use crate::socket::Socket;

/// The number of bytes that are encrypted before they are sent, or decrypted at a time: about one
/// record.
const RECORD: usize = 16 * 1024;
/// The number of bytes of a handshake that are read at a time.
const SCRATCH: usize = 4 * 1024;

/// A TLS session on a socket, whose data is what the session has decrypted and will encrypt.
///
/// The handshake must be completed with [`poll_handshake`](Self::poll_handshake) first. Only one
/// task uses the socket, so an operation of one direction may wait for the other.
pub(crate) struct TlsSocket<S> {
    socket: S,
    session: Connection,
    /// Data that was read and not passed to the session.
    encrypted: Vec<u8>,
    /// An error after data that was returned.
    failed: Option<io::Error>,
    has_finished: bool,
}

impl<S: Socket> TlsSocket<S> {
    pub(crate) fn new(socket: S, session: impl Into<Connection>) -> TlsSocket<S> {
        TlsSocket { socket, session: session.into(), encrypted: Vec::new(), failed: None, has_finished: false }
    }

    pub(crate) fn session(&self) -> &Connection {
        &self.session
    }

    /// Sends what the session has encrypted.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut output = Output { socket: &mut self.socket, context };
        while self.session.wants_write() {
            match self.session.write_tls(&mut output) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if S::BUFFERS { self.socket.poll_flush(context) } else { Poll::Ready(Ok(())) }
    }

    /// Passes the start of `encrypted` to the session; nothing stands for the end. Sends alerts and
    /// answers of the session.
    fn decrypt(&mut self, context: &mut Context<'_>, encrypted: &mut &[u8]) -> io::Result<()> {
        self.session.read_tls(encrypted)?;
        let processed = self.session.process_new_packets();
        // The answers of a handshake, new keys, or the alert that explains an error. If it fails,
        // so does the next write; what was received counts.
        let _ = self.poll_send(context);
        processed.map(drop).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Continues the handshake until it is complete.
    pub(crate) fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.is_handshaking() {
            if let Poll::Ready(Err(error)) = self.poll_send(context) {
                return Poll::Ready(Err(error));
            }
            let mut scratch = [0; SCRATCH];
            let length = ready!(self.socket.poll_read(context, &mut scratch))?;
            let mut encrypted = &scratch[..length];
            while !encrypted.is_empty() && self.session.is_handshaking() {
                self.decrypt(context, &mut encrypted)?;
            }
            self.encrypted = encrypted.to_vec();
            if length == 0 {
                let error = "the peer has ended the connection during the TLS handshake";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, error)));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads decrypted data. Reads encrypted data with `read` if there is none.
    fn read_by(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
        mut read: impl FnMut(&mut S, &mut Context<'_>, &mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let (plain, scratch) = buffer.split_at_mut(buffer.len() / 2);
        loop {
            let mut length = 0;
            let mut end = self.take_plain(plain, &mut length);
            if length == 0 && end.is_none() {
                let left = mem::take(&mut self.encrypted);
                let mut encrypted = &left[..];
                if left.is_empty() {
                    let most = scratch.len().min(RECORD);
                    let read = ready!(read(&mut self.socket, context, &mut scratch[..most]))?;
                    encrypted = &scratch[..read];
                }
                loop {
                    end = match self.decrypt(context, &mut encrypted) {
                        Ok(()) => self.take_plain(plain, &mut length),
                        Err(error) => {
                            let _ = self.take_plain(plain, &mut length); // what came before
                            Some(Err(error))
                        }
                    };
                    if end.is_some() || encrypted.is_empty() || length == plain.len() {
                        break;
                    }
                }
                self.encrypted = encrypted.to_vec();
            }
            match end {
                Some(Err(error)) if length > 0 => self.failed = Some(error),
                Some(end) if length == 0 => return Poll::Ready(end.map(|()| 0)),
                _ => {}
            }
            if length > 0 {
                return Poll::Ready(Ok(length));
            }
        }
    }

    /// Appends what the session has decrypted. Returns `Some` at the end: an error if the peer has
    /// not announced it.
    fn take_plain(&mut self, plain: &mut [u8], length: &mut usize) -> Option<io::Result<()>> {
        while *length < plain.len() {
            match self.session.reader().read(&mut plain[*length..]) {
                Ok(0) => return Some(Ok(())),
                Ok(read) => *length += read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

impl<S: Socket> Socket for TlsSocket<S> {
    const BUFFERS: bool = true;

    fn poll_connected(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.socket.poll_connected(context))?;
        self.poll_handshake(context)
    }

    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Err(error)) = self.poll_send(context) {
            return Poll::Ready(Err(error));
        }
        self.read_by(context, buffer, S::poll_read)
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let context = &mut Context::from_waker(std::task::Waker::noop());
        let read = self.read_by(context, buffer, |socket, _, buffer| match socket.read_now(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            read => Poll::Ready(read),
        });
        match read {
            Poll::Ready(read) => read,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        // Earlier data first, so that a peer that does not read is noticed here.
        ready!(self.poll_send(context))?;
        let written = self.session.writer().write(&data[..data.len().min(RECORD)])?;
        if let Poll::Ready(Err(error)) = self.poll_send(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(context)
    }

    fn set_woken(&mut self, by_socket: bool) {
        self.socket.set_woken(by_socket);
    }

    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !mem::replace(&mut self.has_finished, true) {
            self.session.send_close_notify();
        }
        ready!(self.poll_send(context))?;
        self.socket.poll_finish(context)
    }

    fn abort(&mut self) {
        self.socket.abort();
    }

    fn system(&self) -> Option<SockRef<'_>> {
        self.socket.system()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// The socket as the session writes to it.
struct Output<'a, 'c, S> {
    socket: &'a mut S,
    context: &'a mut Context<'c>,
}

impl<S: Socket> Write for Output<'_, '_, S> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self.socket.poll_write(self.context, data) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
