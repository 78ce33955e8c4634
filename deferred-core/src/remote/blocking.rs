//! A Deferred of the loop, waited for elsewhere.

use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use super::future::{RemoteCompleter, RemoteFuture};
use crate::deferred::{CancelHandle, Deferred, IntoDeferred, maybe_deferred_at};
use crate::error::{CallSite, DeferredError, Failure, TimedOut};
use crate::reactor::{Reactor, ReactorHandle};

impl<T: Send + 'static, E: DeferredError + Send> Deferred<T, E> {
    /// Lets another thread, or a task of any runtime, have the result: as a future, or by a
    /// blocking [`wait`](RemoteFuture::wait).
    ///
    /// It fails with [`Abandoned`](crate::Abandoned) if the reactor is closed before the result is
    /// there.
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
        let (remote, completer) = RemoteFuture::of(reactor.handle());
        link(self, completer, reactor);
        remote
    }
}

/// What a reactor keeps of a Deferred that is waited for elsewhere. Dropped by a closed one, it
/// says that nothing comes.
struct Link<T, E: DeferredError> {
    handle: CancelHandle,
    completer: RemoteCompleter<T, E>,
}

/// Sends what the Deferred brings.
fn link<T: Send + 'static, E: DeferredError + Send>(
    mut deferred: Deferred<T, E>,
    completer: RemoteCompleter<T, E>,
    reactor: &Reactor,
) {
    let handle = deferred.cancel_handle();
    let cancel = handle.clone();
    let given_up = completer.when_given_up();
    let key = reactor.keep(Link { handle, completer }, None);
    let keeps = reactor.clone();
    deferred.into_end(move |result| {
        if let Some(link) = key.and_then(|key| keeps.claim::<Link<T, E>>(key)) {
            link.completer.fire(result);
        }
    });
    let Some(key) = key else { return };
    let posts = reactor.handle();
    let was_given_up = given_up.call(move || {
        // Refused by a reactor that is closed, which has ended the wait.
        let _ = posts.call_from_thread_with(move |reactor| {
            if let Some(link) = reactor.claim::<Link<T, E>>(key) {
                link.handle.cancel();
            }
        });
    });
    if was_given_up {
        cancel.cancel();
    }
}

impl ReactorHandle {
    /// Has `call` run on the reactor's thread, in a turn, and blocks this one until what it returns
    /// is there.
    ///
    /// Twisted's `blockingCallFromThread`.
    ///
    /// # Errors
    ///
    /// The call's, and [`Panicked`](crate::Panicked) if it panics. [`Abandoned`](crate::Abandoned)
    /// if the reactor is closed, or is closed before. [`WouldDeadlock`] on the reactor's own
    /// thread, which would wait for itself; the call is not made.
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
    #[track_caller]
    pub fn blocking_call_from_thread<F, R>(&self, call: F) -> Result<R::Value, Failure>
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoDeferred<Failure, Value: Send>,
    {
        self.blocking_call(call, Location::caller())?.wait()
    }

    /// As [`blocking_call_from_thread`](Self::blocking_call_from_thread), for so long and no
    /// longer.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] too, after `timeout`. A call that has begun is cancelled then.
    #[track_caller]
    pub fn blocking_call_from_thread_timeout<F, R>(&self, timeout: Duration, call: F) -> Result<R::Value, Failure>
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoDeferred<Failure, Value: Send>,
    {
        let waiting = self.blocking_call(call, Location::caller())?;
        waiting.wait_timeout(timeout).unwrap_or_else(|_| Err(TimedOut::after(timeout).into()))
    }

    /// Posts the call.
    fn blocking_call<F, R>(&self, call: F, at: CallSite) -> Result<RemoteFuture<R::Value, Failure>, Failure>
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoDeferred<Failure, Value: Send>,
    {
        if self.is_on_its_thread() {
            return Err(WouldDeadlock.into());
        }
        let (remote, completer) = RemoteFuture::of(self.clone());
        let posted = self.call_from_thread_with(move |reactor| {
            // Who has given up before it began does not want it at all.
            if !completer.is_cancelled() {
                link(maybe_deferred_at(at, call), completer, reactor);
            }
        });
        drop(posted); // a refused call says by its completer that it never comes
        Ok(remote)
    }
}

/// A blocking call was made on the thread of the very reactor that it asks: it would wait for
/// itself for ever.
///
/// Call the function directly there, or use a coroutine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WouldDeadlock;

impl fmt::Display for WouldDeadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a blocking call was made on the reactor's own thread, which would wait for itself for ever: call the \
             function directly there",
        )
    }
}

impl Error for WouldDeadlock {}
