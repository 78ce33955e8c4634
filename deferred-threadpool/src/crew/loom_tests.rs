//! Every interleaving of adding a job, falling asleep and leaving. Run with
//! `RUSTFLAGS="--cfg loom" cargo test --release -p deferred-threadpool --lib loom`.

use std::sync::Arc;

use loom::sync::Notify;
use loom::thread;

use super::{Crew, Sleeper, Summons};
use crate::sync::{Mutex, current};

/// A pool whose jobs are a number.
struct Pool {
    state: Mutex<State>,
    ran: Notify,
}

struct State {
    crew: Crew,
    waiting: usize,
    ran: usize,
    stopped: bool,
}

impl Pool {
    fn new(max: usize) -> Arc<Pool> {
        let state = State { crew: Crew::new(0, max), waiting: 0, ran: 0, stopped: false };
        Arc::new(Pool { state: Mutex::new(state), ran: Notify::new() })
    }

    fn submit(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.waiting += 1;
        let waiting = state.waiting;
        let summons = state.crew.summon(waiting);
        drop(state);
        self.answer(summons);
    }

    fn answer(self: &Arc<Self>, summons: Option<Summons>) {
        match summons {
            None => {}
            Some(Summons::Wake(sleeper)) => sleeper.unpark(),
            Some(Summons::Start) => {
                let pool = self.clone();
                thread::spawn(move || pool.work());
            }
        }
    }

    fn work(self: &Arc<Self>) {
        let me = Sleeper::new(current());
        let mut state = self.state.lock();
        loop {
            if state.crew.is_too_large() || (state.waiting == 0 && state.stopped) {
                state.crew.leave();
                drop(state);
                state = self.state.lock();
                let waiting = state.waiting;
                let summons = state.crew.left(waiting);
                drop(state);
                return self.answer(summons);
            }
            if state.waiting > 0 {
                state.waiting -= 1;
                state.crew.begin_job();
                let waiting = state.waiting;
                let summons = state.crew.summon(waiting);
                drop(state);
                self.answer(summons);
                state = self.state.lock();
                state.ran += 1;
                state.crew.end_job();
                self.ran.notify();
            } else {
                state.crew.fall_asleep(&me);
                while me.is_asleep() {
                    drop(state);
                    thread::park();
                    state = self.state.lock();
                }
            }
        }
    }

    /// When so many jobs have run. If one is left behind, loom reports a deadlock; and if a thread
    /// never ends.
    fn stop_after(&self, jobs: usize) {
        while self.state.lock().ran < jobs {
            self.ran.wait();
        }
        let mut state = self.state.lock();
        state.stopped = true;
        let sleepers = state.crew.wake_all();
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
fn loom_a_job_that_comes_while_a_thread_falls_asleep_is_run() {
    check(3, || {
        let pool = Pool::new(1);
        pool.submit();
        pool.submit();
        pool.stop_after(2);
    });
}

#[test]
fn loom_two_threads_and_two_who_submit() {
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
fn loom_a_thread_that_is_one_too_many_leaves_its_job_to_another() {
    check(2, || {
        let pool = Pool::new(2);
        pool.submit();
        pool.submit();
        let told = pool.state.lock().crew.adjust(0, 1);
        told.iter().for_each(|sleeper| sleeper.unpark());
        pool.submit();
        pool.stop_after(3);
    });
}
