//! One turn: what runs, in which order, and what the driver is told.

use std::task::Waker;
use std::time::{Duration, Instant};

use super::{CallKind, Life, Reactor};
use crate::deferred::{IntoDeferred, maybe_deferred_at};
use crate::engine::ready_queue;
use crate::error::{CallSite, Failure};

/// What the driver does after a [`Reactor::turn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the driver must turn again, sleep or stop"]
pub enum Turn {
    /// There is more to do now: look after I/O without waiting for it, and turn again.
    Again,
    /// Nothing to do until this moment (`None`: ever), or until the turn's waker is woken.
    Sleep(Option<Instant>),
    /// The loop has ended: close the reactor, and do not turn it again.
    Stopped,
}

impl Reactor {
    /// Runs what is to be run now, and never waits: what a driver calls, on the reactor's thread.
    ///
    /// In this order: in the first turn, the [startup](crate::SystemEvent::Startup); up to 256
    /// posted calls that were there when the turn began, in the order of posting; up to 256 timers
    /// that are due, by due time and order of making, with one reading of the clock for all of
    /// them. Calls that a posted call posts, and timers that a timer makes, wait for the next turn.
    /// The number is [`set_calls_per_turn`](Self::set_calls_per_turn)'s. At the end of the turn in
    /// which it was stopped, the [shutdown](crate::SystemEvent::Shutdown) begins; behind that
    /// nothing runs.
    ///
    /// When it says [`Turn::Sleep`], `waker` is woken by the next change, once: a post from any
    /// thread, a stop, a timer that is earlier than the one slept for, the closing. Otherwise
    /// `waker` is not used.
    ///
    /// A callback may turn its own reactor, as a modal dialog does: the inner turn goes on with the
    /// calls that the outer one has not reached yet. A call that fails or panics is reported as
    /// unhandled, and the turn goes on.
    ///
    /// While it runs, this is [`Reactor::current`].
    pub fn turn(&self, waker: &Waker) -> Turn {
        ready_queue::in_turn(|| self.turn_here(waker))
    }

    fn turn_here(&self, waker: &Waker) -> Turn {
        let core = &*self.core;
        if self.has_ended() {
            return Turn::Stopped;
        }
        let _entered = self.enter();
        let _watching = core.watched.get().map(|watched| watched.turn());
        core.asleep.set(false);
        if core.life.get() == Life::New {
            self.start_up();
        }
        self.run_posted();
        if !self.has_ended() {
            ready_queue::run_batch(core.batch.get(), |at| self.note(CallKind::Coroutine, at));
        }
        let now = core.timers.moment(self.now());
        if !self.has_ended() {
            self.run_due(now);
        }
        self.rest(now, waker)
    }

    /// No batch runs any more.
    fn has_ended(&self) -> bool {
        self.core.life.get() >= Life::Ending
    }

    /// A batch of what was posted. Says how many ran.
    pub(super) fn run_posted(&self) -> u64 {
        let core = &*self.core;
        if core.posted.borrow().is_empty() {
            let spare = core.posted.take();
            let calls = core.inbox.take(spare);
            core.posted.replace(calls);
        }
        // Counted in calls that left the queue, since a nested turn takes its share of them.
        let begin = core.ran.get();
        let end = begin + core.posted.borrow().len().min(core.batch.get()) as u64;
        while core.ran.get() < end {
            let next = core.posted.borrow_mut().pop_front();
            let Some(posted) = next else { break };
            core.ran.set(core.ran.get() + 1);
            self.note(CallKind::Posted, posted.at);
            guarded(posted.at, || posted.call.call(self, posted.at));
        }
        core.ran.get() - begin
    }

    fn run_due(&self, now: u64) {
        let core = &*self.core;
        let made = core.timers.made();
        for _ in 0..core.batch.get() {
            let Some(timer) = core.timers.pop_due(now, made) else { break };
            self.note(CallKind::Timer, timer.registered_at());
            if let Some(watched) = core.watched.get() {
                watched.late(Duration::from_nanos(now - timer.due()));
            }
            timer.run();
        }
    }

    fn rest(&self, now: u64, waker: &Waker) -> Turn {
        let core = &*self.core;
        self.shut_down_if_stopping();
        if self.has_ended() {
            return Turn::Stopped;
        }
        let next = core.timers.next_due();
        let busy = !core.posted.borrow().is_empty() || !ready_queue::is_empty() || next.is_some_and(|due| due <= now);
        if busy || !core.inbox.sleep(waker) {
            return Turn::Again;
        }
        core.asleep.set(true);
        core.alarm.set(next);
        Turn::Sleep(next.map(|moment| core.timers.instant(moment)))
    }
}

/// Runs code of the user, who gave it at `at`. Its error, or its panic, is reported and ends here.
pub(super) fn guarded<R: IntoDeferred<Failure>>(at: CallSite, call: impl FnOnce() -> R) {
    drop(maybe_deferred_at::<Failure, _>(at, call));
}
