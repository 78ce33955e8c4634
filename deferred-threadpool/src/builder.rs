//! `ThreadPoolBuilder`, and the constructors of `ThreadPool` that use it.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::pool::ThreadPool;
use crate::stats::StuckPool;

/// A builder for a [`ThreadPool`]. [`ThreadPool::builder`] creates it.
#[derive(Clone, Debug)]
#[must_use = "call `build` to create the pool"]
pub struct ThreadPoolBuilder {
    config: Config,
}

impl ThreadPoolBuilder {
    pub(crate) fn new() -> ThreadPoolBuilder {
        ThreadPoolBuilder {
            config: Config {
                min_threads: 0,
                max_threads: 10,
                keep_alive: Duration::from_secs(10),
                name: "deferred-pool".into(),
                stack_size: None,
                queue_limit: usize::MAX,
                spin_before_sleep: None,
                on_thread_start: None,
                on_thread_end: None,
                close_connection: None,
                stuck_after: Duration::from_secs(10),
                on_stuck: None,
            },
        }
    }

    /// Sets the number of threads that stay once they were started, even without work. Defaults to
    /// 0, which behaves like 1: the last thread always stays. Values above the maximum are clamped.
    ///
    /// [`ThreadPool::adjust_pool_size`] changes it later.
    pub fn min_threads(mut self, min_threads: usize) -> Self {
        self.config.min_threads = min_threads;
        self
    }

    /// Sets the maximum number of threads. Defaults to 10, as in Twisted's reactor. With 0, jobs
    /// wait until [`ThreadPool::adjust_pool_size`] allows threads.
    ///
    /// # One thread
    ///
    /// A pool of one thread is for a library that must always be called from the same thread. The
    /// thread stays until the pool is stopped, so state that the library or a job keeps in a
    /// `thread_local!` is available to the next job.
    pub fn max_threads(mut self, max_threads: usize) -> Self {
        self.config.max_threads = max_threads;
        self
    }

    /// Sets the time after which a thread without work ends, if there are more than the minimum.
    /// Defaults to 10 seconds. Threads end one after the other. The last one stays until the pool
    /// ends, and costs only its memory.
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.config.keep_alive = keep_alive;
        self
    }

    /// Sets the name of the threads, to which a number is appended. Defaults to `deferred-pool`.
    ///
    /// # Panics
    ///
    /// Panics if the name contains a NUL character, with which no thread can be started.
    #[track_caller]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        assert!(!self.config.name.contains('\0'), "the name of a pool must not contain a NUL character");
        self
    }

    /// Sets the stack size of each thread, in bytes. Defaults to the standard library's default.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.config.stack_size = Some(bytes);
        self
    }

    /// Sets the maximum number of jobs that wait for a thread. A job for which a thread is free, or
    /// can be started, does not count. Defaults to no limit. A job that exceeds the limit is
    /// refused: its Deferred fails with [`QueueFull`](crate::QueueFull). A caller that should wait
    /// instead calls [`ThreadPool::reserve`] first.
    ///
    /// A limit keeps a producer that is faster than the pool from filling the memory.
    pub fn queue_limit(mut self, limit: usize) -> Self {
        self.config.queue_limit = limit;
        self
    }

    /// Sets a hook that each thread calls when it starts, before its first job. A panic of the hook
    /// is printed and otherwise ignored.
    pub fn on_thread_start(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.config.on_thread_start = Some(Arc::new(hook));
        self
    }

    /// Sets a hook that each thread calls when it ends, after its last job. A panic of the hook is
    /// printed and otherwise ignored.
    pub fn on_thread_end(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.config.on_thread_end = Some(Arc::new(hook));
        self
    }

    pub(crate) fn close_connection(mut self, close: fn()) -> Self {
        self.config.close_connection = Some(close);
        self
    }

    /// Lets a thread that has run a job spin for `duration` before it sleeps. Off by default.
    ///
    /// A job that is submitted meanwhile is taken without a wake-up, and its result comes before
    /// the loop sleeps: on two processors, a short job took a fiftieth of the time (0.8 us instead
    /// of 46 us, on a virtual machine). The cost is this processor time after each job. If thread
    /// and loop share one processor, a job takes half as long again (6.5 us instead of 4.4 us), or
    /// more if the system then moves them apart. The loop itself never spins. Useful values are
    /// between a few microseconds and a hundred.
    pub fn spin_before_sleep(mut self, duration: Duration) -> Self {
        self.config.spin_before_sleep = Some(duration);
        self
    }

    /// Sets the time that a job may wait while every thread is busy before the pool counts as
    /// stuck. Defaults to 10 seconds.
    ///
    /// Then the hook of [`on_stuck`](Self::on_stuck) is called, once. It is called again when the
    /// pool gets stuck again: after it has kept up meanwhile, or after all jobs that waited then
    /// have begun.
    pub fn stuck_after(mut self, duration: Duration) -> Self {
        self.config.stuck_after = duration;
        self
    }

    /// Sets the hook to call when the pool is stuck, with the jobs that its threads run. By default
    /// it is a [report](deferred_core::report) of the kind `stuck_pool`.
    ///
    /// The hook is called in a thread of its own, which exists only while every thread is busy. A
    /// panic of the hook is printed and otherwise ignored.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    /// use deferred_threadpool::ThreadPool;
    ///
    /// let (sender, reports) = mpsc::channel();
    /// let pool = ThreadPool::builder()
    ///     .max_threads(1)
    ///     .stuck_after(Duration::from_millis(5))
    ///     .on_stuck(move |stuck| drop(sender.send(stuck.clone())))
    ///     .build();
    /// let (release, released) = mpsc::channel();
    /// let hangs = pool.submit(move |_| Ok(released.recv()?));
    /// let waits = pool.submit(|_| Ok(()));
    /// let stuck = reports.recv().unwrap();
    /// assert_eq!((stuck.queued, stuck.running.len()), (1, 1));
    /// release.send(()).unwrap();
    /// hangs.wait().and(waits.wait()).unwrap();
    /// ```
    pub fn on_stuck(mut self, hook: impl Fn(&StuckPool) + Send + Sync + 'static) -> Self {
        self.config.on_stuck = Some(Arc::new(hook));
        self
    }

    /// Creates the pool. No thread is started before the first job.
    pub fn build(mut self) -> ThreadPool {
        self.config.min_threads = self.config.min_threads.min(self.config.max_threads);
        ThreadPool::with_config(self.config)
    }
}

impl ThreadPool {
    /// Creates a pool of at most `max_threads` threads. No thread is started yet.
    pub fn new(max_threads: usize) -> Self {
        Self::builder().max_threads(max_threads).build()
    }

    /// Returns a builder for a pool with other settings.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_threadpool::ThreadPool;
    ///
    /// let pool = ThreadPool::builder().max_threads(4).name("db").keep_alive(Duration::from_secs(60)).build();
    /// # drop(pool);
    /// ```
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder::new()
    }
}

impl Default for ThreadPool {
    /// Creates a pool of at most ten threads, like that of Twisted's reactor.
    fn default() -> Self {
        Self::builder().build()
    }
}
