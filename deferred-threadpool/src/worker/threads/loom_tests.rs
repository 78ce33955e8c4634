//! Loom tests of every interleaving of adding a job, falling asleep and ending. Run them with
//! `RUSTFLAGS="--cfg loom" cargo test --release -p deferred-threadpool --lib loom`.

use std::sync::Arc;

use loom::sync::Notify;
use loom::thread;

use super::{Sleeper, ThreadSet, WakeAction};
use crate::sync::{Mutex, current};

/// A pool whose jobs are only counted.
struct Pool {
    state: Mutex<State>,
    ran: Notify,
}

struct State {
    threads: ThreadSet,
    waiting: usize,
    ran: usize,
    stopped: bool,
}

impl Pool {
    fn new(max: usize) -> Arc<Pool> {
        let state = State { threads: ThreadSet::new(0, max), waiting: 0, ran: 0, stopped: false };
        Arc::new(Pool { state: Mutex::new(state), ran: Notify::new() })
    }

    fn submit(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.waiting += 1;
        let waiting = state.waiting;
        let action = state.threads.wake_for(waiting);
        drop(state);
        self.run_action(action);
    }

    fn run_action(self: &Arc<Self>, action: Option<WakeAction>) {
        match action {
            None => {}
            Some(WakeAction::Unpark(sleeper)) => sleeper.unpark(),
            Some(WakeAction::Spawn) => {
                let pool = self.clone();
                thread::spawn(move || pool.work());
            }
        }
    }

    fn work(self: &Arc<Self>) {
        let me = Sleeper::new(current());
        let mut state = self.state.lock();
        loop {
            if state.threads.is_too_large() || (state.waiting == 0 && state.stopped) {
                state.threads.begin_exit();
                drop(state);
                state = self.state.lock();
                let waiting = state.waiting;
                let action = state.threads.exited(waiting);
                drop(state);
                return self.run_action(action);
            }
            if state.waiting > 0 {
                state.waiting -= 1;
                state.threads.begin_job();
                let waiting = state.waiting;
                let action = state.threads.wake_for(waiting);
                drop(state);
                self.run_action(action);
                state = self.state.lock();
                state.ran += 1;
                state.threads.end_job();
                self.ran.notify();
            } else {
                state.threads.fall_asleep(&me);
                while me.is_asleep() {
                    drop(state);
                    thread::park();
                    state = self.state.lock();
                }
            }
        }
    }

    /// Stops the pool after `jobs` jobs have run. If a job is lost, or a thread never ends, loom
    /// reports a deadlock.
    fn stop_after(&self, jobs: usize) {
        while self.state.lock().ran < jobs {
            self.ran.wait();
        }
        let mut state = self.state.lock();
        state.stopped = true;
        let sleepers = state.threads.wake_all();
        drop(state);
        sleepers.iter().for_each(|sleeper| sleeper.unpark());
    }
}

fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

#[test]
fn loom_a_job_submitted_while_a_thread_falls_asleep_is_run() {
    check(3, || {
        let pool = Pool::new(1);
        pool.submit();
        pool.submit();
        pool.stop_after(2);
    });
}

#[test]
fn loom_two_threads_and_two_submitters() {
    check(2, || {
        let pool = Pool::new(2);
        let other = pool.clone();
        let submits = thread::spawn(move || other.submit());
        pool.submit();
        pool.stop_after(2);
        submits.join().unwrap();
    });
}

#[test]
fn loom_a_surplus_thread_leaves_its_job_to_another() {
    check(2, || {
        let pool = Pool::new(2);
        pool.submit();
        pool.submit();
        let unpark = pool.state.lock().threads.adjust(0, 1);
        unpark.iter().for_each(|sleeper| sleeper.unpark());
        pool.submit();
        pool.stop_after(3);
    });
}
