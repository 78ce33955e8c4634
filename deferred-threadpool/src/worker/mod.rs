//! The threads of a pool and the jobs that wait for them, protected by one lock.
//!
//! - this file: `Workers`, the pool's core, and its operations;
//! - `state`: the data under the lock;
//! - `run`: the thread's side: it takes jobs, runs them, and sleeps;
//! - `threads`: waking, starting and ending threads; its documentation states the protocol;
//! - `queue`: the queue of jobs;
//! - `waiters`: callers that wait for a place in the queue, or for the end of the pool;
//! - `watch`: the thread that reports a stuck pool.
//!
//! A finished job goes to its [`CompletionSink`](crate::job::CompletionSink); this folder is
//! independent of the implementations.

mod queue;
mod run;
mod state;
mod threads;
mod waiters;
mod watch;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deferred_core::{Abandoned, Cancelled, Failure, RemoteResolver};

use crate::config::Config;
use crate::error::{PoolStopped, QueueFull, StopTimedOut};
use crate::job::{AnyJob, JobInfo, QueuedJob, ignore_panic};
use crate::stats::PoolStats;
use crate::sync::{Mutex, MutexGuard, preemption_point};
use state::{GivenUp, ReservationHost, ReserveRequest, State};
use threads::WakeAction;

pub(crate) use state::Reservation;
pub(crate) use waiters::{StopWaiter, Waiter};

/// The core of a pool: its settings, and its state under the lock.
pub(crate) struct Workers {
    pub(crate) config: Config,
    state: Mutex<State>,
    /// The number of queued jobs, for threads that spin.
    queued: AtomicUsize,
}

/// Actions that a critical section has decided on, and that must run after the lock is released.
#[derive(Default)]
struct AfterUnlock {
    wake: Option<WakeAction>,
    /// Requests that left the waiting list: with a place, or cancelled and only to be dropped.
    reserved: Vec<ReserveRequest>,
    /// Callers to notify that the pool has ended.
    stopped: VecDeque<Box<dyn StopWaiter>>,
    /// Whether a watcher must be started.
    watch: bool,
}

impl AfterUnlock {
    fn run(self, workers: &Arc<Workers>) {
        if let Some(action) = self.wake {
            preemption_point();
            match action {
                WakeAction::Unpark(sleeper) => sleeper.unpark(),
                WakeAction::Spawn => workers.spawn_thread(),
            }
        }
        self.stopped.into_iter().for_each(|waiter| waiter.complete(Ok(())));
        for request in self.reserved {
            let host = Arc::downgrade(workers);
            request.grant(host);
        }
        if self.watch && !workers.start_watcher() {
            workers.lock().is_watched = false;
        }
    }
}

impl Workers {
    pub(crate) fn new(config: Config) -> Arc<Workers> {
        let state = State::new(config.kept_threads(config.min_threads), config.max_threads);
        Arc::new(Workers { config, state: Mutex::new(state), queued: AtomicUsize::new(0) })
    }

    /// Queues a job. Returns its number.
    ///
    /// # Errors
    ///
    /// Returns the job and the reason if the pool is stopped or the queue is full.
    pub(crate) fn submit(
        self: &Arc<Self>,
        job: Box<dyn AnyJob>,
        info: JobInfo,
    ) -> Result<u64, (Box<dyn AnyJob>, Failure)> {
        let mut state = self.lock();
        let number = state.counts.submitted;
        state.counts.submitted += 1;
        if state.stopped || state.free_places(self.config.queue_limit) == 0 {
            state.counts.refused += 1;
            let why = if state.stopped {
                PoolStopped::default().into()
            } else {
                QueueFull { limit: self.config.queue_limit }.into()
            };
            drop(state);
            return Err((job, why));
        }
        state.queue.push(QueuedJob { number, job, info });
        let queued = self.note_queued(&state);
        let wake = state.threads.wake_for(queued);
        let watch = state.needs_watcher();
        drop(state);
        AfterUnlock { wake, watch, ..AfterUnlock::default() }.run(self);
        Ok(number)
    }

    /// Cancels a job. If it is queued, drops it inside this call; if it runs, sets the flag that
    /// [`Job::is_cancelled`](crate::Job::is_cancelled) reads.
    pub(crate) fn cancel(self: &Arc<Self>, number: u64) {
        let mut state = self.lock();
        let mut after = AfterUnlock::default();
        let removed = state.queue.remove(number);
        let mut given_up = Vec::new();
        if removed.is_some() {
            state.counts.cancelled += 1;
            self.note_queued(&state);
            after.reserved = state.reserve_places(self.config.queue_limit);
        } else {
            given_up = state.abandon(|running| running.number == number);
        }
        drop(state);
        after.run(self);
        given_up.iter().for_each(GivenUp::interrupt);
        drop(removed); // without the lock: a destructor may submit, or panic
    }

    /// Completes `resolver` with a reservation as soon as the queue has a free place, or with
    /// [`PoolStopped`] if the pool is stopped.
    pub(crate) fn reserve(self: &Arc<Self>, resolver: RemoteResolver<Reservation>) {
        let mut state = self.lock();
        if state.stopped {
            drop(state);
            return resolver.errback(PoolStopped::default());
        }
        let cancelled = state.reserving.push(resolver);
        let reserved = state.reserve_places(self.config.queue_limit);
        drop(state);
        drop(cancelled); // without the lock: dropping the resolvers posts to their reactors
        AfterUnlock { reserved, ..AfterUnlock::default() }.run(self);
    }

    /// Changes the minimum and maximum number of threads. See
    /// [`ThreadPool::adjust_pool_size`](crate::ThreadPool::adjust_pool_size).
    pub(crate) fn adjust(self: &Arc<Self>, min: usize, max: usize) {
        let mut state = self.lock();
        let unpark = state.threads.adjust(self.config.kept_threads(min), max);
        let queued = state.queue.len();
        let mut after = AfterUnlock { wake: state.threads.wake_for(queued), ..AfterUnlock::default() };
        let cancelled = if state.stopped && max == 0 { state.cancel_queue() } else { Vec::new() };
        after.reserved = state.reserve_places(self.config.queue_limit);
        after.watch = state.needs_watcher();
        drop(state);
        unpark.iter().for_each(|sleeper| sleeper.unpark());
        after.run(self);
        refuse_all(cancelled, pool_stopped);
    }

    /// Stops the pool: queued jobs run, or are cancelled if `cancels`. When the last thread has
    /// ended, completes `waiter`.
    pub(crate) fn stop(self: &Arc<Self>, cancels: bool, waiter: Option<Box<dyn StopWaiter>>) {
        let mut state = self.lock();
        state.stopped = true;
        // With a maximum of 0 no thread would run the queued jobs.
        let cancelled = if cancels || state.threads.max() == 0 { state.cancel_queue() } else { Vec::new() };
        self.note_queued(&state);
        let reserving = state.reserving.take();
        let sleepers = state.threads.wake_all();
        let given_up = waiter.map(|waiter| state.stop_waiters.push(waiter));
        let after = AfterUnlock { stopped: state.take_stop_waiters(), ..AfterUnlock::default() };
        drop(state);
        sleepers.iter().for_each(|sleeper| sleeper.unpark());
        reserving.into_iter().for_each(|resolver| resolver.errback(PoolStopped::default()));
        after.run(self);
        refuse_all(cancelled, pool_stopped);
        drop(given_up); // without the lock: dropping the resolvers posts to their reactors
    }

    /// Ends a stop whose deadline has passed: cancels queued jobs and abandons running ones.
    pub(crate) fn stop_timed_out(self: &Arc<Self>) {
        let mut state = self.lock();
        let cancelled = state.cancel_queue();
        let error = StopTimedOut { running: state.running() };
        let given_up = state.abandon(|_| true);
        let waiters = state.stop_waiters.take();
        drop(state);
        refuse_all(cancelled, pool_stopped);
        given_up.iter().for_each(GivenUp::interrupt);
        for GivenUp { sink, key, .. } in given_up {
            let why =
                "the pool was stopped, and the job still ran at the deadline; let a long job check `Job::is_cancelled`";
            ignore_panic(|| sink.abandon(key, Abandoned::because(why).into()));
        }
        waiters.into_iter().for_each(|waiter| waiter.complete(Err(error.clone())));
    }

    /// Says where a job is.
    pub(crate) fn describe_job(&self, number: u64) -> String {
        self.lock().describe_job(number)
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let state = self.lock();
        let oldest = state.queue.first().map(|queued| queued.info.submitted_at);
        state.counts.stats(state.threads.count(), state.threads.busy(), state.queue.len(), oldest)
    }

    /// Stores the number of queued jobs for threads that spin, and returns it.
    #[inline]
    fn note_queued(&self, state: &State) -> usize {
        let queued = state.queue.len();
        if self.config.spin_before_sleep.is_some() {
            // ORDERING: a hint. A thread that reads it takes the lock before it relies on it.
            self.queued.store(queued, Ordering::Relaxed);
        }
        queued
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        preemption_point();
        self.state.lock()
    }

    /// Returns the number of callers that wait for a place in the queue, and for the end of the
    /// pool.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let state = self.lock();
        (state.reserving.len(), state.stop_waiters.len())
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn slots(&self) -> usize {
        self.lock().slots.len()
    }
}

impl ReservationHost for Workers {
    fn release_reservation(self: Arc<Self>) {
        let mut state = self.lock();
        state.reserved -= 1;
        let reserved = state.reserve_places(self.config.queue_limit);
        drop(state);
        AfterUnlock { reserved, ..AfterUnlock::default() }.run(&self);
    }
}

/// Completes jobs that were taken out of the queue and will not run.
fn refuse_all(jobs: Vec<QueuedJob>, why: impl Fn() -> Failure) {
    for job in jobs {
        preemption_point();
        ignore_panic(|| job.refuse(why()));
    }
}

/// Returns the error of jobs that a stop has cancelled.
fn pool_stopped() -> Failure {
    Cancelled::because("the pool was stopped").into()
}
