//! The errors of connections.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use deferred_core::{BuiltinError, DeferredError, Failure, ShareError};

/// The reason for the end of a connection. It is an error, so it converts into a [`Failure`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnectionLost {
    /// The connection was closed, by this side or by the peer, and all written data was passed to
    /// the system. Twisted's `ConnectionDone`.
    Done,
    /// [`Transport::abort_connection`](super::Transport::abort_connection) was called. Twisted's
    /// `ConnectionAborted`.
    Aborted,
    /// The peer reads too slowly: more data is buffered than
    /// [`set_write_limit`](super::Transport::set_write_limit) allows.
    TooSlow {
        /// The number of buffered bytes.
        unsent: usize,
    },
    /// [`Transport::lose_connection`](super::Transport::lose_connection) was called, and the peer
    /// has not read the remaining data within the [close
    /// timeout](super::Transport::set_close_timeout).
    CloseTimedOut(Duration),
    /// Nothing has arrived during the [idle timeout](super::Transport::set_idle_timeout).
    Idle(Duration),
    /// The timeout of [`set_timeout`](super::Transport::set_timeout) has elapsed.
    TimedOut(Duration),
    /// The system reports an error, for example that the peer has reset the connection. Twisted's
    /// `ConnectionLost`.
    Io(Arc<io::Error>),
    /// A callback of the protocol has failed or panicked.
    Failed(Arc<Failure>),
    /// The reactor was closed.
    LoopEnded,
}

impl ConnectionLost {
    pub(super) fn io(error: io::Error) -> ConnectionLost {
        ConnectionLost::Io(Arc::new(error))
    }

    /// Returns the same reason, and the error of the callback to report.
    pub(super) fn split(self) -> (ConnectionLost, Option<Failure>) {
        match self {
            ConnectionLost::Failed(failure) => match Arc::try_unwrap(failure) {
                Ok(failure) => {
                    let shared = failure.into_shared();
                    let reason = ConnectionLost::Failed(Arc::new(Failure::from_shared(&shared)));
                    (reason, Some(Failure::from_shared(&shared)))
                }
                Err(failure) => (ConnectionLost::Failed(failure), None),
            },
            reason => (reason, None),
        }
    }
}

impl fmt::Display for ConnectionLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectionLost::Done => f.write_str("the connection was closed"),
            ConnectionLost::Aborted => f.write_str("the connection was aborted"),
            ConnectionLost::TooSlow { unsent } => write!(
                f,
                "the peer reads too slowly: {unsent} bytes wait to be sent; write less, or pause the writer with \
                 `Transport::register_producer`"
            ),
            ConnectionLost::CloseTimedOut(timeout) => {
                write!(f, "the peer has not read the remaining data within {timeout:?}, the close timeout")
            }
            ConnectionLost::Idle(timeout) => write!(f, "nothing has arrived for {timeout:?}"),
            ConnectionLost::TimedOut(timeout) => write!(f, "the timeout of {timeout:?} has elapsed"),
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

/// The error of a callback of a [`Protocol`](super::Protocol), or of a producer of its connection,
/// that has failed or panicked. The connection is lost, and this error is reported as unhandled.
#[derive(Debug)]
pub struct ProtocolFailed {
    pub(super) protocol: &'static str,
    pub(super) failure: Failure,
}

impl ProtocolFailed {
    /// Returns the name of the protocol's type.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        self.protocol
    }

    /// Returns the error of the callback.
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

/// Adds the operation and the address to an error of the system, and keeps its kind: for adapters.
///
/// # Examples
///
/// ```
/// use std::io;
/// use deferred_net::error_with_address;
///
/// let error = error_with_address("listen on", "127.0.0.1:80", io::ErrorKind::PermissionDenied.into());
/// assert_eq!(error.to_string(), "cannot listen on \"127.0.0.1:80\": permission denied");
/// ```
#[must_use]
pub fn error_with_address(what: &str, address: impl fmt::Debug, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {what} {address:?}: {error}"))
}

/// Handles the error of an internal coroutine that was cancelled or whose loop has ended. Passes
/// other errors on.
pub(super) fn ignore_cancel(failure: Failure) -> Result<(), Failure> {
    match failure.builtin() {
        Some(BuiltinError::Cancelled(_) | BuiltinError::Abandoned(_)) => Ok(()),
        _ => Err(failure),
    }
}
