//! The reactor: an event loop without the waiting. It runs timers and calls from other threads, in
//! a defined order; see [`Reactor`].
//!
//! - this file: `Reactor`, its state and its basic methods;
//! - `owner`: `ReactorOwner`, and the closing of a reactor;
//! - `turn`: one turn, and its order;
//! - `events`: startup and shutdown;
//! - `timers`: `call_later`; `wheel`: the timer wheel under it;
//! - `inbox`: the queue of posted calls and the sleep of the driver: a protocol, and the page that
//!   states it;
//! - `registry`: values that fire a Deferred when the reactor is closed;
//! - `handle`: `ReactorHandle`, with which other threads post calls;
//! - `waker`: the wakers of coroutines;
//! - `signals`: Ctrl-C;
//! - `manual_time`: the time of a reactor, and time that a test advances;
//! - `driver`: the parts of an adapter for an event loop, and how to write one;
//! - `park`: the driver for a bare thread;
//! - `undriven`: the report about a reactor that nothing drives;
//! - `health`: numbers for monitoring;
//! - `pending`: the list of what is pending;
//! - `watchdog`: reports calls that block the loop;
//! - `current`: the current reactor of a thread;
//! - `extensions`: data that adapters keep in a reactor;
//! - `outcome`: a loop that runs until a Deferred has its result;
//! - `sync`: the inbox's lock, which loom can replace.

mod current;
pub mod driver;
mod events;
mod extensions;
mod handle;
mod health;
mod inbox;
mod manual_time;
mod outcome;
mod owner;
pub mod park;
mod pending;
mod registry;
#[cfg(feature = "signals")]
mod signals;
mod sync;
mod timers;
mod turn;
pub(crate) mod undriven;
mod waker;
mod watchdog;
mod wheel;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub use current::EnterGuard;
pub use driver::NotRestartable;
use events::Events;
pub use events::{Phase, ShutdownTimedOut, SystemEvent, SystemEventTrigger};
use extensions::Extensions;
pub use handle::{Closed, ReactorHandle};
use health::Counters;
pub use health::Health;
use inbox::Inbox;
pub(crate) use inbox::{Call, Posted};
use manual_time::Time;
pub use outcome::Outcome;
pub use owner::ReactorOwner;
use registry::Registry;
pub use timers::{DelayedCall, Inactive};
use timers::{Timers, nanos};
pub use turn::Turn;
use turn::guarded;
pub use undriven::Undriven;
use waker::WakerCache;
pub(crate) use waker::WakerHandle;
use watchdog::Watched;
pub use watchdog::{Blocked, CallKind, Watchdog};

use crate::deferred::IntoDeferred;
use crate::error::{CallSite, Failure};
use crate::instant::Instant;
use crate::report;

/// An event loop without the waiting: timers, calls from other threads, and a defined order in
/// which they run.
///
/// A reactor belongs to the thread that created it. A clone is cheap and refers to the same
/// reactor; callbacks may hold clones. Other threads reach it through a [`ReactorHandle`] or a
/// [`RemoteResolver`](crate::RemoteResolver).
///
/// A reactor never sleeps and does no I/O. A *driver* does that: [`park::run`] on a bare thread, an
/// adapter crate on an executor, or a driver of [your own](driver). Nothing runs until a driver
/// turns the reactor.
///
/// A reactor cannot move to another thread:
///
/// ```compile_fail,E0277
/// let reactor = deferred_core::Reactor::new();
/// std::thread::spawn(move || reactor.stop());
/// ```
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use deferred_core::park;
///
/// park::run(|reactor| {
///     let stopper = reactor.clone();
///     reactor.call_later(Duration::from_millis(5), move || stopper.stop());
/// });
/// ```
///
/// # The end
///
/// [`stop`](Self::stop) ends the loop: the shutdown begins at the end of the current turn, or of
/// the next turn if none is running. The loop ends when the shutdown waits for nothing more. The
/// end of the loop *closes* the reactor, even while clones of it exist (its own timers may hold
/// some): the driver does this, or the drop of the [`ReactorOwner`] that [`Reactor::new`] returns.
/// Closing drops all calls that have not run, and fires [`Abandoned`](crate::Abandoned) in each
/// Deferred that waits for a [`RemoteResolver`](crate::RemoteResolver). A call that is passed to a
/// clone afterwards is dropped.
///
/// # Inside another event loop
///
/// This is what the idle callback of a GUI would do; [`driver`] describes the details.
///
/// ```
/// use std::task::Waker;
/// use deferred_core::{Reactor, Turn};
///
/// let reactor = Reactor::new();
/// reactor.call_when_running(|| println!("the first turn"));
///
/// // The waker would post an event to the GUI.
/// match reactor.turn(Waker::noop()) {
///     Turn::Again => println!("come back soon, after a look at your own events"),
///     Turn::Sleep(Some(due)) => println!("come back at {due:?}, or when woken"),
///     Turn::Sleep(None) => println!("come back when woken"),
///     Turn::Stopped => println!("the end"),
/// }
/// ```
#[derive(Clone)]
pub struct Reactor {
    core: Rc<Core>,
}

struct Core {
    time: Time,
    inbox: Arc<Inbox>,
    /// Calls that were taken out of the inbox and have not run yet.
    posted: RefCell<VecDeque<Posted>>,
    /// The time when the first of them was posted.
    posted_since: Cell<Option<Instant>>,
    /// The number of calls that were ever taken out of `posted`.
    ran: Cell<u64>,
    counters: Counters,
    timers: Timers,
    events: Events,
    /// Values that fire a Deferred when the reactor is closed.
    registry: Registry,
    extensions: Extensions,
    waker: WakerCache,
    watched: OnceCell<Rc<Watched>>,
    life: Cell<Life>,
    /// Whether `stop` was called: the shutdown begins at the end of the turn.
    stopping: Cell<bool>,
    /// Whether the last turn returned `Sleep` and nothing on this thread has woken the driver
    /// since.
    asleep: Cell<bool>,
    /// The time until which the driver sleeps then, in the timers' unit.
    alarm: Cell<Option<u64>>,
    calls_per_turn: Cell<usize>,
}

/// The stages of a reactor's life, in this order. A stop or the closing may skip some.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Life {
    New,
    /// The startup: from the first turn to the end of its triggers.
    Starting,
    Running,
    /// The shutdown, after everything that it waits for is done.
    Ending,
    Stopped,
    Closed,
}

/// Returns `moment + delay`, or a time 30 years later if the clock cannot count that far.
pub(crate) fn deadline_after(moment: Instant, delay: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);
    moment.checked_add(delay).unwrap_or_else(|| moment + FAR)
}

impl Reactor {
    /// Creates a reactor that belongs to this thread. It runs only when a driver turns it. Dropping
    /// the returned owner closes the reactor.
    #[expect(clippy::new_ret_no_self, reason = "the owner derefs to it")]
    pub fn new() -> ReactorOwner {
        Self::with_time(Time::Source(Cell::new(Instant::now)))
    }

    fn with_time(time: Time) -> ReactorOwner {
        let base = time.now();
        let core = Core {
            time,
            inbox: Arc::new(Inbox::new()),
            posted: RefCell::default(),
            posted_since: Cell::new(None),
            counters: Counters::default(),
            ran: Cell::new(0),
            timers: Timers::new(base),
            events: Events::new(),
            registry: Registry::default(),
            extensions: Extensions::default(),
            waker: WakerCache::new(),
            watched: OnceCell::new(),
            life: Cell::new(Life::New),
            stopping: Cell::new(false),
            asleep: Cell::new(false),
            alarm: Cell::new(None),
            calls_per_turn: Cell::new(256),
        };
        undriven::add(&core.inbox);
        ReactorOwner::new(Reactor { core: Rc::new(core) })
    }

    /// Returns a handle with which other threads post calls.
    #[must_use]
    pub fn handle(&self) -> ReactorHandle {
        ReactorHandle::new(self.core.inbox.clone())
    }

    /// Returns the current time of the reactor's clock, which its timers use.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.core.time.now()
    }

    /// Runs `call` on this thread, in the first turn that begins once `delay` has passed from now.
    ///
    /// Calls run in the order of their due times; calls with equal due times run in the order in
    /// which they were made. A call with a delay of zero runs in a turn too, never inside
    /// `call_later`. If `call` returns an error or panics ([`Panicked`](crate::Panicked)), that is
    /// reported as unhandled with the location of this line, and the loop goes on.
    ///
    /// On a closed reactor `call` is dropped, and the returned [`DelayedCall`] is not active.
    ///
    /// Twisted's `callLater`.
    ///
    /// # Cancellation
    ///
    /// [`DelayedCall::cancel`] cancels the call. Dropping the `DelayedCall` has no effect.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{cell::RefCell, rc::Rc, time::Duration};
    /// # use deferred_core::park;
    /// let order = Rc::new(RefCell::new(Vec::new()));
    /// park::run(|reactor| {
    ///     for (millis, name) in [(0, "first"), (0, "second"), (5, "late")] {
    ///         let order = order.clone();
    ///         reactor.call_later(Duration::from_millis(millis), move || order.borrow_mut().push(name));
    ///     }
    ///     let stopper = reactor.clone();
    ///     reactor.call_later(Duration::from_millis(6), move || stopper.stop());
    /// });
    /// assert_eq!(*order.borrow(), ["first", "second", "late"]);
    /// ```
    #[doc(alias = "callLater")]
    #[track_caller]
    pub fn call_later<R: IntoDeferred<Failure>>(
        &self,
        delay: Duration,
        call: impl FnOnce() -> R + 'static,
    ) -> DelayedCall {
        let due = self.moment().saturating_add(nanos(delay));
        self.call_at_moment(due, call, Location::caller())
    }

    /// Like [`call_later`](Self::call_later), but with a due time.
    pub(crate) fn call_at<R: IntoDeferred<Failure>>(
        &self,
        due: Instant,
        call: impl FnOnce() -> R + 'static,
        at: CallSite,
    ) -> DelayedCall {
        self.call_at_moment(self.core.timers.moment(due), call, at)
    }

    fn call_at_moment<R: IntoDeferred<Failure>>(
        &self,
        due: u64,
        call: impl FnOnce() -> R + 'static,
        at: CallSite,
    ) -> DelayedCall {
        let timer = if self.is_closed() {
            report::refusing(|| self.core.timers.add(due, call, at)) // drops the call
        } else {
            self.core.timers.add(due, call, at)
        };
        self.wake_before(due);
        DelayedCall::new(self.clone(), timer)
    }

    /// Returns all pending calls in the order in which they are due, each with the location where
    /// it was registered.
    ///
    /// Twisted's `getDelayedCalls`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use deferred_core::Clock;
    /// let clock = Clock::new();
    /// clock.call_later(Duration::from_secs(1), || ());
    /// for call in clock.delayed_calls() {
    ///     println!("{} is due at {:?}", call.registered_at(), call.time());
    /// }
    /// ```
    #[doc(alias = "getDelayedCalls")]
    #[must_use]
    pub fn delayed_calls(&self) -> Vec<DelayedCall> {
        self.core.timers.all().into_iter().map(|timer| DelayedCall::new(self.clone(), timer)).collect()
    }

    /// Runs `call` at the end of the startup, in the first turn unless the startup waits, or inside
    /// this method if the loop already runs. Several calls run in the order in which they were
    /// added.
    ///
    /// A result or panic of `call` is treated like one of [`call_later`](Self::call_later). On a
    /// stopped reactor `call` is dropped.
    ///
    /// Twisted's `callWhenRunning`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{cell::Cell, rc::Rc, task::Waker};
    /// # use deferred_core::Reactor;
    /// let reactor = Reactor::new();
    /// let seen = Rc::new(Cell::new(0));
    /// let (outer, inner) = (reactor.clone(), seen.clone());
    /// reactor.call_when_running(move || {
    ///     let count = inner.clone();
    ///     outer.call_when_running(move || count.set(1)); // at once
    ///     assert_eq!(inner.get(), 1);
    /// });
    /// assert_eq!(seen.get(), 0);
    /// let _ = reactor.turn(Waker::noop());
    /// assert_eq!(seen.get(), 1);
    /// ```
    #[doc(alias = "callWhenRunning")]
    #[track_caller]
    pub fn call_when_running<R: IntoDeferred<Failure>>(&self, call: impl FnOnce() -> R + 'static) {
        if self.is_running() {
            guarded(Location::caller(), call);
        } else {
            self.add_system_event_trigger(Phase::After, SystemEvent::Startup, call);
        }
    }

    /// Stops the loop. The current turn, or else the next one, finishes its calls, and then the
    /// [shutdown](Self::add_system_event_trigger) begins. If that waits for nothing, the turn is
    /// the last one; otherwise the loop goes on until everything it waits for is done. Then the
    /// driver closes the reactor. A further call, or one on a closed reactor, does nothing.
    pub fn stop(&self) {
        self.core.stopping.set(true);
        self.wake();
    }

    /// Returns `true` while the loop runs: from the [startup](SystemEvent::Startup), which is in
    /// the first turn unless that waits for something, to the [shutdown](SystemEvent::Shutdown).
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.core.life.get() == Life::Running
    }

    /// Sets the maximum number of posted calls, and likewise of timers and of woken coroutines,
    /// that one turn runs. Defaults to
    /// 256. 0 behaves like 1.
    ///
    /// A driver handles I/O between two turns. A smaller number makes it do so sooner while the
    /// reactor is flooded.
    pub fn set_calls_per_turn(&self, calls: usize) {
        self.core.calls_per_turn.set(calls.max(1));
    }

    /// Returns the value of [`set_calls_per_turn`](Self::set_calls_per_turn).
    #[must_use]
    pub fn calls_per_turn(&self) -> usize {
        self.core.calls_per_turn.get()
    }

    /// Runs `call` inside this call as a turn runs a posted call: its error or panic is reported as
    /// unhandled with the location `at` and does not propagate, and a [`Watchdog`] names that
    /// location while `call` runs.
    ///
    /// This is for an adapter that delivers several results with one post, each under the location
    /// that requested it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::panic::Location;
    /// use deferred_core::{Failure, Reactor, on_unhandled};
    ///
    /// let _hook = on_unhandled(|unhandled| eprintln!("{unhandled}"));
    /// let reactor = Reactor::new();
    /// reactor.call_as_posted(Location::caller(), || Err::<(), _>(Failure::msg("reported with this line")));
    /// ```
    pub fn call_as_posted<R: IntoDeferred<Failure>>(&self, at: &'static Location<'static>, call: impl FnOnce() -> R) {
        self.note(CallKind::Posted, at);
        guarded(at, call);
    }

    /// Notifies the watchdog of, if there is one, which call begins now.
    #[inline]
    pub(crate) fn note(&self, kind: CallKind, at: CallSite) {
        if let Some(watched) = self.core.watched.get() {
            watched.begin(kind, at);
        }
    }

    /// Returns `true` if the reactor is closed: see [the end](Self#the-end).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.core.life.get() == Life::Closed
    }

    /// Wakes the driver if it sleeps longer than until `due`.
    fn wake_before(&self, due: u64) {
        if self.core.asleep.get() && self.core.alarm.get().is_none_or(|alarm| due < alarm) {
            self.wake();
        }
    }

    /// Wakes the driver if it sleeps.
    pub(crate) fn wake(&self) {
        if self.core.asleep.replace(false) {
            self.core.inbox.wake();
        }
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").field("life", &self.core.life.get()).finish_non_exhaustive()
    }
}
