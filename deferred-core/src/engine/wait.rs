//! How a block begins to wait for the result of another one.

#![forbid(unsafe_code)]

use std::rc::Rc;

use super::raw::BlockRef;
use crate::error::Cycle;

/// Handles the output `inner` of a stage of the busy `block`: takes its result, or waits for it.
#[inline(never)]
pub(super) fn await_inner(block: BlockRef, inner: BlockRef) -> Option<BlockRef> {
    if block.is_same(&inner) {
        block.end_wait_with_error(Cycle::new().into());
        return Some(block);
    }
    if inner.is_ready() {
        inner.move_result(&block);
        return Some(block);
    }
    block.state.clear_busy();
    if block.only_has_waiter() {
        // A tail call: this block would only pass the result on. Its waiter waits for `inner`
        // instead, and this block leaves the chain, which keeps its length.
        match block.take_waiter() {
            Some(waiter) if !waiter.is_same(&inner) => {
                block.set_successor(&waiter);
                wait_for(waiter, inner);
                return None;
            }
            // `inner` waits for this block: a circle, which waits forever.
            Some(waiter) => block.push_waiter(waiter),
            None => {}
        }
    }
    wait_for(block, inner);
    None
}

/// Makes `block`, which has begun to wait, the waiter of `inner`.
#[inline]
pub(super) fn wait_for(block: BlockRef, mut inner: BlockRef) {
    if inner.only_passes_on() {
        inner = leave_out(&block, inner);
    }
    block.state.set_link(Rc::downgrade(&inner.0));
    inner.push_waiter(block);
}

/// Leaves out blocks that would only pass on the result of another one to `block`. Returns that
/// other one.
#[cold]
fn leave_out(block: &BlockRef, mut inner: BlockRef) -> BlockRef {
    while inner.only_passes_on() {
        let Some(next) = inner.awaited().filter(|next| !next.is_same(block)) else { break };
        let waiter = next.take_waiter();
        debug_assert!(waiter.is_some_and(|waiter| waiter.is_same(&inner)));
        inner.set_successor(block);
        inner = next;
    }
    inner
}
