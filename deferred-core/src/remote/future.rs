//! `RemoteFuture` and `RemoteCompleter`: a result for another thread, or for a task of any runtime.

use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::{BuiltinError, DeferredError, Failure};
use crate::instant::Instant;
use crate::reactor::{ReactorHandle, deadline_after};
use crate::report;

/// A result for code that has no reactor: another thread, or a task of another runtime.
///
/// [`Deferred::into_remote`](crate::Deferred::into_remote) creates one for a Deferred.
/// [`new`](RemoteFuture::new) creates one that any thread completes.
///
/// It is a `Future` for any executor, on any thread. [`wait`](Self::wait) blocks the thread
/// instead. Code on a reactor's thread can await it in a coroutine.
///
/// # Cancellation
///
/// Dropping a `RemoteFuture` before it is complete cancels its Deferred on the reactor's thread, in
/// a turn. [`RemoteCompleter::is_cancelled`] returns `true` from then on.
#[doc(alias = "JoinHandle")]
#[must_use = "dropping a RemoteFuture cancels what it waits for"]
pub struct RemoteFuture<T: 'static, E: DeferredError = Failure> {
    shared: Arc<Shared<T, E>>,
    /// The reactor whose thread must not block on this future, because the result comes from there.
    reactor: Option<ReactorHandle>,
}

impl<T: 'static> RemoteFuture<T> {
    /// Creates a pending `RemoteFuture` and the [`RemoteCompleter`] that completes it from any
    /// thread.
    ///
    /// # Cancellation
    ///
    /// [`RemoteCompleter::is_cancelled`] returns `true` once the `RemoteFuture` is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use deferred_core::RemoteFuture;
    ///
    /// let (sum, completer) = RemoteFuture::new();
    /// thread::spawn(move || completer.callback((1..=100).sum::<u32>()));
    /// assert_eq!(sum.wait().unwrap(), 5050);
    /// ```
    pub fn new() -> (RemoteFuture<T>, RemoteCompleter<T>) {
        RemoteFuture::typed()
    }

    /// Like [`new`](RemoteFuture::new), but calls `canceller` if the `RemoteFuture` is dropped
    /// before it is complete. The call runs on the thread that drops it.
    pub fn with_canceller(canceller: impl FnOnce() + Send + 'static) -> (RemoteFuture<T>, RemoteCompleter<T>) {
        let (remote, completer) = RemoteFuture::typed();
        completer.canceller_slot().set(canceller);
        (remote, completer)
    }
}

impl<T: 'static, E: DeferredError> RemoteFuture<T, E> {
    /// Like [`new`](RemoteFuture::new), but for an error type of your own.
    pub fn typed() -> (RemoteFuture<T, E>, RemoteCompleter<T, E>) {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::Waiting { waker: None, canceller: None }),
            fired: Condvar::new(),
        });
        (RemoteFuture { shared: shared.clone(), reactor: None }, RemoteCompleter { shared })
    }

    /// Creates a pair whose `RemoteFuture` must not block the thread of `reactor`.
    pub(super) fn for_reactor(reactor: ReactorHandle) -> (RemoteFuture<T, E>, RemoteCompleter<T, E>) {
        let (mut remote, completer) = RemoteFuture::typed();
        remote.reactor = Some(reactor);
        (remote, completer)
    }

    /// Blocks this thread until the result is ready, and returns it. A task of a runtime awaits the
    /// future instead, since this would block a thread of the runtime.
    ///
    /// # Errors
    ///
    /// Returns the error with which the future was completed. That is
    /// [`Abandoned`](crate::Abandoned) if the reactor was closed before the result was ready, or if
    /// the [`RemoteCompleter`] was dropped.
    ///
    /// # Panics
    ///
    /// Panics if the result is not ready and this is the thread of the reactor that runs the
    /// Deferred: the loop would wait for itself forever. Await the future there, or add a callback
    /// to the Deferred instead. Also panics if a poll has already returned the result.
    pub fn wait(self) -> Result<T, E> {
        self.wait_until(None).unwrap_or_else(|_| unreachable!("a wait without a timeout returns a result"))
    }

    /// Like [`wait`](Self::wait), but gives up after `timeout`.
    ///
    /// # Errors
    ///
    /// Returns `self` if `timeout` elapses first. The caller can wait again, or drop it, which
    /// cancels.
    ///
    /// # Panics
    ///
    /// Panics like [`wait`](Self::wait).
    pub fn wait_timeout(self, timeout: Duration) -> Result<Result<T, E>, Self> {
        self.wait_until(Some(deadline_after(Instant::now(), timeout)))
    }

    fn wait_until(self, end: Option<Instant>) -> Result<Result<T, E>, Self> {
        let mut state = self.shared.state.lock();
        loop {
            match mem::replace(&mut *state, State::Gone) {
                State::Fired(result) => return Ok(result),
                State::Gone => panic!("a RemoteFuture was waited for after it had returned its result"),
                before @ State::Waiting { .. } => *state = before,
            }
            assert!(
                !self.reactor.as_ref().is_some_and(ReactorHandle::is_on_its_thread),
                "a RemoteFuture was waited for on the thread of its own reactor, which would wait for itself forever: await \
                 it, or add a callback to the Deferred instead"
            );
            match end {
                None => self.shared.fired.wait(&mut state),
                Some(end) => {
                    let left = end.saturating_duration_since(Instant::now());
                    if self.shared.fired.wait_for(&mut state, left).timed_out() && !matches!(*state, State::Fired(_)) {
                        drop(state);
                        return Err(self);
                    }
                }
            }
        }
    }
}

impl<T: 'static, E: DeferredError> Future for RemoteFuture<T, E> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        let waker = context.waker().clone();
        let mut state = self.shared.state.lock();
        let before = match &mut *state {
            State::Waiting { waker: before, .. } => before.replace(waker),
            State::Fired(_) => {
                let State::Fired(result) = mem::replace(&mut *state, State::Gone) else {
                    unreachable!("matched above")
                };
                return Poll::Ready(result);
            }
            State::Gone => panic!("a RemoteFuture was polled after it had returned its result"),
        };
        drop(state);
        drop(before); // after the lock is released: a waker is user code
        Poll::Pending
    }
}

impl<T: 'static, E: DeferredError> Drop for RemoteFuture<T, E> {
    fn drop(&mut self) {
        let before = mem::replace(&mut *self.shared.state.lock(), State::Gone);
        if let State::Waiting { canceller: Some(canceller), .. } = before {
            canceller();
        }
    }
}

impl<T: 'static, E: DeferredError> fmt::Debug for RemoteFuture<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteFuture").finish_non_exhaustive()
    }
}

/// The half of a [`RemoteFuture`] that completes it from any thread. [`RemoteFuture::new`] creates
/// it.
///
/// Dropping it without a result completes the future with [`Abandoned`](crate::Abandoned). If the
/// `RemoteFuture` was dropped, a result is only dropped.
#[doc(alias = "oneshot")]
pub struct RemoteCompleter<T, E: DeferredError = Failure> {
    shared: Arc<Shared<T, E>>,
}

impl<T, E: DeferredError> RemoteCompleter<T, E> {
    /// Completes the `RemoteFuture` with `value`.
    pub fn callback(self, value: T) {
        self.fire(Ok(value));
    }

    /// Completes the `RemoteFuture` with an error. The location of this call begins the error's
    /// trail.
    #[track_caller]
    pub fn errback(self, error: impl Into<E>) {
        let mut error = error.into();
        error.add_location(Location::caller());
        self.fire(Err(error));
    }

    /// Completes the `RemoteFuture` with `result`.
    pub fn fire(self, result: Result<T, E>) {
        self.complete(result);
    }

    /// Returns `true` if the `RemoteFuture` was dropped. It can become `true` at any moment, and
    /// never becomes `false` again.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(*self.shared.state.lock(), State::Gone)
    }

    /// Returns a slot in which a canceller can be set later.
    pub(super) fn canceller_slot(&self) -> CancellerSlot<T, E> {
        CancellerSlot { shared: self.shared.clone() }
    }

    fn complete(&self, result: Result<T, E>) {
        let mut state = self.shared.state.lock();
        if !matches!(*state, State::Waiting { .. }) {
            drop(state); // `result` is dropped after the lock is released
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

impl<T, E: DeferredError> Drop for RemoteCompleter<T, E> {
    fn drop(&mut self) {
        if matches!(*self.shared.state.lock(), State::Waiting { .. }) {
            self.complete(Err(BuiltinError::from(report::abandoned()).into()));
        }
    }
}

impl<T, E: DeferredError> fmt::Debug for RemoteCompleter<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteCompleter").field("is_cancelled", &self.is_cancelled()).finish()
    }
}

/// The slot for the canceller of a [`RemoteFuture`].
pub(super) struct CancellerSlot<T, E> {
    shared: Arc<Shared<T, E>>,
}

impl<T, E> CancellerSlot<T, E> {
    /// Sets the canceller. Returns `true` if the `RemoteFuture` has already been dropped. In that
    /// case, and if the result is ready, `canceller` is dropped without a call.
    pub(super) fn set(self, canceller: impl FnOnce() + Send + 'static) -> bool {
        let canceller = Box::new(canceller);
        match &mut *self.shared.state.lock() {
            State::Waiting { canceller: slot, .. } => {
                *slot = Some(canceller);
                false
            }
            State::Fired(_) => false,
            State::Gone => true,
        }
    }
}

/// The state that both ends share.
struct Shared<T, E> {
    state: Mutex<State<T, E>>,
    fired: Condvar,
}

enum State<T, E> {
    Waiting {
        waker: Option<Waker>,
        /// The function to call if the `RemoteFuture` is dropped.
        canceller: Option<Box<dyn FnOnce() + Send>>,
    },
    Fired(Result<T, E>),
    /// The result was taken, or the `RemoteFuture` was dropped.
    Gone,
}
