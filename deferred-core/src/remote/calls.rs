//! Results of the loop for other threads: `into_remote`, and calls from threads.

use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::future::{RemoteCompleter, RemoteFuture};
use crate::context;
use crate::deferred::{CancelHandle, Deferred, IntoDeferred, maybe_deferred_at};
use crate::error::{CallSite, DeferredError, Failure, TimedOut};
use crate::reactor::{Reactor, ReactorHandle};
use crate::report;

impl<T: Send + 'static, E: DeferredError + Send> Deferred<T, E> {
    /// Converts this Deferred into a [`RemoteFuture`], with which another thread or a task of any
    /// runtime gets the result: as a future, or by a blocking [`wait`](RemoteFuture::wait).
    ///
    /// # Errors
    ///
    /// The future fails with the error of this Deferred, or with [`Abandoned`](crate::Abandoned) if
    /// the reactor is closed before the result is ready.
    ///
    /// # Cancellation
    ///
    /// Dropping the [`RemoteFuture`] cancels this Deferred, on the reactor's thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use std::time::Duration;
    /// use deferred_core::park;
    ///
    /// let sum = park::run_until(|reactor| {
    ///     let later = reactor.defer_later(Duration::from_millis(1), || Ok(20)).into_remote(reactor);
    ///     let (deferred, resolver) = reactor.remote();
    ///     thread::spawn(move || resolver.fire(later.wait().map(|n| n + 1)));
    ///     deferred
    /// });
    /// assert_eq!(sum.unwrap(), 21);
    /// ```
    pub fn into_remote(self, reactor: &Reactor) -> RemoteFuture<T, E> {
        let (remote, completer) = RemoteFuture::for_reactor(reactor.handle());
        link(self, completer, reactor);
        remote
    }
}

/// The entry in the reactor's registry for a Deferred that another thread waits for. Closing the
/// reactor drops it, which completes the future with `Abandoned` and cancels the Deferred, so that
/// nothing of the call is left.
struct Link<T, E: DeferredError> {
    completer: Option<RemoteCompleter<T, E>>,
    handle: CancelHandle,
}

impl<T, E: DeferredError> Drop for Link<T, E> {
    fn drop(&mut self) {
        if let Some(completer) = self.completer.take() {
            drop(completer);
            self.handle.cancel();
        }
    }
}

/// Completes `completer` with the result of `deferred`, and cancels the Deferred if the
/// `RemoteFuture` is dropped.
pub(super) fn link<T: Send + 'static, E: DeferredError + Send>(
    mut deferred: Deferred<T, E>,
    completer: RemoteCompleter<T, E>,
    reactor: &Reactor,
) {
    let handle = deferred.cancel_handle();
    let cancel = handle.clone();
    let given_up = completer.canceller_slot();
    let key = reactor.keep(Link { completer: Some(completer), handle }, None);
    let keeps = reactor.clone();
    deferred.into_end(move |result| {
        let link = key.and_then(|key| keeps.claim::<Link<T, E>>(key));
        if let Some(completer) = link.and_then(|mut link| link.completer.take()) {
            completer.fire(result);
        }
    });
    let Some(key) = key else { return };
    let posts = reactor.handle();
    let was_given_up = given_up.set(move || {
        // An error means that the reactor is closed, which has completed the future.
        let _ = context::without(|| posts.call_from_thread_with(move |reactor| drop(reactor.claim::<Link<T, E>>(key))));
    });
    if was_given_up {
        cancel.cancel();
    }
}

impl ReactorHandle {
    /// Runs `call` on the reactor's thread, in a turn, and returns a future for its result. If `call`
    /// returns a Deferred, the result is that Deferred's.
    ///
    /// This is for tasks of another runtime, such as tokio's: the future can be awaited on any
    /// executor and any thread. It never runs `call` inside this call.
    ///
    /// # Errors
    ///
    /// The future fails with the error of `call`, with [`Panicked`](crate::Panicked) if that panics,
    /// or with [`Abandoned`](crate::Abandoned) if the reactor is closed, now or before the result is
    /// ready.
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels the Deferred that `call` has returned. A call that has not begun
    /// never runs.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use std::time::Duration;
    /// use deferred_core::{Reactor, park};
    /// use futures::executor::block_on; // or the executor of your program
    ///
    /// park::run(|reactor| {
    ///     let handle = reactor.handle();
    ///     thread::spawn(move || {
    ///         let answer = block_on(handle.call(|| {
    ///             let reactor = Reactor::current().expect("calls run in a turn");
    ///             reactor.defer_later(Duration::from_millis(1), || Ok(42))
    ///         }));
    ///         assert_eq!(answer.unwrap(), 42);
    ///         handle.stop();
    ///     });
    /// });
    /// ```
    #[track_caller]
    pub fn call<F, R>(&self, call: F) -> RemoteFuture<R::Value, Failure>
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoDeferred<Failure, Value: Send>,
    {
        self.call_at(|_| call(), Location::caller())
    }

    /// Runs `call` on the reactor's thread, in a turn, and blocks this thread until its result is
    /// ready. If `call` returns a Deferred, the result is that Deferred's.
    ///
    /// Twisted's `blockingCallFromThread`.
    ///
    /// # Errors
    ///
    /// Returns one of these errors:
    ///
    /// - the error of `call`, or [`Panicked`](crate::Panicked) if it panics;
    /// - [`Abandoned`](crate::Abandoned) if the reactor is closed, now or before the result is
    ///   ready;
    /// - [`WouldDeadlock`] on the reactor's own thread, which would wait for itself. `call` does
    ///   not run.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use deferred_core::{Deferred, park};
    ///
    /// park::run(|reactor| {
    ///     let handle = reactor.handle();
    ///     thread::spawn(move || {
    ///         let answer = handle.blocking_call_from_thread(|| Deferred::succeed(42)).unwrap();
    ///         assert_eq!(answer, 42);
    ///         handle.stop();
    ///     });
    /// });
    /// ```
    #[doc(alias = "blockingCallFromThread")]
    #[track_caller]
    pub fn blocking_call_from_thread<F, R>(&self, call: F) -> Result<R::Value, Failure>
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoDeferred<Failure, Value: Send>,
    {
        self.blocking_call(call, Location::caller())?.wait()
    }

    /// Like [`blocking_call_from_thread`](Self::blocking_call_from_thread), but gives up after
    /// `timeout`.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`blocking_call_from_thread`](Self::blocking_call_from_thread),
    /// and [`TimedOut`] if `timeout` elapses first. A call that has begun is cancelled then, and a
    /// call that has not begun never runs.
    #[track_caller]
    pub fn blocking_call_from_thread_timeout<F, R>(&self, timeout: Duration, call: F) -> Result<R::Value, Failure>
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoDeferred<Failure, Value: Send>,
    {
        let waiting = self.blocking_call(call, Location::caller())?;
        waiting.wait_timeout(timeout).unwrap_or_else(|_| Err(TimedOut::after(timeout).into()))
    }

    fn blocking_call<F, R>(&self, call: F, at: CallSite) -> Result<RemoteFuture<R::Value, Failure>, Failure>
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoDeferred<Failure, Value: Send>,
    {
        if self.is_on_its_thread() { Err(WouldDeadlock.into()) } else { Ok(self.call_at(|_| call(), at)) }
    }

    /// Posts the call and returns its future.
    pub(super) fn call_at<F, R>(&self, call: F, at: CallSite) -> RemoteFuture<R::Value, Failure>
    where
        F: FnOnce(&Reactor) -> R + Send + 'static,
        R: IntoDeferred<Failure, Value: Send>,
    {
        let (remote, completer) = RemoteFuture::for_reactor(self.clone());
        let posted = self.post_with_reactor(
            move |reactor| {
                // Not if the caller has given up before the call began.
                if !completer.is_cancelled() {
                    link(maybe_deferred_at(at, || call(reactor)), completer, reactor);
                }
            },
            at,
        );
        self.report_undriven_later(at);
        report::refusing(|| drop(posted)); // a call that is not taken drops its completer, which completes the future
        remote
    }
}

/// The error of a blocking call that was made on the thread of the reactor that it needs: that
/// would wait for itself forever.
///
/// Call the function directly on that thread, or use a coroutine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WouldDeadlock;

impl fmt::Display for WouldDeadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a blocking call was made on the reactor's own thread, which would wait for itself forever: call the \
             function directly there",
        )
    }
}

impl Error for WouldDeadlock {}
