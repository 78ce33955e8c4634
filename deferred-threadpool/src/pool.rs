//! `ThreadPool`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deferred_core::context;
use deferred_core::{Deferred, Failure, NoReactor, Reactor, RemoteFuture};

use crate::calls::{ignore_job, without_reactor, without_value};
use crate::completion;
use crate::config::Config;
use crate::job::Job;
use crate::stats::PoolStats;
use crate::worker::{Reservation, Workers};

/// A pool of threads for blocking jobs.
///
/// Threads are started when there are jobs for them, up to a maximum, and end when they have had
/// none for a while; the last one stays. Jobs begin in the order in which they were submitted. Any
/// thread and any number of reactors can share a pool; clones refer to the same pool. Several pools
/// keep slow jobs from delaying quick ones.
///
/// # The outcome of a job
///
/// Each job has one outcome: it is done, has failed, has panicked, is cancelled or was refused.
/// [`stats`](Self::stats) counts each. The callbacks of its Deferred run on the thread of its
/// reactor, in a turn, always. The closure is dropped in the thread that ran it, as soon as it has
/// returned; a result that nothing waits for is dropped there too.
///
/// Dropping the last clone of a pool stops it like [`stop`](Self::stop), without waiting: submitted
/// jobs run, and then the threads end. If a reactor is closed first, its queued jobs are removed,
/// its running ones are cancelled ([`Job::is_cancelled`]), and their Deferreds fire
/// [`Abandoned`](deferred_core::Abandoned).
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
///         .add_callback(|bytes| Ok(bytes.len())) // on this thread
/// });
/// assert_eq!(sizes.unwrap(), 3);
/// ```
#[doc(alias = "twisted.python.threadpool")]
#[derive(Clone)]
pub struct ThreadPool {
    owner: Arc<Owner>,
}

struct Owner {
    workers: Arc<Workers>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.workers.stop(false, None);
    }
}

impl ThreadPool {
    pub(crate) fn with_config(config: Config) -> ThreadPool {
        ThreadPool { owner: Arc::new(Owner { workers: Workers::new(config) }) }
    }

    /// Returns the default pool of this reactor, which [`defer_to_thread`](crate::defer_to_thread) uses: at most ten
    /// threads, none of them before the first job. It is stopped with its reactor, unless a clone
    /// of it exists. That does not wait for its jobs: see [`stop`](Self::stop).
    ///
    /// Twisted's `reactor.getThreadPool`.
    #[doc(alias = "getThreadPool")]
    #[must_use]
    pub fn for_reactor(reactor: &Reactor) -> ThreadPool {
        ThreadPool::clone(&reactor.extension(ThreadPool::default))
    }

    /// Runs `f` in a thread of this pool. Call this method on the thread of the [current
    /// reactor](Reactor::current), which also runs the callbacks of the returned Deferred.
    ///
    /// `f` is dropped in its thread as soon as it has returned. Without a current reactor `f` is
    /// dropped and does not run; use [`submit`](Self::submit) there.
    ///
    /// Twisted's `deferToThreadPool`.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with:
    ///
    /// - the error of `f`, or [`Panicked`] if `f` panics;
    /// - [`Abandoned`] if the reactor is closed before `f` returns, or the deadline of a
    ///   [`stop_within`](Self::stop_within) passes;
    /// - [`PoolStopped`] if the pool was stopped before;
    /// - [`QueueFull`] if too many jobs wait;
    /// - [`SpawnFailed`] if the pool has no thread and none can be started;
    /// - [`NoReactor`] if there is no current reactor;
    /// - [`Cancelled`](deferred_core::Cancelled) if a stop of the pool cancels the queued job.
    ///
    /// # Cancellation
    ///
    /// The returned Deferred fires [`Cancelled`](deferred_core::Cancelled) at once. If `f` is
    /// queued, it never runs and is dropped at once, which frees its place. If `f` runs, it runs to
    /// its end and occupies its thread, unless it checks [`Job::is_cancelled`]. Its result, a value
    /// or an error, is then dropped in its thread, or on the reactor's if it is already in transit;
    /// the error is not reported. A [timeout](deferred_core::Deferred::add_timeout) is such a
    /// cancel.
    ///
    /// # The end of the program
    ///
    /// The end of `main` ends the process, and with it each job that still runs, without its
    /// destructors, as for any thread. To wait for the jobs, end with
    /// [`stop`](Self::stop) or [`stop_within`](Self::stop_within), for example in a
    /// [shutdown trigger](Reactor::add_system_event_trigger).
    ///
    /// [`Abandoned`]: deferred_core::Abandoned
    /// [`SpawnFailed`]: crate::SpawnFailed
    /// [`Panicked`]: deferred_core::Panicked
    /// [`PoolStopped`]: crate::PoolStopped
    /// [`QueueFull`]: crate::QueueFull
    #[doc(alias = "deferToThread")]
    #[doc(alias = "deferToThreadPool")]
    #[doc(alias = "spawn_blocking")]
    #[doc(alias = "unblock")]
    #[track_caller]
    pub fn defer_to_thread<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Deferred<T> {
        match Reactor::current() {
            Some(reactor) => self.defer_to_thread_on(&reactor, f),
            None => without_reactor(f),
        }
    }

    /// Like [`defer_to_thread`](Self::defer_to_thread), but with this reactor instead of the
    /// current one. The errors, except [`NoReactor`], and the effects of a cancel are the same.
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
        self.submit_on(reactor, move |_: &Job<'_>| f())
    }

    #[track_caller]
    pub(crate) fn submit_on<T: Send + 'static>(
        &self,
        reactor: &Reactor,
        f: impl FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Deferred<T> {
        completion::submit(&self.owner.workers, reactor, f)
    }

    /// Like [`defer_to_thread`](Self::defer_to_thread), but passes `f` a [`Job`], with which it can
    /// check whether it was cancelled. The errors and the effects of a cancel are the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_threadpool::{Job, ThreadPool, TimedOut, park};
    ///
    /// let pool = ThreadPool::new(1);
    /// let searched = park::run_until(|reactor| {
    ///     let search = pool.defer_to_thread_with(|job: &Job<'_>| {
    ///         while !job.is_cancelled() {
    ///             std::thread::sleep(Duration::from_millis(1)); // a piece of the work
    ///         }
    ///         Ok(())
    ///     });
    ///     search.add_timeout(Duration::from_millis(20), reactor)
    /// });
    /// assert!(searched.unwrap_err().check::<TimedOut>());
    /// ```
    #[track_caller]
    pub fn defer_to_thread_with<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Deferred<T> {
        match Reactor::current() {
            Some(reactor) => self.submit_on(&reactor, f),
            None => without_reactor(f),
        }
    }

    /// Runs `f` in a thread of this pool, for callers without a reactor. The returned future can be
    /// awaited on any runtime, or waited for by a blocking [`wait`](RemoteFuture::wait), which must
    /// not be called on a loop's thread.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`defer_to_thread`](Self::defer_to_thread).
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels the job, like cancelling the Deferred of
    /// [`defer_to_thread`](Self::defer_to_thread).
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_threadpool::ThreadPool;
    ///
    /// let pool = ThreadPool::new(1);
    /// assert_eq!(pool.submit(|_| Ok(6 * 7)).wait().unwrap(), 42);
    /// ```
    #[doc(alias = "spawn_blocking")]
    #[doc(alias = "JoinHandle")]
    #[track_caller]
    pub fn submit<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> RemoteFuture<T> {
        completion::submit_remote(&self.owner.workers, f)
    }

    /// Like [`defer_to_thread`](Self::defer_to_thread), but ignores the value of `f`. An error is
    /// reported as unhandled, except `Abandoned` and `Cancelled`.
    ///
    /// Twisted's `callInThread`.
    #[doc(alias = "callInThread")]
    #[track_caller]
    pub fn call_in_thread<T: Send + 'static>(&self, f: impl FnOnce() -> Result<T, Failure> + Send + 'static) {
        ignore_job(self.defer_to_thread(without_value(f)));
    }

    /// Returns a Deferred of the current reactor that fires when the queue has a free place: see
    /// [`queue_limit`](crate::ThreadPoolBuilder::queue_limit). Callers that wait get their places
    /// in FIFO order.
    ///
    /// The place is reserved for the callbacks of that Deferred, or the coroutine that awaits it.
    /// If they submit no job in their turn, the next caller gets it. A job that is submitted
    /// without a reservation can take the reserved place; the holder's job is then refused with
    /// [`QueueFull`](crate::QueueFull).
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with [`PoolStopped`](crate::PoolStopped) if the pool is stopped,
    /// or with [`NoReactor`] if there is no current reactor.
    ///
    /// # Cancellation
    ///
    /// A cancel removes the caller from the queue of callers.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_threadpool::{ThreadPool, inline_callbacks, park};
    ///
    /// let pool = ThreadPool::builder().max_threads(1).queue_limit(10).build();
    /// let produced = park::run_until(|_| {
    ///     inline_callbacks(async move {
    ///         for number in 0..100 {
    ///             pool.reserve().await?;
    ///             pool.call_in_thread(move || Ok(number));
    ///         }
    ///         Ok(())
    ///     })
    /// });
    /// produced.unwrap();
    /// ```
    #[track_caller]
    pub fn reserve(&self) -> Deferred<()> {
        match Reactor::current() {
            Some(reactor) => {
                let (deferred, resolver) = reactor.remote::<Reservation>();
                self.owner.workers.reserve(resolver);
                let handle = reactor.handle();
                deferred.add_callback(move |reservation| {
                    // After the callbacks that follow this one, which have submitted a job by then,
                    // or will not do so.
                    let _ = context::without(|| handle.call_from_thread(move || drop(reservation)));
                })
            }
            None => Deferred::fail(NoReactor::new()),
        }
    }

    /// Changes the minimum and maximum number of threads. If more threads are allowed, they are
    /// started for queued jobs. If there are too many, threads without a job end now, the others
    /// after their job. A minimum above the maximum is clamped.
    ///
    /// Twisted's `adjustPoolsize`.
    #[doc(alias = "adjustPoolsize")]
    pub fn adjust_pool_size(&self, min_threads: usize, max_threads: usize) {
        self.owner.workers.adjust(min_threads, max_threads);
    }

    /// Returns the statistics of the pool. This takes the pool's lock once.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.owner.workers.stats()
    }

    /// Stops the pool: submitted jobs run, and then the threads end. The returned Deferred, of the
    /// current reactor, fires after the last thread has ended and the Deferreds of this reactor's
    /// jobs have fired. This thread does not block. The destructors of a thread's `thread_local!`s
    /// may run later.
    ///
    /// Jobs that are submitted later fail with [`PoolStopped`](crate::PoolStopped). If the maximum
    /// number of threads is 0, queued jobs are cancelled.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with [`NoReactor`] if there is no current reactor; the pool is
    /// stopped nevertheless. It fails with [`StopTimedOut`](crate::StopTimedOut) if other code has
    /// stopped the pool with a deadline, which has passed.
    ///
    /// # Cancellation
    ///
    /// A cancel ends the wait; the pool stays stopped.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_threadpool::{ThreadPool, park};
    ///
    /// let pool = ThreadPool::new(2);
    /// park::run_until(|_| {
    ///     let job = pool.defer_to_thread(|| Ok(println!("runs before the pool stops")));
    ///     pool.stop().add_callback(|()| job)
    /// })
    /// .unwrap();
    /// ```
    #[track_caller]
    pub fn stop(&self) -> Deferred<()> {
        self.stop_with(Backlog::Run)
    }

    /// Like [`stop`](Self::stop), but with a choice for queued jobs. Errors and a cancel have the
    /// same effects.
    #[track_caller]
    pub fn stop_with(&self, backlog: Backlog) -> Deferred<()> {
        let cancels = backlog == Backlog::Cancel;
        match Reactor::current() {
            Some(reactor) => {
                let (deferred, waiter) = completion::stop_waiter(&reactor, &self.owner.workers);
                self.owner.workers.stop(cancels, Some(waiter));
                deferred
            }
            None => {
                self.owner.workers.stop(cancels, None);
                Deferred::fail(NoReactor::new())
            }
        }
    }

    /// Like [`stop_with`](Self::stop_with), but for callers without a reactor. The returned future
    /// can be awaited on any runtime, or waited for by a blocking [`wait`](RemoteFuture::wait).
    ///
    /// # Errors
    ///
    /// The future fails with [`StopTimedOut`](crate::StopTimedOut) if other code has stopped the
    /// pool with a deadline, which has passed.
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the wait; the pool stays stopped.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_threadpool::{Backlog, ThreadPool};
    ///
    /// let pool = ThreadPool::new(2);
    /// let answer = pool.submit(|_| Ok(6 * 7));
    /// pool.submit_stop(Backlog::Run).wait().unwrap();
    /// assert_eq!(answer.wait().unwrap(), 42);
    /// ```
    pub fn submit_stop(&self, backlog: Backlog) -> RemoteFuture<()> {
        let (stopped, waiter) = completion::remote_stop_waiter();
        self.owner.workers.stop(backlog == Backlog::Cancel, Some(waiter));
        stopped
    }

    /// Like [`stop_with`](Self::stop_with), but with a deadline: `timeout` from now, by the current
    /// reactor's clock. When that passes, queued jobs are cancelled and running ones are abandoned:
    /// the Deferreds of the running ones fire [`Abandoned`](deferred_core::Abandoned).
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with [`StopTimedOut`](crate::StopTimedOut) if a thread has not
    /// ended by then, and with the errors of [`stop`](Self::stop).
    ///
    /// # Cancellation
    ///
    /// A cancel ends the wait and removes the deadline; the pool stays stopped.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_threadpool::{Abandoned, Backlog, StopTimedOut, ThreadPool, park};
    ///
    /// let pool = ThreadPool::new(1);
    /// park::run_until(|_| {
    ///     let hangs = pool.defer_to_thread(|| Ok(std::thread::sleep(Duration::from_millis(300))));
    ///     pool.stop_within(Backlog::Run, Duration::from_millis(20)).add_both(|stopped| {
    ///         assert!(stopped.unwrap_err().check::<StopTimedOut>());
    ///         hangs.add_both(|job| Ok(assert!(job.unwrap_err().check::<Abandoned>())))
    ///     })
    /// })
    /// .unwrap();
    /// ```
    #[track_caller]
    pub fn stop_within(&self, backlog: Backlog, timeout: Duration) -> Deferred<()> {
        let stopped = self.stop_with(backlog);
        let Some(reactor) = Reactor::current() else { return stopped };
        let workers = self.owner.workers.clone();
        let alarm = reactor.call_later(timeout, move || workers.stop_timed_out());
        stopped.add_both(move |stopped| {
            let _ = alarm.cancel(); // an error means that it has run
            stopped
        })
    }
}

/// The treatment of queued jobs when their pool is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backlog {
    /// Queued jobs run.
    Run,
    /// Queued jobs are cancelled: their Deferreds fire [`Cancelled`](deferred_core::Cancelled),
    /// with the stop as the reason.
    Cancel,
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool")
            .field("config", &self.owner.workers.config)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use deferred_core::Turn;

    use super::*;

    #[test]
    fn cancelled_waiters_are_removed() {
        let pool = ThreadPool::builder().min_threads(0).max_threads(1).queue_limit(0).build();
        let (ends, ended) = std::sync::mpsc::channel::<()>();
        let reactor = Reactor::new();
        let _entered = reactor.enter();
        let job = pool.defer_to_thread(move || Ok(ended.recv().unwrap_err()));
        let lines = |wait: &dyn Fn() -> Deferred<()>| {
            let stays = wait();
            for _ in 0..10_000 {
                let waits = wait();
                waits.cancel();
                drop(waits.add_errback(|_| Ok(())));
            }
            assert!(!stays.is_ready());
            pool.owner.workers.waiting()
        };
        let (reservations, _) = lines(&|| pool.reserve());
        let (_, stops) = lines(&|| pool.stop());
        assert!(reservations < 200 && stops < 200, "{reservations} reservations and {stops} stops wait");
        drop(ends);
        drop(job.add_both(|_| Ok(())));
    }

    #[test]
    fn any_number_of_stop_waiters_share_one_set_of_pending_jobs() {
        let (pool, reactor) = (ThreadPool::new(0), Reactor::new());
        let _entered = reactor.enter();
        let job = pool.defer_to_thread(|| Ok(()));
        let workers = &pool.owner.workers;
        let (waiting, enders): (Vec<_>, Vec<_>) = (0..100).map(|_| completion::stop_waiter(&reactor, workers)).unzip();
        enders.into_iter().for_each(|waiter| waiter.complete(Ok(())));
        while reactor.turn(std::task::Waker::noop()) == Turn::Again {}
        assert_eq!(completion::ended_pools(&reactor), 1);
        assert!(waiting.iter().all(|deferred| !deferred.is_ready()));
        job.cancel();
        drop(job.add_errback(|_| Ok(())));
        while reactor.turn(std::task::Waker::noop()) == Turn::Again {}
        assert!(waiting.into_iter().all(|deferred| deferred.try_take().is_ok_and(|ended| ended.is_ok())));
        assert_eq!(completion::ended_pools(&reactor), 0);
    }

    #[test]
    fn a_thread_reuses_the_slot_of_one_that_has_ended() {
        let pool = ThreadPool::builder().max_threads(2).keep_alive(Duration::ZERO).build();
        for _ in 0..5 {
            let both = Arc::new(Barrier::new(2));
            let jobs = [both.clone(), both].map(|both| pool.submit(move |_| Ok(both.wait())));
            jobs.into_iter().for_each(|job| _ = job.wait().unwrap());
            while pool.stats().threads > 1 {
                thread::yield_now();
            }
        }
        assert_eq!(pool.owner.workers.slots(), 2);
    }
}
