//! Lines of text.

use deferred_core::Failure;

use super::{ConnectionLost, Protocol, Transport};

/// Unless told otherwise, as in Twisted.
const MAX_LENGTH: usize = 16 * 1024;

/// What a program does with a connection on which lines arrive: a [`Protocol`] of lines. [`Lines`]
/// makes it one.
///
/// Twisted's `LineReceiver`.
pub trait LineProtocol: 'static {
    /// See [`Protocol::connection_made`].
    ///
    /// # Errors
    ///
    /// Loses the connection.
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// A line has arrived, here without its end.
    ///
    /// While reading is [paused](Transport::pause_producing), none comes; behind a
    /// [`lose_connection`](Transport::lose_connection) none at all, also if it has arrived.
    ///
    /// # Errors
    ///
    /// Loses the connection.
    fn line_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure>;

    /// A line is longer than it may be, at least so many bytes: loses the connection unless told
    /// otherwise. If it does not, what has arrived of it is dropped, and what still arrives up to
    /// the next end of a line is the next one.
    ///
    /// # Errors
    ///
    /// Loses the connection.
    fn line_length_exceeded(&mut self, transport: &Transport, length: usize) -> Result<(), Failure> {
        let _ = length;
        transport.lose_connection();
        Ok(())
    }

    /// See [`Protocol::connection_lost`]. A last line without an end was not delivered.
    fn connection_lost(&mut self, reason: &ConnectionLost) {
        let _ = reason;
    }
}

/// Finds the lines in what arrives, for a [`LineProtocol`].
///
/// A line ends with `\n`, and a `\r` before that belongs to its end. Memory: what has arrived of a
/// line whose end has not, or, while reading is paused, what had arrived.
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
#[derive(Debug)]
pub struct Lines<L> {
    protocol: L,
    max_length: usize,
    /// What has arrived and was not delivered, behind so much that was.
    kept: Vec<u8>,
    delivered: usize,
    /// So much of what was not delivered has no end of a line in it.
    searched: usize,
}

impl<L: LineProtocol> Lines<L> {
    /// Lines of up to 16 KiB.
    pub fn new(protocol: L) -> Lines<L> {
        Lines { protocol, max_length: MAX_LENGTH, kept: Vec::new(), delivered: 0, searched: 0 }
    }

    /// Lines of up to so many bytes, without their ends.
    #[must_use]
    pub fn max_length(mut self, bytes: usize) -> Lines<L> {
        self.max_length = bytes;
        self
    }

    /// Delivers the lines at the start of `data`, and gives what is left; the first `searched`
    /// bytes are known to have no end in them.
    fn deliver<'a>(
        &mut self,
        transport: &Transport,
        mut data: &'a [u8],
        mut searched: usize,
    ) -> Result<&'a [u8], Failure> {
        while !transport.is_closing() {
            if transport.inner.paused.get() {
                return Ok(data);
            }
            let end = data[searched..].iter().position(|&byte| byte == b'\n').map(|end| searched + end);
            searched = 0;
            let (line, rest) = match end {
                Some(end) => (&data[..end], &data[end + 1..]),
                None if data.len() <= self.max_length.saturating_add(1) => return Ok(data), // with the \r that is to come off
                None => (data, &data[data.len()..]),
            };
            data = rest;
            let line = if end.is_some() { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
            if line.len() > self.max_length {
                self.protocol.line_length_exceeded(transport, line.len())?;
            } else {
                self.protocol.line_received(transport, line)?;
            }
        }
        Ok(&[])
    }

    /// Delivers what was kept.
    fn go_on(&mut self, transport: &Transport) -> Result<(), Failure> {
        let mut kept = std::mem::take(&mut self.kept);
        let searched = std::mem::take(&mut self.searched);
        let before = std::mem::take(&mut self.delivered);
        let left = self.deliver(transport, &kept[before..], searched)?.len();
        let delivered = kept.len() - left;
        if left == 0 {
            // A capacity that one long line has left is not kept for ever.
            kept = Vec::new();
        } else if delivered > left {
            // Not at each line, of which there may be many, with a pause behind each.
            kept.drain(..delivered);
        } else {
            self.delivered = delivered;
        }
        self.kept = kept;
        self.note_searched(transport);
        Ok(())
    }

    fn note_searched(&mut self, transport: &Transport) {
        self.searched = if transport.inner.paused.get() { 0 } else { self.kept.len() - self.delivered };
    }
}

impl<L: LineProtocol> Protocol for Lines<L> {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.protocol.connection_made(transport)
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        if self.kept.is_empty() {
            let left = self.deliver(transport, data, 0)?;
            self.kept.extend_from_slice(left);
            self.note_searched(transport);
            return Ok(());
        }
        self.kept.extend_from_slice(data);
        self.go_on(transport)
    }

    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        if self.kept.is_empty() { Ok(()) } else { self.go_on(transport) }
    }

    fn connection_lost(&mut self, reason: &ConnectionLost) {
        self.protocol.connection_lost(reason);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::net::UnixStream;

    use deferred_core::Reactor;
    use smol::Async;

    use super::*;

    struct Ignores;

    impl LineProtocol for Ignores {
        fn line_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
            Ok(())
        }
    }

    #[test]
    fn lines_with_a_pause_behind_each_are_rarely_moved() {
        struct Pauses;
        impl LineProtocol for Pauses {
            fn line_received(&mut self, transport: &Transport, _: &[u8]) -> Result<(), Failure> {
                transport.pause_producing();
                Ok(())
            }
        }
        let reactor = Reactor::new();
        let (_theirs, ours) = UnixStream::pair().unwrap();
        let transport = Transport::over_unix(&reactor, Async::new(ours).unwrap(), Lines::new(Ignores));
        let mut lines = Lines::new(Pauses);
        lines.data_received(&transport, &b"x\n".repeat(1000)).unwrap();
        let mut moves = 0;
        while !lines.kept.is_empty() {
            let before = lines.kept.len();
            transport.resume_producing();
            lines.reading_resumed(&transport).unwrap();
            moves += u32::from(lines.kept.len() != before);
        }
        assert!(moves <= 10, "{moves} times for a thousand lines: a half is moved each time");
    }

    #[test]
    fn what_has_no_end_of_a_line_in_it_is_searched_once() {
        let reactor = Reactor::new();
        let (_theirs, ours) = UnixStream::pair().unwrap();
        let transport = Transport::over_unix(&reactor, Async::new(ours).unwrap(), Lines::new(Ignores));
        let mut lines = Lines::new(Ignores);
        for (data, kept, searched) in [("ab", 2, 2), ("cd", 4, 4), ("\nef", 2, 2), ("\n", 0, 0)] {
            lines.data_received(&transport, data.as_bytes()).unwrap();
            assert_eq!((lines.kept.len(), lines.searched), (kept, searched), "{data:?}");
        }
        // Where nothing was delivered nothing was searched.
        transport.pause_producing();
        lines.data_received(&transport, b"gh\nij").unwrap();
        assert_eq!((lines.kept.len(), lines.searched), (5, 0));
        transport.resume_producing();
        lines.reading_resumed(&transport).unwrap();
        assert_eq!((lines.kept.len(), lines.searched), (2, 2));
    }
}
