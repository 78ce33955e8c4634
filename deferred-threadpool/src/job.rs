//! A job: a closure and later its result, in one box that travels to a thread and back.

use std::any::Any;
use std::fmt;
use std::mem;
use std::panic::{self, AssertUnwindSafe, Location};
use std::sync::Arc;
use std::time::Instant;

use deferred_core::context::Context;
use deferred_core::{Cancelled, DeferredError, Failure, Panicked, TimedOut};

use crate::cancel_flag::{CancelFlag, OnCancel};

/// The running job, as an argument of its closure: shows whether its result is still wanted.
///
/// [`ThreadPool::defer_to_thread_with`](crate::ThreadPool::defer_to_thread_with) passes it.
pub struct Job<'a> {
    cancelled: &'a CancelFlag,
    number: u64,
    deadline: Option<Instant>,
}

impl<'a> Job<'a> {
    /// Creates the handle of the job `number`. It is cancelled once `cancelled` is set to that number.
    pub(crate) fn new(cancelled: &'a CancelFlag, number: u64) -> Job<'a> {
        Job { cancelled, number, deadline: None }
    }

    /// Returns `true` if nothing waits for the result any more: the Deferred was cancelled, its
    /// reactor was closed, the pool was stopped and its deadline has passed, or the
    /// [deadline](deferred_core::context#deadlines) of the job's context has passed. It costs one
    /// load, and with a deadline a reading of the clock, so a loop can call it in each round.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_set(self.number) || self.has_timed_out()
    }

    /// Has `call` called if this job is cancelled before the returned guard is dropped, so that a
    /// blocking call of a library can be interrupted: by `sqlite3_interrupt`, by shutting a socket
    /// down, or by killing a child process.
    ///
    /// The call is made once. A library may ignore one that comes before its blocking call has
    /// begun, as SQLite does.
    ///
    /// `call` runs on the thread that cancels, which is usually that of the loop, so it must not
    /// block; or inside this method, if the job is cancelled already. Its panic is ignored. At
    /// the deadline of a context the reactor of the job cancels it; a job without a reactor, as of
    /// [`submit`](crate::ThreadPool::submit), only sees [`is_cancelled`](Self::is_cancelled).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::{Shutdown, TcpListener, TcpStream};
    /// use std::io::Read;
    /// use std::time::Duration;
    /// use deferred_threadpool::{Cancelled, ThreadPool, park};
    ///
    /// let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    /// let address = silent.local_addr().unwrap();
    /// let pool = ThreadPool::new(1);
    /// let result = park::run_until(|reactor| {
    ///     let read = pool.defer_to_thread_with(move |job| {
    ///         let mut stream = TcpStream::connect(address)?;
    ///         let same = stream.try_clone()?;
    ///         let _interrupts = job.on_cancel(move || drop(same.shutdown(Shutdown::Both)));
    ///         Ok(stream.read(&mut [0; 100])?) // would block forever
    ///     });
    ///     read.add_timeout(Duration::from_millis(20), reactor)
    /// });
    /// assert!(result.is_err());
    /// // The thread is free again.
    /// assert_eq!(pool.submit(|_| Ok(1)).wait().unwrap(), 1);
    /// ```
    pub fn on_cancel(&self, call: impl FnOnce() + Send + 'static) -> OnCancel<'a> {
        OnCancel::new(self.cancelled, self.number, Box::new(call))
    }

    /// Returns `true` if the deadline has passed.
    pub(crate) fn has_timed_out(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Returns the error of a job that is cancelled.
    pub(crate) fn cancelled_error(&self) -> Failure {
        if self.has_timed_out() { TimedOut::by_deadline(None).into() } else { Cancelled::new().into() }
    }
}

impl fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("is_cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

/// The outcome of a closure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Failed,
    Panicked,
}

/// A job without its types. Its destructor may run user code, so it is dropped without a lock.
pub(crate) trait AnyJob: Send {
    /// Calls the closure, drops it, and stores the result.
    fn run(&mut self, job: &Job<'_>) -> Outcome;

    /// Drops the closure and stores `why` as the result.
    fn refuse(&mut self, why: Failure);

    /// Adds the location where the job was submitted to the trail of its error.
    fn add_location(&mut self, at: &'static Location<'static>);

    /// Moves the result into `slot`, which is an `Option<Result<T, Failure>>` of the job's type.
    fn take_result(self: Box<Self>, slot: &mut dyn Any);
}

/// The key of a job in the slabs of its reactor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobKey {
    pub(crate) slab: u32,
    pub(crate) slot: u32,
    /// The number of times that the slot was used before.
    pub(crate) generation: u32,
}

/// The destination of results: a reactor, or a `RemoteFuture`.
pub(crate) trait CompletionSink: Send + Sync {
    /// Receives a job with its result.
    fn complete(&self, key: JobKey, job: Box<dyn AnyJob>);

    /// Receives the error of a job that still runs and whose result will be ignored.
    fn abandon(&self, key: JobKey, why: Failure);
}

/// A job in the queue of a pool.
pub(crate) struct QueuedJob {
    /// The number of the job in its pool. Numbers ascend.
    pub(crate) number: u64,
    pub(crate) job: Box<dyn AnyJob>,
    pub(crate) info: JobInfo,
}

/// The pool's record of a job, which it keeps while a thread runs the job.
pub(crate) struct JobInfo {
    /// The location where the job was submitted.
    pub(crate) submitted_on: &'static Location<'static>,
    /// The time when the job was submitted.
    pub(crate) submitted_at: Instant,
    pub(crate) sink: Arc<dyn CompletionSink>,
    pub(crate) key: JobKey,
}

impl JobInfo {
    /// Creates the record of a job that is submitted now.
    pub(crate) fn new(location: &'static Location<'static>, sink: Arc<dyn CompletionSink>, key: JobKey) -> JobInfo {
        JobInfo { submitted_on: location, submitted_at: Instant::now(), sink, key }
    }
}

impl QueuedJob {
    /// Completes a job that will not run with the error `why`.
    pub(crate) fn refuse(self, why: Failure) {
        let QueuedJob { mut job, info, .. } = self;
        job.refuse(why);
        job.add_location(info.submitted_on);
        info.sink.complete(info.key, job);
    }
}

/// The contents of a job's box: the closure until it is called, then the result.
pub(crate) enum JobState<F, T> {
    Closure(F),
    Result(Result<T, Failure>),
    Taken,
}

impl<F, T> AnyJob for JobState<F, T>
where
    F: FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static,
    T: Send + 'static,
{
    fn run(&mut self, job: &Job<'_>) -> Outcome {
        let JobState::Closure(closure) = mem::replace(self, JobState::Taken) else { unreachable!("a job runs once") };
        let (result, outcome) = match panic::catch_unwind(AssertUnwindSafe(|| closure(job))) {
            Ok(Ok(value)) => (Ok(value), Outcome::Done),
            Ok(Err(error)) => (Err(error), Outcome::Failed),
            Err(payload) => (Err(Panicked::new(payload).into()), Outcome::Panicked),
        };
        *self = JobState::Result(result);
        outcome
    }

    fn refuse(&mut self, why: Failure) {
        drop_ignoring_panic(mem::replace(self, JobState::Result(Err(why))));
    }

    fn add_location(&mut self, at: &'static Location<'static>) {
        if let JobState::Result(Err(failure)) = self {
            failure.add_location(at);
        }
    }

    fn take_result(self: Box<Self>, slot: &mut dyn Any) {
        let slot: &mut Option<Result<T, Failure>> = slot.downcast_mut().expect("the slot is of the job's type");
        if let JobState::Result(result) = *self {
            *slot = Some(result);
        }
    }
}

/// Returns the closure of a job that runs in the current context, and does not run after its
/// deadline.
pub(crate) fn in_context<F, T>(
    at: &'static Location<'static>,
    closure: F,
) -> impl FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static
where
    F: FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static,
{
    let context = Context::for_job(at);
    move |job: &Job<'_>| {
        let job = Job { deadline: context.deadline(), ..*job };
        context.run(|| if job.has_timed_out() { Err(job.cancelled_error()) } else { closure(&job) })
    }
}

/// Drops the closure of a refused job. Returns `why`, or the panic of a destructor.
pub(crate) fn drop_refused<X>(closure: X, why: Failure) -> Failure {
    match panic::catch_unwind(AssertUnwindSafe(|| drop(closure))) {
        Ok(()) => why,
        Err(payload) => Panicked::new(payload).into(),
    }
}

/// Drops a value of the user, and ignores a panic of its destructor.
pub(crate) fn drop_ignoring_panic<X>(value: X) {
    ignore_panic(|| drop(value));
}

/// Calls user code, and ignores its panic, which must not end a thread or a loop. The panic hook
/// has already printed its message.
pub(crate) fn ignore_panic(f: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(f)) {
        drop(Panicked::new(payload)); // catches a panic of the payload's destructor
    }
}
