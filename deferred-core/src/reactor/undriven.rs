//! The report about a reactor that nothing drives.
//!
//! A program may create a reactor, enter it, and forget the driver. Then a result that a thread
//! sends to the loop never arrives, and whatever awaits it waits forever, without an error. The
//! first post from another thread, and the first Deferred that a foreign task awaits, therefore
//! start a check a second later, unless a turn has run before.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::inbox::Inbox;
use crate::error::{CallSite, of_user};
use crate::instant::Instant;
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
    let check = Check { due: Instant::now() + DELAY, inbox: Arc::downgrade(inbox), what, at };
    let mut checks = CHECKS.lock();
    checks.queue.push_back(check);
    if !checks.has_thread {
        // Without a thread there is no report.
        checks.has_thread = thread::Builder::new().name("deferred-undriven".into()).spawn(run_checks).is_ok();
    }
}

struct Check {
    due: Instant,
    inbox: Weak<Inbox>,
    what: Waits,
    at: CallSite,
}

/// The checks of the process, in the order of their due times, and whether their thread runs.
struct Checks {
    queue: VecDeque<Check>,
    has_thread: bool,
}

static CHECKS: Mutex<Checks> = Mutex::new(Checks { queue: VecDeque::new(), has_thread: false });

/// The thread of the checks, which ends with the last one.
fn run_checks() {
    loop {
        let mut checks = CHECKS.lock();
        let Some(Check { due, inbox, what, at }) = checks.queue.pop_front() else {
            checks.has_thread = false;
            return;
        };
        drop(checks);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if inbox.upgrade().is_some_and(|inbox| inbox.undriven().is_undriven() && !inbox.is_closed()) {
            report::send(&Undriven { what, at, waited: DELAY });
        }
    }
}

thread_local! {
    /// The reactors of this thread that may be undriven.
    static POSSIBLE_HERE: RefCell<Vec<Weak<Inbox>>> = const { RefCell::new(Vec::new()) };
}

/// Adds a new reactor to those that may be undriven.
pub(super) fn add(inbox: &Arc<Inbox>) {
    // An error means that the thread ends.
    let _ = POSSIBLE_HERE.try_with(|here| {
        let mut here = here.borrow_mut();
        if here.len() == here.capacity() {
            here.retain(is_possible);
        }
        here.push(Arc::downgrade(inbox));
    });
}

fn is_possible(inbox: &Weak<Inbox>) -> bool {
    inbox.upgrade().is_some_and(|inbox| inbox.undriven().is_possible() && !inbox.is_closed())
}

/// Called when a task that is not a coroutine of this library awaits a Deferred that is not ready.
/// The Deferred may depend on any reactor of this thread.
#[cold]
pub(crate) fn awaited_at(at: CallSite) {
    let waits = |here: &RefCell<Vec<Weak<Inbox>>>| {
        let mut here = here.borrow_mut();
        here.retain(is_possible);
        here.iter().filter_map(Weak::upgrade).collect::<Vec<_>>()
    };
    for inbox in POSSIBLE_HERE.try_with(waits).unwrap_or_default() {
        report_later(&inbox, Waits::Awaited, at);
    }
}

/// A report that nothing drives a reactor: something has waited for it for a second, and no turn
/// has run.
///
/// It is sent once for a reactor, by a thread of the library, so only a [hook of the
/// process](crate::report::set_hook) receives it.
#[derive(Clone, Debug)]
pub struct Undriven {
    what: Waits,
    at: CallSite,
    waited: Duration,
}

impl Undriven {
    /// Returns the location that awaits a Deferred, or has posted a call. `None` if that is inside
    /// this library, such as the waker of a coroutine.
    #[must_use]
    pub fn location(&self) -> Option<CallSite> {
        of_user(self.at)
    }
}

impl fmt::Display for Undriven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing drives the reactor: ")?;
        f.write_str(match self.what {
            Waits::Posted => "a call or result that was posted to it",
            Waits::Awaited => "a Deferred that is awaited",
        })?;
        if let Some(at) = self.location() {
            write!(f, " at {at}")?;
        }
        write!(
            f,
            " has waited for {:?}, and no turn has run. `Reactor::enter` does not run a reactor: use the `run` or the \
             `drive` of deferred_smol, deferred_tokio or park, or start one on a thread of its own (`ReactorThread`)",
            self.waited
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
        self.location()
    }
}
