//! Why a job did not run.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::stats::RunningJob;

/// The system gives the pool no thread, and it has none: the job did not run.
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
        f.write_str("the pool has no thread for the job and cannot start one")
    }
}

impl Error for SpawnFailed {
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

/// As many jobs wait as may: this one did not run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueFull {
    /// How many may wait.
    pub limit: usize,
}

impl fmt::Display for QueueFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} jobs wait for a thread of the pool, which is its limit: wait for `reserve()`, or give it more threads or a \
             higher limit",
            self.limit
        )
    }
}

impl Error for QueueFull {}

/// Jobs still ran when the deadline of a stop had passed. They were told to stop and count as
/// cancelled; their threads end when they do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StopTimedOut {
    /// What each thread runs.
    pub running: Vec<RunningJob>,
}

impl fmt::Display for StopTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.running.is_empty() {
            return f.write_str(
                "the pool was to stop, and a thread of it has not ended by the deadline, though it runs no job: what is \
                 called at the end of a thread holds it up, a hook or the closing of a connection",
            );
        }
        write!(f, "the pool was to stop, and {} of its jobs run on past the deadline:", self.running.len())?;
        for job in &self.running {
            write!(f, " the one of {job};")?;
        }
        f.write_str(" let a long job look at `Job::is_cancelled`")
    }
}

impl Error for StopTimedOut {}
