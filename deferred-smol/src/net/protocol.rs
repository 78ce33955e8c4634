//! What a program says about a connection: the callbacks.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use deferred_core::Failure;

use super::Transport;

/// What a program does with one connection: its callbacks, which all run on the loop's thread, one
/// after the other.
///
/// [`connection_made`](Self::connection_made) comes first and once,
/// [`connection_lost`](Self::connection_lost) last and once, whatever happens; in between,
/// [`data_received`](Self::data_received) for what arrives. What several connections share is in an
/// `Rc`.
///
/// A callback that fails or panics loses the connection; the error is reported as unhandled, once,
/// after `connection_lost` was told.
///
/// Twisted's `Protocol`. What is a method of the protocol there and acts on the connection, is one
/// of the [`Transport`] here, which each callback is given.
///
/// # Examples
///
/// ```
/// use deferred_smol::net::{Protocol, Transport};
/// use deferred_smol::Failure;
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
///         transport.write(data);
///         Ok(())
///     }
/// }
/// ```
pub trait Protocol: 'static {
    /// The connection is there. May write, and keep clones of the transport for whoever else is to
    /// write.
    ///
    /// # Errors
    ///
    /// Loses the connection.
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// Bytes have arrived, at least one. Where the peer's writes begin and end is not kept:
    /// [`Lines`](super::Lines) finds the ends of lines.
    ///
    /// # Errors
    ///
    /// Loses the connection.
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure>;

    /// The peer will send nothing more, and may still read. Unless told otherwise this [loses the
    /// connection](Transport::lose_connection), behind what is still to be sent. One that goes on
    /// is told of a peer that has gone altogether at the next write.
    ///
    /// Twisted's `readConnectionLost`.
    ///
    /// # Errors
    ///
    /// Loses the connection.
    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.lose_connection();
        Ok(())
    }

    /// Reading goes on after a [`pause_producing`](Transport::pause_producing), before new data is
    /// read: for a protocol that has kept back what had arrived.
    ///
    /// # Errors
    ///
    /// Loses the connection.
    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// The connection is over, for this reason. Nothing is called after this, and what a
    /// [`Transport`] is still given is dropped.
    fn connection_lost(&mut self, reason: &ConnectionLost) {
        let _ = reason;
    }
}

/// Why a connection is over.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectionLost {
    /// One side has closed it, and all that was written here was given to the system. Twisted's
    /// `ConnectionDone`.
    Done,
    /// [`Transport::abort`] was called. Twisted's `ConnectionAborted`.
    Aborted,
    /// The peer reads too slowly: more was written than
    /// [`set_write_limit`](Transport::set_write_limit) lets wait.
    TooSlow {
        /// How many bytes waited.
        unsent: usize,
    },
    /// [`Transport::lose_connection`] was called, and the peer has not read the rest in time:
    /// [`set_close_timeout`](Transport::set_close_timeout).
    CloseTimedOut(Duration),
    /// Nothing has arrived for so long: [`set_idle_timeout`](Transport::set_idle_timeout).
    Idle(Duration),
    /// The time of [`set_timeout`](Transport::set_timeout) is over.
    TimedOut(Duration),
    /// The system says so, for example that the peer has reset the connection. Twisted's
    /// `ConnectionLost`.
    Io(io::Error),
    /// A callback of the protocol, with this error.
    Failed(Failure),
    /// The reactor is closed.
    LoopEnded,
}

impl fmt::Display for ConnectionLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectionLost::Done => f.write_str("the connection was closed"),
            ConnectionLost::Aborted => f.write_str("the connection was aborted"),
            ConnectionLost::TooSlow { unsent } => write!(
                f,
                "the peer reads too slowly: {unsent} bytes wait to be sent; write less, or pause whoever writes by \
                 `Transport::register_producer`"
            ),
            ConnectionLost::CloseTimedOut(timeout) => {
                write!(f, "the connection was to be closed, and the peer has not read the rest within {timeout:?}")
            }
            ConnectionLost::Idle(timeout) => write!(f, "nothing has arrived for {timeout:?}"),
            ConnectionLost::TimedOut(timeout) => write!(f, "the timeout of {timeout:?} is over"),
            ConnectionLost::Io(error) => write!(f, "the connection is broken: {error}"),
            ConnectionLost::Failed(failure) => write!(f, "a callback has failed: {failure}"),
            ConnectionLost::LoopEnded => f.write_str("the loop has ended"),
        }
    }
}

impl Error for ConnectionLost {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ConnectionLost::Io(error) => error.source(),
            ConnectionLost::Failed(failure) => failure.source(),
            _ => None,
        }
    }
}

/// A callback of a [`Protocol`], or of a producer of its connection, has failed or panicked; the
/// connection was lost, and this is what is reported.
#[derive(Debug)]
pub struct ProtocolFailed {
    pub(super) protocol: &'static str,
    pub(super) failure: Failure,
}

impl ProtocolFailed {
    /// The type of the protocol.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        self.protocol
    }

    /// The error of the callback.
    #[must_use]
    pub fn failure(&self) -> &Failure {
        &self.failure
    }
}

impl fmt::Display for ProtocolFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a callback of the protocol {} failed: {}", self.protocol, self.failure)
    }
}

impl Error for ProtocolFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.failure.source()
    }
}
