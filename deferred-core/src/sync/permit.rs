//! Who holds permits.

use std::error::Error;
use std::fmt;
use std::mem;
use std::rc::Rc;

use super::semaphore::Permits;
use crate::error::{DeferredError, Failure};

/// Permits of a [`DeferredSemaphore`](crate::DeferredSemaphore), or the one of a
/// [`DeferredLock`](crate::DeferredLock).
///
/// Dropping it gives them back, and whoever waits first gets them: right after the callback that
/// runs just now, or at once, where none does. [`release`](Self::release) gives them back inside
/// the call, and [`detach`](Self::detach) leaves that to the semaphore's own `release`.
#[must_use = "dropping a Permit gives it back"]
pub struct Permit<E: DeferredError = Failure> {
    permits: Rc<Permits<E>>,
    /// 0 once they are given back.
    count: usize,
}

impl<E: DeferredError> Permit<E> {
    pub(super) fn new(permits: Rc<Permits<E>>, count: usize) -> Self {
        Permit { permits, count }
    }

    /// How many it is.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Gives them back; the callbacks of whoever gets them run inside this call. Where sixteen such
    /// calls are one inside the other, they run after the callback that calls this, as with a drop.
    pub fn release(mut self) {
        self.permits.give_back(mem::take(&mut self.count));
    }

    /// Keeps them taken, without this guard: they are given back by the `release` of the semaphore
    /// or the lock.
    pub fn detach(mut self) {
        self.count = 0;
    }
}

impl<E: DeferredError> Drop for Permit<E> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.permits.give_back_soon(self.count);
        }
    }
}

impl<E: DeferredError> fmt::Debug for Permit<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("count", &self.count).finish_non_exhaustive()
    }
}

/// More permits were given back than are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHeld;

impl fmt::Display for NotHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("released more often than acquired: nobody holds what was to be given back")
    }
}

impl Error for NotHeld {}
