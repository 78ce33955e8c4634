//! `Reactor::health`: the state and the history of a loop in numbers.

use std::cell::Cell;
use std::time::Duration;

use super::Reactor;
use super::timers::nanos;
use crate::engine::live_coroutines;
use crate::histogram::{Histogram, Recorder};
use crate::instant::Instant;
use crate::report;

/// The numbers of a loop at one time. [`Reactor::health`] returns them.
///
/// Counters and histograms begin with the creation of the reactor; [`Histogram::since`] returns
/// what came after an earlier reading. They are read without an allocation, so a timer can export
/// them every second.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Health {
    /// The number of turns.
    pub turns: u64,
    /// The number of posted calls that have begun: calls from threads, and results of them.
    pub posted_calls: u64,
    /// The number of timers that have run.
    pub timer_calls: u64,
    /// The number of woken coroutines that were resumed. (A coroutine that a Deferred resumes is
    /// part of the call that fires it.)
    pub coroutine_calls: u64,
    /// The number of triggers of the startup and the shutdown that have run.
    pub trigger_calls: u64,
    /// The durations of the turns.
    pub turn_times: Histogram,
    /// The lateness of the timers, by the reading of the clock that their turn used.
    pub timer_lateness: Histogram,
    /// The number of pending timers, also those of this library, such as timeouts.
    pub timers: u64,
    /// The number of posted calls that have not begun.
    pub inbox: usize,
    /// The time for which the oldest of them has waited. If some calls of a batch have begun, it is
    /// the time of the first one of that batch.
    pub oldest_post: Option<Duration>,
    /// The number of coroutines of this thread that have not ended. Each network connection and
    /// each listening port has one.
    pub coroutines: usize,
    /// The number of unhandled errors of this thread, without cancels.
    pub unhandled_errors: u64,
    /// The number of calls that have blocked the loop for longer than the threshold of its
    /// [`Watchdog`](crate::Watchdog), reported or not. 0 without one.
    pub blocking_calls: u64,
}

/// The counters of a reactor.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) coroutines: Cell<u64>,
    pub(super) triggers: Cell<u64>,
    turn_times: Recorder,
    /// The lateness of timers.
    pub(super) lateness: Recorder,
}

impl Counters {
    /// Counts a turn that began at `started_at` and ends now.
    pub(super) fn turn(&self, started_at: Instant) {
        self.turn_times.record(nanos(started_at.elapsed()));
    }
}

#[inline]
pub(super) fn increment(counter: &Cell<u64>, by: u64) {
    counter.set(counter.get() + by);
}

impl Reactor {
    /// Returns the numbers of this loop: what it has done, how late it is, and what waits for it.
    ///
    /// It takes the lock of the inbox once, and allocates nothing. The statistics of pools and
    /// ports are beside it: `ThreadPool::stats` and `Port::stats` in the adapters.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_core::park;
    ///
    /// park::run(|reactor| {
    ///     let (reactor, stopper) = (reactor.clone(), reactor.clone());
    ///     stopper.call_later(Duration::from_millis(1), move || {
    ///         let health = reactor.health();
    ///         assert_eq!((health.timer_calls, health.timers), (1, 0));
    ///         println!("timers are up to {:?} late", health.timer_lateness.max());
    ///         reactor.stop();
    ///     });
    /// });
    /// ```
    #[must_use]
    pub fn health(&self) -> Health {
        let core = &*self.core;
        let (waiting, oldest_post) = core.inbox.depth();
        let begun = core.posted.borrow().len();
        let (turn_times, timer_lateness) = (core.counters.turn_times.read(), core.counters.lateness.read());
        let timer_calls = timer_lateness.count();
        let oldest = core.posted_since.get().filter(|_| begun > 0).or(oldest_post);
        Health {
            turns: turn_times.count(),
            posted_calls: core.ran.get(),
            timer_calls,
            coroutine_calls: core.counters.coroutines.get(),
            trigger_calls: core.counters.triggers.get(),
            turn_times,
            timer_lateness,
            timers: core.timers.pending(timer_calls),
            inbox: waiting + begun,
            oldest_post: oldest.map(|since| since.elapsed()),
            coroutines: live_coroutines(),
            unhandled_errors: report::unhandled_count(),
            blocking_calls: core.watched.get().map_or(0, |watched| watched.blocked()),
        }
    }
}
