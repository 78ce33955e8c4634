//! A result that another thread waits for, or a task of any runtime; and what brings it.

use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::error::{Abandoned, BuiltinError, DeferredError, Failure};
use crate::reactor::{ReactorHandle, deadline_after};

/// A result for whoever has no reactor: another thread, or a task of another runtime.
///
/// [`Deferred::into_remote`](crate::Deferred::into_remote) gives it for a Deferred,
/// [`new`](RemoteFuture::new) for what has no Deferred at all.
///
/// It is a future for any executor, on any thread. To have it where there is a reactor, await it in
/// a coroutine.
///
/// # Cancellation
///
/// Dropping it before it is done cancels what it waits for: a Deferred on its reactor's thread, in
/// a turn.
#[must_use = "dropping a RemoteFuture cancels what it waits for"]
pub struct RemoteFuture<T: 'static, E: DeferredError = Failure> {
    shared: Arc<Shared<T, E>>,
    /// Whose thread would wait for itself.
    reactor: Option<ReactorHandle>,
}

impl<T: 'static> RemoteFuture<T> {
    /// One that waits, and what brings its result, from any thread.
    ///
    /// # Cancellation
    ///
    /// [`RemoteCompleter::is_cancelled`] tells the producer that the RemoteFuture was dropped.
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

    /// [`new`](RemoteFuture::new) with something to call when the RemoteFuture is dropped before it
    /// is done: in the thread that drops it.
    pub fn with_canceller(canceller: impl FnOnce() + Send + 'static) -> (RemoteFuture<T>, RemoteCompleter<T>) {
        let (remote, completer) = RemoteFuture::typed();
        completer.when_given_up().call(canceller);
        (remote, completer)
    }
}

impl<T: 'static, E: DeferredError> RemoteFuture<T, E> {
    /// [`new`](RemoteFuture::new) for an error type of your own.
    pub fn typed() -> (RemoteFuture<T, E>, RemoteCompleter<T, E>) {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::Waiting { waker: None, canceller: None }),
            fired: Condvar::new(),
        });
        (RemoteFuture { shared: shared.clone(), reactor: None }, RemoteCompleter { shared })
    }

    /// One that must not be waited for on the thread of this reactor.
    pub(super) fn of(reactor: ReactorHandle) -> (RemoteFuture<T, E>, RemoteCompleter<T, E>) {
        let (mut remote, completer) = RemoteFuture::typed();
        remote.reactor = Some(reactor);
        (remote, completer)
    }

    /// Blocks this thread until the result is there.
    ///
    /// # Errors
    ///
    /// What was waited for has failed. [`Abandoned`] if nothing comes any more: the reactor was
    /// closed, or the [`RemoteCompleter`] was dropped.
    ///
    /// # Panics
    ///
    /// On the thread of the reactor whose Deferred this is, if the result is not there: the loop
    /// would wait for itself for ever. Await it there, or add a callback to the Deferred instead.
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
        self.wait_until(Some(deadline_after(Instant::now(), timeout)))
    }

    fn wait_until(self, end: Option<Instant>) -> Result<Result<T, E>, Self> {
        let mut state = self.shared.state.lock();
        loop {
            match mem::replace(&mut *state, State::Gone) {
                State::Fired(result) => return Ok(result),
                before => *state = before,
            }
            assert!(
                !self.reactor.as_ref().is_some_and(ReactorHandle::is_on_its_thread),
                "a RemoteFuture was waited for on the thread of its own reactor, which would wait for itself for ever: await \
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

impl<T: 'static, E: DeferredError> Future for RemoteFuture<T, E> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        let waker = context.waker().clone();
        let mut state = self.shared.state.lock();
        let before = match &mut *state {
            State::Waiting { waker: before, .. } => before.replace(waker),
            State::Fired(_) => {
                let State::Fired(result) = mem::replace(&mut *state, State::Gone) else { unreachable!("looked at") };
                return Poll::Ready(result);
            }
            State::Gone => panic!("a RemoteFuture was polled after it was done"),
        };
        drop(state);
        drop(before); // wakers are code of others, and so not touched under the lock
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

/// Brings the result of one [`RemoteFuture`], from any thread: made by [`RemoteFuture::new`].
///
/// Dropped without one, it brings [`Abandoned`]. Where the RemoteFuture was dropped, firing does
/// nothing but drop the result.
pub struct RemoteCompleter<T, E: DeferredError = Failure> {
    shared: Arc<Shared<T, E>>,
}

impl<T, E: DeferredError> RemoteCompleter<T, E> {
    /// Brings a value.
    pub fn callback(self, value: T) {
        self.fire(Ok(value));
    }

    /// Brings an error. The place of this call begins its trail.
    #[track_caller]
    pub fn errback(self, error: impl Into<E>) {
        let mut error = error.into();
        error.add_location(Location::caller());
        self.fire(Err(error));
    }

    /// Brings a result.
    pub fn fire(self, result: Result<T, E>) {
        self.bring(result);
    }

    /// Whether nobody waits any more. It may become true at any moment, and does not become false
    /// again.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(*self.shared.state.lock(), State::Gone)
    }

    /// For whoever can cancel only what begins later than this.
    pub(super) fn when_given_up(&self) -> WhenGivenUp<T, E> {
        WhenGivenUp { shared: self.shared.clone() }
    }

    fn bring(&self, result: Result<T, E>) {
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

impl<T, E: DeferredError> Drop for RemoteCompleter<T, E> {
    fn drop(&mut self) {
        if matches!(*self.shared.state.lock(), State::Waiting { .. }) {
            self.bring(Err(BuiltinError::from(Abandoned::new()).into()));
        }
    }
}

impl<T, E: DeferredError> fmt::Debug for RemoteCompleter<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteCompleter").field("is_cancelled", &self.is_cancelled()).finish()
    }
}

/// Sets the canceller of a [`RemoteFuture`].
pub(super) struct WhenGivenUp<T, E> {
    shared: Arc<Shared<T, E>>,
}

impl<T, E> WhenGivenUp<T, E> {
    /// Says whether the RemoteFuture was given up already. Then, and if its result is there,
    /// `canceller` is dropped.
    pub(super) fn call(self, canceller: impl FnOnce() + Send + 'static) -> bool {
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

/// Where the result goes from one thread to the other.
struct Shared<T, E> {
    state: Mutex<State<T, E>>,
    fired: Condvar,
}

enum State<T, E> {
    Waiting {
        waker: Option<Waker>,
        /// Called if the RemoteFuture is dropped.
        canceller: Option<Box<dyn FnOnce() + Send>>,
    },
    Fired(Result<T, E>),
    /// Nobody waits any more.
    Gone,
}
