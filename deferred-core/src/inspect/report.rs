//! `PendingReport`: a list of what is pending as a report.

use std::fmt;

use super::Pending;
use crate::report::{Level, Reportable};

/// The [report](crate::report) of what is pending: after a signal, when the deadline of the
/// shutdown has passed, or when a call that has blocked the loop has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PendingReport {
    /// The event that has caused the report.
    pub cause: &'static str,
    /// The list.
    pub pending: Pending,
}

impl PendingReport {
    pub(crate) fn new(cause: &'static str, pending: Pending) -> PendingReport {
        PendingReport { cause, pending }
    }
}

impl fmt::Display for PendingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause, self.pending)?;
        if super::is_enabled() {
            return Ok(());
        }
        f.write_str("\n    inspection is off: call `inspect::enable()` first to list Deferreds and coroutines")
    }
}

impl Reportable for PendingReport {
    fn kind(&self) -> &'static str {
        "pending"
    }

    fn level(&self) -> Level {
        Level::Warning
    }

    fn is_limited(&self) -> bool {
        false
    }
}
