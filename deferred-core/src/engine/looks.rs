//! What a block looks like to the loop.

#![forbid(unsafe_code)]

use std::rc::Rc;

use super::raw::{Block, BlockRef};

impl Block {
    /// Its result is there, and a loop may take it through the stages.
    #[inline(always)]
    pub(super) fn can_run(&self) -> bool {
        self.is_full() && self.state.is_free()
    }

    /// Its result is there, and nothing is left that would change it.
    #[inline(always)]
    pub(super) fn is_done(&self) -> bool {
        self.can_run() && self.region.is_empty()
    }

    /// All that is left to do is to pass on what it waits for.
    pub(super) fn only_passes_on(&self) -> bool {
        self.is_waiting() && !self.state.is_paused() && self.region.is_empty()
    }

    /// The block that this one waits for, if it waits for one that still is there.
    pub(super) fn awaited(&self) -> Option<BlockRef> {
        if self.is_waiting() { self.state.toward() } else { None }
    }
}

impl BlockRef {
    /// Whether it is the same block.
    #[inline(always)]
    pub(super) fn is(&self, other: &BlockRef) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Tells it from all others, for as long as it lives.
    #[inline(always)]
    pub(super) fn id(&self) -> usize {
        Rc::as_ptr(&self.0).addr()
    }
}
