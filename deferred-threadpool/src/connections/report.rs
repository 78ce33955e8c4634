//! The reports of a connection that had to be closed.

use std::fmt;
use std::panic::Location;

use deferred_core::Failure;
use deferred_core::report::{Level, Reportable};

/// The report of a transaction that could not be rolled back. Its connection was closed.
#[derive(Debug)]
#[non_exhaustive]
pub struct RollbackFailed {
    /// The error of the rollback.
    pub error: Failure,
}

impl fmt::Display for RollbackFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a rollback failed, and its connection was closed: {:#}", self.error)
    }
}

impl Reportable for RollbackFailed {
    fn kind(&self) -> &'static str {
        "rollback_failed"
    }

    fn level(&self) -> Level {
        Level::Error
    }

    fn location(&self) -> Option<&'static Location<'static>> {
        Some(self.error.made_at())
    }
}

/// The report of a connection that was closed because the hook of
/// [`on_return`](crate::ConnectionPoolBuilder::on_return) has failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReturnFailed {
    /// The error of the hook.
    pub error: Failure,
}

impl fmt::Display for ReturnFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the hook `on_return` failed, and its connection was closed: {:#}", self.error)
    }
}

impl Reportable for ReturnFailed {
    fn kind(&self) -> &'static str {
        "return_failed"
    }

    fn level(&self) -> Level {
        Level::Warning
    }

    fn location(&self) -> Option<&'static Location<'static>> {
        Some(self.error.made_at())
    }
}
