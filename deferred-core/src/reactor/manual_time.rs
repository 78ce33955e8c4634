//! The time of a reactor: that of the system or of an executor, or time that a test advances, which
//! [`Clock`](crate::Clock) wraps.

use std::cell::Cell;
use std::time::Duration;

use super::health::increment;
use super::{Life, Reactor, ReactorOwner, deadline_after};
use crate::context;
use crate::engine::ready_queue;
use crate::error::CallSite;
use crate::instant::Instant;

/// The clock of a reactor.
pub(super) enum Time {
    /// The function that returns the time, such as `Instant::now`.
    Source(Cell<fn() -> Instant>),
    /// The time, and the same time in the unit of the reactor's timers.
    Manual(Cell<(Instant, u64)>),
}

impl Time {
    pub(super) fn now(&self) -> Instant {
        match self {
            Time::Source(now) => now.get()(),
            Time::Manual(now) => now.get().0,
        }
    }
}

/// The maximum number of calls in one `advance`.
const MAX_CALLS: u32 = 1_000_000;

impl Reactor {
    /// Sets the function that returns the current time of this reactor, which is [`Instant::now`]
    /// at first. An adapter sets it before the first timer, if its executor has a time of its own:
    /// tokio's can be paused in a test.
    ///
    /// Timers that exist keep the delay that is left to them. Has no effect on a
    /// [`Clock`](crate::Clock).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use deferred_core::Reactor;
    ///
    /// let reactor = Reactor::new();
    /// reactor.set_time_source(|| Instant::now() + Duration::from_secs(60));
    /// assert!(reactor.now() > Instant::now() + Duration::from_secs(59));
    /// ```
    pub fn set_time_source(&self, now: fn() -> Instant) {
        if let Time::Source(source) = &self.core.time {
            let before = self.now();
            source.set(now);
            self.core.timers.move_base(before, self.now());
        }
    }

    /// Creates a reactor with manual time. It runs from the start and needs no driver.
    pub(crate) fn with_manual_time() -> ReactorOwner {
        let owner = Self::with_time(Time::Manual(Cell::new((Instant::now(), 0))));
        owner.core.life.set(Life::Running);
        owner.core.events.has_started();
        owner.core.inbox.undriven().expect_driver();
        owner
    }

    /// Returns the due time of the next call.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.core.timers.next_due().map(|moment| self.core.timers.instant(moment))
    }

    /// Returns the time in the unit of the timers.
    pub(super) fn moment(&self) -> u64 {
        match &self.core.time {
            Time::Source(now) => self.core.timers.moment(now.get()()),
            Time::Manual(now) => now.get().1,
        }
    }

    /// See [`Clock::advance`](crate::Clock::advance).
    pub(crate) fn advance(&self, by: Duration) {
        if let Time::Manual(now) = &self.core.time {
            let later = deadline_after(now.get().0, by);
            now.set((later, self.core.timers.moment(later)));
        }
        ready_queue::in_turn(|| context::without(|| self.run_until_now()));
    }

    /// Runs what is due, including what that adds.
    fn run_until_now(&self) {
        let _entered = self.enter();
        let mut left = MAX_CALLS;
        self.run_all_posted(&mut left);
        while self.is_running() {
            let Some(timer) = self.core.timers.pop_due(self.moment(), u64::MAX) else {
                break;
            };
            counted(&mut left, Some(timer.registered_at()));
            self.core.counters.lateness.record(self.moment() - timer.due());
            timer.run();
            self.core.timers.recycle(timer);
            self.run_woken(&mut left);
        }
        self.run_all_posted(&mut left);
        self.shut_down_if_stopping();
    }

    /// Resumes woken coroutines between two calls, as if each call were a turn.
    #[inline]
    fn run_woken(&self, left: &mut u32) {
        while self.is_running() && !ready_queue::is_empty() {
            increment(&self.core.counters.coroutines, ready_queue::run_batch(usize::MAX, |_| ()) as u64);
            counted(left, None);
        }
    }

    /// Runs posted calls and resumes woken coroutines until none is left.
    fn run_all_posted(&self, left: &mut u32) {
        while self.is_running() {
            let (posted, resumed) = (self.run_posted(), ready_queue::run_batch(usize::MAX, |_| ()) as u64);
            increment(&self.core.counters.coroutines, resumed);
            if posted + resumed == 0 {
                return;
            }
            counted(left, None);
        }
    }
}

fn counted(left: &mut u32, at: Option<CallSite>) {
    *left -= 1;
    if *left == 0 {
        let last = at.map_or_else(String::new, |at| format!(", the last one registered at {at}"));
        panic!(
            "a million calls have run in one `advance`{last}, and more are due: something adds calls without a delay, \
             such as a LoopingCall with an interval of zero"
        );
    }
}
