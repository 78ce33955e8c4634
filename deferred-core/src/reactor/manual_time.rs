//! A reactor whose time is moved by hand, which [`Clock`](crate::Clock) wraps.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::{Life, Reactor, ReactorOwner, deadline_after};
use crate::engine::ready_queue;

/// What a reactor's timers are measured in.
pub(super) enum Time {
    OfTheSystem,
    ByHand(Cell<Instant>),
}

impl Time {
    pub(super) fn now(&self) -> Instant {
        match self {
            Time::OfTheSystem => Instant::now(),
            Time::ByHand(now) => now.get(),
        }
    }
}

/// How many calls may run in one advance.
const ENOUGH: u32 = 1_000_000;

impl Reactor {
    /// One that runs already and needs no driver.
    pub(crate) fn with_manual_time() -> ReactorOwner {
        let owner = Self::with_time(Time::ByHand(Cell::new(Instant::now())));
        owner.core.life.set(Life::Running);
        owner.core.events.has_started();
        owner
    }

    /// When the next call is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.core.timers.next_due().map(|moment| self.core.timers.instant(moment))
    }

    /// See [`Clock::advance`](crate::Clock::advance).
    pub(crate) fn advance(&self, by: Duration) {
        if let Time::ByHand(now) = &self.core.time {
            now.set(deadline_after(now.get(), by));
        }
        ready_queue::in_turn(|| {
            let _entered = self.enter();
            let mut left = ENOUGH;
            self.run_all_posted(&mut left);
            while self.is_running() {
                let Some(timer) = self.core.timers.pop_due(self.core.timers.moment(self.now()), u64::MAX) else {
                    break;
                };
                counted(&mut left);
                timer.run();
                self.run_woken(&mut left);
            }
            self.run_all_posted(&mut left);
            self.shut_down_if_stopping();
        });
    }

    /// Between two calls, as at the end of a turn that a call is.
    fn run_woken(&self, left: &mut u32) {
        while self.is_running() && ready_queue::run_batch(usize::MAX, |_| ()) > 0 {
            counted(left);
        }
    }

    /// What was posted, and coroutines that were woken.
    fn run_all_posted(&self, left: &mut u32) {
        while self.is_running() && self.run_posted() + ready_queue::run_batch(usize::MAX, |_| ()) as u64 > 0 {
            counted(left);
        }
    }
}

fn counted(left: &mut u32) {
    *left -= 1;
    assert!(
        *left > 0,
        "a million calls have run in one `advance`, and there is still one due: something adds calls for ever, such as \
         a LoopingCall with an interval of zero"
    );
}
