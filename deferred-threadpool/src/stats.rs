//! The statistics and reports of a pool.

use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

use deferred_core::Histogram;
use deferred_core::report::{Level, Reportable};

use crate::job::Outcome;

/// The statistics of a pool at one time. [`ThreadPool::stats`](crate::ThreadPool::stats) returns
/// them.
///
/// Every submitted job is counted in exactly one field:
/// `submitted == done + failed + panicked + cancelled + refused + queued + busy - abandoned`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolStats {
    /// The number of threads, including those that are being started.
    pub threads: usize,
    /// The number of threads without a job.
    pub idle: usize,
    /// The number of threads that run a job.
    pub busy: usize,
    /// The number of busy threads whose job was cancelled while it ran. Such a job already counts
    /// as cancelled.
    pub abandoned: usize,
    /// The number of jobs that wait for a thread.
    pub queued: usize,
    /// The time for which the oldest queued job has waited.
    pub oldest_wait: Option<Duration>,
    /// The number of jobs that were ever submitted.
    pub submitted: u64,
    /// The number of jobs that have returned a value.
    pub done: u64,
    /// The number of jobs that have returned an error.
    pub failed: u64,
    /// The number of jobs that have panicked.
    pub panicked: u64,
    /// The number of jobs that were cancelled, queued or running: by their Deferred, by the closing
    /// of their reactor, or by a stop.
    pub cancelled: u64,
    /// The number of refused jobs: the pool was stopped, its queue was full, or it could not start
    /// a thread.
    pub refused: u64,
    /// The number of times that the pool was found stuck: see [`StuckPool`].
    pub stuck: u64,
    /// The times for which jobs waited for a thread, of jobs that have begun.
    pub waits: Histogram,
    /// The run times of finished jobs.
    pub runs: Histogram,
}

/// A job that a thread of the pool runs.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RunningJob {
    /// The location where the job was submitted.
    pub at: &'static Location<'static>,
    /// The time for which the job has been running.
    pub time: Duration,
}

impl fmt::Display for RunningJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the job submitted at {}, for {:.1?}", self.at, self.time)
    }
}

/// The report of a pool whose threads are all busy while a job has waited for too long, for the
/// hook of [`on_stuck`](crate::ThreadPoolBuilder::on_stuck).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StuckPool {
    /// The name of the pool.
    pub name: String,
    /// The number of queued jobs.
    pub queued: usize,
    /// The time for which the oldest queued job has waited.
    pub oldest_wait: Duration,
    /// The location where the oldest queued job was submitted.
    pub oldest_at: &'static Location<'static>,
    /// The jobs that the threads run.
    pub running: Vec<RunningJob>,
}

impl fmt::Display for StuckPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StuckPool { name, queued, oldest_wait, oldest_at, running } = self;
        let busy = match running.len() {
            1 => "its only thread is busy".to_owned(),
            threads => format!("all its {threads} threads are busy"),
        };
        let jobs = if *queued == 1 { "1 job is".to_owned() } else { format!("{queued} jobs are") };
        write!(
            f,
            "the pool \"{name}\" is stuck: {busy}, and {jobs} queued, the oldest for {oldest_wait:.1?}, submitted at \
             {oldest_at}"
        )?;
        running.iter().try_for_each(|job| write!(f, "\n    running: {job}"))
    }
}

impl Reportable for StuckPool {
    fn kind(&self) -> &'static str {
        "stuck_pool"
    }

    fn level(&self) -> Level {
        Level::Warning
    }

    fn location(&self) -> Option<&'static Location<'static>> {
        Some(self.oldest_at)
    }
}

/// The counters of a pool, under its lock.
pub(crate) struct Counts {
    pub(crate) submitted: u64,
    done: u64,
    failed: u64,
    panicked: u64,
    pub(crate) cancelled: u64,
    pub(crate) refused: u64,
    pub(crate) stuck: u64,
    pub(crate) abandoned: usize,
    pub(crate) waits: Histogram,
    pub(crate) runs: Histogram,
}

impl Counts {
    pub(crate) fn new() -> Counts {
        let (waits, runs) = (Histogram::new(), Histogram::new());
        let (submitted, done, failed, panicked, cancelled, refused, stuck) = (0, 0, 0, 0, 0, 0, 0);
        Counts { submitted, done, failed, panicked, cancelled, refused, stuck, abandoned: 0, waits, runs }
    }

    #[inline]
    pub(crate) fn finished(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Panicked => self.panicked += 1,
        }
    }

    pub(crate) fn stats(&self, threads: usize, busy: usize, queued: usize, oldest: Option<Instant>) -> PoolStats {
        PoolStats {
            threads,
            idle: threads - busy,
            busy,
            abandoned: self.abandoned,
            queued,
            oldest_wait: oldest.map(|since| since.elapsed()),
            submitted: self.submitted,
            done: self.done,
            failed: self.failed,
            panicked: self.panicked,
            cancelled: self.cancelled,
            refused: self.refused,
            stuck: self.stuck,
            waits: self.waits.clone(),
            runs: self.runs.clone(),
        }
    }
}
