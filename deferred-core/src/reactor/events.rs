//! The two events of a loop, its startup and its shutdown: who is called at each, in which order,
//! and who is waited for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use super::timers::{DelayedCall, Inactive};
use super::turn::guarded;
use super::{CallKind, Life, Reactor, deadline_after};
use crate::deferred::{CancelHandle, Deferred, IntoDeferred, maybe_deferred_at};
use crate::error::{self, CallSite, Failure};
use crate::numbered::Numbered;

/// What [`Reactor::add_system_event_trigger`] can be called at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemEvent {
    /// The first turn.
    Startup,
    /// The end of the turn in which [`stop`](Reactor::stop) was called.
    Shutdown,
}

/// When, at a [`SystemEvent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// First. A Deferred that is returned here is waited for: the loop goes on turning, and the
    /// event comes when all of them have fired, whatever with.
    Before,
    /// The event itself. The reactor [`is_running`](Reactor::is_running) from here, at the startup,
    /// and to here, at the shutdown.
    During,
    /// Last, straight behind it.
    After,
}

type Call = Box<dyn FnOnce() -> Deferred<()>>;

struct Trigger {
    number: u64,
    state: Cell<Result<(), Inactive>>,
    call: Cell<Option<Call>>,
    at: CallSite,
}

impl Trigger {
    /// Not any more; the call is for the caller to run or drop.
    fn end(&self, how: Inactive) -> Option<Call> {
        self.state.set(Err(how));
        self.call.take()
    }
}

/// One event, with those that are to be called, by phase.
struct Event {
    triggers: [RefCell<Numbered<Rc<Trigger>>>; 3],
    /// How many were added.
    added: Cell<u64>,
    progress: Cell<Progress>,
    /// Those of [`Phase::Before`] that have not fired, by the order in which they were called.
    waits: RefCell<BTreeMap<u64, (CancelHandle, CallSite)>>,
    waited: Cell<u64>,
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Progress {
    Ahead,
    /// In a pass through those that come before.
    Calling,
    /// The pass is over, and the event waits for their Deferreds.
    Waiting,
    During,
    After,
    Past,
}

impl Event {
    fn new() -> Event {
        Event {
            triggers: Default::default(),
            added: Cell::new(0),
            progress: Cell::new(Progress::Ahead),
            waits: RefCell::default(),
            waited: Cell::new(0),
        }
    }

    fn has_passed(&self, phase: Phase) -> bool {
        self.progress.get()
            > match phase {
                Phase::Before => Progress::Waiting,
                Phase::During => Progress::During,
                Phase::After => Progress::After,
            }
    }

    fn next(&self, phase: Phase) -> Option<Rc<Trigger>> {
        self.triggers[phase as usize].borrow_mut().pop()
    }

    /// It does not come any more, or has: what is left is dropped.
    fn end(&self, how: Inactive) {
        self.progress.set(Progress::Past);
        drop(self.waits.take());
        for phase in &self.triggers {
            for trigger in phase.take().into_entries() {
                guarded(trigger.at, || drop(trigger.end(how)));
            }
        }
    }
}

pub(super) struct Events {
    startup: Event,
    shutdown: Event,
    /// How long the shutdown waits.
    patience: Cell<Option<Duration>>,
    deadline: RefCell<Option<DelayedCall>>,
}

impl Events {
    pub(super) fn new() -> Events {
        let patience = Cell::new(Some(Duration::from_secs(30)));
        Events { startup: Event::new(), shutdown: Event::new(), patience, deadline: RefCell::default() }
    }

    fn of(&self, event: SystemEvent) -> &Event {
        match event {
            SystemEvent::Startup => &self.startup,
            SystemEvent::Shutdown => &self.shutdown,
        }
    }

    /// Of a loop that runs from the beginning.
    pub(super) fn has_started(&self) {
        self.startup.progress.set(Progress::Past);
    }

    /// Drops all calls that are left.
    pub(super) fn close(&self) {
        self.deadline.take();
        self.startup.end(Inactive::ReactorClosed);
        self.shutdown.end(Inactive::ReactorClosed);
    }
}

impl Reactor {
    /// Has `call` run at the startup or the shutdown of the loop, on its thread. Those of one phase
    /// run in the order in which they were added, each once.
    ///
    /// An error of one, and a panic, is reported as unhandled with the place of this line, and does
    /// not keep the others from running. In [`Phase::Before`] it may return a Deferred, which is
    /// waited for. What is added while its phase runs is run in it; what is added to `Before` while
    /// Deferreds are waited for runs at once, in here. Where the phase has passed, and on a closed
    /// reactor, `call` is dropped and the trigger is not active.
    ///
    /// A shutdown waits for 30 seconds unless [told otherwise](Self::set_shutdown_deadline). One
    /// that begins while the startup still waits for Deferreds takes its place: the rest of the
    /// startup is dropped.
    ///
    /// Twisted's `addSystemEventTrigger`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_core::{Deferred, Phase, SystemEvent, park};
    ///
    /// park::run(|reactor| {
    ///     let saver = reactor.clone();
    ///     reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || {
    ///         println!("saving");
    ///         saver.sleep(Duration::from_millis(1)).map(|()| println!("saved"))
    ///     });
    ///     reactor.add_system_event_trigger(Phase::After, SystemEvent::Shutdown, || println!("bye"));
    ///     reactor.stop();
    /// });
    /// ```
    #[track_caller]
    pub fn add_system_event_trigger<R: IntoDeferred<Failure>>(
        &self,
        phase: Phase,
        event: SystemEvent,
        call: impl FnOnce() -> R + 'static,
    ) -> SystemEventTrigger {
        let at = Location::caller();
        let call: Call = Box::new(move || maybe_deferred_at(at, call).without_value(at));
        let of = self.core.events.of(event);
        let number = of.added.replace(of.added.get() + 1);
        let trigger = Rc::new(Trigger { number, state: Cell::new(Ok(())), call: Cell::new(Some(call)), at });
        if of.has_passed(phase) {
            let how = if self.is_closed() { Inactive::ReactorClosed } else { Inactive::TooLate };
            guarded(at, || drop(trigger.end(how)));
        } else {
            of.triggers[phase as usize].borrow_mut().push(number, trigger.clone());
            if phase == Phase::Before && of.progress.get() == Progress::Waiting {
                self.call_those_before(event);
            }
        }
        SystemEventTrigger { reactor: self.clone(), phase, event, trigger }
    }

    /// How long a shutdown waits for the Deferreds of [`Phase::Before`]: 30 seconds unless set,
    /// `None` for ever.
    ///
    /// When it has passed, [`ShutdownTimedOut`] is reported as unhandled, which says what is still
    /// waited for; that is cancelled, and the shutdown goes on without it. A shutdown that has
    /// begun keeps the deadline that it began with.
    pub fn set_shutdown_deadline(&self, deadline: impl Into<Option<Duration>>) {
        self.core.events.patience.set(deadline.into());
    }

    /// Begins the startup: it ends in here if there is nothing to wait for.
    pub(super) fn start_up(&self) {
        self.core.life.set(Life::Starting);
        self.call_those_before(SystemEvent::Startup);
    }

    /// Begins the shutdown, if that was asked for and has not begun; as
    /// [`start_up`](Self::start_up).
    pub(super) fn shut_down_if_stopping(&self) {
        let events = &self.core.events;
        if !self.core.stopping.get() || events.shutdown.progress.get() != Progress::Ahead {
            return;
        }
        events.startup.end(Inactive::TooLate); // unless it has come long since
        self.call_those_before(SystemEvent::Shutdown);
        let Some(patience) = events.patience.get() else { return };
        let slowest = events.shutdown.waits.borrow().first_key_value().map(|(_, (_, at))| *at);
        let Some(at) = slowest else { return };
        let impatient = self.clone();
        let alarm =
            self.call_at(deadline_after(self.now(), patience), move || impatient.stop_waiting(Some(patience)), at);
        events.deadline.replace(Some(alarm));
    }

    fn call_those_before(&self, which: SystemEvent) {
        let event = self.core.events.of(which);
        event.progress.set(Progress::Calling);
        while let Some(trigger) = event.next(Phase::Before) {
            let Some(call) = trigger.end(Inactive::AlreadyCalled) else { continue };
            self.note(CallKind::Trigger, trigger.at);
            let mut deferred = call();
            let key = event.waited.replace(event.waited.get() + 1);
            if !deferred.is_ready() {
                event.waits.borrow_mut().insert(key, (deferred.cancel_handle(), trigger.at));
            }
            let reactor = self.clone();
            // Its error goes through, and is told.
            drop(deferred.add_both(move |result| {
                reactor.waited_for(which, key);
                result
            }));
        }
        // Unless one of them closed the reactor, or ended the loop in a turn of its own.
        if event.progress.get() == Progress::Calling {
            event.progress.set(Progress::Waiting);
            self.come_if_ready(which);
        }
    }

    fn waited_for(&self, which: SystemEvent, key: u64) {
        let found = self.core.events.of(which).waits.borrow_mut().remove(&key);
        if found.is_some() {
            self.come_if_ready(which);
        }
    }

    fn come_if_ready(&self, which: SystemEvent) {
        let event = self.core.events.of(which);
        if event.progress.get() == Progress::Waiting && event.waits.borrow().is_empty() {
            self.come(which);
        }
    }

    /// The event itself.
    fn come(&self, which: SystemEvent) {
        let event = self.core.events.of(which);
        let alarm = self.core.events.deadline.take();
        if let Some(alarm) = alarm {
            let _ = alarm.cancel();
        }
        self.core.life.set(match which {
            SystemEvent::Startup => Life::Running,
            SystemEvent::Shutdown => Life::Ending,
        });
        for (phase, progress) in [(Phase::During, Progress::During), (Phase::After, Progress::After)] {
            if event.progress.get() == Progress::Past {
                return; // the same
            }
            event.progress.set(progress);
            while let Some(trigger) = event.next(phase) {
                if let Some(call) = trigger.end(Inactive::AlreadyCalled) {
                    self.note(CallKind::Trigger, trigger.at);
                    drop(call());
                }
            }
        }
        event.progress.set(Progress::Past);
        if self.core.life.get() == Life::Ending {
            self.core.life.set(Life::Stopped);
            // It may have ended between two turns, while the driver slept.
            self.wake();
        }
    }

    /// The shutdown waits no longer, since it has waited for so long, or was asked again. Nothing
    /// if it does not wait.
    pub(super) fn stop_waiting(&self, waited: Option<Duration>) {
        let event = &self.core.events.shutdown;
        let waits = event.waits.take();
        let Some((_, (_, at))) = waits.first_key_value() else { return };
        let at = *at;
        let pending = waits.values().map(|(_, at)| *at).collect();
        error::report(&Failure::from(ShutdownTimedOut { pending, waited }), at, at);
        for (handle, _) in waits.into_values() {
            handle.cancel();
        }
        // What was added by that is not waited for.
        event.waits.take();
        if event.progress.get() == Progress::Waiting {
            self.come(SystemEvent::Shutdown);
        }
    }
}

/// A call that waits for the startup or the shutdown; [`Reactor::add_system_event_trigger`] gives
/// it.
///
/// Dropping it changes nothing.
#[derive(Clone)]
pub struct SystemEventTrigger {
    reactor: Reactor,
    phase: Phase,
    event: SystemEvent,
    trigger: Rc<Trigger>,
}

impl SystemEventTrigger {
    /// Takes the call back. What it captured is dropped now, in here. One trigger may remove
    /// another one, also while the event comes.
    ///
    /// Twisted's `removeSystemEventTrigger`.
    ///
    /// # Errors
    ///
    /// If the call has begun, was removed before, came too late, or was dropped because its reactor
    /// is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::{Phase, Reactor, SystemEvent};
    ///
    /// let reactor = Reactor::new();
    /// let trigger = reactor.add_system_event_trigger(Phase::During, SystemEvent::Startup, || println!("never"));
    /// assert_eq!(trigger.remove(), Ok(()));
    /// assert!(!trigger.active());
    /// ```
    pub fn remove(&self) -> Result<(), Inactive> {
        self.trigger.state.get()?;
        let event = self.reactor.core.events.of(self.event);
        let removed = event.triggers[self.phase as usize].borrow_mut().remove(self.trigger.number);
        drop(removed); // it lives: this holds it
        drop(self.trigger.end(Inactive::AlreadyCancelled));
        Ok(())
    }

    /// Whether the call is still to come. Inside the call itself, not any more.
    #[must_use]
    pub fn active(&self) -> bool {
        self.trigger.state.get().is_ok()
    }
}

impl fmt::Debug for SystemEventTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemEventTrigger")
            .field("phase", &self.phase)
            .field("event", &self.event)
            .field("active", &self.active())
            .field("at", &format_args!("{}", self.trigger.at))
            .finish()
    }
}

/// A shutdown has waited for as long as it was allowed to, or a second signal came, and it goes on
/// without what is still pending.
///
/// Reported as unhandled; a hook finds it with
/// [`Unhandled::downcast_ref`](crate::Unhandled::downcast_ref).
#[derive(Debug)]
pub struct ShutdownTimedOut {
    pending: Vec<CallSite>,
    waited: Option<Duration>,
}

impl ShutdownTimedOut {
    /// Where the triggers were added whose Deferreds have not fired, in the order in which they
    /// were called.
    #[must_use]
    pub fn pending(&self) -> &[&'static Location<'static>] {
        &self.pending
    }
}

impl fmt::Display for ShutdownTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the shutdown waits no longer")?;
        if let Some(waited) = self.waited {
            write!(f, " than its deadline, {waited:?}")?;
        }
        f.write_str(", and cancels what was to come before it, added at ")?;
        for (index, at) in self.pending.iter().enumerate() {
            write!(f, "{}{at}", if index == 0 { "" } else { ", at " })?;
        }
        Ok(())
    }
}

impl Error for ShutdownTimedOut {}
