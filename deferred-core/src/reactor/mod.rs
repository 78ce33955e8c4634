//! The reactor: timers, calls from other threads, and the order in which they run. It does no
//! waiting; see [`Reactor`].
//!
//! - this file: what a reactor is, and what is asked of it;
//! - `owner`: who ends it, and how;
//! - `turn`: what a turn does, in which order;
//! - `events`: its startup and its shutdown;
//! - `timers`: `call_later`, and `wheel`, the order in which they are due;
//! - `inbox`: how other threads reach it, and how its driver sleeps; a protocol, and the page that
//!   states it;
//! - `kept`: who waits for something that comes later, and fires at the end at the latest;
//! - `handle`, `remote`, `sender`: what other threads hold: calls to post, Deferreds to fire,
//!   queues to feed;
//! - `completer`: what other threads, and other runtimes, wait for; `elsewhere`: a Deferred of the
//!   loop as that;
//! - `signals`: Ctrl-C;
//! - `by_hand`: time that a test moves;
//! - `driver`: what an adapter for an event loop is made of, and how to write one;
//! - `watchdog`: says what blocks the loop;
//! - `current`: which reactor is this thread's;
//! - `extensions`: what adapters keep in it;
//! - `outcome`: a loop that runs until something is done;
//! - `park`: the driver for a bare thread.

mod current;
pub mod driver;
mod events;
mod extensions;
mod handle;
mod inbox;
mod manual_time;
mod outcome;
mod owner;
pub mod park;
mod registry;
#[cfg(feature = "signals")]
mod signals;
mod sync;
mod timers;
mod turn;
mod waker;
mod watchdog;
mod wheel;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use current::EnterGuard;
pub use driver::NotRestartable;
use events::Events;
pub use events::{Phase, ShutdownTimedOut, SystemEvent, SystemEventTrigger};
use extensions::Extensions;
pub use handle::{Closed, ReactorHandle};
use inbox::Inbox;
pub(crate) use inbox::{Call, Posted};
use manual_time::Time;
pub use outcome::Outcome;
pub use owner::ReactorOwner;
use registry::Kept;
pub use timers::{DelayedCall, Inactive};
use timers::{Timers, nanos};
pub use turn::Turn;
use turn::guarded;
use waker::WakerCache;
pub(crate) use waker::WakerHandle;
use watchdog::Watched;
pub use watchdog::{Blocked, CallKind, LoopTimes, Watchdog, set_blocked_hook, take_blocked_hook};

use crate::deferred::IntoDeferred;
use crate::error::{CallSite, Failure};

/// The loop, without the waiting: timers, calls from other threads, and the order in which all that
/// runs.
///
/// A reactor belongs to the thread that made it. Clones are cheap and mean the same reactor;
/// callbacks may hold them. Other threads reach it through a [`ReactorHandle`] or a
/// [`RemoteResolver`].
///
/// It never sleeps and does no I/O. A *driver* does that: [`park::run`] on a bare thread, an
/// adapter crate on an executor, or [yours](driver). Nothing runs until a driver turns the reactor.
///
/// What must stay on its thread does not compile elsewhere:
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
/// [`stop`](Self::stop) ends the loop: the turn that runs, or else the next one, is the last. The
/// end of the loop *closes* the reactor, whatever clones of it live (its own timers may hold some):
/// the driver does, or dropping the [`ReactorOwner`] that [`Reactor::new`] gave. Closing drops all
/// calls that have not run and fires [`Abandoned`](crate::Abandoned) in each Deferred that waits
/// for a [`RemoteResolver`]. The clones that are left answer "stopped": a call that is given to
/// them is dropped.
///
/// # Inside an event loop that is there already
///
/// What a GUI's idle callback would do; [`driver`] says what else there is to know.
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
    /// How many calls were ever taken out of `posted`.
    ran: Cell<u64>,
    timers: Timers,
    events: Events,
    /// Who waits for something that comes later, and must not wait for ever.
    kept: Kept,
    extensions: Extensions,
    waker: WakerCache,
    watched: OnceCell<Rc<Watched>>,
    life: Cell<Life>,
    /// `stop` was called: the shutdown begins at the end of the turn.
    stopping: Cell<bool>,
    /// The last turn ended in `Sleep`, and nothing woke the driver from this thread since.
    asleep: Cell<bool>,
    /// Until when it sleeps then, as the timers count.
    alarm: Cell<Option<u64>>,
    batch: Cell<usize>,
}

/// In this order, though a stop or the closing may leave some out.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Life {
    New,
    /// From the first turn to the startup.
    Starting,
    Running,
    /// In the shutdown itself, when nothing is waited for any more.
    Ending,
    Stopped,
    Closed,
}

/// The moment that is `delay` after another; where the clock cannot count that far, one as good as
/// never.
pub(crate) fn deadline_after(moment: Instant, delay: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);
    moment.checked_add(delay).unwrap_or_else(|| moment + FAR)
}

impl Reactor {
    /// A reactor of this thread, and who owns it: it is closed when the owner is dropped. It needs
    /// a driver to run.
    #[expect(clippy::new_ret_no_self, reason = "the owner derefs to it")]
    pub fn new() -> ReactorOwner {
        Self::with_time(Time::OfTheSystem)
    }

    fn with_time(time: Time) -> ReactorOwner {
        let base = time.now();
        let core = Core {
            time,
            inbox: Arc::new(Inbox::new()),
            posted: RefCell::default(),
            ran: Cell::new(0),
            timers: Timers::new(base),
            events: Events::new(),
            kept: Kept::default(),
            extensions: Extensions::default(),
            waker: WakerCache::new(),
            watched: OnceCell::new(),
            life: Cell::new(Life::New),
            stopping: Cell::new(false),
            asleep: Cell::new(false),
            alarm: Cell::new(None),
            batch: Cell::new(256),
        };
        ReactorOwner::new(Reactor { core: Rc::new(core) })
    }

    /// What other threads reach this reactor by.
    #[must_use]
    pub fn handle(&self) -> ReactorHandle {
        ReactorHandle::new(self.core.inbox.clone())
    }

    /// The reactor's clock: now, in the time that its timers are measured in.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.core.time.now()
    }

    /// Runs `call` on this thread, in the first turn that begins once `delay` has passed from now.
    ///
    /// Calls run in the order of their due times, those of equal due time in the order they were
    /// made. A call with a delay of zero runs in a turn too, never inside `call_later`. An error
    /// that `call` returns, and a panic of it ([`Panicked`](crate::Panicked)), is reported as
    /// unhandled with the place of this line, and the loop goes on.
    ///
    /// On a closed reactor `call` is dropped, and the [`DelayedCall`] is not active.
    ///
    /// Twisted's `callLater`.
    ///
    /// # Cancellation
    ///
    /// [`DelayedCall::cancel`]. Dropping the `DelayedCall` changes nothing.
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
    #[track_caller]
    pub fn call_later<R: IntoDeferred<Failure>>(
        &self,
        delay: Duration,
        call: impl FnOnce() -> R + 'static,
    ) -> DelayedCall {
        let timers = &self.core.timers;
        let due = timers.moment(self.now()).saturating_add(nanos(delay));
        self.call_at_moment(due, call, Location::caller())
    }

    /// [`call_later`](Self::call_later) at a moment.
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
        let timer = self.core.timers.add(due, call, at);
        self.wake_before(due);
        DelayedCall::new(self.clone(), timer)
    }

    /// All calls that are pending, in the order in which they are due, each with the place where it
    /// was registered.
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
    #[must_use]
    pub fn delayed_calls(&self) -> Vec<DelayedCall> {
        self.core.timers.all().into_iter().map(|timer| DelayedCall::new(self.clone(), timer)).collect()
    }

    /// Runs `call` as soon as the loop runs: at the start of the first turn, in the order they were
    /// given; at once, inside this method, if it runs already.
    ///
    /// What `call` returns, and a panic of it, is treated as by [`call_later`](Self::call_later).
    /// On a reactor that has stopped it is dropped.
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
    #[track_caller]
    pub fn call_when_running<R: IntoDeferred<Failure>>(&self, call: impl FnOnce() -> R + 'static) {
        if self.is_running() {
            guarded(Location::caller(), call);
        } else {
            self.add_system_event_trigger(Phase::After, SystemEvent::Startup, call);
        }
    }

    /// Ends the loop: the turn that runs, or else the next one, runs its calls to the end, and then
    /// the [shutdown](Self::add_system_event_trigger) begins. Where that waits for nothing, this
    /// turn is the last; otherwise the loop goes on until what it waits for is done. Then the
    /// driver closes the reactor. Calling it again, or on a closed reactor, does nothing.
    pub fn stop(&self) {
        self.core.stopping.set(true);
        self.wake();
    }

    /// Whether the loop runs: from the [startup](SystemEvent::Startup), which is in its first turn
    /// unless that waits for something, to the [shutdown](SystemEvent::Shutdown).
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.core.life.get() == Life::Running
    }

    /// How many posted calls, and then how many timers, one turn runs at most: 256 unless set. 0
    /// counts as 1.
    ///
    /// A driver looks after I/O between two turns. A smaller number makes it do so sooner while the
    /// reactor is flooded.
    pub fn set_calls_per_turn(&self, calls: usize) {
        self.core.batch.set(calls.max(1));
    }

    /// What [`set_calls_per_turn`](Self::set_calls_per_turn) says.
    #[must_use]
    pub fn calls_per_turn(&self) -> usize {
        self.core.batch.get()
    }

    /// Runs a call now as a turn runs a posted one, with the place that it is named by: its error
    /// or panic is reported and ends here, and a [`Watchdog`] knows the place while it runs.
    ///
    /// For an adapter that brings several results with one post: a result each, with the place that
    /// asked for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::panic::Location;
    /// use deferred_core::{Failure, Reactor, on_unhandled};
    ///
    /// let _hook = on_unhandled(|unhandled| eprintln!("{unhandled}"));
    /// let reactor = Reactor::new();
    /// reactor.call_as_posted(Location::caller(), || Err::<(), _>(Failure::msg("told with this line")));
    /// ```
    pub fn call_as_posted<R: IntoDeferred<Failure>>(&self, at: &'static Location<'static>, call: impl FnOnce() -> R) {
        self.note(CallKind::Posted, at);
        guarded(at, call);
    }

    /// It runs a call now, for whoever watches.
    #[inline]
    pub(crate) fn note(&self, kind: CallKind, at: CallSite) {
        if let Some(watched) = self.core.watched.get() {
            watched.begin(kind, at);
        }
    }

    /// Whether it has ended: see [the end](Self#the-end).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.core.life.get() == Life::Closed
    }

    /// There is a timer for this moment, which a driver that sleeps longer must know.
    fn wake_before(&self, due: u64) {
        if self.core.asleep.get() && self.core.alarm.get().is_none_or(|alarm| due < alarm) {
            self.wake();
        }
    }

    /// Something has changed that a sleeping driver must know.
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
