//! Timers: delayed calls, in a [wheel](super::wheel) ordered by due time and then by creation.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use super::turn::guarded;
use super::wheel::{Item, Key, Place, Wheel};
use super::{Reactor, deadline_after};
use crate::context::Context;
use crate::deferred::IntoDeferred;
use crate::error::{CallSite, Failure};
use crate::instant::Instant;

/// Returns the duration in nanoseconds. Saturates at more than five centuries.
#[inline]
pub(super) fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}

/// A delayed call, in one allocation with its captures.
pub(super) struct Timer<F: ?Sized = dyn Once> {
    state: Cell<State>,
    place: Cell<Place>,
    /// The due time in nanoseconds since the base of its [`Timers`], and the number of timers
    /// created before.
    key: Cell<Key>,
    at: Cell<CallSite>,
    call: F,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Pending,
    Called,
    Cancelled,
    Closed,
}

/// A closure that is either run or dropped, once.
pub(super) trait Once {
    fn run(&self, at: CallSite);
    fn discard(&self);

    /// Takes another closure out of `call`, an `Option`, if that has the same type. Returns `true`
    /// if it has.
    fn refill(&self, call: &mut dyn Any) -> bool;
}

impl<R: IntoDeferred<Failure>, F: FnOnce() -> R + 'static> Once for Cell<Option<F>> {
    fn run(&self, at: CallSite) {
        if let Some(call) = self.take() {
            guarded(at, call);
        }
    }

    fn discard(&self) {
        self.take();
    }

    fn refill(&self, call: &mut dyn Any) -> bool {
        let call = call.downcast_mut::<Option<F>>();
        call.is_some_and(|call| {
            self.set(call.take());
            true
        })
    }
}

impl Timer {
    pub(super) fn run(&self) {
        self.state.set(State::Called);
        self.call.run(self.at.get());
    }

    pub(super) fn registered_at(&self) -> CallSite {
        self.at.get()
    }

    /// Returns the due time, in the unit of its [`Timers`].
    pub(super) fn due(&self) -> u64 {
        self.key.get().0
    }

    fn state(&self) -> Result<(), Inactive> {
        match self.state.get() {
            State::Pending => Ok(()),
            State::Called => Err(Inactive::AlreadyCalled),
            State::Cancelled => Err(Inactive::AlreadyCancelled),
            State::Closed => Err(Inactive::ReactorClosed),
        }
    }
}

impl Item for Rc<Timer> {
    fn place(&self) -> &Cell<Place> {
        &self.place
    }

    fn waits_for(&self, key: Key) -> bool {
        self.state.get() == State::Pending && self.key.get() == key
    }
}

/// Returns a call in the current context. It is boxed, so that a call without a context needs no
/// room for one.
#[cold]
fn in_context<R: IntoDeferred<Failure>>(call: impl FnOnce() -> R + 'static, at: CallSite) -> Box<dyn FnOnce()> {
    let context = Context::current();
    Box::new(move || context.run(|| guarded(at, call)))
}

/// All timers of one reactor.
pub(super) struct Timers {
    wheel: RefCell<Wheel<Rc<Timer>>>,
    /// The time from which due times are counted.
    base: Cell<Instant>,
    made: Cell<u64>,
    /// The number of keys whose timers were removed before they were due.
    removed: Cell<u64>,
    closed: Cell<bool>,
    /// A timer that was cancelled or has run. The next one with a closure of the same type uses its
    /// memory again: most timers are timeouts that are cancelled.
    spare: Cell<Option<Rc<Timer>>>,
}

impl Timers {
    /// Moves all due times by the difference between two readings of clocks at one time.
    pub(super) fn move_base(&self, before: Instant, after: Instant) {
        let base = self.base.get();
        let moved = match after.checked_duration_since(before) {
            Some(ahead) => base.checked_add(ahead),
            None => base.checked_sub(before - after),
        };
        self.base.set(moved.unwrap_or(base));
    }

    /// Creates an empty set of timers, which are due after `base`.
    pub(super) fn new(base: Instant) -> Timers {
        let (made, removed, closed) = (Cell::new(0), Cell::new(0), Cell::new(false));
        Timers { wheel: RefCell::default(), base: Cell::new(base), made, removed, closed, spare: Cell::default() }
    }

    /// Adds a timer for `due`. After [`close`](Self::close) it is not pending, and its call is
    /// dropped.
    pub(super) fn add<R: IntoDeferred<Failure>>(
        &self,
        due: u64,
        call: impl FnOnce() -> R + 'static,
        at: CallSite,
    ) -> Rc<Timer> {
        let key = self.new_key(due);
        let timer = if Context::is_current_empty() {
            self.new_timer(key, call, at)
        } else {
            self.new_timer(key, in_context(call, at), at)
        };
        if self.closed.get() {
            timer.state.set(State::Closed);
            timer.call.discard();
        } else {
            self.wheel.borrow_mut().insert(key, timer.clone());
        }
        timer
    }

    fn new_timer<C: FnOnce() -> R + 'static, R: IntoDeferred<Failure>>(
        &self,
        key: Key,
        call: C,
        at: CallSite,
    ) -> Rc<Timer> {
        let mut call = Some(call);
        if let Some(spare) = self.spare.take().filter(|spare| Rc::strong_count(spare) == 1) {
            if spare.call.refill(&mut call) {
                spare.state.set(State::Pending);
                spare.key.set(key);
                spare.at.set(at);
                return spare;
            }
        }
        let (state, place) = (Cell::new(State::Pending), Cell::default());
        let (key, at, call) = (Cell::new(key), Cell::new(at), Cell::new(call));
        Rc::new(Timer { state, place, key, at, call })
    }

    /// Keeps a timer that is not pending for a later one.
    #[inline]
    pub(super) fn recycle(&self, timer: Rc<Timer>) {
        self.spare.set(Some(timer));
    }

    fn new_key(&self, due: u64) -> Key {
        (due, self.made.replace(self.made.get() + 1))
    }

    /// Converts a time to the timers' unit.
    #[inline]
    pub(super) fn moment(&self, instant: Instant) -> u64 {
        nanos(instant.saturating_duration_since(self.base.get()))
    }

    pub(super) fn instant(&self, moment: u64) -> Instant {
        deadline_after(self.base.get(), Duration::from_nanos(moment))
    }

    /// Moves a pending timer to another due time, with a new number.
    fn move_to(&self, timer: &Rc<Timer>, due: u64) {
        let before = timer.key.replace(self.new_key(due));
        let mut wheel = self.wheel.borrow_mut();
        drop(wheel.remove(before, timer.place.get())); // `timer` still refers to it
        self.removed.set(self.removed.get() + 1);
        wheel.insert(timer.key.get(), timer.clone());
    }

    /// Returns the number that the next timer gets. Existing ones have smaller numbers.
    pub(super) fn made(&self) -> u64 {
        self.made.get()
    }

    /// Removes and returns the earliest timer, if it is due at `now` and has a number below `made`.
    ///
    /// A newer timer cannot precede an older one that is due: it was created after the clock
    /// returned `now`.
    pub(super) fn pop_due(&self, now: u64, made: u64) -> Option<Rc<Timer>> {
        self.wheel.borrow_mut().pop(now, made)
    }

    /// Returns the number of pending timers. `popped` is the number of those that were due.
    pub(super) fn pending(&self, popped: u64) -> u64 {
        if self.closed.get() { 0 } else { self.made.get() - popped - self.removed.get() }
    }

    /// Returns the due time of the earliest timer, or an earlier time at which it is worth calling
    /// this again.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.wheel.borrow_mut().next()
    }

    fn remove(&self, timer: &Timer) {
        let removed = self.wheel.borrow_mut().remove(timer.key.get(), timer.place.get());
        self.removed.set(self.removed.get() + 1); // also if it is due already, and not in the wheel
        drop(removed); // after the borrow
    }

    /// Returns the pending timers in the order in which they are due.
    pub(super) fn all(&self) -> Vec<Rc<Timer>> {
        self.wheel.borrow().all().into_iter().cloned().collect()
    }

    /// Drops all calls in the order in which they would have run. No timer is pending from now on.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.spare.take();
        let pending = self.wheel.borrow_mut().take();
        for timer in &pending {
            timer.state.set(State::Closed);
        }
        for timer in pending {
            guarded(timer.at.get(), || timer.call.discard());
        }
    }
}

/// A handle to a call of [`Reactor::call_later`].
///
/// Dropping a `DelayedCall` has no effect: the call runs when it is due.
///
/// Twisted's `IDelayedCall`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use deferred_core::{Inactive, park};
///
/// park::run(|reactor| {
///     let call = reactor.call_later(Duration::from_secs(60), || println!("never"));
///     assert!(call.active());
///     assert_eq!(call.cancel(), Ok(()));
///     assert_eq!(call.cancel(), Err(Inactive::AlreadyCancelled));
///     reactor.stop();
/// });
/// ```
#[doc(alias = "IDelayedCall")]
#[derive(Clone)]
pub struct DelayedCall {
    reactor: Reactor,
    timer: Rc<Timer>,
}

impl DelayedCall {
    pub(super) fn new(reactor: Reactor, timer: Rc<Timer>) -> Self {
        DelayedCall { reactor, timer }
    }

    /// Cancels the call and drops its captures inside this call.
    ///
    /// This works until the call begins, also if it is already due and waits for its turn.
    ///
    /// # Errors
    ///
    /// Returns [`Inactive`] if the call has begun, was cancelled before, or was dropped because its
    /// reactor is closed.
    pub fn cancel(&self) -> Result<(), Inactive> {
        self.timer.state()?;
        self.timer.state.set(State::Cancelled);
        self.reactor.core.timers.remove(&self.timer);
        self.timer.call.discard();
        self.reactor.core.timers.recycle(self.timer.clone());
        Ok(())
    }

    /// Makes the call due `delay` from now, instead of at its previous due time.
    ///
    /// # Errors
    ///
    /// Like [`cancel`](Self::cancel).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_core::Clock;
    ///
    /// let clock = Clock::new();
    /// let call = clock.call_later(Duration::from_secs(5), || println!("no message for five seconds"));
    /// clock.advance(Duration::from_secs(4));
    /// call.reset(Duration::from_secs(5)).unwrap(); // a message came
    /// clock.advance(Duration::from_secs(4));
    /// assert!(call.active());
    /// ```
    pub fn reset(&self, delay: Duration) -> Result<(), Inactive> {
        self.timer.state()?;
        let now = self.reactor.moment();
        self.move_to(now.saturating_add(nanos(delay)));
        Ok(())
    }

    /// Makes the call due `by` later than its previous due time.
    ///
    /// # Errors
    ///
    /// Like [`cancel`](Self::cancel).
    pub fn delay(&self, by: Duration) -> Result<(), Inactive> {
        self.timer.state()?;
        self.move_to(self.timer.key.get().0.saturating_add(nanos(by)));
        Ok(())
    }

    fn move_to(&self, due: u64) {
        self.reactor.core.timers.move_to(&self.timer, due);
        self.reactor.wake_before(due);
    }

    /// Returns the due time, also of a call that has run.
    #[must_use]
    pub fn time(&self) -> Instant {
        self.reactor.core.timers.instant(self.timer.key.get().0)
    }

    /// Returns the time that is left until the call is due.
    pub(crate) fn left(&self) -> Duration {
        Duration::from_nanos(self.timer.due().saturating_sub(self.reactor.moment()))
    }

    /// Returns the location where the call was registered.
    #[must_use]
    pub fn registered_at(&self) -> &'static Location<'static> {
        self.timer.at.get()
    }

    /// Returns `true` until the call begins or is cancelled.
    #[must_use]
    pub fn active(&self) -> bool {
        self.timer.state().is_ok()
    }
}

impl fmt::Debug for DelayedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelayedCall")
            .field("active", &self.timer.state())
            .field("at", &format_args!("{}", self.timer.at.get()))
            .finish()
    }
}

/// The reason why a [`DelayedCall`], or a [`SystemEventTrigger`](crate::SystemEventTrigger), is not
/// active any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inactive {
    /// The call runs, or has run.
    AlreadyCalled,
    /// The call was cancelled.
    AlreadyCancelled,
    /// The reactor was closed before the call began.
    ReactorClosed,
    /// The event had passed when the call was added, or the shutdown began before the startup had
    /// ended.
    TooLate,
}

impl fmt::Display for Inactive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Inactive::AlreadyCalled => "the call has already run",
            Inactive::AlreadyCancelled => "the call was already cancelled",
            Inactive::ReactorClosed => "the reactor was closed before the call began",
            Inactive::TooLate => "too late: the startup or shutdown that the call was added to is over",
        })
    }
}

impl Error for Inactive {}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(timers: &Timers, due: u64) {
        timers.add(due, || (), Location::caller());
    }

    #[test]
    fn a_timer_created_during_a_turn_does_not_run_in_it_though_it_is_due() {
        let now = 0;
        let timers = Timers::new(Instant::now());
        add(&timers, now);
        let made = timers.made();
        add(&timers, now);
        assert!(timers.pop_due(now, made).is_some());
        assert!(timers.pop_due(now, made).is_none());
        assert!(timers.pop_due(now, timers.made()).is_some());
    }
}
