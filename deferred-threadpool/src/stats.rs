//! What a pool has done, and does.

use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

use deferred_core::Histogram;

use crate::job::Ending;

/// What a pool does and has done, at one moment: [`ThreadPool::stats`](crate::ThreadPool::stats)
/// gives it.
///
/// Every job that was ever given to the pool is counted in one place:
/// `submitted == done + failed + panicked + cancelled + refused + queued + busy - abandoned`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolStats {
    /// Threads that live, or are being started.
    pub threads: usize,
    /// Threads without a job.
    pub idle: usize,
    /// Threads that run a job.
    pub busy: usize,
    /// Those of the busy ones whose job was cancelled while it ran: it counts as cancelled already.
    pub abandoned: usize,
    /// Jobs that wait for a thread.
    pub queued: usize,
    /// How long the first of them has waited.
    pub oldest_wait: Option<Duration>,
    /// Jobs that were ever given to the pool.
    pub submitted: u64,
    /// Jobs that have returned a value.
    pub done: u64,
    /// Jobs that have returned an error.
    pub failed: u64,
    /// Jobs that have panicked.
    pub panicked: u64,
    /// Jobs that were cancelled, or whose reactor has ended, or that a stop has taken out or given
    /// up: while they waited or while they ran.
    pub cancelled: u64,
    /// Jobs that were not taken: the pool was stopped, its queue was full, or it could not start a
    /// thread.
    pub refused: u64,
    /// How long jobs have waited for a thread, of those that have begun.
    pub waits: Histogram,
    /// How long jobs have run, of those that have ended.
    pub runs: Histogram,
}

/// A job that a thread of the pool runs.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RunningJob {
    /// Where it was given to the pool.
    pub at: &'static Location<'static>,
    /// How long it has been running.
    pub time: Duration,
}

impl fmt::Display for RunningJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, which has been running for {:.1?}", self.at, self.time)
    }
}

/// What the pool counts, under its lock.
pub(crate) struct Counts {
    pub(crate) submitted: u64,
    done: u64,
    failed: u64,
    panicked: u64,
    pub(crate) cancelled: u64,
    pub(crate) refused: u64,
    pub(crate) abandoned: usize,
    pub(crate) waits: Histogram,
    pub(crate) runs: Histogram,
}

impl Counts {
    pub(crate) fn new() -> Counts {
        let (waits, runs) = (Histogram::new(), Histogram::new());
        let (submitted, done, failed, panicked, cancelled, refused) = (0, 0, 0, 0, 0, 0);
        Counts { submitted, done, failed, panicked, cancelled, refused, abandoned: 0, waits, runs }
    }

    #[inline]
    pub(crate) fn ended(&mut self, ending: Ending) {
        match ending {
            Ending::Done => self.done += 1,
            Ending::Failed => self.failed += 1,
            Ending::Panicked => self.panicked += 1,
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
            waits: self.waits.clone(),
            runs: self.runs.clone(),
        }
    }
}
