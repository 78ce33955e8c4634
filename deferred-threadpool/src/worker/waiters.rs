//! `WaiterQueue`: callers that wait for a place in the queue, or for the end of the pool, in FIFO
//! order.

use std::collections::VecDeque;
use std::mem;

use deferred_core::RemoteResolver;

use crate::error::StopTimedOut;

/// The minimum length at which cancelled waiters are removed.
const MIN_SWEEP: usize = 64;

/// A caller that waits, and that can be cancelled.
pub(crate) trait Waiter {
    /// Returns `true` if the caller does not wait any more.
    fn is_cancelled(&self) -> bool;
}

/// A caller that waits for the end of a pool.
pub(crate) trait StopWaiter: Waiter + Send {
    /// Notifies the caller that the last thread has ended, or that the deadline has passed.
    fn complete(self: Box<Self>, result: Result<(), StopTimedOut>);
}

impl<T: Send + 'static> Waiter for RemoteResolver<T> {
    fn is_cancelled(&self) -> bool {
        RemoteResolver::is_cancelled(self)
    }
}

impl Waiter for Box<dyn StopWaiter> {
    fn is_cancelled(&self) -> bool {
        (**self).is_cancelled()
    }
}

/// A FIFO queue of waiters, from which cancelled ones are removed from time to time.
pub(super) struct WaiterQueue<T> {
    waiters: VecDeque<T>,
    /// The length at which cancelled waiters are removed next.
    sweep_at: usize,
}

impl<T: Waiter> WaiterQueue<T> {
    pub(super) fn new() -> WaiterQueue<T> {
        WaiterQueue { waiters: VecDeque::new(), sweep_at: MIN_SWEEP }
    }

    /// Appends a waiter. Returns cancelled ones that were removed, which must be dropped without
    /// the lock.
    #[must_use]
    pub(super) fn push(&mut self, waiter: T) -> VecDeque<T> {
        self.waiters.push_back(waiter);
        if self.waiters.len() < self.sweep_at {
            return VecDeque::new();
        }
        let (cancelled, waiters) = mem::take(&mut self.waiters).into_iter().partition(T::is_cancelled);
        self.waiters = waiters;
        self.sweep_at = MIN_SWEEP.max(self.waiters.len() * 2);
        cancelled
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        self.waiters.pop_front()
    }

    pub(super) fn take(&mut self) -> VecDeque<T> {
        mem::take(&mut self.waiters)
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }
}
