//! `spawn_with`: futures that an executor of other threads runs, with a Deferred for the result.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};

use pin_project_lite::pin_project;

use super::RemoteResolver;
use crate::context::{Context, InContext};
use crate::deferred::Deferred;
use crate::error::{Failure, Panicked};
use crate::reactor::Reactor;

impl Reactor {
    /// Passes `future` to `spawn`, which runs it on an executor, on any thread. Returns a Deferred
    /// for its result. The callbacks run on this thread, in a turn.
    ///
    /// This is for adapters, whose own `spawn` calls it. The value that `spawn` returns is kept
    /// until the Deferred fires; dropping it must cancel a task that is not done.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with the error of `future`, with [`Panicked`] if it panics, or
    /// with [`Abandoned`](crate::Abandoned) if the reactor is closed or the executor drops the task
    /// before. On a closed reactor `future` does not run.
    ///
    /// # Cancellation
    ///
    /// The returned Deferred fires [`Cancelled`](crate::Cancelled) at once, and the value that
    /// `spawn` returned is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use deferred_core::park;
    ///
    /// let sum = park::run_until(|reactor| {
    ///     // A thread is the executor. It cannot be cancelled.
    ///     reactor.spawn_with(async { Ok((1..=100).sum::<u32>()) }, |task| {
    ///         thread::spawn(move || futures::executor::block_on(task));
    ///     })
    /// });
    /// assert_eq!(sum.unwrap(), 5050);
    /// ```
    #[track_caller]
    pub fn spawn_with<T, F, G>(&self, future: F, spawn: impl FnOnce(RemoteTask<T, F>) -> G) -> Deferred<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
        G: 'static,
    {
        let guard = Rc::new(Cell::new(None));
        let slot = guard.clone();
        let (deferred, resolver) = self.remote_with_canceller(move || {
            drop(slot.take());
            None
        });
        if !resolver.is_cancelled() {
            let task = RemoteTask { future: Context::current().wrap(future), resolver: Some(resolver) };
            guard.set(Some(spawn(task)));
        }
        deferred
    }
}

pin_project! {
    /// A future that runs another one and sends its result to the loop. [`Reactor::spawn_with`]
    /// creates it.
    #[must_use = "the future runs only while this is polled"]
    pub struct RemoteTask<T, F>
    where
        T: Send,
        T: 'static,
    {
        #[pin]
        future: InContext<F>,
        // Taken when the future is complete.
        resolver: Option<RemoteResolver<T>>,
    }
}

impl<T: Send + 'static, F: Future<Output = Result<T, Failure>>> Future for RemoteTask<T, F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<()> {
        let this = self.project();
        // After a panic the future is not polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| this.future.poll(context)));
        let result = ready!(polled.unwrap_or_else(|payload| Poll::Ready(Err(Panicked::new(payload).into()))));
        this.resolver.take().expect("the future was polled after it was complete").fire(result);
        Poll::Ready(())
    }
}

impl<T: Send + 'static, F> fmt::Debug for RemoteTask<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTask").field("resolver", &self.resolver).finish_non_exhaustive()
    }
}
