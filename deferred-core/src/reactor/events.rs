//! The two events of a loop, startup and shutdown: their triggers, the order of these, and the
//! Deferreds that an event waits for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use super::health::increment;
use super::timers::{DelayedCall, Inactive};
use super::turn::guarded;
use super::{CallKind, Life, Reactor, deadline_after};
use crate::context::Context;
use crate::deferred::{CancelHandle, Deferred, IntoDeferred, maybe_deferred_at};
use crate::engine::StageOutput;
use crate::error::{CallSite, Failure};
use crate::numbered::Numbered;
use crate::report::{self, Level, Reportable};

/// An event of the loop, for [`Reactor::add_system_event_trigger`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemEvent {
    /// The start of the loop, in the first turn.
    Startup,
    /// The end of the loop, after [`stop`](Reactor::stop) was called.
    Shutdown,
}

/// The phase of a [`SystemEvent`] in which a trigger runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The phase before the event. If a trigger returns a Deferred, the event waits for it: the
    /// loop goes on, and the event happens when all such Deferreds have fired, with a value or an
    /// error.
    Before,
    /// The phase of the event itself. [`is_running`](Reactor::is_running) returns `true` from the
    /// startup's triggers of this phase to the shutdown's.
    During,
    /// The phase directly after [`During`](Self::During).
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
    /// Makes the trigger inactive. Returns the call, for the caller to run or drop.
    fn end(&self, how: Inactive) -> Option<Call> {
        self.state.set(Err(how));
        self.call.take()
    }
}

/// The state of one event, with its triggers by phase.
struct Event {
    triggers: [RefCell<Numbered<Rc<Trigger>>>; 3],
    /// The number of triggers that were ever added.
    added: Cell<u64>,
    progress: Cell<Progress>,
    /// The Deferreds of [`Phase::Before`] that have not fired, in the order of their calls.
    waits: RefCell<BTreeMap<u64, (CancelHandle, CallSite)>>,
    waited: Cell<u64>,
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Progress {
    Ahead,
    /// The triggers of `Before` are being called.
    Calling,
    /// All of them were called, and the event waits for their Deferreds.
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

    /// Ends the event and drops the remaining triggers.
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
    /// The time for which the shutdown waits.
    deadline_delay: Cell<Option<Duration>>,
    deadline: RefCell<Option<DelayedCall>>,
}

impl Events {
    pub(super) fn new() -> Events {
        let deadline_delay = Cell::new(Some(Duration::from_secs(30)));
        Events { startup: Event::new(), shutdown: Event::new(), deadline_delay, deadline: RefCell::default() }
    }

    fn get(&self, event: SystemEvent) -> &Event {
        match event {
            SystemEvent::Startup => &self.startup,
            SystemEvent::Shutdown => &self.shutdown,
        }
    }

    /// Skips the startup, for a loop that runs from the beginning.
    pub(super) fn has_started(&self) {
        self.startup.progress.set(Progress::Past);
    }

    /// Drops all remaining triggers.
    pub(super) fn close(&self) {
        self.deadline.take();
        self.startup.end(Inactive::ReactorClosed);
        self.shutdown.end(Inactive::ReactorClosed);
    }
}

impl Reactor {
    /// Registers `call` to run at the startup or the shutdown of the loop, on its thread. The calls
    /// of one phase run in the order in which they were added, each once.
    ///
    /// An error or panic of a call is reported as unhandled with the location of this line, and
    /// does not keep the others from running. In [`Phase::Before`] the event waits for a returned
    /// Deferred. A call that is added while its phase runs is run in that phase; one that is added
    /// to `Before` while the event waits runs inside this call. If the phase has passed, or the
    /// reactor is closed, `call` is dropped and the returned trigger is not active.
    ///
    /// A shutdown waits for up to 30 seconds by default: see
    /// [`set_shutdown_deadline`](Self::set_shutdown_deadline). A shutdown that begins while the
    /// startup still waits for Deferreds replaces it: the remaining triggers of the startup are
    /// dropped.
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
    #[doc(alias = "addSystemEventTrigger")]
    #[track_caller]
    pub fn add_system_event_trigger<R: IntoDeferred<Failure>>(
        &self,
        phase: Phase,
        event: SystemEvent,
        call: impl FnOnce() -> R + 'static,
    ) -> SystemEventTrigger {
        let at = Location::caller();
        let context = Context::current();
        let call: Call = Box::new(move || context.run(|| maybe_deferred_at(at, call).without_value(at)));
        let state = self.core.events.get(event);
        let number = state.added.replace(state.added.get() + 1);
        let trigger = Rc::new(Trigger { number, state: Cell::new(Ok(())), call: Cell::new(Some(call)), at });
        if state.has_passed(phase) {
            let how = if self.is_closed() { Inactive::ReactorClosed } else { Inactive::TooLate };
            guarded(at, || drop(trigger.end(how)));
        } else {
            state.triggers[phase as usize].borrow_mut().push(number, trigger.clone());
            if phase == Phase::Before && state.progress.get() == Progress::Waiting {
                self.call_before_triggers(event);
            }
        }
        SystemEventTrigger { reactor: self.clone(), phase, event, trigger }
    }

    /// Sets the time that a shutdown waits for the Deferreds of [`Phase::Before`]. Defaults to 30
    /// seconds; `None` waits forever.
    ///
    /// When the deadline passes, [`ShutdownTimedOut`] is [reported](crate::report), with the
    /// locations of the pending triggers. Their Deferreds are cancelled, and the shutdown goes on
    /// without them. A change has no effect on a shutdown that has begun.
    pub fn set_shutdown_deadline(&self, timeout: impl Into<Option<Duration>>) {
        self.core.events.deadline_delay.set(timeout.into());
    }

    /// Begins the startup. It ends inside this call if there is nothing to wait for.
    pub(super) fn start_up(&self) {
        self.core.life.set(Life::Starting);
        self.call_before_triggers(SystemEvent::Startup);
    }

    /// Begins the shutdown if `stop` was called and the shutdown has not begun. It ends inside this
    /// call if there is nothing to wait for.
    pub(super) fn shut_down_if_stopping(&self) {
        let events = &self.core.events;
        if !self.core.stopping.get() || events.shutdown.progress.get() != Progress::Ahead {
            return;
        }
        events.startup.end(Inactive::TooLate); // no-op if the startup is over
        self.call_before_triggers(SystemEvent::Shutdown);
        let Some(deadline_delay) = events.deadline_delay.get() else { return };
        let slowest = events.shutdown.waits.borrow().first_key_value().map(|(_, (_, at))| *at);
        let Some(at) = slowest else { return };
        let impatient = self.clone();
        let alarm = self.call_at(
            deadline_after(self.now(), deadline_delay),
            move || impatient.stop_waiting(Some(deadline_delay)),
            at,
        );
        events.deadline.replace(Some(alarm));
    }

    fn call_before_triggers(&self, which: SystemEvent) {
        let event = self.core.events.get(which);
        event.progress.set(Progress::Calling);
        while let Some(trigger) = event.next(Phase::Before) {
            let Some(call) = trigger.end(Inactive::AlreadyCalled) else { continue };
            self.note(CallKind::Trigger, trigger.at);
            increment(&self.core.counters.triggers, 1);
            let mut deferred = call();
            let key = event.waited.replace(event.waited.get() + 1);
            if !deferred.is_ready() {
                event.waits.borrow_mut().insert(key, (deferred.cancel_handle(), trigger.at));
            }
            let reactor = self.clone();
            // An error passes through, and is reported.
            drop(deferred.add_stage_at(trigger.at, move |result| {
                reactor.waited_for(which, key);
                StageOutput::Ready(result)
            }));
        }
        // Not if a trigger closed the reactor, or ended the loop in a nested turn.
        if event.progress.get() == Progress::Calling {
            event.progress.set(Progress::Waiting);
            self.happen_if_ready(which);
        }
    }

    fn waited_for(&self, which: SystemEvent, key: u64) {
        let found = self.core.events.get(which).waits.borrow_mut().remove(&key);
        if found.is_some() {
            self.happen_if_ready(which);
        }
    }

    fn happen_if_ready(&self, which: SystemEvent) {
        let event = self.core.events.get(which);
        if event.progress.get() == Progress::Waiting && event.waits.borrow().is_empty() {
            self.happen(which);
        }
    }

    /// Runs the phases `During` and `After` of an event.
    fn happen(&self, which: SystemEvent) {
        let event = self.core.events.get(which);
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
                return; // a trigger closed the reactor
            }
            event.progress.set(progress);
            while let Some(trigger) = event.next(phase) {
                if let Some(call) = trigger.end(Inactive::AlreadyCalled) {
                    self.note(CallKind::Trigger, trigger.at);
                    increment(&self.core.counters.triggers, 1);
                    drop(call());
                }
            }
        }
        event.progress.set(Progress::Past);
        if self.core.life.get() == Life::Ending {
            self.core.life.set(Life::Stopped);
            // This may happen between two turns, while the driver sleeps.
            self.wake();
        }
    }

    /// Ends the shutdown's wait, because its deadline has passed or a second signal came. Does
    /// nothing if it does not wait.
    pub(super) fn stop_waiting(&self, waited: Option<Duration>) {
        let event = &self.core.events.shutdown;
        let waits = event.waits.take();
        if waits.is_empty() {
            return;
        }
        let pending = waits.values().map(|(_, at)| *at).collect();
        report::send(&ShutdownTimedOut { pending, waited });
        self.report_pending_if_inspected("the shutdown does not wait for this any longer");
        for (handle, _) in waits.into_values() {
            handle.cancel();
        }
        // Deferreds that the cancels have added are not waited for.
        event.waits.take();
        if event.progress.get() == Progress::Waiting {
            self.happen(SystemEvent::Shutdown);
        }
    }
}

/// A registered call for the startup or the shutdown. [`Reactor::add_system_event_trigger`] creates
/// it.
///
/// Dropping it has no effect.
#[derive(Clone)]
pub struct SystemEventTrigger {
    reactor: Reactor,
    phase: Phase,
    event: SystemEvent,
    trigger: Rc<Trigger>,
}

impl SystemEventTrigger {
    /// Removes the call and drops its captures inside this call. A trigger can remove another one,
    /// also while the event happens.
    ///
    /// Twisted's `removeSystemEventTrigger`.
    ///
    /// # Errors
    ///
    /// Returns [`Inactive`] if the call has begun, was removed before, was added too late, or was
    /// dropped because its reactor is closed.
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
    #[doc(alias = "removeSystemEventTrigger")]
    pub fn remove(&self) -> Result<(), Inactive> {
        self.trigger.state.get()?;
        let event = self.reactor.core.events.get(self.event);
        let removed = event.triggers[self.phase as usize].borrow_mut().remove(self.trigger.number);
        drop(removed); // `self` still holds the trigger
        drop(self.trigger.end(Inactive::AlreadyCancelled));
        Ok(())
    }

    /// Returns `true` until the call begins or is removed.
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

/// The report of a shutdown that goes on without Deferreds that are still pending, because its
/// deadline has passed or a second signal came.
#[derive(Clone, Debug)]
pub struct ShutdownTimedOut {
    pending: Vec<CallSite>,
    waited: Option<Duration>,
}

impl ShutdownTimedOut {
    /// Returns the locations where the triggers with pending Deferreds were added, in the order in
    /// which they were called.
    #[must_use]
    pub fn pending(&self) -> &[&'static Location<'static>] {
        &self.pending
    }
}

impl fmt::Display for ShutdownTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.waited {
            Some(waited) => write!(f, "the deadline of the shutdown, {waited:?}, has passed")?,
            None => f.write_str("a second signal ended the wait of the shutdown")?,
        }
        let (s, have) = if self.pending.len() == 1 { ("", "has") } else { ("s", "have") };
        let count = self.pending.len();
        write!(f, "; cancelling {count} shutdown trigger{s} that {have} not finished, added at ")?;
        for (index, at) in self.pending.iter().enumerate() {
            write!(f, "{}{at}", if index == 0 { "" } else { ", at " })?;
        }
        Ok(())
    }
}

impl Reportable for ShutdownTimedOut {
    fn kind(&self) -> &'static str {
        "shutdown_timed_out"
    }

    fn level(&self) -> Level {
        Level::Error
    }

    fn location(&self) -> Option<CallSite> {
        self.pending.first().copied()
    }
}
