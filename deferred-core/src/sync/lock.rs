//! `DeferredLock`: a lock with a FIFO queue of waiters.

use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use super::permit::{NotHeld, Permit};
use super::semaphore::Permits;
use crate::deferred::{Deferred, IntoDeferred};
use crate::error::{DeferredError, Failure};

/// A lock with a FIFO queue of waiters.
///
/// It guards no data: on a single thread only the code between two waits needs protection. Clones
/// refer to the same lock.
///
/// Twisted's `DeferredLock`.
///
/// # Examples
///
/// ```
/// use deferred_core::testing::success_result_of;
/// use deferred_core::{DeferredLock, inline_callbacks};
///
/// let lock = DeferredLock::new();
/// let first = success_result_of(lock.acquire());
/// let clone = lock.clone();
/// let second = inline_callbacks(async move {
///     let _permit = clone.acquire().await?;
///     Ok("acquired")
/// });
/// assert_eq!(lock.waiting(), 1);
/// drop(first);
/// assert_eq!(success_result_of(second), "acquired");
/// assert!(!lock.is_locked());
/// ```
#[doc(alias = "Mutex")]
pub struct DeferredLock<E: DeferredError = Failure> {
    permits: Rc<Permits<E>>,
}

impl DeferredLock {
    /// Creates an unlocked lock.
    #[must_use]
    pub fn new() -> DeferredLock {
        DeferredLock::typed()
    }
}

impl Default for DeferredLock {
    fn default() -> Self {
        DeferredLock::new()
    }
}

impl<E: DeferredError> DeferredLock<E> {
    /// Like [`new`](DeferredLock::new), but for an error type of your own.
    #[must_use]
    pub fn typed() -> DeferredLock<E> {
        DeferredLock { permits: Permits::new(1) }
    }

    /// Returns a Deferred that fires with the lock's [`Permit`]. It is ready at once if the lock is
    /// free.
    ///
    /// # Cancellation
    ///
    /// A cancel removes the caller from the queue. It has no effect on a Deferred that already has
    /// the lock.
    #[track_caller]
    pub fn acquire(&self) -> Deferred<Permit<E>, E> {
        self.permits.acquire(1, Location::caller())
    }

    /// Acquires the lock if it is free.
    #[must_use]
    #[track_caller]
    pub fn try_acquire(&self) -> Option<Permit<E>> {
        self.permits.try_acquire(1, Location::caller())
    }

    /// Releases a permit that was [detached](Permit::detach). The callbacks of the next waiter run
    /// inside this call, as with [`Permit::release`].
    ///
    /// Twisted's `release`.
    ///
    /// # Errors
    ///
    /// Returns [`NotHeld`] if the lock is free.
    pub fn release(&self) -> Result<(), NotHeld> {
        self.permits.release(1)
    }

    /// Calls `f` with the lock held. The lock is released when the result of `f` is ready, before
    /// the callbacks of the returned Deferred.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with the error or panic of `f`.
    ///
    /// # Cancellation
    ///
    /// A cancel removes the caller from the queue, or cancels the Deferred that `f` returned.
    #[track_caller]
    pub fn run<R: IntoDeferred<E>>(&self, f: impl FnOnce() -> R + 'static) -> Deferred<R::Value, E> {
        self.permits.run(1, f, Location::caller())
    }

    /// Returns `true` if the lock is held.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.permits.available() == 0
    }

    /// Returns the number of waiters.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.permits.waiting()
    }
}

impl<E: DeferredError> Clone for DeferredLock<E> {
    fn clone(&self) -> Self {
        DeferredLock { permits: self.permits.clone() }
    }
}

impl<E: DeferredError> fmt::Debug for DeferredLock<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredLock").field("is_locked", &self.is_locked()).field("waiting", &self.waiting()).finish()
    }
}
