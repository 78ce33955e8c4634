//! `Permit`: the guard of a semaphore or a lock.

use std::error::Error;
use std::fmt;
use std::mem;
use std::rc::Rc;

use super::semaphore::Permits;
use crate::error::{DeferredError, Failure};

/// Acquired permits of a [`DeferredSemaphore`](crate::DeferredSemaphore), or the one of a
/// [`DeferredLock`](crate::DeferredLock).
///
/// Dropping it releases them to the next waiter, whose callbacks run right after the callback that
/// runs now, or inside the drop if none runs. [`release`](Self::release) releases them inside the
/// call, and [`detach`](Self::detach) leaves the release to the semaphore's own `release`.
#[must_use = "the permit is released at once if this is not bound to a variable"]
pub struct Permit<E: DeferredError = Failure> {
    permits: Rc<Permits<E>>,
    /// 0 after the release.
    count: usize,
}

impl<E: DeferredError> Permit<E> {
    pub(super) fn new(permits: Rc<Permits<E>>, count: usize) -> Self {
        Permit { permits, count }
    }

    /// Returns the number of permits.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Releases the permits. The callbacks of the next waiter run inside this call. If sixteen such
    /// calls are already nested, they run after the current callback, as with a drop.
    pub fn release(mut self) {
        self.permits.release_and_serve(mem::take(&mut self.count));
    }

    /// Drops this guard without releasing its permits, which stay acquired until the `release`
    /// method of the semaphore or the lock is called.
    pub fn detach(mut self) {
        self.count = 0;
    }
}

impl<E: DeferredError> Drop for Permit<E> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.permits.release_soon(self.count);
        }
    }
}

impl<E: DeferredError> fmt::Debug for Permit<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("count", &self.count).finish_non_exhaustive()
    }
}

/// The error of releasing more permits than are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHeld;

impl fmt::Display for NotHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("released more permits than are held")
    }
}

impl Error for NotHeld {}
