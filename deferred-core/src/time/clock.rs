//! `Clock`: a reactor with manual time, for tests.

use std::ops::Deref;
use std::time::Duration;

use crate::reactor::{Reactor, ReactorOwner, deadline_after};

/// A reactor whose time advances only by hand: for tests that take no time and are deterministic.
///
/// It derefs to a [`Reactor`] that runs from the start and needs no driver, and can be passed
/// wherever a `&Reactor` is expected. It is the same code that a program runs. Dropping it closes
/// the reactor. A `'static` closure captures `Reactor::clone(&clock)`, a handle.
///
/// Code that uses the current reactor, such as `defer_to_thread` of deferred-threadpool, needs
/// [`enter`](Reactor::enter) in a test: `let _entered = clock.enter();`. Calls that other
/// threads post run in the next [`advance`](Self::advance), also by [`Duration::ZERO`].
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
#[doc(alias = "task.Clock")]
#[derive(Debug)]
pub struct Clock {
    reactor: ReactorOwner,
}

impl Clock {
    /// Creates a clock that starts at the present time.
    #[must_use]
    pub fn new() -> Clock {
        Clock { reactor: Reactor::with_manual_time() }
    }

    /// Advances the time in one step, as if the loop had been blocked for `by`, and runs the calls
    /// that are ready: posted calls and woken coroutines; then the timers that are due, one by one,
    /// including those that they add and that are due too; and again posted calls.
    ///
    /// # Panics
    ///
    /// Panics if a million calls have run and another one is due: something adds calls forever,
    /// such as a [`LoopingCall`](crate::LoopingCall) with an interval of zero.
    pub fn advance(&self, by: Duration) {
        self.reactor.advance(by);
    }

    /// Like [`advance`](Self::advance), but stops at each time at which a call is due, so that each
    /// call sees its own due time.
    ///
    /// # Panics
    ///
    /// Panics like [`advance`](Self::advance).
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
        // After the reactor has stopped, due calls stay due.
        while let Some(due) = self.reactor.next_due().filter(|due| *due <= end && self.is_running()) {
            self.advance(due.saturating_duration_since(self.now()));
        }
        self.advance(end.saturating_duration_since(self.now()));
    }

    /// Calls [`advance`](Self::advance) for each of `steps`.
    ///
    /// # Panics
    ///
    /// Panics like [`advance`](Self::advance).
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
