//! Deferreds that are fired from other threads.
//!
//! The [`Resolver`] is kept by the reactor. What travels is its key, and the result, back through
//! the inbox.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::deferred::{Deferred, Resolver};
use crate::error::{CallSite, DeferredError, Failure};
use crate::reactor::{Call, Reactor, ReactorHandle};

impl Reactor {
    /// A Deferred of this thread, and what fires it from any other.
    ///
    /// On a closed reactor the Deferred has failed with [`Abandoned`](crate::Abandoned) already.
    ///
    /// # Cancellation
    ///
    /// Fires [`Cancelled`](crate::Cancelled) at once. The other thread is not interrupted;
    /// [`RemoteResolver::is_cancelled`] tells it, and what it fires is dropped.
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
    #[track_caller]
    pub fn remote<T: Send + 'static>(&self) -> (Deferred<T>, RemoteResolver<T>) {
        self.remote_typed()
    }

    /// [`remote`](Self::remote) with a canceller, which runs on this thread: see
    /// [`Deferred::with_canceller`](crate::Deferred::with_canceller).
    #[track_caller]
    pub fn remote_with_canceller<T: Send + 'static>(
        &self,
        canceller: impl FnOnce() -> Option<Result<T, Failure>> + 'static,
    ) -> (Deferred<T>, RemoteResolver<T>) {
        self.remote_typed_with_canceller(canceller)
    }

    /// [`remote`](Self::remote) with an error type of yours.
    #[track_caller]
    pub fn remote_typed<T: Send + 'static, E: DeferredError + Send>(&self) -> (Deferred<T, E>, RemoteResolver<T, E>) {
        self.remote_typed_with_canceller(|| None)
    }

    /// [`remote_with_canceller`](Self::remote_with_canceller) with an error type of yours.
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

/// Fires one Deferred of a reactor from any thread: made by [`Reactor::remote`].
///
/// The callbacks run on the reactor's thread, in a turn. Dropped unfired, it fires
/// [`Abandoned`](crate::Abandoned) there. Where nobody waits any more (the Deferred was cancelled,
/// or its reactor is closed), firing does nothing but drop the result, here or there.
pub struct RemoteResolver<T: Send + 'static, E: DeferredError + Send = Failure> {
    reactor: ReactorHandle,
    /// Taken when it fires.
    key: Option<u64>,
    cancelled: Arc<AtomicBool>,
    at: CallSite,
    /// Both ways: the key is used with the types that it was made for.
    takes: PhantomData<Both<T, E>>,
}

impl<T: Send + 'static, E: DeferredError + Send> RemoteResolver<T, E> {
    /// Fires the Deferred with a value.
    pub fn callback(self, value: T) {
        self.fire(Ok(value));
    }

    /// Fires the Deferred with an error.
    ///
    /// The place of this call begins the error's trail.
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

    /// Whether nobody waits any more: the Deferred was cancelled, or its reactor is closed. For a
    /// producer that can save itself the rest of the work. It may become true at any moment, and
    /// does not become false again.
    pub fn is_cancelled(&self) -> bool {
        // ORDERING: a hint; nothing is published by it.
        self.cancelled.load(Ordering::Relaxed)
    }

    fn post(&self, fire: Fire<T, E>) {
        // Refused by a closed reactor, which has fired Abandoned.
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

/// On its way back. Without a result the remote half was dropped.
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
