//! A Deferred of the loop, waited for elsewhere: by another thread, or by a task of any runtime.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::{Reactor, ReactorHandle};
use crate::deferred::{CancelHandle, Deferred, IntoDeferred, maybe_deferred_at};
use crate::error::{Abandoned, Failure, Fault, Interrupt, TimedOut};

impl<T: Send + 'static, E: Fault + Send> Deferred<T, E> {
    /// Lets another thread, or a task of any runtime, have the result: as a future, or by a blocking
    /// [`wait`](Remote::wait).
    ///
    /// It fails with [`Abandoned`] if the reactor is closed before the result is there.
    ///
    /// # Cancellation
    ///
    /// Dropping the [`Remote`] cancels this Deferred, on the reactor's thread.
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
    pub fn into_remote(self, reactor: &Reactor) -> Remote<T, E> {
        let shared = Arc::new(Shared::new());
        let sender = Sender { shared: shared.clone() };
        sender.link(self, reactor);
        Remote { shared, reactor: reactor.handle() }
    }
}

/// The result of a Deferred of some reactor, for another thread or runtime; [`Deferred::into_remote`] gives it.
///
/// It is a future for any executor, on any thread.
///
/// # Cancellation
///
/// Dropping it before it is done cancels the Deferred, on the reactor's thread, in a turn.
#[must_use = "dropping a Remote cancels its Deferred"]
pub struct Remote<T: 'static, E: Fault = Failure> {
    shared: Arc<Shared<T, E>>,
    reactor: ReactorHandle,
}

impl<T: 'static, E: Fault> Remote<T, E> {
    /// Blocks this thread until the result is there.
    ///
    /// # Errors
    ///
    /// The Deferred's. [`Abandoned`] if the reactor was closed before.
    ///
    /// # Panics
    ///
    /// On the reactor's own thread, if the result is not there: the loop would wait for itself for ever. Await it there,
    /// or add a callback to the Deferred instead.
    pub fn wait(self) -> Result<T, E> {
        self.wait_until(None).unwrap_or_else(|_| unreachable!("without an end it ends with a result"))
    }

    /// As [`wait`](Self::wait), for so long and no longer.
    ///
    /// # Errors
    ///
    /// This, if the time has passed: to wait again, or to be dropped, which cancels.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(self, timeout: Duration) -> Result<Result<T, E>, Self> {
        self.wait_until(Some(super::later(Instant::now(), timeout)))
    }

    fn wait_until(self, end: Option<Instant>) -> Result<Result<T, E>, Self> {
        let mut state = self.shared.state.lock();
        loop {
            match mem::replace(&mut *state, State::Gone) {
                State::Fired(result) => return Ok(result),
                before => *state = before,
            }
            assert!(
                !self.reactor.is_on_its_thread(),
                "a Remote was waited for on the thread of its own reactor, which would wait for itself for ever: await \
                 it, or add a callback to the Deferred instead"
            );
            match end {
                None => self.shared.fired.wait(&mut state),
                Some(end) => {
                    if self.shared.fired.wait_until(&mut state, end).timed_out() && !matches!(*state, State::Fired(_)) {
                        drop(state);
                        return Err(self);
                    }
                }
            }
        }
    }
}

impl<T: 'static, E: Fault> Future for Remote<T, E> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        let waker = context.waker().clone();
        let mut state = self.shared.state.lock();
        let before = match mem::replace(&mut *state, State::Gone) {
            State::Fired(result) => return Poll::Ready(result),
            State::Waiting { waker: before, cancel } => {
                *state = State::Waiting { waker: Some(waker), cancel };
                before
            }
            State::Gone => panic!("a Remote was polled after it was done"),
        };
        drop(state);
        drop(before); // wakers are code of others, and so not touched under the lock
        Poll::Pending
    }
}

impl<T: 'static, E: Fault> Drop for Remote<T, E> {
    fn drop(&mut self) {
        let before = mem::replace(&mut *self.shared.state.lock(), State::Gone);
        if let State::Waiting { cancel: Some(key), .. } = &before {
            let key = *key;
            // Refused by a reactor that is closed, which has ended the wait.
            let _ = self.reactor.call_from_thread(move || {
                if let Some(link) = Reactor::current().and_then(|reactor| reactor.claim::<Link<T, E>>(key)) {
                    link.handle.cancel();
                }
            });
        }
    }
}

impl<T: 'static, E: Fault> fmt::Debug for Remote<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

/// Where the result goes from one thread to the other.
struct Shared<T, E> {
    state: Mutex<State<T, E>>,
    fired: Condvar,
}

enum State<T, E> {
    Waiting {
        waker: Option<Waker>,
        /// By which the reactor keeps the [`Link`], once there is a Deferred.
        cancel: Option<u64>,
    },
    Fired(Result<T, E>),
    /// Nobody waits any more.
    Gone,
}

impl<T, E> Shared<T, E> {
    fn new() -> Self {
        Shared { state: Mutex::new(State::Waiting { waker: None, cancel: None }), fired: Condvar::new() }
    }
}

/// The reactor's end. Dropped, it says that nothing comes any more.
struct Sender<T, E: Fault> {
    shared: Arc<Shared<T, E>>,
}

/// What a reactor keeps of a Deferred that is waited for elsewhere.
struct Link<T, E: Fault> {
    handle: CancelHandle,
    sender: Sender<T, E>,
}

impl<T: 'static, E: Fault> Sender<T, E> {
    /// Sends what the Deferred brings; what a closed reactor keeps is dropped, and says so.
    fn link(self, mut deferred: Deferred<T, E>, reactor: &Reactor) {
        let handle = deferred.cancel_handle();
        let (shared, cancel) = (self.shared.clone(), handle.clone());
        let key = reactor.keep(Link { handle, sender: self }, None);
        let given_up = match &mut *shared.state.lock() {
            State::Waiting { cancel, .. } => {
                *cancel = key;
                false
            }
            State::Fired(_) => false,
            State::Gone => true,
        };
        let keeps = reactor.clone();
        deferred.into_end(move |result| {
            if let Some(link) = key.and_then(|key| keeps.claim::<Link<T, E>>(key)) {
                link.sender.send(result);
            }
        });
        if given_up {
            cancel.cancel();
        }
    }
}

impl<T, E: Fault> Sender<T, E> {
    fn is_wanted(&self) -> bool {
        matches!(*self.shared.state.lock(), State::Waiting { .. })
    }

    fn send(&self, result: Result<T, E>) {
        let mut state = self.shared.state.lock();
        if !matches!(*state, State::Waiting { .. }) {
            drop(state); // the result is dropped behind it
            return;
        }
        let before = mem::replace(&mut *state, State::Fired(result));
        drop(state);
        self.shared.fired.notify_one();
        if let State::Waiting { waker: Some(waker), .. } = before {
            waker.wake();
        }
    }
}

impl<T, E: Fault> Drop for Sender<T, E> {
    fn drop(&mut self) {
        if self.is_wanted() {
            self.send(Err(Interrupt::from(Abandoned::new()).into()));
        }
    }
}

impl ReactorHandle {
    /// Has `call` run on the reactor's thread, in a turn, and blocks this one until what it returns is there.
    ///
    /// Twisted's `blockingCallFromThread`.
    ///
    /// # Errors
    ///
    /// The call's, and [`Panicked`](crate::Panicked) if it panics. [`Abandoned`] if the reactor is closed, or is closed
    /// before. [`OnTheLoop`] on the reactor's own thread, which would wait for itself; the call is not made.
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

    /// As [`blocking_call_from_thread`](Self::blocking_call_from_thread), for so long and no longer.
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
    fn blocking_call<F, R>(&self, call: F, at: &'static Location<'static>) -> Result<Remote<R::Value, Failure>, Failure>
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoDeferred<Failure, Value: Send>,
    {
        if self.is_on_its_thread() {
            return Err(OnTheLoop.into());
        }
        let shared = Arc::new(Shared::new());
        let sender = Sender { shared: shared.clone() };
        let posted = self.call_from_thread(move || {
            // Who has given up before it began does not want it at all.
            if let (true, Some(reactor)) = (sender.is_wanted(), Reactor::current()) {
                sender.link(maybe_deferred_at(at, call), &reactor);
            }
        });
        drop(posted); // a refused call says by its sender that it never comes
        Ok(Remote { shared, reactor: self.clone() })
    }
}

/// A blocking call was made on the thread of the very reactor that it asks: it would wait for itself for ever.
///
/// Call the function directly there, or use a coroutine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnTheLoop;

impl fmt::Display for OnTheLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a blocking call was made on the reactor's own thread, which would wait for itself for ever: call the \
             function directly there",
        )
    }
}

impl Error for OnTheLoop {}
