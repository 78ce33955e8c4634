//! A call that is made again and again.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem;
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::abort::never_unwinding;
use crate::deferred::{CancelHandle, Deferred, IntoDeferred, Resolver, maybe_deferred_at};
use crate::engine::run_soon;
use crate::error::{self, CallSite, DeferredError, Failure};
use crate::reactor::{DelayedCall, Reactor, deadline_after};

/// Calls a function again and again, at even intervals.
///
/// The calls stand on a grid: interval by interval, counted from the start. A call that comes late,
/// or that takes its time, does not move the ones behind it, so nothing drifts. Where a call takes
/// longer than the interval, the moments that have passed meanwhile are left out. If the function
/// returns a [`Deferred`], the next call waits for it too.
///
/// An error of the function, and a panic, ends it: the Deferred that [`start`](Self::start) gave
/// fails with that. Or it goes on: [`keep_going`](Self::keep_going).
///
/// Clones mean the same one. Dropping them changes nothing: it is the reactor that calls.
///
/// Twisted's `LoopingCall`, with one difference: cancelling the Deferred of `start` stops it.
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
pub struct LoopingCall<E: DeferredError = Failure> {
    looping: Rc<Looping<E>>,
}

struct Looping<E: DeferredError> {
    reactor: Reactor,
    call: Call<E>,
    counted: bool,
    keeps_going: Cell<bool>,
    state: RefCell<State>,
}

/// The function, whatever it returns.
type Call<E> = RefCell<Box<dyn FnMut(u64) -> Deferred<(), E>>>;

enum State {
    Idle,
    /// Between two calls.
    Waiting {
        run: Run,
        next: DelayedCall,
    },
    /// In the function, or waiting for the Deferred that it gave.
    Calling {
        run: Run,
        end: End,
        inner: Option<CancelHandle>,
    },
}

/// From a start to its end.
#[derive(Clone, Copy)]
struct Run {
    /// By which the reactor keeps the [`Done`].
    done: u64,
    grid: Grid,
    /// When the function was called last. None if it is called for the first time, at once.
    last: Option<Instant>,
    at: CallSite,
}

/// What is to happen after the call that runs.
#[derive(Clone, Copy, PartialEq)]
enum End {
    No,
    Stopped,
    Cancelled,
}

/// The moments at which calls are due.
#[derive(Clone, Copy)]
struct Grid {
    start: Instant,
    interval: Duration,
}

impl Grid {
    /// The first moment after `now`; with an interval of zero, `now`.
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

    /// How many of the moments have come between `last`, which after a reset may lie before the
    /// start, and `now`.
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
    /// One that calls `f`, which returns what callbacks return. It does nothing before it is
    /// started.
    #[track_caller]
    pub fn new<R: IntoDeferred<Failure>>(reactor: &Reactor, f: impl FnMut() -> R + 'static) -> LoopingCall {
        LoopingCall::typed(reactor, f)
    }

    /// One that calls `f` with the number of moments of the grid that have come since the last
    /// call: 1, and more where some were left out.
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
    #[track_caller]
    pub fn with_count<R: IntoDeferred<Failure>>(reactor: &Reactor, f: impl FnMut(u64) -> R + 'static) -> LoopingCall {
        LoopingCall::typed_with_count(reactor, f)
    }
}

impl<E: DeferredError> LoopingCall<E> {
    /// [`new`](LoopingCall::new) for an error type of your own.
    #[track_caller]
    pub fn typed<R: IntoDeferred<E>>(reactor: &Reactor, mut f: impl FnMut() -> R + 'static) -> LoopingCall<E> {
        Self::make(reactor, move |_| f(), false, Location::caller())
    }

    /// [`with_count`](LoopingCall::with_count) for an error type of your own.
    #[track_caller]
    pub fn typed_with_count<R: IntoDeferred<E>>(
        reactor: &Reactor,
        f: impl FnMut(u64) -> R + 'static,
    ) -> LoopingCall<E> {
        Self::make(reactor, f, true, Location::caller())
    }

    fn make<R: IntoDeferred<E>>(
        reactor: &Reactor,
        mut f: impl FnMut(u64) -> R + 'static,
        counted: bool,
        at: CallSite,
    ) -> LoopingCall<E> {
        let call = RefCell::new(Box::new(move |count| f(count).into_deferred().without_value(at)) as Box<_>);
        let state = RefCell::new(State::Idle);
        let looping = Looping { reactor: reactor.clone(), call, counted, keeps_going: Cell::new(false), state };
        LoopingCall { looping: Rc::new(looping) }
    }

    /// Lets it go on after an error of the function, which is reported as unhandled each time.
    ///
    /// Twisted has no such thing; there, the function catches what it may raise.
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
        self.looping.keeps_going.set(true);
        self
    }

    /// Makes the first call now, inside this one, and the next ones each `interval` from now on.
    ///
    /// The Deferred fires with this LoopingCall when it is stopped, and with the error that ends
    /// it. An interval of zero makes one call a turn.
    ///
    /// # Errors
    ///
    /// Through the Deferred: the function's. If the reactor is closed, it fires as if it were
    /// stopped.
    ///
    /// # Panics
    ///
    /// If it runs already.
    ///
    /// # Cancellation
    ///
    /// Cancelling the Deferred stops it, cancels a Deferred of the function that it waits for, and
    /// fires [`Cancelled`](crate::Cancelled).
    #[track_caller]
    pub fn start(&self, interval: Duration) -> Deferred<LoopingCall<E>, E> {
        let (deferred, run) = self.run(interval, Location::caller());
        if let Some(run) = run {
            self.looping.clone().call(Run { last: None, ..run });
        }
        deferred
    }

    /// As [`start`](Self::start), with the first call one `interval` from now: Twisted's
    /// `start(interval, now=False)`.
    ///
    /// # Panics
    ///
    /// If it runs already.
    #[track_caller]
    pub fn start_later(&self, interval: Duration) -> Deferred<LoopingCall<E>, E> {
        let (deferred, run) = self.run(interval, Location::caller());
        if let Some(run) = run {
            self.looping.clone().schedule(run, run.grid.start);
        }
        deferred
    }

    /// Stops it: its Deferred fires, in here if it is between two calls, else at the end of the
    /// call that runs. Does nothing if it does not run.
    pub fn stop(&self) {
        if let Some(run) = self.looping.end(End::Stopped) {
            self.looping.fire(run, Ok(()));
        }
    }

    /// Starts the grid anew from now: the next call is one interval from now. Does nothing if it
    /// does not run, and while a call runs or what that returned is waited for.
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

    /// Whether it was started and not stopped yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        match &*self.looping.state.borrow() {
            State::Idle => false,
            State::Waiting { next, .. } => next.active(), // not if the reactor was closed
            State::Calling { end, .. } => *end == End::No,
        }
    }

    /// What a start begins with. On a closed reactor the Deferred fires, and nothing runs.
    fn run(&self, interval: Duration, at: CallSite) -> (Deferred<LoopingCall<E>, E>, Option<Run>) {
        let looping = &self.looping;
        let idle = match &*looping.state.borrow() {
            State::Idle => true,
            State::Waiting { next, .. } => !next.active(),
            State::Calling { .. } => false,
        };
        assert!(
            idle,
            "this LoopingCall is running already: stop it, and start it when its Deferred has fired; if that was \
             cancelled, when what the function returned has fired too"
        );
        let cancelled = Rc::downgrade(looping);
        let (deferred, done) = Deferred::typed_with_canceller(move || {
            if let Some(looping) = cancelled.upgrade() {
                if let Some(run) = looping.end(End::Cancelled) {
                    // Without firing: it is the cancel that does.
                    drop(looping.reactor.claim::<Done<E>>(run.done).map(|mut done| done.resolver.take()));
                }
            }
            None
        });
        let grid = Grid { start: looping.reactor.now(), interval };
        let done = Done { looping: self.clone(), resolver: Some(done) };
        let run = looping.reactor.keep(done, None).map(|done| Run { done, grid, last: Some(grid.start), at });
        (deferred, run)
    }
}

impl<E: DeferredError> Looping<E> {
    /// No further call. Gives what has ended, if that is now and not only after the call that runs.
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

    /// Calls the function, and goes on when that is done.
    fn call(self: Rc<Self>, mut run: Run) {
        let now = self.reactor.now();
        let count = run.last.map_or(1, |last| run.grid.count(last, now));
        run.last = Some(now);
        self.state.replace(State::Calling { run, end: End::No, inner: None });
        if self.counted && count == 0 {
            // A moment that is counted already, since a reset has moved the grid.
            return self.called(Ok(()));
        }
        let mut deferred = maybe_deferred_at(run.at, || (self.call.borrow_mut())(count));
        if !deferred.is_ready() {
            let handle = deferred.cancel_handle();
            let cancelled = match &mut *self.state.borrow_mut() {
                // From inside the function, when there was nothing to cancel yet.
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
            // The call is not over while that is told: a hook may stop it.
            Err(error) if end == End::No && self.keeps_going.get() => {
                error::report(&error, at, at);
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

    /// Fires the Deferred of a start, in here.
    fn fire(&self, run: Run, result: Result<(), E>) {
        let done = self.reactor.claim::<Done<E>>(run.done);
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

/// Fires the Deferred of a start; dropped by a reactor that closes, with the LoopingCall, which has
/// stopped.
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
