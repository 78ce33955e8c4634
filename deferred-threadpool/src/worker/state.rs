//! The data of a pool under its lock: threads, queued jobs, running jobs and statistics.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Weak};
use std::time::Instant;

use deferred_core::RemoteResolver;

use super::queue::Queue;
use super::threads::ThreadSet;
use super::waiters::{StopWaiter, Waiter, WaiterQueue};
use crate::cancel_flag::CancelFlag;
use crate::job::{AnyJob, CompletionSink, JobInfo, JobKey, Outcome, QueuedJob};
use crate::stats::{Counts, RunningJob};

pub(super) struct State {
    pub(super) threads: ThreadSet,
    pub(super) queue: Queue,
    pub(super) counts: Counts,
    /// The running jobs, by the slot of their thread.
    pub(super) slots: Vec<WorkerSlot>,
    /// The number of threads that were ever started, for their names.
    pub(super) started: u64,
    pub(super) stopped: bool,
    /// Whether the watcher runs.
    pub(super) is_watched: bool,
    /// Callers that wait for a place in the queue.
    pub(super) reserving: WaiterQueue<RemoteResolver<Reservation>>,
    /// The number of places that are reserved for callers whose jobs have not come yet.
    pub(super) reserved: usize,
    /// Callers that wait for the end of the last thread.
    pub(super) stop_waiters: WaiterQueue<Box<dyn StopWaiter>>,
}

/// The slot of a thread, which a later thread can reuse.
pub(super) struct WorkerSlot {
    pub(super) is_free: bool,
    /// Which job was cancelled while it ran. Its closure reads it.
    cancelled: Arc<CancelFlag>,
    running: Option<Running>,
}

/// A running job.
pub(super) struct Running {
    pub(super) number: u64,
    pub(super) info: JobInfo,
    started_at: Instant,
    /// Whether the job already counts as cancelled.
    pub(super) is_given_up: bool,
}

/// A running job that was cancelled.
pub(super) struct GivenUp {
    flag: Arc<CancelFlag>,
    number: u64,
    pub(super) sink: Arc<dyn CompletionSink>,
    pub(super) key: JobKey,
}

impl GivenUp {
    /// Makes the calls with which the job is interrupted. They are user code.
    pub(super) fn interrupt(&self) {
        self.flag.interrupt(self.number);
    }
}

/// A reserved place in the queue. Dropping it releases the place: its holder has submitted a job by
/// then, or will not, and the next caller can have the place.
pub(crate) struct Reservation {
    host: Weak<dyn ReservationHost>,
}

/// The pool that a reservation belongs to.
pub(super) trait ReservationHost: Send + Sync {
    fn release_reservation(self: Arc<Self>);
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(host) = self.host.upgrade() {
            host.release_reservation();
        }
    }
}

/// A caller that was removed from the queue of `reserving`.
pub(super) struct ReserveRequest {
    resolver: RemoteResolver<Reservation>,
    /// Whether it has a place. `false` if it was cancelled; it is then only dropped without the
    /// lock.
    has_place: bool,
}

impl ReserveRequest {
    /// Fires the caller's Deferred with a reservation, if a place was reserved for it.
    pub(super) fn grant(self, host: Weak<dyn ReservationHost>) {
        if self.has_place {
            self.resolver.callback(Reservation { host });
        }
    }
}

impl State {
    /// Says where a job is.
    pub(super) fn describe_job(&self, number: u64) -> String {
        let running = self.slots.iter().filter_map(|slot| slot.running.as_ref());
        match running.into_iter().find(|running| running.number == number) {
            Some(running) => format!("running for {:.1?}", running.started_at.elapsed()),
            None => match self.queue.place(number) {
                Some(place) => format!("queued at place {place}, {} threads busy", self.threads.busy()),
                None => "done, its result is on the way".to_owned(),
            },
        }
    }

    pub(super) fn new(min_threads: usize, max_threads: usize) -> State {
        State {
            threads: ThreadSet::new(min_threads, max_threads),
            queue: Queue::default(),
            counts: Counts::new(),
            slots: Vec::new(),
            started: 0,
            stopped: false,
            is_watched: false,
            reserving: WaiterQueue::new(),
            reserved: 0,
            stop_waiters: WaiterQueue::new(),
        }
    }

    /// Returns the number of further jobs that can be queued. A job for which a thread is free does
    /// not count, since it does not have to wait.
    #[inline]
    pub(super) fn free_places(&self, limit: usize) -> usize {
        let free_threads = self.threads.max().saturating_sub(self.threads.busy());
        limit.saturating_add(free_threads).saturating_sub(self.queue.len())
    }

    /// Reserves the free places for the callers that wait. Also returns cancelled callers, which
    /// must be dropped without the lock.
    #[inline]
    pub(super) fn reserve_places(&mut self, limit: usize) -> Vec<ReserveRequest> {
        let mut requests = Vec::new();
        while self.reserved < self.free_places(limit) {
            let Some(resolver) = self.reserving.pop() else { break };
            let has_place = !Waiter::is_cancelled(&resolver);
            self.reserved += usize::from(has_place);
            requests.push(ReserveRequest { resolver, has_place });
        }
        requests
    }

    /// Returns the callers that wait for the end of the pool, if it has ended.
    pub(super) fn take_stop_waiters(&mut self) -> VecDeque<Box<dyn StopWaiter>> {
        if self.stopped && self.threads.count() == 0 { self.stop_waiters.take() } else { VecDeque::new() }
    }

    /// Returns `true` if jobs wait, every thread is busy, and no watcher runs. The caller must
    /// start one then.
    #[inline]
    pub(super) fn needs_watcher(&mut self) -> bool {
        self.queue.len() > 0 && self.threads.all_busy() && !mem::replace(&mut self.is_watched, true)
    }

    pub(super) fn take_queue(&mut self) -> Vec<QueuedJob> {
        std::iter::from_fn(|| self.queue.pop()).collect()
    }

    /// Removes all queued jobs and counts them as cancelled. The caller must complete them.
    pub(super) fn cancel_queue(&mut self) -> Vec<QueuedJob> {
        let cancelled = self.take_queue();
        self.counts.cancelled += cancelled.len() as u64;
        cancelled
    }

    pub(super) fn running(&self) -> Vec<RunningJob> {
        let job = |running: &Running| RunningJob { at: running.info.submitted_on, time: running.started_at.elapsed() };
        self.slots.iter().filter_map(|slot| slot.running.as_ref()).map(job).collect()
    }

    /// Gives a new thread a slot. Returns its index, and the flag for cancelled jobs.
    pub(super) fn take_slot(&mut self) -> (usize, Arc<CancelFlag>) {
        let free = self.slots.iter().position(|slot| slot.is_free);
        let index = free.unwrap_or_else(|| {
            let cancelled = Arc::new(CancelFlag::new());
            self.slots.push(WorkerSlot { is_free: true, cancelled, running: None });
            self.slots.len() - 1
        });
        self.slots[index].is_free = false;
        (index, self.slots[index].cancelled.clone())
    }

    /// Records that the thread of a slot begins a job.
    #[inline]
    pub(super) fn begin_job(&mut self, slot: usize, queued: QueuedJob, now: Instant) -> (u64, Box<dyn AnyJob>) {
        let QueuedJob { number, job, info } = queued;
        self.counts.waits.record(now.saturating_duration_since(info.submitted_at));
        self.slots[slot].running = Some(Running { number, info, started_at: now, is_given_up: false });
        (number, job)
    }

    /// Records that the thread of a slot has finished its job.
    #[inline]
    pub(super) fn finish_job(&mut self, slot: usize, outcome: Outcome, now: Instant) -> Running {
        let running = self.slots[slot].running.take().expect("the thread has begun a job");
        self.counts.runs.record(now.saturating_duration_since(running.started_at));
        if running.is_given_up {
            self.counts.abandoned -= 1;
        } else {
            self.counts.finished(outcome);
        }
        running
    }

    /// Marks running jobs as cancelled. They run on, and their results are ignored. The caller
    /// interrupts them, and may notify their destinations.
    pub(super) fn abandon(&mut self, which: impl Fn(&Running) -> bool) -> Vec<GivenUp> {
        let mut given_up = Vec::new();
        for slot in &mut self.slots {
            let Some(running) = slot.running.as_mut().filter(|running| !running.is_given_up && which(running)) else {
                continue;
            };
            running.is_given_up = true;
            slot.cancelled.set(running.number);
            self.counts.cancelled += 1;
            self.counts.abandoned += 1;
            let (flag, sink, key) = (slot.cancelled.clone(), running.info.sink.clone(), running.info.key);
            given_up.push(GivenUp { flag, number: running.number, sink, key });
        }
        given_up
    }
}
