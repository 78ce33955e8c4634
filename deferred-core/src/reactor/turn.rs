//! A turn of the loop.

use std::task::Waker;

use super::health::increment;
use super::{CallKind, Life, Reactor};
use crate::context;
use crate::deferred::{IntoDeferred, maybe_deferred_at};
use crate::engine::ready_queue;
use crate::error::{CallSite, Failure};
use crate::instant::Instant;

/// The driver's next step after a [`Reactor::turn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the driver must turn again, sleep or stop"]
pub enum Turn {
    /// More calls are ready: handle I/O without waiting for it, and turn again.
    Again,
    /// Nothing is ready. Turn again at this time (`None`: never), or when the turn's waker is
    /// called.
    Sleep(Option<Instant>),
    /// The loop has ended: close the reactor, and do not turn it again.
    Stopped,
}

impl Reactor {
    /// Runs the calls that are ready, without waiting. A driver calls this on the reactor's thread.
    ///
    /// In this order:
    ///
    /// 1. In the first turn, the [startup](crate::SystemEvent::Startup).
    /// 2. Up to 256 of the calls that were posted before the turn began, in the order of posting.
    /// 3. Up to 256 woken coroutines.
    /// 4. Up to 256 timers that are due, in the order of due time and creation. One reading of the
    ///    clock serves all of them.
    /// 5. At the end of the turn in which the reactor was stopped, the
    ///    [shutdown](crate::SystemEvent::Shutdown). After that nothing runs.
    ///
    /// Calls that a posted call posts, and timers that a timer creates, wait for the next turn. See
    /// [`set_calls_per_turn`](Self::set_calls_per_turn) for the limit of 256.
    ///
    /// If it returns [`Turn::Sleep`], the next change calls `waker`, once: a post from any thread,
    /// a stop, a timer that is due before the returned time, the closing. Otherwise `waker` is not
    /// used.
    ///
    /// A callback may turn its own reactor, like a modal dialog: the inner turn goes on with the
    /// calls that the outer one has not reached. A call that fails or panics is reported as
    /// unhandled, and the turn goes on.
    ///
    /// During the turn, [`Reactor::current`] returns this reactor.
    pub fn turn(&self, waker: &Waker) -> Turn {
        // The calls do not have the context of a call that turns the reactor, such as that of a
        // modal dialog.
        ready_queue::in_turn(|| context::without(|| self.turn_here(waker)))
    }

    fn turn_here(&self, waker: &Waker) -> Turn {
        let core = &*self.core;
        if self.has_ended() {
            return Turn::Stopped;
        }
        let started_at = Instant::now();
        let _entered = self.enter();
        let _watching = core.watched.get().map(|watched| watched.turn());
        core.asleep.set(false);
        if core.life.get() == Life::New {
            core.inbox.undriven().expect_driver();
            self.start_up();
        }
        self.run_posted();
        if !self.has_ended() {
            let resumed = ready_queue::run_batch(core.calls_per_turn.get(), |at| self.note(CallKind::Coroutine, at));
            increment(&core.counters.coroutines, resumed as u64);
        }
        let now = self.moment();
        if !self.has_ended() {
            self.run_due(now);
        }
        if let Some(watched) = core.watched.get().filter(|watched| watched.take_reported()) {
            watched.unwatched(|| self.report_pending_if_inspected("after the call that has blocked the loop"));
        }
        core.counters.turn(started_at);
        self.rest(now, waker)
    }

    /// Returns `true` once no further batch runs.
    fn has_ended(&self) -> bool {
        self.core.life.get() >= Life::Ending
    }

    /// Runs a batch of the posted calls. Returns their number.
    pub(super) fn run_posted(&self) -> u64 {
        let core = &*self.core;
        if core.posted.borrow().is_empty() {
            let spare = core.posted.take();
            let (calls, since) = core.inbox.take(spare);
            core.posted.replace(calls);
            core.posted_since.set(since);
        }
        // Counts the calls that left the queue, since a nested turn takes some of them too.
        let begin = core.ran.get();
        let end = begin + core.posted.borrow().len().min(core.calls_per_turn.get()) as u64;
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
        for _ in 0..core.calls_per_turn.get() {
            let Some(timer) = core.timers.pop_due(now, made) else { break };
            self.note(CallKind::Timer, timer.registered_at());
            core.counters.lateness.record(now - timer.due());
            timer.run();
            core.timers.recycle(timer);
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

/// Runs user code that was registered at `at`. Reports its error or panic as unhandled.
pub(super) fn guarded<R: IntoDeferred<Failure>>(at: CallSite, call: impl FnOnce() -> R) {
    drop(maybe_deferred_at::<Failure, _>(at, call));
}
