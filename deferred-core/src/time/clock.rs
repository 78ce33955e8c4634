//! The clock of a test.

use std::ops::Deref;
use std::time::Duration;

use crate::reactor::{Reactor, ReactorOwner, deadline_after};

/// A reactor whose time stands still until it is moved by hand: for tests, which run in no time and
/// always the same.
///
/// It derefs to a [`Reactor`] that runs from the beginning, and is given wherever one is asked for.
/// It is the code that a program runs on, without its driver. Dropping it closes the reactor.
///
/// Twisted's `task.Clock`.
///
/// # Examples
///
/// ```
/// use std::{cell::Cell, rc::Rc, time::Duration};
/// use deferred_core::{Clock, LoopingCall};
///
/// let clock = Clock::new();
/// let ticks = Rc::new(Cell::new(0));
/// let count = ticks.clone();
/// let ticking = LoopingCall::new(&clock, move || count.set(count.get() + 1));
/// let done = ticking.start(Duration::from_secs(10)); // the first tick
/// clock.pump([Duration::from_secs(10); 3]);
/// assert_eq!(ticks.get(), 4);
/// ticking.stop();
/// assert!(done.is_ready());
/// ```
#[derive(Debug)]
pub struct Clock {
    reactor: ReactorOwner,
}

impl Clock {
    /// A clock that begins at the present moment and stands.
    #[must_use]
    pub fn new() -> Clock {
        Clock { reactor: Reactor::with_manual_time() }
    }

    /// Moves the time at once, as for a loop that was blocked so long, and runs what is due: what
    /// was posted, with coroutines that were woken; the calls that are due one by one, also those
    /// that they add and that are due too; and again what was posted.
    ///
    /// # Panics
    ///
    /// If a million calls have run and there is still one due: something adds calls for ever, such
    /// as a [`LoopingCall`](crate::LoopingCall) with an interval of zero.
    pub fn advance(&self, by: Duration) {
        self.reactor.advance(by);
    }

    /// Moves the time as [`advance`](Self::advance) does, but stops at each moment at which a call
    /// is due: each sees the moment for which it was made.
    ///
    /// # Panics
    ///
    /// As [`advance`](Self::advance).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_core::Clock;
    ///
    /// let clock = Clock::new();
    /// let (begun, sees) = (clock.now(), clock.clone());
    /// clock.call_later(Duration::from_secs(1), move || assert_eq!(sees.now() - begun, Duration::from_secs(1)));
    /// clock.advance_in_steps(Duration::from_secs(5));
    /// assert_eq!(clock.now() - begun, Duration::from_secs(5));
    /// ```
    pub fn advance_in_steps(&self, by: Duration) {
        let end = deadline_after(self.now(), by);
        // Once the reactor has stopped, what is due stays due.
        while let Some(due) = self.reactor.next_due().filter(|due| *due <= end && self.is_running()) {
            self.advance(due.saturating_duration_since(self.now()));
        }
        self.advance(end.saturating_duration_since(self.now()));
    }

    /// Advances by each of these, one after the other.
    ///
    /// # Panics
    ///
    /// As [`advance`](Self::advance).
    pub fn pump(&self, steps: impl IntoIterator<Item = Duration>) {
        steps.into_iter().for_each(|by| self.advance(by));
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new()
    }
}

impl Deref for Clock {
    type Target = Reactor;

    fn deref(&self) -> &Reactor {
        &self.reactor
    }
}
