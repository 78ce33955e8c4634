//! The functions that use the default pool of the current reactor.

use deferred_core::{BuiltinError, Deferred, DeferredError, Failure, NoReactor, Reactor};

use crate::ThreadPool;
use crate::job::{Job, drop_refused};

/// Runs `f` in the default pool of the current reactor, which has at most ten threads, starts them
/// on demand, and is stopped with its reactor.
///
/// See [`ThreadPool::defer_to_thread`] for errors, cancels and the end of the program.
///
/// # Examples
///
/// ```
/// use deferred_threadpool::{defer_to_thread, park};
///
/// let answer = park::run_until(|_| defer_to_thread(|| Ok(6 * 7)));
/// assert_eq!(answer.unwrap(), 42);
/// ```
#[doc(alias = "deferToThread")]
#[doc(alias = "deferToThreadPool")]
#[doc(alias = "spawn_blocking")]
#[doc(alias = "unblock")]
#[track_caller]
pub fn defer_to_thread<T: Send + 'static>(f: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Deferred<T> {
    match Reactor::current() {
        Some(reactor) => ThreadPool::for_reactor(&reactor).defer_to_thread_on(&reactor, f),
        None => without_reactor(f),
    }
}

/// Like [`defer_to_thread`], but passes `f` a [`Job`], with which it can check whether it was
/// cancelled. See [`ThreadPool::defer_to_thread_with`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use deferred_threadpool::{Job, TimedOut, defer_to_thread_with, park};
///
/// let searched = park::run_until(|reactor| {
///     let search = defer_to_thread_with(|job: &Job<'_>| {
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
    f: impl FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static,
) -> Deferred<T> {
    match Reactor::current() {
        Some(reactor) => ThreadPool::for_reactor(&reactor).submit_on(&reactor, f),
        None => without_reactor(f),
    }
}

/// Like [`defer_to_thread`], but ignores the value of `f`. An error is reported as unhandled,
/// except `Abandoned` and `Cancelled`.
///
/// Twisted's `reactor.callInThread`.
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
#[doc(alias = "callInThread")]
#[track_caller]
pub fn call_in_thread<T: Send + 'static>(f: impl FnOnce() -> Result<T, Failure> + Send + 'static) {
    ignore_job(defer_to_thread(without_value(f)));
}

/// Like [`call_in_thread`], but runs several calls in one job, one after the other. The first error
/// ends the job.
///
/// Twisted's `callMultipleInThread`.
#[doc(alias = "callMultipleInThread")]
#[track_caller]
pub fn call_multiple_in_thread<F: FnOnce() -> Result<(), Failure> + Send + 'static>(
    calls: impl IntoIterator<Item = F>,
) {
    let calls: Vec<F> = calls.into_iter().collect();
    call_in_thread(move || calls.into_iter().try_for_each(|call| call()));
}

/// Returns a job that drops its value in its thread.
pub(crate) fn without_value<T>(
    f: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> impl FnOnce() -> Result<(), Failure> + Send + 'static {
    move || f().map(drop)
}

/// Ignores a job. Its error is reported, unless the job was abandoned or cancelled.
#[track_caller]
pub(crate) fn ignore_job(job: Deferred<()>) {
    drop(job.add_errback(|failure| match failure.builtin() {
        Some(BuiltinError::Abandoned(_) | BuiltinError::Cancelled(_)) => Ok(()),
        _ => Err(failure),
    }));
}

/// Returns the failure of a job without a reactor, whose closure is dropped.
#[track_caller]
pub(crate) fn without_reactor<T: 'static>(closure: impl Sized) -> Deferred<T> {
    Deferred::fail(drop_refused(closure, NoReactor::new().into()))
}
