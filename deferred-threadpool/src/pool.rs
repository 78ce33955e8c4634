//! The pool as its users see it.

use std::cell::Cell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use deferred_core::{Deferred, Failure, NoReactor, Panicked, Reactor};

use crate::workers::{Config, PoolStopped, Workers};

/// Runs `f` in the default pool of the current reactor, which has ten threads at most, starts them as they are needed,
/// and ends with its reactor.
///
/// Otherwise as [`ThreadPool::defer_to_thread`].
///
/// # Examples
///
/// ```
/// use deferred_threadpool::{defer_to_thread, park};
///
/// let answer = park::run_until(|_| defer_to_thread(|| Ok(6 * 7)));
/// assert_eq!(answer.unwrap(), 42);
/// ```
#[track_caller]
pub fn defer_to_thread<T: Send + 'static>(f: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Deferred<T> {
    match Reactor::current() {
        Some(reactor) => reactor.extension(ThreadPool::default).defer_to_thread_on(&reactor, f),
        None => Deferred::fail(NoReactor::new()),
    }
}

/// Runs `f` in the default pool of the current reactor, for whoever has no use for its result. An error of it is
/// reported as unhandled.
///
/// Twisted's `reactor.callInThread`. Otherwise as [`defer_to_thread`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use deferred_threadpool::{call_in_thread, park};
///
/// park::run(|reactor| {
///     let handle = reactor.handle();
///     call_in_thread(move || Ok(handle.stop()));
/// });
/// ```
#[track_caller]
pub fn call_in_thread<T: Send + 'static>(f: impl FnOnce() -> Result<T, Failure> + Send + 'static) {
    drop(defer_to_thread(f));
}

/// Threads that run what blocks.
///
/// They are started when there is work for them, up to a maximum, and end when there has been none for a while. Jobs
/// begin in the order they were given. Any thread and any number of reactors may share a pool; clones mean the same
/// one.
///
/// Dropping the last clone ends it as [`stop`](Self::stop) does: the jobs that were given are run, and then the threads
/// end. Nobody waits for them. Jobs whose reactor has ended are not run any more.
///
/// # Examples
///
/// ```
/// use deferred_threadpool::{ThreadPool, park};
///
/// let uploads = ThreadPool::new(2);
/// let sizes = park::run_until(|_| {
///     uploads
///         .defer_to_thread(|| Ok(vec![1, 2, 3])) // in a thread of the pool
///         .add_callback(|bytes| Ok(bytes.len())) // on this one
/// });
/// assert_eq!(sizes.unwrap(), 3);
/// ```
#[derive(Clone)]
pub struct ThreadPool {
    owner: Arc<Owner>,
}

struct Owner {
    workers: Arc<Workers>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.workers.stop(None);
    }
}

impl ThreadPool {
    /// A pool of at most `max_threads` threads; 0 counts as 1. None is started yet.
    pub fn new(max_threads: usize) -> Self {
        Self::builder().max_threads(max_threads).build()
    }

    /// A pool with settings of its own.
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
    pub fn builder() -> Builder {
        let keep_alive = Duration::from_secs(10);
        Builder {
            config: Config {
                min_threads: 0,
                max_threads: 10,
                keep_alive,
                name: "deferred-pool".into(),
                stack_size: None,
            },
        }
    }

    /// Runs `f` in a thread of this pool. The Deferred is of the current reactor, on whose thread this is called, and
    /// where its callbacks run.
    ///
    /// `f` is dropped as soon as it has run, in that thread. If this is called where there is no
    /// [current reactor](Reactor::current), `f` is dropped.
    ///
    /// # Errors
    ///
    /// The Deferred fails with the error of `f`; with [`Panicked`] if `f` panics; with [`Abandoned`] if the reactor is
    /// closed before `f` is done; with [`PoolStopped`] if the pool was stopped before; with [`NoThread`] if no thread can
    /// be started and the pool has none; with [`NoReactor`] if there is no current reactor.
    ///
    /// # Cancellation
    ///
    /// While `f` waits for a thread: it never runs, and is dropped at once. Later: `f` runs to its end, and what it
    /// returns is dropped. The Deferred fires [`Cancelled`](deferred_core::Cancelled) at once in either case.
    ///
    /// [`Abandoned`]: deferred_core::Abandoned
    /// [`NoThread`]: crate::NoThread
    /// [`PoolStopped`]: crate::PoolStopped
    #[track_caller]
    pub fn defer_to_thread<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Deferred<T> {
        match Reactor::current() {
            Some(reactor) => self.defer_to_thread_on(&reactor, f),
            None => Deferred::fail(NoReactor::new()),
        }
    }

    /// [`defer_to_thread`](Self::defer_to_thread) with the reactor given.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_threadpool::{ThreadPool, park};
    ///
    /// let pool = ThreadPool::default();
    /// let answer = park::run_until(|reactor| pool.defer_to_thread_on(reactor, || Ok(6 * 7)));
    /// assert_eq!(answer.unwrap(), 42);
    /// ```
    #[track_caller]
    pub fn defer_to_thread_on<T: Send + 'static>(
        &self,
        reactor: &Reactor,
        f: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Deferred<T> {
        let workers = &self.owner.workers;
        let ticket = Rc::new(Cell::new(None));
        let (queued, canceller) = (ticket.clone(), workers.clone());
        let (deferred, resolver) = reactor.remote_with_canceller(move || {
            if let Some(ticket) = queued.take() {
                canceller.cancel(ticket);
            }
            None
        });
        // Also true where the reactor is closed.
        if !resolver.is_cancelled() {
            let job = move |go: Result<(), Failure>| {
                if !resolver.is_cancelled() {
                    resolver.fire(go.and_then(|()| caught(f)));
                }
            };
            match workers.submit(Box::new(job)) {
                Ok(number) => ticket.set(Some(number)),
                Err(job) => job(Err(PoolStopped::default().into())),
            }
        }
        deferred
    }

    /// Runs `f` in a thread of this pool, for whoever has no use for its result. An error of it is reported as unhandled.
    ///
    /// Twisted's `callInThread`. Otherwise as [`defer_to_thread`](Self::defer_to_thread).
    #[track_caller]
    pub fn call_in_thread<T: Send + 'static>(&self, f: impl FnOnce() -> Result<T, Failure> + Send + 'static) {
        drop(self.defer_to_thread(f));
    }

    /// Takes no more jobs: those that were given are run, and then the threads end. The Deferred, of the current reactor,
    /// fires when the last one has. The reactor's thread does not wait.
    ///
    /// Jobs that are given later fail with [`PoolStopped`](crate::PoolStopped). Cancel those that shall not run.
    ///
    /// # Errors
    ///
    /// [`NoReactor`] if there is no current reactor; the pool is stopped all the same.
    ///
    /// # Cancellation
    ///
    /// Ends the waiting; the pool stays stopped.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_threadpool::{ThreadPool, park};
    ///
    /// let pool = ThreadPool::new(2);
    /// park::run_until(|_| {
    ///     let job = pool.defer_to_thread(|| Ok(println!("runs before the pool has stopped")));
    ///     pool.stop().add_callback(|()| job)
    /// })
    /// .unwrap();
    /// ```
    #[track_caller]
    pub fn stop(&self) -> Deferred<()> {
        let workers = &self.owner.workers;
        match Reactor::current() {
            Some(reactor) => {
                let (deferred, resolver) = reactor.remote();
                workers.stop(Some(Box::new(move || resolver.callback(()))));
                deferred
            }
            None => {
                workers.stop(None);
                Deferred::fail(NoReactor::new())
            }
        }
    }
}

fn caught<T>(f: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    panic::catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|payload| Err(Panicked::new(payload).into()))
}

impl Default for ThreadPool {
    /// Ten threads at most, which is also Twisted's figure.
    fn default() -> Self {
        Self::builder().build()
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool").field("config", &self.owner.workers.config).finish_non_exhaustive()
    }
}

/// The settings of a [`ThreadPool`] to be: made by [`ThreadPool::builder`].
#[derive(Clone, Debug)]
#[must_use = "call `build` to make the pool"]
pub struct Builder {
    config: Config,
}

impl Builder {
    /// How many threads stay, once they were needed, however long there is no work: none unless set.
    pub fn min_threads(mut self, min_threads: usize) -> Self {
        self.config.min_threads = min_threads;
        self
    }

    /// How many threads there are at most: 10 unless set. 0 counts as 1.
    pub fn max_threads(mut self, max_threads: usize) -> Self {
        self.config.max_threads = max_threads.max(1);
        self
    }

    /// How long a thread without work waits for some before it ends, where there are more than the minimum: 10 seconds
    /// unless set.
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.config.keep_alive = keep_alive;
        self
    }

    /// What the threads are called, with a number behind it: `deferred-pool` unless set.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// The stack of each thread, in bytes: the standard library's default unless set.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.config.stack_size = Some(bytes);
        self
    }

    /// Makes the pool. No thread is started before the first job.
    pub fn build(self) -> ThreadPool {
        ThreadPool { owner: Arc::new(Owner { workers: Workers::new(self.config) }) }
    }
}
