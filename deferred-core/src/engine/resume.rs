//! `Resume`: a coroutine, as the engine sees it.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;

use super::Fired;
use crate::error::CallSite;

/// A suspended coroutine, or another task that waits for a block.
pub(crate) trait Resume {
    /// Returns the location where the coroutine was created.
    fn made_at(&self) -> CallSite;

    /// Resumes the coroutine, because the wait with this number has ended, or because it was woken
    /// if the number is 0. Returns its Deferred's block if that was fired.
    fn resume(self: Pin<Rc<Self>>, wait: u64) -> Option<Fired>;

    /// Returns the number of the block of the coroutine's own Deferred; 0 if it has none.
    fn own_block(&self) -> usize;

    /// Ends the wait with this number, and does not resume the coroutine.
    fn end_wait(&self, wait: u64);
}

/// A coroutine that waits for a block, and the number of that wait.
pub(crate) type Waiting = (Pin<Rc<dyn Resume>>, u64);

thread_local!(static LIVE: Cell<usize> = const { Cell::new(0) });

/// Counts a coroutine until it is dropped.
pub(crate) struct LiveCoroutine;

impl LiveCoroutine {
    #[inline]
    pub(crate) fn new() -> LiveCoroutine {
        LIVE.set(LIVE.get() + 1);
        LiveCoroutine
    }
}

impl Drop for LiveCoroutine {
    #[inline]
    fn drop(&mut self) {
        LIVE.set(LIVE.get() - 1);
    }
}

/// Returns the number of coroutines of this thread that have not ended.
pub(crate) fn live_coroutines() -> usize {
    LIVE.get()
}
