//! Those who wait for something, in order; some of them give up.

use std::collections::VecDeque;
use std::mem;

use deferred_core::RemoteResolver;

/// The least length at which those who have given up are taken out.
const SWEEP: usize = 64;

pub(crate) trait Waits {
    /// Whether it waits no more.
    fn is_cancelled(&self) -> bool;
}

impl<T: Send + 'static> Waits for RemoteResolver<T> {
    fn is_cancelled(&self) -> bool {
        RemoteResolver::is_cancelled(self)
    }
}

pub(crate) struct Line<T> {
    waiting: VecDeque<T>,
    /// When it has become that long, those who wait no more are taken out.
    sweep: usize,
}

impl<T: Waits> Line<T> {
    pub(crate) fn new() -> Line<T> {
        Line { waiting: VecDeque::new(), sweep: SWEEP }
    }

    /// Gives those who have given up, now and then, to be dropped where no lock is held.
    #[must_use]
    pub(crate) fn push(&mut self, waits: T) -> VecDeque<T> {
        self.waiting.push_back(waits);
        if self.waiting.len() < self.sweep {
            return VecDeque::new();
        }
        let (gone, waiting) = mem::take(&mut self.waiting).into_iter().partition(T::is_cancelled);
        self.waiting = waiting;
        self.sweep = SWEEP.max(self.waiting.len() * 2);
        gone
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.waiting.pop_front()
    }

    pub(crate) fn take(&mut self) -> VecDeque<T> {
        mem::take(&mut self.waiting)
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}
