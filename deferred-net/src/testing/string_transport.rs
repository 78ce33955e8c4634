//! `StringTransport`: a connection whose peer is the test.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;

use deferred_core::Clock;

use super::memory::{MemorySocket, SharedPipe, change};
use super::settle;
use crate::{Protocol, Transport};

/// A connection whose peer is the test. It derefs to the [`Transport`] of the protocol.
///
/// Each method lets the protocol and its timers react before it returns. [`flush`](Self::flush)
/// does only that: call it after the test has used the transport itself.
///
/// Twisted's `StringTransport` and `StringTransportWithDisconnection`.
///
/// # Examples
///
/// ```
/// use deferred_mio::net::testing::StringTransport;
/// use deferred_mio::net::{ConnectionLost, on_line};
/// use deferred_mio::Clock;
///
/// let clock = Clock::new();
/// let peer = StringTransport::connect(&clock, on_line(|transport, line| match line {
///     b"quit" => transport.lose_connection(),
///     name => transport.send_line([b"hello, ", name].concat()),
/// }));
/// peer.receive("wor");
/// assert_eq!(peer.value(), b"");
/// peer.receive("ld\r\n");
/// assert_eq!(peer.take_value(), b"hello, world\r\n");
/// peer.receive("quit\r\n");
/// assert!(peer.has_ended());
/// peer.end();
/// assert!(matches!(peer.lost(), Some(ConnectionLost::Done)));
/// ```
#[doc(alias = "StringTransportWithDisconnection")]
#[doc(alias = "AccumulatingProtocol")]
#[doc(alias = "makeConnection")]
pub struct StringTransport<'c> {
    clock: &'c Clock,
    transport: Transport,
    /// From the test to the protocol.
    input: SharedPipe,
    /// From the protocol to the test.
    output: SharedPipe,
}

impl<'c> StringTransport<'c> {
    /// Creates a connection, and calls `protocol.connection_made`. The address of the peer is
    /// `192.0.2.1:54321`, that of this side `192.0.2.2:80`.
    #[track_caller]
    pub fn connect(clock: &'c Clock, protocol: impl Protocol) -> StringTransport<'c> {
        let (input, output) = (SharedPipe::default(), SharedPipe::default());
        let socket = MemorySocket {
            input: input.clone(),
            output: output.clone(),
            local: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 2), 80)),
            peer: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 54321)),
        };
        let transport = Transport::over_socket(clock, socket, protocol);
        let connection = StringTransport { clock, transport, input, output };
        connection.flush();
        connection
    }

    /// Lets the protocol and its timers react to what has happened.
    #[track_caller]
    pub fn flush(&self) {
        settle(self.clock, || self.input.borrow().moves + self.output.borrow().moves);
    }

    /// Sends `data` to the protocol. While it has paused reading, the data waits.
    #[track_caller]
    pub fn receive(&self, data: impl AsRef<[u8]>) {
        change(&self.input, |pipe| pipe.bytes.extend_from_slice(data.as_ref()));
        self.flush();
    }

    /// Returns what the protocol has sent since the last [`take_value`](Self::take_value).
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        self.output.borrow().bytes.clone()
    }

    /// Like [`value`](Self::value), and clears it.
    #[must_use]
    pub fn take_value(&self) -> Vec<u8> {
        std::mem::take(&mut self.output.borrow_mut().bytes)
    }

    /// Ends the peer's side, as a peer does that has sent everything.
    #[track_caller]
    pub fn end(&self) {
        change(&self.input, |pipe| pipe.ended = true);
        self.flush();
    }

    /// Resets the connection, as the system of a peer does that has crashed.
    #[track_caller]
    pub fn reset(&self) {
        change(&self.input, |pipe| pipe.failed = Some(io::ErrorKind::ConnectionReset));
        change(&self.output, |pipe| pipe.closed = true);
        self.flush();
    }

    /// Sets whether the peer reads. While it does not, what the protocol writes is
    /// [buffered](Transport::unsent).
    #[track_caller]
    pub fn set_reading(&self, reads: bool) {
        change(&self.output, |pipe| pipe.full = !reads);
        self.flush();
    }

    /// Returns `true` if the protocol's side was ended, after everything that it has written.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.output.borrow().ended
    }
}

impl Deref for StringTransport<'_> {
    type Target = Transport;

    fn deref(&self) -> &Transport {
        &self.transport
    }
}

impl fmt::Debug for StringTransport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StringTransport").field("transport", &self.transport).finish_non_exhaustive()
    }
}
