//! Per-thread free list of block memory. With many Deferreds at once the allocator's own is slower.
//!
//! The first word of free memory points to the next one. The list has no destructor, which each
//! access would check; [`AtThreadEnd`] frees it.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr;
use std::rc::Rc;

use super::block::Block;

/// Memory for one block.
pub(super) type Memory = Rc<MaybeUninit<Block>>;

type Place = *const MaybeUninit<Block>;

/// The number of blocks whose memory a thread keeps: 48 KiB.
const MAX_FREE: u32 = 256;

thread_local! {
    /// The first free memory, of a `Memory` that was leaked; null if there is none.
    static FIRST: Cell<Place> = const { Cell::new(ptr::null()) };
    /// The number of blocks for which the list has room. 0 until [`AT_THREAD_END`] is registered,
    /// and once it is destroyed.
    static ROOM: Cell<u32> = const { Cell::new(0) };
    static AT_THREAD_END: AtThreadEnd = const { AtThreadEnd };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

struct AtThreadEnd;

impl Drop for AtThreadEnd {
    fn drop(&mut self) {
        while let Some(memory) = pop() {
            drop(memory);
        }
        ROOM.set(0);
    }
}

/// Returns memory to which nothing else refers.
#[inline]
pub(super) fn allocate() -> Memory {
    pop().unwrap_or_else(|| Rc::new(MaybeUninit::uninit()))
}

#[inline]
fn pop() -> Option<Memory> {
    let first = FIRST.get();
    if first.is_null() {
        return None;
    }
    ROOM.set(ROOM.get() + 1);
    // SAFETY: `release` leaked the memory, and wrote the next pointer to its begin. It is in no
    // list any more.
    unsafe {
        FIRST.set(first.cast::<Place>().read());
        Some(Rc::from_raw(first))
    }
}

/// Takes back memory to which nothing else refers.
#[inline]
pub(super) fn release(memory: Memory) {
    // A sanitizer cannot see the use of a dropped block whose memory is reused.
    if cfg!(deferred_no_free_list) {
        return;
    }
    if ROOM.get() == 0 && !register() {
        return;
    }
    ROOM.set(ROOM.get() - 1);
    let place = Rc::into_raw(memory);
    // SAFETY: nothing else refers to the memory, which is larger than a pointer.
    unsafe { place.cast_mut().cast::<Place>().write(FIRST.get()) };
    FIRST.set(place);
}

/// Registers [`AT_THREAD_END`] at the first call. Returns `true` if the list has room.
#[cold]
fn register() -> bool {
    // An error means that the thread ends: the memory is freed.
    if REGISTERED.replace(true) || AT_THREAD_END.try_with(|_| ()).is_err() {
        return false;
    }
    ROOM.set(MAX_FREE);
    true
}
