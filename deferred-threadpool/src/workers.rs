//! The threads, and how they are told to come.
//!
//! One lock, one condition variable. A worker that finds no job waits on it, for the keep-alive at most. `coming`
//! counts the workers that were told to come and have not taken the lock since: signalled ones and just started ones.
//! Whoever adds a job looks at it:
//!
//! - as many are coming as jobs wait: nothing to do, one of them takes it;
//! - otherwise a waiting worker is signalled; and if none waits, a thread is started, up to the maximum.
//!
//! So there are never more signals than unclaimed jobs, and no job is left behind: while one waits, somebody is coming
//! for it, or every thread there may be is busy and looks at the queue before it waits.
//!
//! A pool that was stopped takes no more jobs; its threads end when the queue is empty, and the last one of them tells
//! whoever waits for that.

use std::error::Error;
use std::fmt;
use std::io;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::queue::{Job, Queue, Ticket};

pub(crate) struct Workers {
    pub(crate) config: Config,
    state: Mutex<State>,
    signal: Condvar,
}

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) min_threads: usize,
    pub(crate) max_threads: usize,
    pub(crate) keep_alive: Duration,
    pub(crate) name: String,
    pub(crate) stack_size: Option<usize>,
}

#[derive(Default)]
struct State {
    queue: Queue,
    /// Threads that live, or are being started.
    threads: usize,
    coming: usize,
    /// How many threads were ever started, for their names.
    started: u64,
    stopped: bool,
    /// Who is to be told when the last thread has ended.
    enders: Vec<Ender>,
}

/// Hears that a pool which was stopped has no thread any more.
pub(crate) type Ender = Box<dyn FnOnce() + Send>;

impl State {
    /// Who is to be told now.
    fn ended(&mut self) -> Vec<Ender> {
        if self.stopped && self.threads == 0 { mem::take(&mut self.enders) } else { Vec::new() }
    }
}

impl Workers {
    pub(crate) fn new(config: Config) -> Arc<Workers> {
        Arc::new(Workers { config, state: Mutex::default(), signal: Condvar::new() })
    }

    /// Gives the job back if the pool was stopped.
    pub(crate) fn submit(self: &Arc<Self>, job: Job) -> Result<Ticket, Job> {
        let mut state = self.state.lock();
        if state.stopped {
            return Err(job);
        }
        let ticket = state.queue.push(job);
        if state.queue.len() > state.coming {
            if self.signal.notify_one() {
                state.coming += 1;
            } else if state.threads < self.config.max_threads {
                self.start(state);
            }
        }
        Ok(ticket)
    }

    /// Takes back a job that has not begun. Its captures are dropped here.
    pub(crate) fn cancel(&self, ticket: Ticket) {
        let job = self.state.lock().queue.remove(ticket);
        drop(job); // the lock is free: a destructor may submit
    }

    /// No more jobs: those that wait are run, and then each thread ends. `ender` runs when none is left: in the last
    /// one, or here.
    pub(crate) fn stop(&self, ender: Option<Ender>) {
        let mut state = self.state.lock();
        state.stopped = true;
        state.coming += self.signal.notify_all();
        state.enders.extend(ender);
        let enders = state.ended();
        drop(state);
        enders.into_iter().for_each(|ender| ender());
    }

    fn start(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        state.threads += 1;
        state.coming += 1;
        state.started += 1;
        let name = format!("{}-{}", self.config.name, state.started);
        drop(state); // starting a thread takes longer than most jobs
        let mut builder = thread::Builder::new().name(name);
        if let Some(size) = self.config.stack_size {
            builder = builder.stack_size(size);
        }
        let workers = self.clone();
        if let Err(error) = builder.spawn(move || workers.work()) {
            self.not_started(error);
        }
    }

    /// Where there is no thread at all, nobody would ever run the jobs that wait.
    fn not_started(&self, error: io::Error) {
        let error = NoThread { source: Arc::new(error) };
        let mut state = self.state.lock();
        state.threads -= 1;
        state.coming -= 1;
        let jobs = (state.threads == 0).then(|| state.queue.take_all());
        let enders = state.ended();
        drop(state);
        for job in jobs.into_iter().flatten() {
            job(Err(error.clone().into()));
        }
        enders.into_iter().for_each(|ender| ender());
    }

    fn work(&self) {
        let mut state = self.state.lock();
        state.coming -= 1;
        loop {
            if let Some(job) = state.queue.pop() {
                MutexGuard::unlocked(&mut state, || run(job));
            } else if state.stopped {
                break;
            } else if state.threads <= self.config.min_threads {
                self.signal.wait(&mut state);
                state.coming -= 1;
            } else if !self.signal.wait_for(&mut state, self.config.keep_alive).timed_out() {
                state.coming -= 1;
            } else if state.queue.len() == 0 && state.threads > self.config.min_threads {
                break;
            }
        }
        state.threads -= 1;
        let enders = state.ended();
        drop(state);
        enders.into_iter().for_each(|ender| ender());
    }
}

/// A job turns the panics of its closure into results. What may be left is a panic of a late result's destructor, which
/// has nowhere to go and must not take the worker with it.
fn run(job: Job) {
    let _ = panic::catch_unwind(AssertUnwindSafe(|| job(Ok(()))));
}

/// The system gives the pool no thread, and it has none: the job did not run.
#[derive(Clone, Debug)]
pub struct NoThread {
    source: Arc<io::Error>,
}

impl fmt::Display for NoThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pool has no thread for the job and cannot start one")
    }
}

impl Error for NoThread {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// The pool was stopped and takes no more jobs: this one did not run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PoolStopped;

impl fmt::Display for PoolStopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pool was stopped and takes no more jobs")
    }
}

impl Error for PoolStopped {}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn workers(max_threads: usize) -> Arc<Workers> {
        let keep_alive = Duration::MAX;
        Workers::new(Config { min_threads: 0, max_threads, keep_alive, name: "test".into(), stack_size: None })
    }

    #[test]
    fn a_job_starts_no_thread_while_a_worker_is_coming_that_has_none() {
        let workers = workers(9);
        workers.state.lock().coming = 2;
        for _ in 0..2 {
            assert!(workers.submit(Box::new(|_| ())).is_ok());
            assert_eq!(workers.state.lock().started, 0);
        }
        assert!(workers.submit(Box::new(|_| ())).is_ok());
        assert_eq!(workers.state.lock().started, 1);
        workers.stop(None);
    }

    #[test]
    fn stopping_leaves_no_thread_and_nobody_coming() {
        let workers = workers(3);
        let (sender, ran) = mpsc::channel();
        for _ in 0..100 {
            let sender = sender.clone();
            assert!(workers.submit(Box::new(move |_| sender.send(()).unwrap())).is_ok());
        }
        drop(sender);
        assert_eq!(ran.iter().count(), 100);
        workers.stop(None);
        while workers.state.lock().threads > 0 {
            thread::yield_now();
        }
        assert_eq!(workers.state.lock().coming, 0);
    }
}
