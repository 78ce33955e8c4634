//! `Deferred::add_timeout`: a Deferred with a time limit.

use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use crate::context;
use crate::deferred::Deferred;
use crate::engine::StageOutput;
use crate::error::{BuiltinError, CallSite, Cancelled, DeferredError, TimedOut, into_timed_out};
use crate::reactor::{Reactor, deadline_after};

impl<T: 'static, E: DeferredError> Deferred<T, E> {
    /// Cancels this Deferred if it is not ready once `timeout` has passed, in a turn of `reactor`.
    /// A resulting [`Cancelled`](crate::Cancelled) becomes [`TimedOut`]; any other result stays as
    /// it is.
    ///
    /// The cancel affects the callbacks that were added before this one, and the producer. How the
    /// producer reacts is its own decision: a job that runs in a thread, for example, continues and
    /// occupies the thread. The timeout does not limit callbacks that are added later.
    ///
    /// The timeout ends at the [deadline](crate::context#deadlines) of the current context, if that
    /// is sooner.
    ///
    /// On a closed reactor the timeout has no effect, and closing the reactor ends it. A Deferred
    /// that is ready is returned unchanged.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with [`TimedOut`] if the timeout cancelled it and the result is
    /// [`Cancelled`](crate::Cancelled).
    ///
    /// # Cancellation
    ///
    /// Cancelling the returned Deferred has the effect of cancelling this one. It does not become
    /// [`TimedOut`].
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
    #[doc(alias = "addTimeout")]
    #[doc(alias = "timeout")]
    #[track_caller]
    #[must_use = "the timeout applies to the returned Deferred"]
    pub fn add_timeout(self, timeout: Duration, reactor: &Reactor) -> Deferred<T, E> {
        let (timeout, timed_out) = within_deadline(timeout, reactor);
        let error = timed_out.clone();
        self.add_timeout_at(timeout, timed_out, reactor, Location::caller(), move |result| {
            result.map_err(|cancelled| match cancelled.builtin() {
                Some(BuiltinError::Cancelled(_)) => into_timed_out(cancelled, error),
                _ => cancelled,
            })
        })
    }

    /// Like [`add_timeout`](Self::add_timeout), but calls `on_timeout` with a result that arrives
    /// after the timeout: the [`Cancelled`](crate::Cancelled), or the result that a canceller or a
    /// callback has made of it, which can be a value. A result that arrives in time is not changed.
    ///
    /// Twisted's `addTimeout(.., onTimeoutCancel=f)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_core::testing::success_result_of;
    /// use deferred_core::{Clock, Deferred};
    ///
    /// let clock = Clock::new();
    /// let (answer, _resolver) = Deferred::<u32>::new();
    /// let answer = answer.add_timeout_with(Duration::from_secs(1), &clock, |_| Ok(0));
    /// clock.advance(Duration::from_secs(1));
    /// assert_eq!(success_result_of(answer), 0);
    /// ```
    #[doc(alias = "onTimeoutCancel")]
    #[doc(alias = "timeout")]
    #[track_caller]
    #[must_use = "the timeout applies to the returned Deferred"]
    pub fn add_timeout_with(
        self,
        timeout: Duration,
        reactor: &Reactor,
        on_timeout: impl FnOnce(Result<T, E>) -> Result<T, E> + 'static,
    ) -> Deferred<T, E> {
        let (timeout, error) = within_deadline(timeout, reactor);
        self.add_timeout_at(timeout, error, reactor, Location::caller(), on_timeout)
    }

    fn add_timeout_at(
        mut self,
        timeout: Duration,
        error: TimedOut,
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
            handle.cancel_with(&Cancelled::because(error));
        };
        let timer = reactor.call_at(due, give_up, at);
        self.add_stage_at(at, move |result| {
            let _ = timer.cancel(); // an error means that it has run
            StageOutput::Ready(if timed_out.get() { on_timeout(result) } else { result })
        })
    }
}

impl Reactor {
    /// Calls `f` with a [deadline](crate::context#deadlines) at this time from now.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_core::testing::failure_result_of;
    /// use deferred_core::{Clock, Deferred, TimedOut};
    ///
    /// let clock = Clock::new();
    /// let (answer, _resolver) = Deferred::<u32>::new();
    /// let answer = clock.with_timeout(Duration::from_secs(1), || answer.add_timeout(Duration::MAX, &clock));
    /// clock.advance(Duration::from_secs(1));
    /// assert!(failure_result_of(answer).downcast_ref::<TimedOut>().unwrap().is_by_deadline());
    /// ```
    pub fn with_timeout<R>(&self, timeout: Duration, f: impl FnOnce() -> R) -> R {
        context::with_deadline(deadline_after(self.now(), timeout), f)
    }
}

/// Returns the timeout, or the time until the current deadline if that is shorter, and the error.
#[inline]
fn within_deadline(timeout: Duration, reactor: &Reactor) -> (Duration, TimedOut) {
    let left = context::deadline().map(|deadline| deadline.saturating_duration_since(reactor.now()));
    match left.filter(|left| *left < timeout) {
        Some(left) => (left, TimedOut::by_deadline(Some(left))),
        None => (timeout, TimedOut::after(timeout)),
    }
}
