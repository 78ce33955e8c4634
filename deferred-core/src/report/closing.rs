//! The time in which this thread closes a reactor.

use std::cell::Cell;
use std::fmt;

use super::{Level, Reportable, send};
use crate::error::Abandoned;

thread_local! {
    /// While this thread closes a reactor: the number of unhandled `Abandoned` errors, which are
    /// only counted where no hook is.
    static ABANDONED: Cell<Option<u64>> = const { Cell::new(None) };
    /// Whether this thread drops something because a reactor is closed already.
    static REFUSING: Cell<bool> = const { Cell::new(false) };
}

/// Marks that this thread closes a reactor, until the returned guard is dropped.
pub(crate) fn closing() -> Closing {
    Closing { outer: ABANDONED.replace(Some(0)) }
}

/// Returns the error of a resolver that is dropped now.
pub(crate) fn abandoned() -> Abandoned {
    if ABANDONED.get().is_some() || REFUSING.get() { Abandoned::reactor_closed() } else { Abandoned::new() }
}

/// Runs `f`, which drops something that a closed reactor has not accepted. Resolvers in it fail
/// with that reason.
pub(crate) fn refusing<R>(f: impl FnOnce() -> R) -> R {
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            REFUSING.set(self.0);
        }
    }
    let _reset = Reset(REFUSING.replace(true));
    f()
}

/// Counts an unhandled `Abandoned`. Returns `false` if this thread does not close a reactor.
pub(super) fn count() -> bool {
    let count = ABANDONED.get();
    ABANDONED.set(count.map(|count| count + 1));
    count.is_some()
}

pub(crate) struct Closing {
    outer: Option<u64>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(count @ 1..) = ABANDONED.replace(self.outer) {
            send(&AbandonedCount { count });
        }
        super::flood::flush();
    }
}

/// The report of a closed reactor: Deferreds that waited for it have failed with
/// [`Abandoned`](crate::Abandoned), and nothing has handled that. Where a hook is set, it is called
/// for each of these errors instead.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AbandonedCount {
    /// The number of errors.
    pub count: u64,
}

impl fmt::Display for AbandonedCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.count == 1 { "" } else { "s" };
        write!(
            f,
            "the reactor was closed while {} Deferred{s} waited for it; each failed with `Abandoned`, and \
             nothing handled that; a hook for reports receives each of them",
            self.count
        )
    }
}

impl Reportable for AbandonedCount {
    fn kind(&self) -> &'static str {
        "reactor_closed"
    }

    fn level(&self) -> Level {
        Level::Warning
    }

    fn is_limited(&self) -> bool {
        false
    }
}
