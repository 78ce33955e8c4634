//! `ReactorThread`: a reactor on a thread of its own, with the state that lives there.

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;

use super::calls::link;
use super::future::{RemoteCompleter, RemoteFuture};
use crate::deferred::{IntoDeferred, maybe_deferred_at};
use crate::error::{Abandoned, CallSite, Failure, Panicked};
use crate::reactor::driver::run_on_new_thread;
use crate::reactor::{Reactor, ReactorHandle, ReactorOwner, park};

/// A reactor on a thread of its own, for programs whose other threads or tasks belong to another
/// runtime. It owns the state that its loop works with, such as a connection that must stay on one
/// thread; [`call`](Self::call) runs a function with that state.
///
/// [`start`](Self::start) starts a thread that only runs the loop. The adapters have a
/// `start_thread`, whose loop also runs the sockets and timers of their executor.
///
/// Clones refer to the same thread. Dropping the last one stops the loop, and does not wait for the
/// end: calls that are not done fail with [`Abandoned`], and at the end of `main` the system ends
/// the thread wherever it is. [`stop`](Self::stop) returns a future for the end.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
/// use deferred_core::{Failure, ReactorThread};
/// use futures::executor::block_on; // or the executor of your program
///
/// block_on(async {
///     // Only this thread uses the counter, so it needs no lock.
///     let counter = ReactorThread::start(|_| Ok(Cell::new(0))).await?;
///     let first = counter.call(|count| Ok(count.replace(1))).await?;
///     assert_eq!(first, 0);
///     counter.stop().await
/// })?;
/// # Ok::<(), Failure>(())
/// ```
#[doc(alias = "crochet")]
#[doc(alias = "LocalPoolHandle")]
pub struct ReactorThread<S: 'static = ()> {
    shared: Arc<Shared>,
    /// The key of the state in the reactor's registry.
    key: Option<u64>,
    /// The state is only used on its own thread.
    state: PhantomData<fn(S) -> S>,
}

struct Shared {
    reactor: ReactorHandle,
    end: Arc<End>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.reactor.stop();
    }
}

/// The end of the thread, and the futures that wait for it.
#[derive(Default)]
struct End(Mutex<Stage>);

enum Stage {
    Running(Vec<RemoteCompleter<()>>),
    /// With the message of the panic that has ended it, if that was the cause.
    Ended(Option<String>),
}

impl Default for Stage {
    fn default() -> Stage {
        Stage::Running(Vec::new())
    }
}

impl End {
    fn wait(&self, reactor: &ReactorHandle) -> RemoteFuture<()> {
        let (ended, completer) = RemoteFuture::for_reactor(reactor.clone());
        let panic = match &mut *self.0.lock() {
            Stage::Running(waiting) => {
                waiting.push(completer);
                return ended;
            }
            Stage::Ended(panic) => panic.clone(),
        };
        complete(completer, panic);
        ended
    }

    fn set(&self, panic: Option<String>) {
        let before = mem::replace(&mut *self.0.lock(), Stage::Ended(panic.clone()));
        if let Stage::Running(waiting) = before {
            for completer in waiting {
                // A waker is user code; the others are called although one panics.
                let _ = catch_unwind(AssertUnwindSafe(|| complete(completer, panic.clone())));
            }
        }
    }
}

fn complete(completer: RemoteCompleter<()>, panic: Option<String>) {
    completer.fire(match panic {
        None => Ok(()),
        Some(message) => Err(Panicked::new(Box::new(message)).into()),
    });
}

impl<S: 'static> ReactorThread<S> {
    /// Starts a thread with a reactor, and calls `main` there, whose value becomes the state. Its
    /// loop does nothing but run the reactor, like [`park::run`].
    ///
    /// The returned future is complete when the value is ready; if `main` returns a Deferred, that
    /// is the Deferred's value. On a thread without a runtime, [`wait`](RemoteFuture::wait) blocks
    /// until then.
    ///
    /// # Errors
    ///
    /// The future fails with the error or panic of `main`, which also ends the thread, or with the
    /// error of the system if it cannot create a thread.
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels the Deferred of `main`, and stops the loop.
    #[track_caller]
    pub fn start<R>(main: impl FnOnce(&Reactor) -> R + Send + 'static) -> RemoteFuture<ReactorThread<S>>
    where
        R: IntoDeferred<Failure, Value = S>,
    {
        Self::start_with(park::drive_owned, main)
    }

    /// Like [`start`](Self::start), but runs `drive`, which drives the reactor until it is stopped
    /// and closes it. This is for adapters.
    #[track_caller]
    pub fn start_with<R>(
        drive: impl FnOnce(ReactorOwner) + Send + 'static,
        main: impl FnOnce(&Reactor) -> R + Send + 'static,
    ) -> RemoteFuture<ReactorThread<S>>
    where
        R: IntoDeferred<Failure, Value = S>,
    {
        let at = Location::caller();
        let (started, completer) = RemoteFuture::new();
        let run = move || {
            let end = Arc::new(End::default());
            let ending = end.clone();
            let ran = catch_unwind(AssertUnwindSafe(|| {
                run_on_new_thread(|reactor| {
                    let entered = reactor.enter();
                    start_main(&reactor, main, completer, end, at);
                    drop(entered);
                    drive(reactor);
                });
            }));
            ending.set(ran.err().map(|payload| Panicked::new(payload).message().to_owned()));
        };
        match thread::Builder::new().name("deferred-reactor".into()).spawn(run) {
            Ok(_) => started,
            Err(error) => {
                let (failed, completer) = RemoteFuture::new();
                completer.errback(error);
                failed
            }
        }
    }

    /// Runs `call` on the loop's thread, in a turn, with the state, and returns a future for its
    /// result. If `call` returns a Deferred, the result is that Deferred's.
    ///
    /// # Errors
    ///
    /// Those of [`ReactorHandle::call`].
    ///
    /// # Cancellation
    ///
    /// That of [`ReactorHandle::call`].
    #[track_caller]
    pub fn call<F, R>(&self, call: F) -> RemoteFuture<R::Value>
    where
        F: FnOnce(&Rc<S>) -> R + Send + 'static,
        R: IntoDeferred<Failure, Value: Send>,
    {
        let key = self.key;
        let with_state = move |reactor: &Reactor| {
            let state = key.and_then(|key| reactor.with(key, Rc::<S>::clone));
            match state {
                Some(state) => call(&state).into_deferred(),
                None => Err(Abandoned::reactor_closed().into()).into_deferred(),
            }
        };
        self.shared.reactor.call_at(with_state, Location::caller())
    }

    /// Returns the handle of the reactor.
    #[must_use]
    pub fn handle(&self) -> &ReactorHandle {
        &self.shared.reactor
    }

    /// Stops the loop, with its [shutdown](crate::SystemEvent::Shutdown), and returns a future that
    /// is complete when the reactor is closed and the state is dropped. It can be called several
    /// times.
    ///
    /// Calls that have not ended fail with [`Abandoned`].
    ///
    /// # Errors
    ///
    /// The future fails with [`Panicked`] if the driver has panicked. (A panic of a call is an
    /// error of that call.)
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends only the wait.
    pub fn stop(&self) -> RemoteFuture<()> {
        self.shared.reactor.stop();
        self.shared.end.wait(&self.shared.reactor)
    }
}

/// Calls `main`, and completes the future of the start with its value.
fn start_main<S, R>(
    reactor: &Reactor,
    main: impl FnOnce(&Reactor) -> R,
    completer: RemoteCompleter<ReactorThread<S>>,
    end: Arc<End>,
    at: CallSite,
) where
    S: 'static,
    R: IntoDeferred<Failure, Value = S>,
{
    let keeps = reactor.clone();
    let started = maybe_deferred_at(at, || main(reactor)).add_both(move |result| {
        // On the error the loop has nothing to do.
        let state = result.inspect_err(|_| keeps.stop())?;
        let shared = Arc::new(Shared { reactor: keeps.handle(), end });
        let key = keeps.keep(Rc::new(state), None);
        Ok(ReactorThread { shared, key, state: PhantomData })
    });
    link(started, completer, reactor);
}

impl<S> Clone for ReactorThread<S> {
    fn clone(&self) -> Self {
        ReactorThread { shared: self.shared.clone(), key: self.key, state: PhantomData }
    }
}

impl<S> fmt::Debug for ReactorThread<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReactorThread").finish_non_exhaustive()
    }
}
