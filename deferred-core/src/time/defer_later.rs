//! `Reactor::defer_later` and `Reactor::sleep`: Deferreds that fire after a delay.

use std::cell::Cell;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use crate::deferred::{Deferred, IntoDeferred, maybe_deferred_at};
use crate::engine::StageOutput;
use crate::error::{CallSite, Failure};
use crate::inspect::Kind;
use crate::reactor::{DelayedCall, Reactor, deadline_after};

impl Reactor {
    /// Calls `f` in a turn once `delay` has passed. The returned Deferred fires with its result.
    ///
    /// Twisted's `deferLater`.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with the error or panic of `f`, or with
    /// [`Abandoned`](crate::Abandoned) if the reactor is closed first.
    ///
    /// # Cancellation
    ///
    /// Cancelling the returned Deferred cancels the call, or the Deferred that `f` returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_core::testing::success_result_of;
    /// use deferred_core::Clock;
    ///
    /// let clock = Clock::new();
    /// let answer = clock.defer_later(Duration::from_secs(1), || Ok(42));
    /// clock.advance(Duration::from_secs(1));
    /// assert_eq!(success_result_of(answer), 42);
    /// ```
    #[doc(alias = "deferLater")]
    #[track_caller]
    pub fn defer_later<R: IntoDeferred<Failure>>(
        &self,
        delay: Duration,
        f: impl FnOnce() -> R + 'static,
    ) -> Deferred<R::Value> {
        let at = Location::caller();
        self.sleep_at(delay, at).add_stage_at(at, move |slept| match slept {
            Ok(()) => maybe_deferred_at(at, f).into_output(),
            Err(failure) => StageOutput::Ready(Err(failure)),
        })
    }

    /// Returns a Deferred that fires in a turn once `delay` has passed:
    /// `reactor.sleep(delay).await?`.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with [`Abandoned`](crate::Abandoned) if the reactor is closed
    /// first.
    ///
    /// # Cancellation
    ///
    /// Cancelling the returned Deferred cancels the timer.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_core::{inline_callbacks, park};
    ///
    /// park::run_until(|reactor| {
    ///     let reactor = reactor.clone();
    ///     inline_callbacks(async move {
    ///         reactor.sleep(Duration::from_millis(1)).await?;
    ///         Ok(())
    ///     })
    /// })
    /// .unwrap();
    /// ```
    #[track_caller]
    pub fn sleep(&self, delay: Duration) -> Deferred<()> {
        self.sleep_at(delay, Location::caller())
    }

    pub(super) fn sleep_at(&self, delay: Duration, at: CallSite) -> Deferred<()> {
        let timer = Rc::new(Cell::new(None::<DelayedCall>));
        let cancelled = timer.clone();
        let (deferred, resolver) = Deferred::typed_with_canceller_at(at, move || {
            let _ = cancelled.take().map(|timer| timer.cancel());
            None
        });
        timer.set(Some(self.call_at(deadline_after(self.now(), delay), move || resolver.callback(()), at)));
        let timer = Rc::downgrade(&timer);
        deferred.describe(move |it| {
            it.set_kind(Kind::Timer);
            let Some(timer) = timer.upgrade() else { return };
            let call = timer.take();
            it.set_details(
                call.as_ref().map_or_else(String::new, |call| format!("sleeps, due in {:.1?}", call.left())),
            );
            timer.set(call);
        })
    }
}
