//! What blocks the loop is named, while it does.
//!
//! The loop notes what it is about to run: two relaxed stores a call. A thread looks at that now
//! and then. If it finds the same call again and again for as long as the threshold, it says which
//! one that is.
//!
//! - this file: what is asked of it, and what it tells;
//! - `watched`: what the loop writes, and how it wakes the thread;
//! - `thread`: what the thread does;
//! - `hook`: who is told.

mod hook;
mod thread;
mod watched;

use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hook::BlockedHook;
pub use hook::{set_blocked_hook, take_blocked_hook};
use thread::Thread;
pub(super) use watched::Watched;

use super::Reactor;
use crate::error::CallSite;
use crate::histogram::Histogram;

/// Says what blocks the loop: a call that holds it longer than a threshold is reported while it
/// still does, and once more when it has ended.
///
/// It watches from a thread of its own, so it finds what the loop cannot: a blocking call that
/// never comes back. What a call costs more by that is two stores, so it may stay on in production.
/// While the loop sleeps the thread sleeps too.
///
/// The default tells on standard error, or with the feature `tracing` by an event;
/// [`hook`](Self::hook) and [`set_blocked_hook`] change that.
///
/// # Examples
///
/// ```
/// use std::sync::mpsc;
/// use std::time::Duration;
/// use deferred_core::{Watchdog, park};
///
/// let (sender, told) = mpsc::channel();
/// park::run(|reactor| {
///     let hook = move |blocked: &deferred_core::Blocked| drop(sender.send(blocked.to_string()));
///     Watchdog::new().threshold(Duration::from_millis(5)).hook(hook).start(reactor).unwrap();
///     let stopper = reactor.clone();
///     reactor.call_later(Duration::ZERO, move || {
///         let while_it_blocks = told.recv().unwrap();
///         assert!(while_it_blocks.contains("has blocked the loop for"), "{while_it_blocks}");
///         stopper.stop();
///     });
/// });
/// ```
#[must_use = "it watches nothing before it is started"]
pub struct Watchdog {
    threshold: Duration,
    max_reports_per_minute: u32,
    hook: Option<BlockedHook>,
}

impl Watchdog {
    /// One with a threshold of 25 milliseconds, which reports five calls a minute at most.
    pub fn new() -> Watchdog {
        Watchdog { threshold: Duration::from_millis(25), max_reports_per_minute: 5, hook: None }
    }

    /// How long a call may hold the loop. It is kept within a quarter: what is reported took
    /// longer, and what took longer by a quarter is reported. At least a millisecond.
    pub fn threshold(mut self, threshold: Duration) -> Watchdog {
        self.threshold = threshold.max(Duration::from_millis(1));
        self
    }

    /// How many calls are reported in a minute at most. Others are counted, and the next report
    /// says how many there were.
    pub fn max_reports_per_minute(mut self, calls: u32) -> Watchdog {
        self.max_reports_per_minute = calls;
        self
    }

    /// Who is told, instead of who is otherwise. On the watchdog's thread, which waits meanwhile.
    pub fn hook(mut self, hook: impl Fn(&Blocked) + Send + Sync + 'static) -> Watchdog {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Watches this reactor from its next turn on, until it is closed.
    ///
    /// # Errors
    ///
    /// If it is watched already, or closed, or the system has no thread to give.
    pub fn start(self, reactor: &Reactor) -> io::Result<LoopTimes> {
        let refused = |why: &str| Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        if reactor.is_closed() {
            return refused("the reactor is closed, and there is nothing to watch any more");
        }
        if reactor.core.watched.get().is_some() {
            return refused("this reactor is watched already, and has one watchdog only");
        }
        let watched = Rc::new(Watched::new());
        Thread::start(watched.shared(), self)?;
        let _ = reactor.core.watched.set(watched.clone());
        Ok(LoopTimes { watched })
    }
}

impl Default for Watchdog {
    fn default() -> Self {
        Watchdog::new()
    }
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchdog")
            .field("threshold", &self.threshold)
            .field("max_reports_per_minute", &self.max_reports_per_minute)
            .finish_non_exhaustive()
    }
}

/// How long the turns of a loop took, and how late its timers ran, since a [`Watchdog`] was
/// started, which gave it.
#[derive(Clone)]
pub struct LoopTimes {
    watched: Rc<Watched>,
}

impl LoopTimes {
    /// How long each turn took.
    #[must_use]
    pub fn turns(&self) -> Histogram {
        self.watched.turns()
    }

    /// How late each timer was, by the reading of the clock that its turn goes by.
    #[must_use]
    pub fn lateness(&self) -> Histogram {
        self.watched.lateness()
    }

    /// How many calls held the loop for longer than the threshold, whether they were reported or
    /// not.
    #[must_use]
    pub fn blocked(&self) -> u64 {
        self.watched.blocked()
    }
}

impl fmt::Debug for LoopTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopTimes")
            .field("turns", &self.turns())
            .field("lateness", &self.lateness())
            .field("blocked", &self.blocked())
            .finish()
    }
}

/// What kind of call a loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallKind {
    /// None: the turn itself.
    Turn,
    /// From another thread, or the result of one.
    Posted,
    /// A timer.
    Timer,
    /// A coroutine that was woken. (One that a Deferred resumes counts as the call that fires
    /// that.)
    Coroutine,
    /// `call_when_running`, or a trigger of the startup or the shutdown.
    Trigger,
}

impl CallKind {
    const ALL: [CallKind; 5] =
        [CallKind::Turn, CallKind::Posted, CallKind::Timer, CallKind::Coroutine, CallKind::Trigger];
}

impl fmt::Display for CallKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CallKind::Turn => "a turn",
            CallKind::Posted => "a call from a thread",
            CallKind::Timer => "a timer",
            CallKind::Coroutine => "a coroutine",
            CallKind::Trigger => "a trigger",
        })
    }
}

/// A call that holds the loop for too long; what a [`Watchdog`] tells.
#[derive(Clone, Debug)]
pub struct Blocked {
    kind: CallKind,
    at: Option<CallSite>,
    time: Duration,
    ended: bool,
    unreported: u64,
}

impl Blocked {
    /// What kind of call it is.
    #[must_use]
    pub fn kind(&self) -> CallKind {
        self.kind
    }

    /// Where it was registered: the line of the `call_later`, say. None for a turn.
    #[must_use]
    pub fn registered_at(&self) -> Option<&'static Location<'static>> {
        self.at
    }

    /// For how long it has held the loop, or had when it ended.
    #[must_use]
    pub fn time(&self) -> Duration {
        self.time
    }

    /// Whether it has ended. It is told once before and once after.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// How many others there were since the last report, which were not reported.
    #[must_use]
    pub fn unreported(&self) -> u64 {
        self.unreported
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "deferred: {}", self.kind)?;
        if let Some(at) = self.at {
            write!(f, " registered at {at}")?;
        }
        let millis = self.time.as_millis();
        if self.ended {
            write!(f, " has ended, which blocked the loop for {millis} ms")?;
        } else {
            write!(f, " has blocked the loop for {millis} ms, and still does; a thread is where such a call belongs")?;
        }
        if self.unreported > 0 {
            write!(f, " ({} others were not reported)", self.unreported)?;
        }
        Ok(())
    }
}
