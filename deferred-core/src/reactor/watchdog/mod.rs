//! The watchdog: reports a call that blocks the loop, while it still does.
//!
//! The loop stores the call that it is about to run: two relaxed stores for each call. A thread
//! reads them periodically. If it finds the same call for as long as the threshold, it reports that
//! call.
//!
//! - this file: the public interface;
//! - `watched`: the loop's side: the call that it runs, and the wake-up of the thread;
//! - `thread`: the thread.

mod thread;
mod watched;

use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use thread::Thread;
pub(super) use watched::Watched;

use super::Reactor;
use crate::error::CallSite;
use crate::report::{Level, Reportable};

type BlockedHook = Box<dyn Fn(&Blocked) + Send>;

/// A monitor that reports calls that block the loop. A call that runs for longer than a threshold
/// is reported while it runs, and once more when it has ended.
///
/// The watchdog has a thread of its own, so it finds a blocking call that never returns. It adds
/// two stores to each call, so it can stay enabled in production. While the loop sleeps, the thread
/// sleeps too.
///
/// The kind of these [reports](crate::report) is `blocked_loop`; [`hook`](Self::hook) sets a hook
/// for those of one watchdog. While the loop's thread has [inspection](crate::inspect) on, a report
/// of what is pending follows when the call has ended.
///
/// # Examples
///
/// ```
/// use std::sync::mpsc;
/// use std::time::Duration;
/// use deferred_core::{Watchdog, park};
///
/// let (sender, reports) = mpsc::channel();
/// park::run(|reactor| {
///     let hook = move |blocked: &deferred_core::Blocked| drop(sender.send(blocked.to_string()));
///     Watchdog::new().threshold(Duration::from_millis(5)).hook(hook).start(reactor).unwrap();
///     let stopper = reactor.clone();
///     reactor.call_later(Duration::ZERO, move || {
///         let while_it_blocks = reports.recv().unwrap();
///         assert!(while_it_blocks.contains("has been blocked for"), "{while_it_blocks}");
///         stopper.stop();
///     });
/// });
/// ```
#[must_use = "a watchdog does nothing until it is started"]
pub struct Watchdog {
    threshold: Duration,
    max_reports_per_minute: u32,
    hook: Option<BlockedHook>,
}

impl Watchdog {
    /// Creates a watchdog with a threshold of 25 milliseconds, which reports at most five calls a
    /// minute.
    pub fn new() -> Watchdog {
        Watchdog { threshold: Duration::from_millis(25), max_reports_per_minute: 5, hook: None }
    }

    /// Sets how long a call may hold the loop. Every reported call took longer than this, and every
    /// call that took longer by a quarter is reported. Values below a millisecond are raised to
    /// one.
    pub fn threshold(mut self, threshold: Duration) -> Watchdog {
        self.threshold = threshold.max(Duration::from_millis(1));
        self
    }

    /// Sets the maximum number of reported calls in a minute. Others are counted, and the next
    /// report includes their number.
    pub fn max_reports_per_minute(mut self, calls: u32) -> Watchdog {
        self.max_reports_per_minute = calls;
        self
    }

    /// Sets the hook to call instead of that of the [process](crate::report::set_hook). It runs on
    /// the watchdog's thread, which watches nothing meanwhile.
    pub fn hook(mut self, hook: impl Fn(&Blocked) + Send + 'static) -> Watchdog {
        self.hook = Some(Box::new(hook));
        self
    }

    /// Starts watching `reactor`, from its next turn until it is closed.
    /// [`Health::blocking_calls`](crate::Health::blocking_calls) counts the calls that it finds.
    ///
    /// # Errors
    ///
    /// Returns an error if the reactor is already watched or closed, or if the system cannot create
    /// a thread.
    pub fn start(self, reactor: &Reactor) -> io::Result<()> {
        if reactor.is_closed() {
            return Err(io::Error::other("the reactor is closed: start the watchdog before its loop ends"));
        }
        if reactor.core.watched.get().is_some() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "this reactor already has a watchdog"));
        }
        let watched = Rc::new(Watched::new());
        Thread::start(watched.shared(), self)?;
        let _ = reactor.core.watched.set(watched);
        Ok(())
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

/// The kind of a call that a loop runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallKind {
    /// No call: the turn itself.
    Turn,
    /// A call from another thread, or the result of one.
    Posted,
    /// A timer.
    Timer,
    /// A woken coroutine. (A coroutine that a Deferred resumes counts as part of the call that
    /// fires it.)
    Coroutine,
    /// A call of `call_when_running`, or a trigger of the startup or the shutdown.
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

/// The report of a call that holds the loop for too long, for the hook of a [`Watchdog`].
#[derive(Clone, Debug)]
pub struct Blocked {
    kind: CallKind,
    at: Option<CallSite>,
    time: Duration,
    ended: bool,
    unreported: u64,
}

impl Blocked {
    /// Returns the kind of the call.
    #[must_use]
    pub fn kind(&self) -> CallKind {
        self.kind
    }

    /// Returns the location where the call was registered, such as the line of the `call_later`.
    /// `None` for a turn.
    #[must_use]
    pub fn registered_at(&self) -> Option<&'static Location<'static>> {
        self.at
    }

    /// Returns how long the call has held the loop, or held it until it ended.
    #[must_use]
    pub fn time(&self) -> Duration {
        self.time
    }

    /// Returns `true` if the call has ended. The hook is called once before and once after.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Returns the number of blocking calls since the last report that were not reported.
    #[must_use]
    pub fn unreported(&self) -> u64 {
        self.unreported
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (is, millis) = (if self.ended { "was" } else { "has been" }, self.time.as_millis());
        write!(f, "the loop {is} blocked for {millis} ms by {}", self.kind)?;
        if let Some(at) = self.at {
            write!(f, " registered at {at}")?;
        }
        f.write_str(if self.ended { ", which has ended" } else { ", which still runs; run such a call in a thread" })?;
        if self.unreported > 0 {
            write!(f, " ({} more since the last report)", self.unreported)?;
        }
        Ok(())
    }
}

impl Reportable for Blocked {
    fn kind(&self) -> &'static str {
        "blocked_loop"
    }

    fn level(&self) -> Level {
        Level::Warning
    }

    fn location(&self) -> Option<CallSite> {
        self.at
    }

    /// The watchdog has a limit of its own.
    fn is_limited(&self) -> bool {
        false
    }
}
