//! `Config`: the settings of a pool.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::stats::StuckPool;

/// A hook that each thread calls at its start or its end.
pub(crate) type ThreadHook = Arc<dyn Fn() + Send + Sync>;

/// A hook that is called with the report of a stuck pool.
pub(crate) type StuckHook = Arc<dyn Fn(&StuckPool) + Send + Sync>;

/// The settings of a pool; see [`ThreadPoolBuilder`](crate::ThreadPoolBuilder) for each.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) min_threads: usize,
    pub(crate) max_threads: usize,
    pub(crate) keep_alive: Duration,
    pub(crate) name: String,
    pub(crate) stack_size: Option<usize>,
    pub(crate) queue_limit: usize,
    pub(crate) spin_before_sleep: Option<Duration>,
    pub(crate) on_thread_start: Option<ThreadHook>,
    pub(crate) on_thread_end: Option<ThreadHook>,
    /// A function that each thread calls before `on_thread_end`: closes its connection.
    pub(crate) close_connection: Option<fn()>,
    pub(crate) stuck_after: Duration,
    pub(crate) on_stuck: Option<StuckHook>,
}

impl Config {
    /// Returns the number of threads that stay without work, for a minimum of the user. A thread
    /// costs only its memory, so the last one stays, unless it has a connection.
    pub(crate) fn kept_threads(&self, min_threads: usize) -> usize {
        min_threads.max(usize::from(self.close_connection.is_none()))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("min_threads", &self.min_threads)
            .field("max_threads", &self.max_threads)
            .field("keep_alive", &self.keep_alive)
            .field("name", &self.name)
            .field("stack_size", &self.stack_size)
            .field("queue_limit", &self.queue_limit)
            .field("spin_before_sleep", &self.spin_before_sleep)
            .field("stuck_after", &self.stuck_after)
            .finish_non_exhaustive()
    }
}
