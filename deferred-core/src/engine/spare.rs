//! Memory of blocks that are gone, for new ones: with many at once the allocator's own is slower.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::rc::Rc;

use super::raw::Block;

/// Where a block can be.
pub(super) type Memory = Rc<MaybeUninit<Block>>;

/// How many a thread keeps: 48 KiB.
const MOST: usize = 256;

thread_local! {
    static SPARE: RefCell<Vec<Memory>> = const { RefCell::new(Vec::new()) };
}

/// Memory that nobody else knows.
#[inline(always)]
pub(super) fn take() -> Memory {
    let spare = SPARE.try_with(|spare| spare.borrow_mut().pop());
    spare.ok().flatten().unwrap_or_else(|| Rc::new(MaybeUninit::uninit()))
}

/// Takes back memory that nobody else knows.
#[inline(always)]
pub(super) fn keep(memory: Memory) {
    // So that a sanitizer sees whoever looks at a block that is gone.
    if cfg!(deferred_no_spare) {
        return;
    }
    // At the end of a thread there is nobody to keep it for.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.capacity() == 0 {
            spare.reserve_exact(MOST);
        }
        if spare.len() < MOST {
            spare.push(memory);
        }
    });
}
