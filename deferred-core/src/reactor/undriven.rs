//! The report about a reactor that nothing drives.
//!
//! A program may create a reactor, enter it, and forget the driver. Then a result that a thread
//! sends to the loop never arrives, and whatever awaits it waits forever, without an error. The
//! first post from another thread, and the first Deferred that a foreign task awaits, therefore
//! start a check a second later, unless a turn has run before.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use super::Reactor;
use super::inbox::Inbox;
use crate::error::CallSite;
use crate::report::{self, Level, Reportable};

/// The time from the first sign to the check.
const DELAY: Duration = Duration::from_secs(1);

/// Whether a reactor may be one that nothing drives.
#[derive(Debug)]
pub(super) struct UndrivenCheck(AtomicU8);

const POSSIBLE: u8 = 0;
const CHECKED: u8 = 1;
const DRIVEN: u8 = 2;

// ORDERING: of all accesses: only a report depends on it.
impl UndrivenCheck {
    pub(super) const fn new() -> UndrivenCheck {
        UndrivenCheck(AtomicU8::new(POSSIBLE))
    }

    /// Called by the first turn, or by code that is about to drive the reactor.
    pub(super) fn expect_driver(&self) {
        self.0.store(DRIVEN, Ordering::Relaxed);
    }

    /// Returns `true` if no turn has run and no check has begun.
    pub(super) fn is_possible(&self) -> bool {
        self.0.load(Ordering::Relaxed) == POSSIBLE
    }

    fn begin(&self) -> bool {
        self.0.compare_exchange(POSSIBLE, CHECKED, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn is_undriven(&self) -> bool {
        self.0.load(Ordering::Relaxed) == CHECKED
    }
}

/// The thing that waits for the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// A posted call, or a result of another thread.
    Posted,
    /// A Deferred that a task awaits.
    Awaited,
}

/// Reports in a second that nothing drives the reactor, unless a turn has begun until then. Does
/// nothing if that is checked already.
#[cold]
pub(super) fn report_later(inbox: &Arc<Inbox>, what: Waits, at: CallSite) {
    // Under loom and Miri, a thread that nothing joins is an error.
    if cfg!(any(loom, miri)) || !inbox.undriven().begin() {
        return;
    }
    let inbox = Arc::downgrade(inbox);
    let check = move || {
        thread::sleep(DELAY);
        if inbox.upgrade().is_some_and(|inbox| inbox.undriven().is_undriven() && !inbox.is_closed()) {
            report::send(&Undriven { what, at, waited: DELAY });
        }
    };
    // Without a thread there is no report.
    let _ = thread::Builder::new().name("deferred-undriven".into()).spawn(check);
}

impl Reactor {
    /// Called if a task that is no coroutine awaits a Deferred, which is not ready.
    #[cold]
    pub(crate) fn is_awaited_at(&self, at: CallSite) {
        if self.core.inbox.undriven().is_possible() {
            report_later(&self.core.inbox, Waits::Awaited, at);
        }
    }
}

/// A report that nothing drives a reactor: something has waited for it for a second, and no turn has
/// run.
///
/// It is sent once for a reactor, by a thread of its own, so only a [hook of the
/// process](crate::report::set_hook) receives it.
#[derive(Clone, Debug)]
pub struct Undriven {
    what: Waits,
    at: CallSite,
    waited: Duration,
}

impl Undriven {
    /// Returns the location that awaits a Deferred, or has posted a call.
    #[must_use]
    pub fn location(&self) -> CallSite {
        self.at
    }
}

impl fmt::Display for Undriven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits = match self.what {
            Waits::Posted => "a call or result that was posted to it",
            Waits::Awaited => "a Deferred that is awaited",
        };
        write!(
            f,
            "nothing drives the reactor: {waits} at {} has waited for {:?}, and no turn has run. `Reactor::enter` does not \
             run a reactor: use the `run` or the `drive` of deferred_smol, deferred_tokio or park, or `start` one on a \
             thread of its own",
            self.at, self.waited
        )
    }
}

impl Reportable for Undriven {
    fn kind(&self) -> &'static str {
        "undriven_reactor"
    }

    fn level(&self) -> Level {
        Level::Warning
    }

    fn location(&self) -> Option<CallSite> {
        Some(self.at)
    }
}
