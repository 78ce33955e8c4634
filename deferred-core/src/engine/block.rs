//! Questions about a block that combine its state, its slot and its records.

#![forbid(unsafe_code)]

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::{Rc, Weak};

use super::raw::{Block, BlockRef, recycle, words};
use super::{Resume, Waiting};

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

    /// Returns `true` if the block is not paused and delivering to its waiter is the only stage
    /// left.
    pub(super) fn only_has_waiter(&self) -> bool {
        self.has_waiter() && !self.state.is_paused() && self.region.has_only(words::<BlockRef>())
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
    pub(super) fn linked(&self) -> Option<BlockRef> {
        let linked = self.state.with_link(Weak::upgrade);
        linked.flatten().map(|block| BlockRef(ManuallyDrop::new(block)))
    }
}

// A function that calls another one on any path saves registers on all of them. So the usual path
// of these functions calls nothing, and the unusual path is a tail call.
impl Block {
    /// Appends the stage that delivers the result to `waiter`.
    ///
    /// # Panics
    ///
    /// Panics if the result has another owner.
    #[inline]
    pub(super) fn push_waiter(&self, waiter: BlockRef) {
        if !self.has_chain() && !self.has_waiter() && self.region.has_room(words::<BlockRef>()) {
            self.append_waiter(waiter)
        } else {
            self.push_waiter_cold(waiter)
        }
    }

    #[cold]
    fn push_waiter_cold(&self, waiter: BlockRef) {
        self.append_waiter(waiter);
    }

    /// Has a coroutine resumed when the result is ready, which it must not be yet. The result stays
    /// in the block.
    ///
    /// # Panics
    ///
    /// Panics if the block has no chain.
    #[inline]
    pub(crate) fn push_waiting(&self, coroutine: Pin<Rc<dyn Resume>>, wait: u64) {
        if self.has_chain() && self.region.has_room(words::<Waiting>()) {
            self.append_waiting((coroutine, wait));
        } else {
            self.push_waiting_cold((coroutine, wait));
        }
    }

    #[cold]
    fn push_waiting_cold(&self, waiting: Waiting) {
        self.append_waiting(waiting);
    }
}

/// Drops a block of which this is the last `BlockRef`, and keeps its memory unless a `Weak` exists.
#[inline(never)]
pub(super) fn release(block: ManuallyDrop<Rc<Block>>) {
    if block.state.has_link() {
        return release_link(block);
    }
    // On this path nothing is called, so nothing has to be saved.
    if !block.has_result() && block.region.owns_nothing() && Rc::weak_count(&block) == 0 {
        recycle(ManuallyDrop::into_inner(block));
    } else {
        release_contents(ManuallyDrop::into_inner(block));
    }
}

#[inline(never)]
fn release_link(block: ManuallyDrop<Rc<Block>>) {
    block.state.clear_link();
    release(block);
}

#[cold]
fn release_contents(block: Rc<Block>) {
    block.drop_contents(); // user code, which may create another reference
    recycle(block);
}

impl Deref for BlockRef {
    type Target = Block;

    #[inline]
    fn deref(&self) -> &Block {
        &self.0
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
