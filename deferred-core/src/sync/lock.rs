//! One permit.

use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use super::permit::{NotHeld, Permit};
use super::semaphore::Permits;
use crate::deferred::{Deferred, IntoDeferred};
use crate::error::{DeferredError, Failure};

/// A lock that is waited for in line: first come, first served.
///
/// It guards no data: within one thread, what must be whole is what happens between two waits.
/// Clones mean the same lock.
///
/// Twisted's `DeferredLock`.
///
/// # Examples
///
/// ```
/// use deferred_core::{DeferredLock, inline_callbacks};
///
/// let lock = DeferredLock::new();
/// let first = lock.acquire().try_take().unwrap().unwrap();
/// let clone = lock.clone();
/// let second = inline_callbacks(async move {
///     let _permit = clone.acquire().await?;
///     Ok("mine now")
/// });
/// assert_eq!(lock.waiting(), 1);
/// drop(first);
/// assert_eq!(second.try_take().unwrap().unwrap(), "mine now");
/// assert!(!lock.is_locked());
/// ```
pub struct DeferredLock<E: DeferredError = Failure> {
    permits: Rc<Permits<E>>,
}

impl DeferredLock {
    /// One that nobody holds.
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
    /// [`new`](DeferredLock::new) for an error type of your own.
    #[must_use]
    pub fn typed() -> DeferredLock<E> {
        DeferredLock { permits: Permits::new(1) }
    }

    /// A Deferred for the lock: it has it at once if nobody holds it.
    ///
    /// # Cancellation
    ///
    /// Gives up the place in line. One that has the lock already keeps it.
    #[track_caller]
    pub fn acquire(&self) -> Deferred<Permit<E>, E> {
        self.permits.acquire(1, Location::caller())
    }

    /// The lock, if nobody holds it.
    #[must_use]
    pub fn try_acquire(&self) -> Option<Permit<E>> {
        self.permits.try_acquire(1)
    }

    /// Gives back a permit that was [detached](Permit::detach); the callbacks of whoever gets it
    /// run inside this call, as with [`Permit::release`].
    ///
    /// Twisted's `release`.
    ///
    /// # Errors
    ///
    /// If nobody holds it.
    pub fn release(&self) -> Result<(), NotHeld> {
        self.permits.release(1)
    }

    /// Calls `f` with the lock held, which is given back when what `f` returns is there, before the
    /// callbacks of the Deferred that this returns.
    ///
    /// # Cancellation
    ///
    /// Gives up the place in line, or cancels what `f` has returned.
    #[track_caller]
    pub fn run<R: IntoDeferred<E>>(&self, f: impl FnOnce() -> R + 'static) -> Deferred<R::Value, E> {
        self.permits.run(1, f, Location::caller())
    }

    /// Whether somebody holds it.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.permits.available() == 0
    }

    /// How many wait.
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
