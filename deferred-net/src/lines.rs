//! `Lines`: splits incoming data into lines.

use std::mem;
use std::time::Duration;

use deferred_core::{DelayedCall, Failure};

use super::unread::{Unread, not_encrypted};
use super::{ConnectionLost, Protocol, Transport};

/// The default maximum length of a line, as in Twisted.
const MAX_LENGTH: usize = 16 * 1024;

/// The callbacks of a connection on which lines arrive. [`Lines`] converts it into a [`Protocol`].
///
/// Twisted's `LineReceiver`.
#[doc(alias = "LineReceiver")]
#[doc(alias = "LineOnlyReceiver")]
pub trait LineProtocol: 'static {
    /// Called when the connection is established: see [`Protocol::connection_made`].
    ///
    /// # Errors
    ///
    /// An error aborts the connection.
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// Called for each line, without its end.
    ///
    /// It is not called while reading is [paused](Transport::pause_producing), nor after
    /// [`lose_connection`](Transport::lose_connection), even if lines have arrived.
    ///
    /// # Errors
    ///
    /// An error aborts the connection.
    #[doc(alias = "lineReceived")]
    fn line_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure>;

    /// Called for data that is not lines, after [`set_raw_mode`](Transport::set_raw_mode). By
    /// default it is ignored.
    ///
    /// # Errors
    ///
    /// An error aborts the connection.
    #[doc(alias = "rawDataReceived")]
    fn raw_data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        let _ = (transport, data);
        Ok(())
    }

    /// Called for a line of at least `length` bytes, which exceeds the maximum. By default it loses
    /// the connection. Otherwise the received part of the line is dropped, and the rest of it is
    /// treated as the next line.
    ///
    /// # Errors
    ///
    /// An error aborts the connection.
    #[doc(alias = "lineLengthExceeded")]
    fn line_length_exceeded(&mut self, transport: &Transport, length: usize) -> Result<(), Failure> {
        let _ = length;
        transport.lose_connection();
        Ok(())
    }

    /// Called when the peer has ended its side: see [`Protocol::read_connection_lost`]. By default
    /// it loses the connection.
    ///
    /// # Errors
    ///
    /// An error aborts the connection.
    #[doc(alias = "readConnectionLost")]
    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.lose_connection();
        Ok(())
    }

    /// Called when the connection has ended: see [`Protocol::connection_lost`]. A last line without
    /// an end is not delivered.
    fn connection_lost(&mut self, reason: &ConnectionLost) {
        let _ = reason;
    }
}

/// A [`Protocol`] that splits incoming data into lines for a [`LineProtocol`].
///
/// A line ends with `\n`; a `\r` before that belongs to the end. [`delimiter`](Self::delimiter)
/// sets another end. Only an incomplete line is buffered, or data that arrived before reading was
/// paused.
///
/// # Examples
///
/// ```
/// use deferred_smol::net::{LineProtocol, Lines, Transport, listen_tcp};
/// use deferred_smol::{Failure, run};
///
/// struct Greeter;
///
/// impl LineProtocol for Greeter {
///     fn line_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
///         transport.write(format!("hello, {}\r\n", std::str::from_utf8(line)?).as_bytes());
///         Ok(())
///     }
/// }
///
/// run(|reactor| {
///     let port = listen_tcp(reactor, "127.0.0.1:0", |_| Lines::new(Greeter)).unwrap();
///     # reactor.stop();
/// });
/// ```
#[doc(alias = "LineReceiver")]
#[doc(alias = "LineOnlyReceiver")]
#[derive(Debug)]
pub struct Lines<L> {
    protocol: L,
    max_length: usize,
    /// The end of a line. `None` stands for `\n` or `\r\n`.
    delimiter: Option<Box<[u8]>>,
    line_timeout: Option<Duration>,
    /// Ends the connection if the current line is not complete in time.
    deadline: Option<DelayedCall>,
    /// Whether data has arrived that TLS has decrypted.
    is_tls: bool,
    unread: Unread,
    /// The number of undelivered bytes that are known to contain no line end.
    searched: usize,
}

impl<L> Lines<L> {
    /// Returns the protocol that gets the lines.
    pub fn get_ref(&self) -> &L {
        &self.protocol
    }

    pub(super) fn map_protocol(self, f: impl FnOnce(L) -> L) -> Lines<L> {
        Lines { protocol: f(self.protocol), ..self }
    }
}

impl<L: LineProtocol> Lines<L> {
    /// Creates a protocol for lines of up to 16 KiB.
    pub fn new(protocol: L) -> Lines<L> {
        Lines {
            protocol,
            max_length: MAX_LENGTH,
            delimiter: None,
            line_timeout: None,
            deadline: None,
            is_tls: false,
            unread: Unread::default(),
            searched: 0,
        }
    }

    /// Sets the maximum length of a line in bytes, without its end.
    #[doc(alias = "MAX_LENGTH")]
    #[must_use]
    pub fn max_length(mut self, bytes: usize) -> Lines<L> {
        self.max_length = bytes;
        self
    }

    /// Sets the bytes that end a line, for example `b"\0"`.
    ///
    /// # Panics
    ///
    /// Panics if `delimiter` is empty.
    #[must_use]
    pub fn delimiter(mut self, delimiter: impl Into<Vec<u8>>) -> Lines<L> {
        let delimiter = delimiter.into();
        assert!(!delimiter.is_empty(), "the delimiter of lines must have at least one byte");
        self.delimiter = Some(delimiter.into());
        self
    }

    /// Limits the time from the first byte of a line to its end. After it the connection ends with
    /// [`TimedOut`](ConnectionLost::TimedOut). So a peer that sends a line byte by byte does not
    /// hold a connection forever, and one that sends nothing between two lines may wait. No limit
    /// by default.
    #[must_use]
    pub fn line_timeout(mut self, timeout: Duration) -> Lines<L> {
        self.line_timeout = Some(timeout);
        self
    }

    /// Splits `data` at the first end of a line, whose first `searched` bytes contain no whole one.
    #[inline]
    fn split<'a>(&self, data: &'a [u8], searched: usize) -> Option<(&'a [u8], &'a [u8])> {
        match &self.delimiter {
            None => {
                let end = searched + data[searched..].iter().position(|&byte| byte == b'\n')?;
                let (line, rest) = (&data[..end], &data[end + 1..]);
                Some((line.strip_suffix(b"\r").unwrap_or(line), rest))
            }
            Some(delimiter) => split_at_delimiter(data, searched, delimiter),
        }
    }

    /// Starts or ends the limit of the current line.
    fn set_deadline(&mut self, transport: &Transport, is_new_line: bool) {
        let Some(timeout) = self.line_timeout else { return };
        let waits = !self.unread.is_empty() && !transport.state.paused.get();
        if !waits || is_new_line {
            if let Some(deadline) = self.deadline.take() {
                let _ = deadline.cancel(); // an error means that it has run
            }
        }
        if waits && !self.deadline.as_ref().is_some_and(DelayedCall::active) {
            let state = transport.state.clone();
            let end = move || {
                // Time without reading does not count. An ending connection has a timeout of its
                // own.
                if !state.paused.get() && state.may_read() {
                    state.end(ConnectionLost::TimedOut(timeout));
                }
            };
            self.deadline = Some(transport.reactor().call_later(timeout, end));
        }
    }

    /// Delivers the lines at the start of `data`, and returns the rest. The first `searched` bytes
    /// contain no line end.
    fn deliver<'a>(
        &mut self,
        transport: &Transport,
        mut data: &'a [u8],
        mut searched: usize,
    ) -> Result<&'a [u8], Failure> {
        while !transport.is_closing() {
            if transport.state.paused.get() {
                return Ok(data);
            }
            if transport.state.not_lines.get() && !data.is_empty() {
                (data, searched) = (self.deliver_raw(transport, data)?, 0);
                continue;
            }
            let split = self.split(data, searched);
            searched = 0;
            let (line, rest) = match split {
                Some(split) => split,
                None if self.may_be_a_line(data) => return Ok(data),
                None => (data, &data[data.len()..]),
            };
            data = rest;
            if line.len() > self.max_length {
                self.protocol.line_length_exceeded(transport, line.len())?;
            } else {
                self.protocol.line_received(transport, line)?;
            }
        }
        Ok(&[])
    }

    /// Returns `true` if data without an end may become a line of an allowed length. Its last bytes
    /// may be the start of an end.
    fn may_be_a_line(&self, data: &[u8]) -> bool {
        let end = self.delimiter.as_ref().map_or(2, |delimiter| delimiter.len());
        data.len() < self.max_length.saturating_add(end)
    }

    /// Delivers raw data at the start of `data`, and returns the rest. Refuses data before TLS.
    #[cold]
    fn deliver_raw<'a>(&mut self, transport: &Transport, data: &'a [u8]) -> Result<&'a [u8], Failure> {
        if transport.is_starting_tls() {
            transport.state.end(ConnectionLost::io(not_encrypted(data.len())));
            return Ok(&[]);
        }
        let raw = transport.state.cold().raw_left;
        let (piece, rest) = data.split_at(usize::try_from(raw).map_or(data.len(), |raw| raw.min(data.len())));
        transport.set_raw_mode(if raw == u64::MAX { raw } else { raw - piece.len() as u64 });
        if !piece.is_empty() {
            self.protocol.raw_data_received(transport, piece)?;
        }
        Ok(rest)
    }

    /// Delivers lines from the buffer.
    fn deliver_buffered(&mut self, transport: &Transport) -> Result<(), Failure> {
        let taken = self.unread.take();
        let searched = mem::take(&mut self.searched);
        let left = self.deliver(transport, taken.data(), searched)?.len();
        let has_delivered = self.unread.keep(taken, left);
        self.note_searched(transport);
        self.set_deadline(transport, has_delivered);
        Ok(())
    }

    fn note_searched(&mut self, transport: &Transport) {
        self.searched = if transport.state.paused.get() { 0 } else { self.unread.len() };
    }
}

#[cold]
fn split_at_delimiter<'a>(data: &'a [u8], searched: usize, delimiter: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let mut from = searched.saturating_sub(delimiter.len() - 1);
    loop {
        let end = from + data[from..].iter().position(|byte| *byte == delimiter[0])?;
        if let Some(rest) = data[end..].strip_prefix(delimiter) {
            return Some((&data[..end], rest));
        }
        from = end + 1;
    }
}

/// The clone has the same settings and a clone of the protocol, and no data.
impl<L: LineProtocol + Clone> Clone for Lines<L> {
    fn clone(&self) -> Lines<L> {
        Lines {
            max_length: self.max_length,
            delimiter: self.delimiter.clone(),
            line_timeout: self.line_timeout,
            ..Lines::new(self.protocol.clone())
        }
    }
}

impl<L: LineProtocol> Protocol for Lines<L> {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.protocol.connection_made(transport)
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        if self.unread.is_refused(transport, self.is_tls) {
            return Ok(());
        }
        self.is_tls = transport.is_tls();
        if self.unread.is_empty() {
            let left = self.deliver(transport, data, 0)?;
            self.unread.append(left);
            self.note_searched(transport);
            self.set_deadline(transport, true);
            return Ok(());
        }
        self.unread.append(data);
        self.deliver_buffered(transport)
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.protocol.read_connection_lost(transport)
    }

    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        if self.unread.is_empty() || self.unread.is_refused(transport, self.is_tls) {
            Ok(())
        } else {
            self.deliver_buffered(transport)
        }
    }

    fn connection_lost(&mut self, reason: &ConnectionLost) {
        if let Some(deadline) = self.deadline.take() {
            let _ = deadline.cancel(); // an error means that it has run
        }
        self.protocol.connection_lost(reason);
    }
}

#[cfg(test)]
mod tests {
    use deferred_core::Reactor;

    use super::*;
    use crate::socket::Silent;

    struct Ignores;

    impl LineProtocol for Ignores {
        fn line_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
            Ok(())
        }
    }

    #[test]
    fn lines_with_a_pause_after_each_are_rarely_moved() {
        struct Pauses;
        impl LineProtocol for Pauses {
            fn line_received(&mut self, transport: &Transport, _: &[u8]) -> Result<(), Failure> {
                transport.pause_producing();
                Ok(())
            }
        }
        let reactor = Reactor::new();
        let transport = Transport::over_socket(&reactor, Silent, Lines::new(Ignores));
        let mut lines = Lines::new(Pauses);
        lines.data_received(&transport, &b"x\n".repeat(1000)).unwrap();
        let mut moves = 0;
        while !lines.unread.is_empty() {
            let before = lines.unread.memory();
            transport.resume_producing();
            lines.reading_resumed(&transport).unwrap();
            moves += u32::from(lines.unread.memory() != before);
        }
        assert!(moves <= 10, "{moves} moves for a thousand lines; each should move a half");
    }

    #[test]
    fn data_without_a_line_end_is_searched_once() {
        let reactor = Reactor::new();
        let transport = Transport::over_socket(&reactor, Silent, Lines::new(Ignores));
        let mut lines = Lines::new(Ignores);
        for (data, buffer, searched) in [("ab", 2, 2), ("cd", 4, 4), ("\nef", 2, 2), ("\n", 0, 0)] {
            lines.data_received(&transport, data.as_bytes()).unwrap();
            assert_eq!((lines.unread.len(), lines.searched), (buffer, searched), "{data:?}");
        }
        // No byte is searched while reading is paused.
        transport.pause_producing();
        lines.data_received(&transport, b"gh\nij").unwrap();
        assert_eq!((lines.unread.len(), lines.searched), (5, 0));
        transport.resume_producing();
        lines.reading_resumed(&transport).unwrap();
        assert_eq!((lines.unread.len(), lines.searched), (2, 2));
    }
}
