//! Deferreds that may take so long and no longer.

use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use crate::deferred::Deferred;
use crate::engine::StageOutput;
use crate::error::{BuiltinError, CallSite, Cancelled, DeferredError, TimedOut};
use crate::reactor::{Reactor, deadline_after};

impl<T: 'static, E: DeferredError> Deferred<T, E> {
    /// Cancels it if it has no result once `timeout` has passed, in a turn of `reactor`. The
    /// [`Cancelled`](crate::Cancelled) that comes of it becomes [`TimedOut`]; any other outcome
    /// stays as it is.
    ///
    /// The cancel reaches what was added before this, and its producer. What that does about it is
    /// its own affair: a job that runs in a thread runs on, for example, and occupies the thread.
    /// What stands behind this is not held by the timeout.
    ///
    /// A closed reactor has no time: there nothing happens.
    ///
    /// Twisted's `addTimeout`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_core::{Deferred, TimedOut, park};
    ///
    /// let answer = park::run_until(|reactor| {
    ///     let (never, resolver) = Deferred::<u32>::new();
    ///     std::mem::forget(resolver);
    ///     never.add_timeout(Duration::from_millis(2), reactor)
    /// });
    /// assert!(answer.unwrap_err().check::<TimedOut>());
    /// ```
    #[track_caller]
    #[must_use = "what it becomes is in the Deferred that it returns"]
    pub fn add_timeout(self, timeout: Duration, reactor: &Reactor) -> Deferred<T, E> {
        self.add_timeout_at(timeout, reactor, Location::caller(), move |result| {
            result.map_err(|error| match error.builtin() {
                Some(BuiltinError::Cancelled(_)) => BuiltinError::from(TimedOut::after(timeout)).into(),
                _ => error,
            })
        })
    }

    /// As [`add_timeout`](Self::add_timeout), but `on_timeout` says what becomes of whatever
    /// arrives after the time has passed: the [`Cancelled`](crate::Cancelled), or what a canceller
    /// or a callback before this has made of it, a value included. What arrives in time is not
    /// touched.
    ///
    /// Twisted's `addTimeout(.., onTimeoutCancel=f)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_core::{Clock, Deferred};
    ///
    /// let clock = Clock::new();
    /// let (answer, _resolver) = Deferred::<u32>::new();
    /// let answer = answer.add_timeout_with(Duration::from_secs(1), &clock, |_| Ok(0));
    /// clock.advance(Duration::from_secs(1));
    /// assert_eq!(answer.try_take().unwrap().unwrap(), 0);
    /// ```
    #[track_caller]
    #[must_use = "what it becomes is in the Deferred that it returns"]
    pub fn add_timeout_with(
        self,
        timeout: Duration,
        reactor: &Reactor,
        on_timeout: impl FnOnce(Result<T, E>) -> Result<T, E> + 'static,
    ) -> Deferred<T, E> {
        self.add_timeout_at(timeout, reactor, Location::caller(), on_timeout)
    }

    fn add_timeout_at(
        mut self,
        timeout: Duration,
        reactor: &Reactor,
        at: CallSite,
        on_timeout: impl FnOnce(Result<T, E>) -> Result<T, E> + 'static,
    ) -> Deferred<T, E> {
        if self.is_ready() {
            return self;
        }
        let due = deadline_after(reactor.now(), timeout);
        let timed_out = Rc::new(Cell::new(false));
        let (passed, handle) = (timed_out.clone(), self.cancel_handle());
        let give_up = move || {
            passed.set(true);
            handle.cancel_with(&Cancelled::because(TimedOut::after(timeout)));
        };
        let timer = reactor.call_at(due, give_up, at);
        self.add_stage_at(at, move |result| {
            let _ = timer.cancel(); // unless it has run
            StageOutput::Ready(if timed_out.get() { on_timeout(result) } else { result })
        })
    }
}
