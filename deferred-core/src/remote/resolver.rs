//! `RemoteResolver`: a Deferred of the loop that another thread fires.
//!
//! The reactor's registry keeps the [`Resolver`]. The other thread posts its key and the result
//! through the inbox.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::deferred::{Deferred, Resolver};
use crate::error::{CallSite, DeferredError, Failure};
use crate::reactor::{Call, Reactor, ReactorHandle};

impl Reactor {
    /// Creates a Deferred of this thread and the [`RemoteResolver`] that fires it from any thread.
    ///
    /// On a closed reactor the Deferred fails at once with [`Abandoned`](crate::Abandoned).
    ///
    /// # Cancellation
    ///
    /// A cancel fires [`Cancelled`](crate::Cancelled) at once. The other thread is not interrupted:
    /// its [`RemoteResolver::is_cancelled`] returns `true` from then on, and the result that it
    /// fires is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use deferred_core::park;
    ///
    /// let sum = park::run_until(|reactor| {
    ///     let (deferred, resolver) = reactor.remote();
    ///     thread::spawn(move || resolver.callback((1..=100).sum::<u32>()));
    ///     deferred.add_callback(|sum| Ok(sum * 2)) // here, on this thread
    /// });
    /// assert_eq!(sum.unwrap(), 10_100);
    /// ```
    #[doc(alias = "oneshot")]
    #[doc(alias = "channel")]
    #[track_caller]
    pub fn remote<T: Send + 'static>(&self) -> (Deferred<T>, RemoteResolver<T>) {
        self.remote_typed()
    }

    /// Like [`remote`](Self::remote), but with a canceller, which runs on this thread: see
    /// [`Deferred::with_canceller`](crate::Deferred::with_canceller).
    #[track_caller]
    pub fn remote_with_canceller<T: Send + 'static>(
        &self,
        canceller: impl FnOnce() -> Option<Result<T, Failure>> + 'static,
    ) -> (Deferred<T>, RemoteResolver<T>) {
        self.remote_typed_with_canceller(canceller)
    }

    /// Like [`remote`](Self::remote), but for an error type of your own.
    #[track_caller]
    pub fn remote_typed<T: Send + 'static, E: DeferredError + Send>(&self) -> (Deferred<T, E>, RemoteResolver<T, E>) {
        self.remote_typed_with_canceller(|| None)
    }

    /// Like [`remote_with_canceller`](Self::remote_with_canceller), but for an error type of your
    /// own.
    #[track_caller]
    pub fn remote_typed_with_canceller<T: Send + 'static, E: DeferredError + Send>(
        &self,
        canceller: impl FnOnce() -> Option<Result<T, E>> + 'static,
    ) -> (Deferred<T, E>, RemoteResolver<T, E>) {
        let cancelled = Arc::new(AtomicBool::new(false));
        let mark = cancelled.clone();
        let (deferred, resolver) = Deferred::typed_with_canceller(move || {
            mark.store(true, Ordering::Relaxed);
            canceller()
        });
        let key = self.keep(resolver, Some(cancelled.clone()));
        if key.is_none() {
            cancelled.store(true, Ordering::Relaxed);
        }
        let reactor = self.handle();
        (deferred, RemoteResolver { reactor, key, cancelled, at: Location::caller(), takes: PhantomData })
    }
}

type Both<T, E> = fn(T, E) -> (T, E);

/// A resolver that fires a Deferred of a reactor from any thread. [`Reactor::remote`] creates it.
///
/// The callbacks run on the reactor's thread, in a turn. Dropping it unfired fires
/// [`Abandoned`](crate::Abandoned) there. If the Deferred was cancelled, or its reactor is closed,
/// the result is only dropped, on this thread or on the reactor's.
pub struct RemoteResolver<T: Send + 'static, E: DeferredError + Send = Failure> {
    reactor: ReactorHandle,
    /// The key of the resolver in the reactor's registry. Taken when it fires.
    key: Option<u64>,
    cancelled: Arc<AtomicBool>,
    at: CallSite,
    /// Makes the type invariant: the key must be used with the types for which it was created.
    takes: PhantomData<Both<T, E>>,
}

impl<T: Send + 'static, E: DeferredError + Send> RemoteResolver<T, E> {
    /// Fires the Deferred with a value.
    pub fn callback(self, value: T) {
        self.fire(Ok(value));
    }

    /// Fires the Deferred with an error.
    ///
    /// The location of this call begins the error's trail.
    #[track_caller]
    pub fn errback(self, error: impl Into<E>) {
        let mut error = error.into();
        error.add_location(Location::caller());
        self.fire(Err(error));
    }

    /// Fires the Deferred with a result.
    pub fn fire(mut self, result: Result<T, E>) {
        if let Some(key) = self.key.take() {
            self.post(Fire { key, result: Some(result) });
        }
    }

    /// Returns `true` if the Deferred was cancelled or its reactor is closed, so that a producer
    /// can skip the rest of its work. It can become `true` at any moment, and never becomes `false`
    /// again.
    pub fn is_cancelled(&self) -> bool {
        // ORDERING: a hint, which publishes nothing.
        self.cancelled.load(Ordering::Relaxed)
    }

    fn post(&self, fire: Fire<T, E>) {
        // An error means that the reactor is closed, which has fired `Abandoned`.
        let _ = self.reactor.post(fire, self.at);
    }
}

impl<T: Send + 'static, E: DeferredError + Send> Drop for RemoteResolver<T, E> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.post(Fire { key, result: None });
        }
    }
}

impl<T: Send + 'static, E: DeferredError + Send> fmt::Debug for RemoteResolver<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteResolver").field("is_cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

/// A posted result for the Deferred with this key. `None` if the `RemoteResolver` was dropped.
struct Fire<T, E> {
    key: u64,
    result: Option<Result<T, E>>,
}

impl<T: Send + 'static, E: DeferredError + Send> Call for Fire<T, E> {
    fn call(self: Box<Self>, reactor: &Reactor, _: CallSite) -> Deferred<()> {
        if let Some(resolver) = reactor.claim::<Resolver<T, E>>(self.key) {
            match self.result {
                Some(result) => resolver.fire(result),
                None => drop(resolver),
            }
        }
        Deferred::succeed(())
    }
}
