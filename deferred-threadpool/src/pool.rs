//! The pool as its users see it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deferred_core::{BuiltinError, Deferred, DeferredError, Failure, NoReactor, Reactor, RemoteFuture};

use crate::builder::{Config, ThreadPoolBuilder};
use crate::delivery;
use crate::elsewhere;
use crate::job::{Job, drop_refused};
use crate::stats::PoolStats;
use crate::workers::{Told, Workers};

/// Threads that run what blocks.
///
/// They are started when there is work for them, up to a maximum, and end when there has been none
/// for a while; the last one stays. Jobs begin in the order they were given. Any thread and any
/// number of reactors may share a pool; clones mean the same one. Several pools side by side keep
/// slow work from standing in the way of quick work.
///
/// # What becomes of a job
///
/// It ends in one way: it is done, has failed, has panicked, is cancelled or was refused, and
/// [`stats`](Self::stats) counts each. The callbacks of its Deferred run on the thread of its
/// reactor, in a turn, whatever the timing. Its closure is dropped in the thread that ran it as
/// soon as it has returned; a result that nobody waits for any more is dropped there too.
///
/// Dropping the last clone of a pool ends it as [`stop`](Self::stop) does: the jobs that were given
/// are run, and then the threads end. Nobody waits for them. Where a reactor ends first, its jobs
/// that wait are taken out, those that run are told ([`Job::is_cancelled`]), and their Deferreds
/// fire [`Abandoned`](deferred_core::Abandoned).
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
        self.workers.stop(false, None);
    }
}

impl ThreadPool {
    /// A pool of at most `max_threads` threads. None is started yet.
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
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder::new()
    }

    pub(crate) fn with(config: Config) -> ThreadPool {
        ThreadPool { owner: Arc::new(Owner { workers: Workers::new(config) }) }
    }

    /// The default pool of this reactor, which [`defer_to_thread`] uses: ten threads at most, none
    /// before there is work. It ends with its reactor, unless a clone of it is kept.
    ///
    /// Twisted's `reactor.getThreadPool`.
    #[must_use]
    pub fn for_reactor(reactor: &Reactor) -> ThreadPool {
        ThreadPool::clone(&reactor.extension(ThreadPool::default))
    }

    /// Runs `f` in a thread of this pool. The Deferred is of the current reactor, on whose thread
    /// this is called, and where its callbacks run.
    ///
    /// `f` is dropped as soon as it has run, in that thread. If this is called where there is no
    /// [current reactor](Reactor::current), `f` is dropped; [`submit`](Self::submit) serves there.
    ///
    /// Twisted's `deferToThreadPool`.
    ///
    /// # Errors
    ///
    /// The Deferred fails with the error of `f`; with [`Panicked`] if `f` panics; with
    /// [`Abandoned`] if the reactor is closed before `f` is done, or the deadline of a
    /// [`stop_within`](Self::stop_within) passes; with [`PoolStopped`] if the pool was stopped
    /// before; with [`QueueFull`] if too many jobs wait; with [`SpawnFailed`] if no thread can be
    /// started and the pool has none; with [`NoReactor`] if there is no current reactor.
    ///
    /// # Cancellation
    ///
    /// While `f` waits for a thread: it never runs, and is dropped at once, which makes room for
    /// another. Later: `f` runs to its end, unless it looks at [`Job::is_cancelled`], and what it
    /// returns is dropped in its thread, or on the reactor's if it is on its way there. The
    /// Deferred fires [`Cancelled`](deferred_core::Cancelled) at once in either case. A
    /// [timeout](deferred_core::Deferred::add_timeout) is such a cancel.
    ///
    /// [`Abandoned`]: deferred_core::Abandoned
    /// [`SpawnFailed`]: crate::SpawnFailed
    /// [`Panicked`]: deferred_core::Panicked
    /// [`PoolStopped`]: crate::PoolStopped
    /// [`QueueFull`]: crate::QueueFull
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
        delivery::submit(&self.owner.workers, reactor, move |_: &Job<'_>| f())
    }

    /// [`defer_to_thread`](Self::defer_to_thread) for a closure that can be told to stop.
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
            Some(reactor) => delivery::submit(&self.owner.workers, &reactor, f),
            None => without_reactor(f),
        }
    }

    /// Runs `f` in a thread of this pool, for whoever has no reactor: the result is awaited on any
    /// runtime, or waited for by a blocking [`wait`](RemoteFuture::wait), which would hold up a
    /// loop if it were called on its thread.
    ///
    /// # Errors
    ///
    /// As [`defer_to_thread`](Self::defer_to_thread).
    ///
    /// # Cancellation
    ///
    /// Dropping the RemoteFuture cancels as there.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_threadpool::ThreadPool;
    ///
    /// let pool = ThreadPool::new(1);
    /// assert_eq!(pool.submit(|_| Ok(6 * 7)).wait().unwrap(), 42);
    /// ```
    #[track_caller]
    pub fn submit<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> RemoteFuture<T> {
        elsewhere::submit(&self.owner.workers, f)
    }

    /// Runs `f` in a thread of this pool, for whoever has no use for its result. An error of it is
    /// reported as unhandled.
    ///
    /// Twisted's `callInThread`. Otherwise as [`defer_to_thread`](Self::defer_to_thread).
    #[track_caller]
    pub fn call_in_thread<T: Send + 'static>(&self, f: impl FnOnce() -> Result<T, Failure> + Send + 'static) {
        nobody_waits(self.defer_to_thread(without_value(f)));
    }

    /// A Deferred, of the current reactor, that fires when the queue has room for a job: see
    /// [`queue_limit`](ThreadPoolBuilder::queue_limit). Those who wait are told in the order in
    /// which they asked, one for each place.
    ///
    /// The place is kept for its callbacks, and a coroutine that awaits it, from others who ask,
    /// and passed on if no job has come in their turn; it is not kept from jobs that are given
    /// without asking.
    ///
    /// # Errors
    ///
    /// [`PoolStopped`](crate::PoolStopped); [`NoReactor`] if there is no current reactor.
    ///
    /// # Cancellation
    ///
    /// Gives up the place in line.
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
                let (deferred, resolver) = reactor.remote::<Told>();
                self.owner.workers.when_room(resolver);
                let handle = reactor.handle();
                deferred.add_callback(move |told| {
                    // When the callbacks behind this one have run: by then he has come, or does
                    // not.
                    let _ = handle.call_from_thread(move || drop(told));
                })
            }
            None => Deferred::fail(NoReactor::new()),
        }
    }

    /// Other numbers of threads, from now on. Where more may be, they come for the jobs that wait;
    /// where there are too many, those without a job end now, the others after the one that they
    /// run. A minimum above the maximum counts as that.
    ///
    /// Twisted's `adjustPoolsize`.
    pub fn adjust_pool_size(&self, min_threads: usize, max_threads: usize) {
        self.owner.workers.adjust(min_threads, max_threads);
    }

    /// What the pool does and has done, at this moment. It takes the pool's lock once.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.owner.workers.stats()
    }

    /// Takes no more jobs: those that were given are run, and then the threads end. The Deferred,
    /// of the current reactor, fires when the last one has, and the Deferreds of this reactor's
    /// jobs have fired. The reactor's thread does not wait. The destructors of a thread's
    /// `thread_local!`s run behind that.
    ///
    /// Jobs that are given later fail with [`PoolStopped`](crate::PoolStopped). Where no thread may
    /// run, since the maximum is 0, those that wait are cancelled.
    ///
    /// # Errors
    ///
    /// [`NoReactor`] if there is no current reactor; the pool is stopped all the same.
    /// [`StopTimedOut`](crate::StopTimedOut) if somebody else has stopped it with a deadline, which
    /// has passed.
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
        self.stop_with(Backlog::Run)
    }

    /// [`stop`](Self::stop) with a choice for the jobs that wait; what is said there of errors and
    /// cancels holds here.
    #[track_caller]
    pub fn stop_with(&self, backlog: Backlog) -> Deferred<()> {
        let cancels = backlog == Backlog::Cancel;
        match Reactor::current() {
            Some(reactor) => {
                let (deferred, ender) = delivery::ender(&reactor, &self.owner.workers);
                self.owner.workers.stop(cancels, Some(ender));
                deferred
            }
            None => {
                self.owner.workers.stop(cancels, None);
                Deferred::fail(NoReactor::new())
            }
        }
    }

    /// [`stop_with`](Self::stop_with) with a deadline, of the current reactor's time. When that
    /// passes, the jobs that still wait are cancelled, those that run are told and given up: their
    /// Deferreds fire [`Abandoned`](deferred_core::Abandoned).
    ///
    /// # Errors
    ///
    /// [`StopTimedOut`](crate::StopTimedOut) if a thread has not ended by then. Otherwise as
    /// [`stop`](Self::stop).
    ///
    /// # Cancellation
    ///
    /// Ends the waiting, and takes the deadline back; the pool stays stopped.
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
    pub fn stop_within(&self, backlog: Backlog, deadline: Duration) -> Deferred<()> {
        let stopped = self.stop_with(backlog);
        let Some(reactor) = Reactor::current() else { return stopped };
        let workers = self.owner.workers.clone();
        let alarm = reactor.call_later(deadline, move || workers.stop_overdue());
        stopped.add_both(move |stopped| {
            let _ = alarm.cancel(); // it may be what has ended the wait
            stopped
        })
    }
}

/// What becomes of the jobs that wait for a thread when their pool is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backlog {
    /// They are run.
    Run,
    /// They are cancelled: their Deferreds fire [`Cancelled`](deferred_core::Cancelled) with that
    /// reason.
    Cancel,
}

impl Default for ThreadPool {
    /// Ten threads at most, which is also the figure of Twisted's reactor.
    fn default() -> Self {
        Self::builder().build()
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool")
            .field("config", &self.owner.workers.config)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Runs `f` in the default pool of the current reactor, which has ten threads at most, starts them
/// as they are needed, and ends with its reactor.
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
        Some(reactor) => ThreadPool::for_reactor(&reactor).defer_to_thread_on(&reactor, f),
        None => without_reactor(f),
    }
}

/// Runs `f` in the default pool of the current reactor, for whoever has no use for its result. An
/// error of it is reported as unhandled.
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
    nobody_waits(defer_to_thread(without_value(f)));
}

/// The job, which drops its value in its thread.
fn without_value<T>(
    f: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> impl FnOnce() -> Result<(), Failure> + Send + 'static {
    move || f().map(drop)
}

/// Lets a job be. What it fails with is reported, but not that nobody was to wait for it any more.
#[track_caller]
fn nobody_waits(job: Deferred<()>) {
    drop(job.add_errback(|failure| match failure.builtin() {
        Some(BuiltinError::Abandoned(_) | BuiltinError::Cancelled(_)) => Ok(()),
        _ => Err(failure),
    }));
}

#[track_caller]
fn without_reactor<T: 'static>(closure: impl Sized) -> Deferred<T> {
    Deferred::fail(drop_refused(closure, NoReactor::new().into()))
}

/// Runs these calls in one job of the default pool of the current reactor, one after the other. The
/// first that fails ends it, and is reported as unhandled.
///
/// Twisted's `callMultipleInThread`. Otherwise as [`call_in_thread`].
#[track_caller]
pub fn call_multiple_in_thread<F: FnOnce() -> Result<(), Failure> + Send + 'static>(
    calls: impl IntoIterator<Item = F>,
) {
    let calls: Vec<F> = calls.into_iter().collect();
    call_in_thread(move || calls.into_iter().try_for_each(|call| call()));
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use deferred_core::Turn;

    use super::*;

    #[test]
    fn those_who_give_up_waiting_leave_the_line() {
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
            pool.owner.workers.lines()
        };
        let (room, _) = lines(&|| pool.reserve());
        let (_, enders) = lines(&|| pool.stop());
        assert!(room < 200 && enders < 200, "{room} wait for room, {enders} for the end");
        drop(ends);
        drop(job.add_both(|_| Ok(())));
    }

    #[test]
    fn however_many_wait_for_the_end_of_a_pool_its_jobs_are_looked_for_once() {
        let (pool, reactor) = (ThreadPool::new(0), Reactor::new());
        let _entered = reactor.enter();
        let job = pool.defer_to_thread(|| Ok(()));
        let workers = &pool.owner.workers;
        let (waiting, enders): (Vec<_>, Vec<_>) = (0..100).map(|_| delivery::ender(&reactor, workers)).unzip();
        enders.into_iter().for_each(|ender| ender.tell(Ok(())));
        while reactor.turn(std::task::Waker::noop()) == Turn::Again {}
        assert_eq!(delivery::ends(&reactor), 1);
        assert!(waiting.iter().all(|deferred| !deferred.is_ready()));
        job.cancel();
        drop(job.add_errback(|_| Ok(())));
        while reactor.turn(std::task::Waker::noop()) == Turn::Again {}
        assert!(waiting.into_iter().all(|deferred| deferred.try_take().is_ok_and(|ended| ended.is_ok())));
        assert_eq!(delivery::ends(&reactor), 0);
    }

    #[test]
    fn a_thread_takes_the_seat_of_one_that_has_ended() {
        let pool = ThreadPool::builder().max_threads(2).keep_alive(Duration::ZERO).build();
        for _ in 0..5 {
            let both = Arc::new(Barrier::new(2));
            let jobs = [both.clone(), both].map(|both| pool.submit(move |_| Ok(both.wait())));
            jobs.into_iter().for_each(|job| _ = job.wait().unwrap());
            while pool.stats().threads > 1 {
                thread::yield_now();
            }
        }
        assert_eq!(pool.owner.workers.seats(), 2);
    }
}
