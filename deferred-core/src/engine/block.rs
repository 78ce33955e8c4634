//! Questions about a block that combine its state, its slot and its records.

#![forbid(unsafe_code)]

use std::mem::ManuallyDrop;
use std::rc::{Rc, Weak};

use super::raw::{Block, BlockRef};

impl Block {
    /// Returns `true` if the block has a result, no loop is in it, and no pause holds it back.
    #[inline]
    pub(super) fn can_run(&self) -> bool {
        self.has_result() && self.state.is_free()
    }

    /// Returns `true` if the block has a result that nothing will change: it [can
    /// run](Self::can_run), and no stage is left.
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        self.can_run() && self.region.is_empty()
    }

    /// Returns `true` if a coroutine waits for this block.
    #[inline]
    pub(crate) fn is_awaited(&self) -> bool {
        self.state.is_awaited()
    }

    /// Returns `true` if the block only passes on the result that it waits for.
    pub(super) fn only_passes_on(&self) -> bool {
        self.is_waiting() && !self.state.is_paused() && self.region.is_empty()
    }

    /// Returns the block that this one waits for, if that still exists.
    pub(super) fn awaited(&self) -> Option<BlockRef> {
        if self.is_waiting() { self.linked() } else { None }
    }

    /// Returns the block that has taken this one's place, if it is still in the wait that it took
    /// over.
    pub(super) fn successor(&self) -> Option<BlockRef> {
        let successor = if self.state.has_successor() { self.linked()? } else { return None };
        self.state.is_in_wait_of(&successor.state).then_some(successor)
    }

    /// Returns the block to which the state links, if that still exists.
    fn linked(&self) -> Option<BlockRef> {
        let linked = self.state.with_link(Weak::upgrade);
        linked.flatten().map(|block| BlockRef(ManuallyDrop::new(block)))
    }
}

impl BlockRef {
    /// Returns `true` if both refer to the same block.
    #[inline]
    pub(super) fn is_same(&self, other: &BlockRef) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Returns a number that no other live block has.
    #[inline]
    pub(crate) fn id(&self) -> usize {
        Rc::as_ptr(&self.0).addr()
    }
}
