//! `LoopingCall`: calls a function repeatedly.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::abort::never_unwinding;
use crate::context::Context;
use crate::deferred::{CancelHandle, Deferred, IntoDeferred, Resolver, maybe_deferred_at};
use crate::engine::run_soon;
use crate::error::{CallSite, DeferredError, Failure};
use crate::inspect::Kind;
use crate::instant::Instant;
use crate::reactor::{DelayedCall, Reactor, deadline_after};
use crate::report;

/// A function that the reactor calls repeatedly, at regular intervals.
///
/// Calls are due on a grid: at multiples of the interval since the start. A late or slow call does
/// not shift the later ones, so the calls do not drift. If a call takes longer than the interval,
/// the due times that have passed meanwhile are skipped. If the function returns a [`Deferred`],
/// the next call waits for that too.
///
/// An error or panic of the function ends the loop: the Deferred of [`start`](Self::start) fails
/// with it. With [`keep_going`](Self::keep_going) the loop continues.
///
/// Clones refer to the same LoopingCall. Dropping them has no effect, since the reactor makes the
/// calls.
///
/// Twisted's `LoopingCall`, with one difference: cancelling the Deferred of `start` stops the loop.
///
/// # Examples
///
/// ```
/// use std::{cell::Cell, rc::Rc, time::Duration};
/// use deferred_core::{LoopingCall, park};
///
/// let ticks = Rc::new(Cell::new(0));
/// let count = ticks.clone();
/// park::run_until(|reactor| {
///     let ticking = LoopingCall::new(reactor, move || count.set(count.get() + 1));
///     let done = ticking.start(Duration::from_millis(2));
///     reactor.call_later(Duration::from_millis(9), move || ticking.stop());
///     done
/// })
/// .unwrap();
/// assert!((1..=5).contains(&ticks.get())); // 5, unless the machine was very busy
/// ```
#[doc(alias = "interval")]
pub struct LoopingCall<E: DeferredError = Failure> {
    looping: Rc<Looping<E>>,
}

struct Looping<E: DeferredError> {
    reactor: Reactor,
    call: Call<E>,
    counted: bool,
    keep_going: Cell<bool>,
    state: RefCell<State>,
    /// The context of the start.
    context: RefCell<Context>,
}

/// The function, with its return type converted.
type Call<E> = RefCell<Box<dyn FnMut(u64) -> Deferred<(), E>>>;

enum State {
    Idle,
    /// Between two calls.
    Waiting {
        run: Run,
        next: DelayedCall,
    },
    /// The function runs, or its Deferred is pending.
    Calling {
        run: Run,
        end: End,
        inner: Option<CancelHandle>,
    },
}

/// The data of one run, from a start to its end.
#[derive(Clone, Copy)]
struct Run {
    /// The key of the [`Done`] in the reactor's registry.
    key: u64,
    grid: Grid,
    /// The time of the last call. `None` if the first call is made at once and has not begun.
    last: Option<Instant>,
    at: CallSite,
}

/// The reason for which the loop ends after the current call.
#[derive(Clone, Copy, PartialEq)]
enum End {
    No,
    Stopped,
    Cancelled,
}

/// The due times of the calls.
#[derive(Clone, Copy)]
struct Grid {
    start: Instant,
    interval: Duration,
}

impl Grid {
    /// Returns the first due time after `now`; with an interval of zero, `now`.
    fn after(&self, now: Instant) -> Instant {
        let interval = self.interval.as_nanos();
        if interval == 0 {
            return now;
        }
        let passed = now.saturating_duration_since(self.start).as_nanos();
        let nanos = (passed / interval + 1) * interval;
        let seconds = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
        deadline_after(self.start, Duration::new(seconds, (nanos % 1_000_000_000) as u32))
    }

    /// Returns the number of due times between `last` and `now`. After a reset `last` may be before
    /// the start.
    fn count(&self, last: Instant, now: Instant) -> u64 {
        let interval = self.interval.as_nanos();
        if interval == 0 {
            return 1;
        }
        let after = |moment: Instant| moment.saturating_duration_since(self.start).as_nanos() / interval;
        let before = self.start.saturating_duration_since(last).as_nanos() / interval;
        u64::try_from(after(now) + before - after(last)).unwrap_or(u64::MAX)
    }
}

impl LoopingCall {
    /// Creates a LoopingCall that calls `f`. It does nothing until it is started. `f` returns what
    /// a callback may return.
    #[track_caller]
    pub fn new<R: IntoDeferred<Failure>>(reactor: &Reactor, f: impl FnMut() -> R + 'static) -> LoopingCall {
        LoopingCall::typed(reactor, f)
    }

    /// Like [`new`](LoopingCall::new), but passes `f` the number of due times since the last call:
    /// 1, or more if some were skipped.
    ///
    /// Twisted's `LoopingCall.withCount`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc, time::Duration};
    /// use deferred_core::{Clock, LoopingCall};
    ///
    /// let clock = Clock::new();
    /// let counts = Rc::new(RefCell::new(Vec::new()));
    /// let seen = counts.clone();
    /// let ticking = LoopingCall::with_count(&clock, move |count| seen.borrow_mut().push(count));
    /// let _done = ticking.start(Duration::from_secs(1));
    /// clock.advance(Duration::from_secs(1));
    /// clock.advance(Duration::from_secs(3)); // as if the loop had been blocked
    /// assert_eq!(*counts.borrow(), [1, 1, 3]);
    /// ```
    #[doc(alias = "withCount")]
    #[track_caller]
    pub fn with_count<R: IntoDeferred<Failure>>(reactor: &Reactor, f: impl FnMut(u64) -> R + 'static) -> LoopingCall {
        LoopingCall::typed_with_count(reactor, f)
    }

    /// Like [`new`](LoopingCall::new), but passes `f` the LoopingCall itself, so that it can stop.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_core::{Clock, LoopingCall};
    ///
    /// let clock = Clock::new();
    /// let mut left = 3;
    /// let countdown = LoopingCall::with_self(&clock, move |countdown| {
    ///     left -= 1;
    ///     if left == 0 {
    ///         countdown.stop();
    ///     }
    /// });
    /// let done = countdown.start(Duration::from_secs(1));
    /// clock.advance_in_steps(Duration::from_secs(2));
    /// assert!(done.is_ready());
    /// ```
    #[track_caller]
    pub fn with_self<R: IntoDeferred<Failure>>(
        reactor: &Reactor,
        mut f: impl FnMut(&LoopingCall) -> R + 'static,
    ) -> LoopingCall {
        let at = Location::caller();
        let looping = Rc::new_cyclic(|looping: &Weak<Looping<Failure>>| {
            let looping = looping.clone();
            let call = move |_| {
                let looping = looping.upgrade().expect("the LoopingCall exists during a call");
                f(&LoopingCall { looping })
            };
            Looping::new(reactor, call, false, at)
        });
        LoopingCall { looping }
    }
}

impl<E: DeferredError> Looping<E> {
    fn new<R: IntoDeferred<E>>(
        reactor: &Reactor,
        mut f: impl FnMut(u64) -> R + 'static,
        counted: bool,
        at: CallSite,
    ) -> Looping<E> {
        let call = RefCell::new(Box::new(move |count| f(count).into_deferred().without_value(at)) as Box<_>);
        let state = RefCell::new(State::Idle);
        let (keep_going, context) = (Cell::new(false), RefCell::default());
        Looping { reactor: reactor.clone(), call, counted, keep_going, state, context }
    }
}

impl<E: DeferredError> LoopingCall<E> {
    /// Like [`new`](LoopingCall::new), but for an error type of your own.
    #[track_caller]
    pub fn typed<R: IntoDeferred<E>>(reactor: &Reactor, mut f: impl FnMut() -> R + 'static) -> LoopingCall<E> {
        LoopingCall { looping: Rc::new(Looping::new(reactor, move |_| f(), false, Location::caller())) }
    }

    /// Like [`with_count`](LoopingCall::with_count), but for an error type of your own.
    #[track_caller]
    pub fn typed_with_count<R: IntoDeferred<E>>(
        reactor: &Reactor,
        f: impl FnMut(u64) -> R + 'static,
    ) -> LoopingCall<E> {
        LoopingCall { looping: Rc::new(Looping::new(reactor, f, true, Location::caller())) }
    }

    /// Lets the loop continue after an error of the function. Each error is reported as unhandled.
    ///
    /// Twisted has no counterpart: there, the function must catch its exceptions.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_core::{Clock, Failure, LoopingCall, on_unhandled};
    ///
    /// let clock = Clock::new();
    /// let _hook = on_unhandled(|error| println!("{error}"));
    /// let ticking = LoopingCall::new(&clock, || Err::<(), _>(Failure::msg("out of order"))).keep_going();
    /// let _done = ticking.start(Duration::from_secs(1));
    /// assert!(ticking.is_running());
    /// ```
    #[must_use]
    pub fn keep_going(self) -> LoopingCall<E> {
        self.looping.keep_going.set(true);
        self
    }

    /// Starts the loop. The first call is made inside this call, the next ones at intervals of
    /// `interval` from now.
    ///
    /// The returned Deferred fires with this LoopingCall when it is stopped, or with the error that
    /// ends it. With an interval of zero, each turn makes one call.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with the error of the function. If the reactor is closed, it
    /// fires as if the loop were stopped.
    ///
    /// # Panics
    ///
    /// Panics if the loop is running, or if it was stopped or cancelled and the last call's
    /// Deferred is still pending.
    ///
    /// # Cancellation
    ///
    /// Cancelling the returned Deferred stops the loop, cancels the Deferred of the function if
    /// that is pending, and fires [`Cancelled`](crate::Cancelled).
    #[track_caller]
    pub fn start(&self, interval: Duration) -> Deferred<LoopingCall<E>, E> {
        let (deferred, run) = self.run(interval, Location::caller());
        if let Some(run) = run {
            self.looping.clone().call(Run { last: None, ..run });
        }
        deferred
    }

    /// Like [`start`](Self::start), but makes the first call `interval` from now. Errors and a
    /// cancel have the same effects.
    ///
    /// Twisted's `start(interval, now=False)`.
    ///
    /// # Panics
    ///
    /// Panics if the loop is running, or if it was stopped or cancelled and the last call's
    /// Deferred is still pending.
    #[track_caller]
    pub fn start_later(&self, interval: Duration) -> Deferred<LoopingCall<E>, E> {
        let (deferred, run) = self.run(interval, Location::caller());
        if let Some(run) = run {
            self.looping.clone().schedule(run, run.grid.start);
        }
        deferred
    }

    /// Stops the loop. Its Deferred fires inside this call, or at the end of the call that is
    /// running. Does nothing if the loop is not running.
    pub fn stop(&self) {
        if let Some(run) = self.looping.end(End::Stopped) {
            self.looping.fire(run, Ok(()));
        }
    }

    /// Restarts the grid: the next call is due one interval from now. Does nothing if the loop is
    /// not running, or if a call or its Deferred is pending.
    ///
    /// Twisted's `reset`.
    pub fn reset(&self) {
        let mut state = self.looping.state.borrow_mut();
        if let State::Waiting { run, next } = &*state {
            let (mut run, pending) = (*run, next.clone());
            run.grid.start = self.looping.reactor.now();
            *state = State::Idle;
            drop(state);
            if pending.cancel().is_ok() {
                self.looping.clone().schedule(run, run.grid.start);
            }
        }
    }

    /// Returns `true` from a start until the loop is stopped or cancelled, fails, or the reactor is
    /// closed.
    #[must_use]
    pub fn is_running(&self) -> bool {
        match &*self.looping.state.borrow() {
            State::Idle => false,
            State::Waiting { next, .. } => next.active(), // not if the reactor was closed
            State::Calling { end, .. } => *end == End::No,
        }
    }

    /// Begins a run. On a closed reactor the returned Deferred fires, and there is no run.
    fn run(&self, interval: Duration, at: CallSite) -> (Deferred<LoopingCall<E>, E>, Option<Run>) {
        let looping = &self.looping;
        let runs_since = match &*looping.state.borrow() {
            State::Idle => None,
            State::Waiting { run, next } => next.active().then_some(run.at),
            State::Calling { run, .. } => Some(run.at),
        };
        if let Some(started) = runs_since {
            panic!(
                "this LoopingCall is already running, started at {started}: stop it, and start it when its Deferred \
                 has fired; if that was cancelled, when the Deferred of its function has fired too"
            );
        }
        let before = looping.context.replace(Context::current());
        drop(before); // user code, after the borrow
        let cancelled = Rc::downgrade(looping);
        let (deferred, done) = Deferred::typed_with_canceller_at(at, move || {
            if let Some(looping) = cancelled.upgrade() {
                if let Some(run) = looping.end(End::Cancelled) {
                    // The resolver is taken out without firing: the cancel fires the Deferred.
                    drop(looping.reactor.claim::<Done<E>>(run.key).map(|mut done| done.resolver.take()));
                }
            }
            None
        });
        let weak = Rc::downgrade(looping);
        let deferred = deferred.describe(move |it| {
            it.set_kind(Kind::Timer);
            let Some(looping) = weak.upgrade() else { return };
            let state = match &*looping.state.borrow() {
                State::Waiting { next, .. } => format!(", next in {:.1?}", next.left()),
                State::Calling { inner: Some(inner), .. } => {
                    it.waits_for(inner);
                    ", waits for its function".to_owned()
                }
                State::Calling { .. } | State::Idle => String::new(),
            };
            it.set_details(format!("LoopingCall every {interval:?}{state}"));
        });
        let grid = Grid { start: looping.reactor.now(), interval };
        let done = Done { looping: self.clone(), resolver: Some(done) };
        let run = looping.reactor.keep(done, None).map(|key| Run { key, grid, last: Some(grid.start), at });
        (deferred, run)
    }
}

impl<E: DeferredError> Looping<E> {
    /// Prevents further calls. Returns the run that has ended, or `None` if it ends only after the
    /// current call.
    fn end(&self, how: End) -> Option<Run> {
        let mut state = self.state.borrow_mut();
        match &mut *state {
            State::Idle => None,
            State::Waiting { run, .. } => {
                let run = *run;
                let State::Waiting { next, .. } = mem::replace(&mut *state, State::Idle) else { return None };
                drop(state);
                let _ = next.cancel();
                Some(run)
            }
            State::Calling { end, inner, .. } => {
                *end = how;
                let inner = if how == End::Cancelled { inner.take() } else { None };
                drop(state);
                if let Some(inner) = inner {
                    inner.cancel();
                }
                None
            }
        }
    }

    /// Calls the function, and continues when its result is ready.
    fn call(self: Rc<Self>, mut run: Run) {
        let now = self.reactor.now();
        let count = run.last.map_or(1, |last| run.grid.count(last, now));
        run.last = Some(now);
        self.state.replace(State::Calling { run, end: End::No, inner: None });
        if self.counted && count == 0 {
            // This due time was counted before a reset moved the grid.
            return self.called(Ok(()));
        }
        let context = self.context.borrow().clone();
        let mut deferred = context.run(|| maybe_deferred_at(run.at, || (self.call.borrow_mut())(count)));
        if !deferred.is_ready() {
            let handle = deferred.cancel_handle();
            let cancelled = match &mut *self.state.borrow_mut() {
                // The loop was cancelled inside the function, before the function returned its
                // Deferred.
                State::Calling { end: End::Cancelled, .. } => Some(handle),
                State::Calling { inner, .. } => {
                    *inner = Some(handle);
                    None
                }
                State::Idle | State::Waiting { .. } => None,
            };
            if let Some(handle) = cancelled {
                handle.cancel();
            }
        }
        drop(deferred.add_both(move |result| -> Result<(), E> {
            self.called(result);
            Ok(())
        }));
    }

    fn called(self: Rc<Self>, result: Result<(), E>) {
        let (at, end) = match &*self.state.borrow() {
            State::Calling { run, end, .. } => (run.at, *end),
            State::Idle | State::Waiting { .. } => return,
        };
        let result = match result {
            // The call is not over during the report: a hook may stop the loop.
            Err(error) if end == End::No && self.keep_going.get() => {
                report::unhandled(&error, at, at);
                never_unwinding(|| drop(error));
                Ok(())
            }
            result => result,
        };
        let State::Calling { run, end, .. } = self.state.replace(State::Idle) else { return };
        match result {
            Ok(()) if end == End::No => {
                let now = self.reactor.now();
                self.schedule(run, now);
            }
            result => self.fire(run, result),
        }
    }

    /// Fires the Deferred of a start inside this call.
    fn fire(&self, run: Run, result: Result<(), E>) {
        drop(self.context.take());
        let done = self.reactor.claim::<Done<E>>(run.key);
        let resolver = done.and_then(|mut done| Some((done.looping.clone(), done.resolver.take()?)));
        if let Some((looping, resolver)) = resolver {
            resolver.fire(result.map(|()| looping));
        }
    }

    fn schedule(self: Rc<Self>, run: Run, now: Instant) {
        let looping = self.clone();
        let tick = move || {
            looping.call(run);
        };
        let next = self.reactor.call_at(run.grid.after(now), tick, run.at);
        self.state.replace(State::Waiting { run, next });
    }
}

/// The entry in the reactor's registry that fires the Deferred of a start. Closing the reactor
/// drops it, which fires the Deferred with the stopped LoopingCall.
struct Done<E: DeferredError> {
    looping: LoopingCall<E>,
    resolver: Option<Resolver<LoopingCall<E>, E>>,
}

impl<E: DeferredError> Drop for Done<E> {
    fn drop(&mut self) {
        if let Some(resolver) = self.resolver.take() {
            run_soon(resolver.source.set_result(Ok(self.looping.clone())));
        }
    }
}

impl<E: DeferredError> Clone for LoopingCall<E> {
    fn clone(&self) -> Self {
        LoopingCall { looping: self.looping.clone() }
    }
}

impl<E: DeferredError> fmt::Debug for LoopingCall<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopingCall").field("is_running", &self.is_running()).finish_non_exhaustive()
    }
}
