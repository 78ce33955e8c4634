//! Per-thread free list of block memory. With many Deferreds at once the allocator's own is slower.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::rc::Rc;

use super::block::Block;

/// Memory for one block.
pub(super) type Memory = Rc<MaybeUninit<Block>>;

/// The number of blocks whose memory a thread keeps: 48 KiB.
const MAX_FREE: usize = 256;

thread_local! {
    static FREE: RefCell<Vec<Memory>> = const { RefCell::new(Vec::new()) };
}

/// Returns memory to which nothing else refers.
#[inline]
pub(super) fn allocate() -> Memory {
    let free = FREE.try_with(|free| free.borrow_mut().pop());
    free.ok().flatten().unwrap_or_else(|| Rc::new(MaybeUninit::uninit()))
}

/// Takes back memory to which nothing else refers.
#[inline]
pub(super) fn release(memory: Memory) {
    // A sanitizer cannot see the use of a dropped block whose memory is reused.
    if cfg!(deferred_no_free_list) {
        return;
    }
    // An error means that the thread ends: the memory is freed.
    let _ = FREE.try_with(|free| {
        let mut free = free.borrow_mut();
        if free.capacity() == 0 {
            free.reserve_exact(MAX_FREE);
        }
        if free.len() < MAX_FREE {
            free.push(memory);
        }
    });
}
