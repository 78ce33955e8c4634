//! The errors of pools.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::stats::RunningJob;

/// The error of a job that did not run because the pool has no thread and the system cannot start
/// one.
#[derive(Clone, Debug)]
pub struct SpawnFailed {
    source: Arc<io::Error>,
}

impl SpawnFailed {
    pub(crate) fn new(error: io::Error) -> Self {
        SpawnFailed { source: Arc::new(error) }
    }
}

impl fmt::Display for SpawnFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pool has no thread for the job, and the system cannot start one")
    }
}

impl Error for SpawnFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// The error of a job that was submitted to a stopped pool. It did not run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PoolStopped;

impl fmt::Display for PoolStopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pool is stopped: the job was refused")
    }
}

impl Error for PoolStopped {}

/// The error of a job that was submitted to a pool whose queue is full. It did not run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueFull {
    /// The maximum number of queued jobs.
    pub limit: usize,
}

impl fmt::Display for QueueFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the queue of the pool is full, with {} jobs: wait for `reserve()`, or give the pool more threads or a \
             higher limit",
            self.limit
        )
    }
}

impl Error for QueueFull {}

/// The error of a stop whose deadline passed before all threads had ended. Their
/// [`Job`](crate::Job)s are cancelled, and they count as cancelled. Each thread ends after its job.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StopTimedOut {
    /// The jobs that still run; empty if only a hook or the closing of a connection has not
    /// returned.
    pub running: Vec<RunningJob>,
}

impl fmt::Display for StopTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.running.is_empty() {
            return f.write_str(
                "the deadline of the pool's stop has passed: a thread that runs no job has not ended, because a hook or the \
                 closing of a connection at its end takes too long",
            );
        }
        let jobs = if self.running.len() == 1 {
            "1 job still runs".to_owned()
        } else {
            format!("{} jobs still run", self.running.len())
        };
        write!(f, "the deadline of the pool's stop has passed, and {jobs}:")?;
        for job in &self.running {
            write!(f, " {job};")?;
        }
        f.write_str(" let a long job check `Job::is_cancelled`")
    }
}

impl Error for StopTimedOut {}
