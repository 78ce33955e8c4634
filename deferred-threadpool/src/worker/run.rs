//! The thread's side of a pool: it takes jobs, runs them, and sleeps.
//!
//! At the end of a job a thread takes the next one, and then completes the finished one. If there
//! is no next one, it first counts as idle, then completes the job, and checks the queue again
//! before it sleeps. So a job that a callback submits finds it awake, and a callback sees exact
//! statistics.

use std::hint;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::state::Running;
use super::threads::Sleeper;
use super::{AfterUnlock, Workers, refuse_all};
use crate::cancel_flag::CancelFlag;
use crate::config::ThreadHook;
use crate::error::SpawnFailed;
use crate::job::{AnyJob, Job, JobInfo, Outcome, drop_ignoring_panic, ignore_panic};
use crate::sync::{current, preemption_point};

impl Workers {
    /// Starts a thread, which already counts as awake.
    pub(super) fn spawn_thread(self: &Arc<Self>) {
        let mut state = self.lock();
        state.started += 1;
        let name = format!("{}-{}", self.config.name, state.started);
        drop(state); // starting a thread takes longer than most jobs
        let mut builder = thread::Builder::new().name(name);
        if let Some(size) = self.config.stack_size {
            builder = builder.stack_size(size);
        }
        let workers = self.clone();
        if let Err(error) = builder.spawn(move || workers.run_thread()) {
            self.spawn_failed(error);
        }
    }

    /// Handles a thread that could not be started. If the pool has no thread at all, refuses the
    /// queued jobs, which nothing would run.
    fn spawn_failed(self: &Arc<Self>, error: io::Error) {
        let mut state = self.lock();
        let queued = state.queue.len();
        let instead = state.threads.spawn_failed(queued);
        let refused = if state.threads.count() == 0 { state.take_queue() } else { Vec::new() };
        state.counts.refused += refused.len() as u64;
        self.note_queued(&state);
        let after = AfterUnlock {
            reserved: state.reserve_places(self.config.queue_limit),
            stopped: state.take_stop_waiters(),
            ..AfterUnlock::default()
        };
        drop(state);
        if let Some(sleeper) = instead {
            sleeper.unpark();
        }
        after.run(self);
        let why = SpawnFailed::new(error);
        refuse_all(refused, || why.clone().into());
    }

    /// The main function of a thread.
    fn run_thread(self: Arc<Self>) {
        call_hook(self.config.on_thread_start.as_ref());
        let me = Sleeper::new(current());
        let (slot, cancelled) = self.lock().take_slot();
        let mut spins = self.config.spin_before_sleep.is_some();
        loop {
            let mut state = self.lock();
            if state.threads.is_too_large() || (state.stopped && state.queue.len() == 0) {
                state.threads.begin_exit();
                break;
            }
            if let Some(queued) = state.queue.pop() {
                state.threads.begin_job();
                let waiting = self.note_queued(&state);
                let wake = state.threads.wake_for(waiting);
                let watch = state.needs_watcher();
                let (number, job) = state.begin_job(slot, queued, Instant::now());
                drop(state);
                AfterUnlock { wake, watch, ..AfterUnlock::default() }.run(&self);
                self.run_jobs(number, job, slot, &cancelled);
                spins = self.config.spin_before_sleep.is_some();
            } else if spins {
                drop(state);
                self.spin();
                spins = false;
            } else {
                state.threads.fall_asleep(&me);
                let has_keep_alive = state.threads.has_keep_alive(&me);
                drop(state);
                if !self.sleep(&me, has_keep_alive) {
                    break;
                }
                spins = self.config.spin_before_sleep.is_some();
            }
        }
        if let Some(close) = self.config.close_connection {
            close();
        }
        call_hook(self.config.on_thread_end.as_ref());
        let mut state = self.lock();
        state.slots[slot].is_free = true;
        let queued = state.queue.len();
        let after = AfterUnlock {
            wake: state.threads.exited(queued),
            stopped: state.take_stop_waiters(),
            ..AfterUnlock::default()
        };
        drop(state);
        after.run(&self);
    }

    /// Runs jobs until the queue is empty.
    fn run_jobs(self: &Arc<Self>, mut number: u64, mut job: Box<dyn AnyJob>, slot: usize, cancelled: &CancelFlag) {
        loop {
            let outcome = job.run(&Job::new(cancelled, number));
            let now = Instant::now();
            let mut state = self.lock();
            let Running { info, is_given_up, .. } = state.finish_job(slot, outcome, now);
            let next = if state.threads.is_too_large() { None } else { state.queue.pop() };
            let next = match next {
                None => {
                    state.threads.end_job();
                    None
                }
                Some(queued) => {
                    self.note_queued(&state);
                    Some(state.begin_job(slot, queued, now))
                }
            };
            let reserved = state.reserve_places(self.config.queue_limit);
            drop(state);
            if is_given_up {
                drop_ignoring_panic(job);
            } else {
                if outcome != Outcome::Done {
                    job.add_location(info.submitted_on);
                }
                complete(info, job);
            }
            AfterUnlock { reserved, ..AfterUnlock::default() }.run(self);
            match next {
                None => return,
                Some(next) => (number, job) = next,
            }
        }
    }

    /// Sleeps until this thread is woken. Returns `false` if its keep-alive has passed and it must
    /// end.
    fn sleep(&self, me: &Arc<Sleeper>, mut has_keep_alive: bool) -> bool {
        let since = Instant::now();
        loop {
            let left =
                if has_keep_alive { self.config.keep_alive.saturating_sub(since.elapsed()) } else { Duration::MAX };
            preemption_point();
            if !has_keep_alive {
                thread::park();
            } else if !left.is_zero() {
                thread::park_timeout(left);
            }
            let mut state = self.lock();
            if !me.is_asleep() {
                return true;
            }
            has_keep_alive = state.threads.has_keep_alive(me);
            if has_keep_alive && since.elapsed() >= self.config.keep_alive {
                let next = state.threads.exit_asleep();
                drop(state);
                if let Some(next) = next {
                    next.unpark();
                }
                return false;
            }
        }
    }

    /// Spins for the configured time, or until a job is queued.
    fn spin(&self) {
        let Some(time) = self.config.spin_before_sleep else { return };
        let since = Instant::now();
        while since.elapsed() < time {
            // Reading the clock takes longer than reading the hint.
            for _ in 0..16 {
                if self.queued.load(Ordering::Relaxed) > 0 {
                    return;
                }
                hint::spin_loop();
            }
        }
    }
}

/// Sends a finished job to its destination. That may wake a driver, which is user code.
fn complete(info: JobInfo, job: Box<dyn AnyJob>) {
    preemption_point();
    ignore_panic(|| info.sink.complete(info.key, job));
}

fn call_hook(hook: Option<&ThreadHook>) {
    if let Some(hook) = hook {
        ignore_panic(|| hook());
    }
}
