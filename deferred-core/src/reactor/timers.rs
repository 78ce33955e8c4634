//! The timers: a map by due time and order of making.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::turn::guarded;
use super::{Reactor, later};
use crate::deferred::IntoDeferred;
use crate::error::Failure;

/// When it is due, and its number: how many were made before it.
type Key = (Instant, u64);

/// A call that waits for its time, in one allocation with its captures.
pub(super) struct Timer<F: ?Sized = dyn Once> {
    state: Cell<State>,
    key: Cell<Key>,
    at: &'static Location<'static>,
    call: F,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Pending,
    Called,
    Cancelled,
    Closed,
}

/// A closure that is taken out to be run or dropped, whichever comes first.
pub(super) trait Once {
    fn run(&self, at: &'static Location<'static>);
    fn discard(&self);
}

impl<R: IntoDeferred<Failure>, F: FnOnce() -> R> Once for Cell<Option<F>> {
    fn run(&self, at: &'static Location<'static>) {
        if let Some(call) = self.take() {
            guarded(at, call);
        }
    }

    fn discard(&self) {
        self.take();
    }
}

impl Timer {
    pub(super) fn run(&self) {
        self.state.set(State::Called);
        self.call.run(self.at);
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

/// All timers of one reactor.
#[derive(Default)]
pub(super) struct Timers {
    pending: RefCell<BTreeMap<Key, Rc<Timer>>>,
    made: Cell<u64>,
    closed: Cell<bool>,
}

impl Timers {
    /// A timer for `due`, and whether it is now the earliest of all. Once closed it is not pending, and its call is
    /// dropped.
    pub(super) fn add<R: IntoDeferred<Failure>>(
        &self,
        due: Instant,
        call: impl FnOnce() -> R + 'static,
        at: &'static Location<'static>,
    ) -> (Rc<Timer>, bool) {
        let key = self.new_key(due);
        let timer =
            Rc::new(Timer { state: Cell::new(State::Pending), key: Cell::new(key), at, call: Cell::new(Some(call)) });
        if self.closed.get() {
            timer.state.set(State::Closed);
            timer.call.discard();
            return (timer, false);
        }
        let mut pending = self.pending.borrow_mut();
        pending.insert(key, timer.clone());
        let earliest = pending.first_key_value().is_some_and(|(first, _)| *first == key);
        (timer, earliest)
    }

    fn new_key(&self, due: Instant) -> Key {
        (due, self.made.replace(self.made.get() + 1))
    }

    /// Moves a pending timer to another moment, as if it were made now, and says whether it is the earliest of all then.
    fn move_to(&self, timer: &Timer, due: Instant) -> bool {
        let key = self.new_key(due);
        let mut pending = self.pending.borrow_mut();
        let moved = pending.remove(&timer.key.replace(key));
        pending.extend(moved.map(|timer| (key, timer)));
        pending.first_key_value().is_some_and(|(first, _)| *first == key)
    }

    /// The number that the next timer gets: smaller ones exist already.
    pub(super) fn made(&self) -> u64 {
        self.made.get()
    }

    /// The earliest, if it is due at `now` and has a number below `made`.
    ///
    /// A newer one cannot stand before an older one that is due: it was made after the clock said `now`.
    pub(super) fn pop_due(&self, now: Instant, made: u64) -> Option<Rc<Timer>> {
        let mut pending = self.pending.borrow_mut();
        let first = pending.first_entry()?;
        let (due, number) = *first.key();
        (due <= now && number < made).then(|| first.remove())
    }

    /// When the earliest is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.pending.borrow().first_key_value().map(|((due, _), _)| *due)
    }

    fn remove(&self, key: &Key) {
        self.pending.borrow_mut().remove(key);
    }

    /// Those that are pending, in the order they are due.
    pub(super) fn all(&self) -> Vec<Rc<Timer>> {
        self.pending.borrow().values().cloned().collect()
    }

    /// Drops all calls, in the order they would have run. No timer is pending from now on.
    pub(super) fn close(&self) {
        self.closed.set(true);
        let pending = self.pending.take();
        for timer in pending.values() {
            timer.state.set(State::Closed);
        }
        for timer in pending.into_values() {
            guarded(timer.at, || timer.call.discard());
        }
    }
}

/// A call that waits for its time; [`Reactor::call_later`] gives it.
///
/// Dropping it changes nothing: the call runs when it is due.
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
#[derive(Clone)]
pub struct DelayedCall {
    reactor: Reactor,
    timer: Rc<Timer>,
}

impl DelayedCall {
    pub(super) fn new(reactor: Reactor, timer: Rc<Timer>) -> Self {
        DelayedCall { reactor, timer }
    }

    /// Takes the call back. What it captured is dropped now, in here.
    ///
    /// This works until the call begins, also when it is due already and waits for its turn.
    ///
    /// # Errors
    ///
    /// If the call has begun, was cancelled before, or was dropped because its reactor is closed.
    pub fn cancel(&self) -> Result<(), Inactive> {
        self.timer.state()?;
        self.timer.state.set(State::Cancelled);
        self.reactor.core.timers.remove(&self.timer.key.get());
        self.timer.call.discard();
        Ok(())
    }

    /// Lets the call run so long from now, whenever it was due before.
    ///
    /// # Errors
    ///
    /// As [`cancel`](Self::cancel).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_core::Clock;
    ///
    /// let clock = Clock::new();
    /// let call = clock.call_later(Duration::from_secs(5), || println!("nothing was heard for five seconds"));
    /// clock.advance(Duration::from_secs(4));
    /// call.reset(Duration::from_secs(5)).unwrap(); // something was heard
    /// clock.advance(Duration::from_secs(4));
    /// assert!(call.active());
    /// ```
    pub fn reset(&self, delay: Duration) -> Result<(), Inactive> {
        self.timer.state()?;
        self.move_to(later(self.reactor.now(), delay));
        Ok(())
    }

    /// Lets the call run so much later than it was due before.
    ///
    /// # Errors
    ///
    /// As [`cancel`](Self::cancel).
    pub fn delay(&self, more: Duration) -> Result<(), Inactive> {
        self.timer.state()?;
        self.move_to(later(self.time(), more));
        Ok(())
    }

    fn move_to(&self, due: Instant) {
        if self.reactor.core.timers.move_to(&self.timer, due) {
            self.reactor.wake();
        }
    }

    /// When the call is due, or was.
    #[must_use]
    pub fn time(&self) -> Instant {
        self.timer.key.get().0
    }

    /// Where it was registered.
    #[must_use]
    pub fn registered_at(&self) -> &'static Location<'static> {
        self.timer.at
    }

    /// Whether the call is still to come. Inside the call itself, not any more.
    #[must_use]
    pub fn active(&self) -> bool {
        self.timer.state().is_ok()
    }
}

impl fmt::Debug for DelayedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelayedCall")
            .field("active", &self.timer.state())
            .field("at", &format_args!("{}", self.timer.at))
            .finish()
    }
}

/// Why a [`DelayedCall`], or a [`SystemEventTrigger`](crate::SystemEventTrigger), can no longer be operated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inactive {
    /// It runs, or has run.
    AlreadyCalled,
    /// It was cancelled.
    AlreadyCancelled,
    /// Its reactor was closed before it was due.
    ReactorClosed,
    /// It was made for an event that had passed.
    TooLate,
}

impl fmt::Display for Inactive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Inactive::AlreadyCalled => "the call has already run",
            Inactive::AlreadyCancelled => "the call was already cancelled",
            Inactive::ReactorClosed => "the reactor was closed before the call was due",
            Inactive::TooLate => "the event that the call was added to had passed: the loop has started, or has ended",
        })
    }
}

impl Error for Inactive {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn add(timers: &Timers, due: Instant) -> (Rc<Timer>, bool) {
        timers.add(due, || (), Location::caller())
    }

    #[test]
    fn a_timer_that_is_made_later_is_not_of_this_turn_though_it_is_due() {
        let timers = Timers::default();
        let now = Instant::now();
        add(&timers, now);
        let made = timers.made();
        add(&timers, now);
        assert!(timers.pop_due(now, made).is_some());
        assert!(timers.pop_due(now, made).is_none());
        assert!(timers.pop_due(now, timers.made()).is_some());
    }

    #[test]
    fn a_new_timer_says_whether_it_is_the_earliest() {
        let timers = Timers::default();
        let now = Instant::now();
        let earliest = [5, 7, 5, 4].map(|seconds| add(&timers, now + Duration::from_secs(seconds)).1);
        assert_eq!(earliest, [true, false, false, true]);
    }
}
