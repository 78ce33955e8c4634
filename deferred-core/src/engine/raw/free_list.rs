//! Per-thread free list of block memory. With many Deferreds at once the allocator's own is slower.
//!
//! The first word of free memory points to the next one. The list has no destructor, which each
//! access would check; [`AtThreadEnd`] frees it.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr;
use std::rc::Rc;

use super::block::Block;
use crate::engine::registered;

/// Memory for one block.
pub(in crate::engine) type Memory = Rc<MaybeUninit<Block>>;

type Place = *const MaybeUninit<Block>;

/// The number of blocks whose memory a thread keeps: 48 KiB.
const MAX_FREE: u32 = 256;

struct FreeList {
    /// The first free memory, of a `Memory` that was leaked; null if there is none.
    first: Cell<Place>,
    /// The number of blocks for which the list has room. 0 until [`AT_THREAD_END`] is registered,
    /// and once it is destroyed.
    room: Cell<u32>,
}

thread_local! {
    static FREE: FreeList = const { FreeList { first: Cell::new(ptr::null()), room: Cell::new(0) } };
    static AT_THREAD_END: AtThreadEnd = const { AtThreadEnd(Cell::new(false)) };
}

/// Frees the list. Contains whether this is registered.
struct AtThreadEnd(Cell<bool>);

impl Drop for AtThreadEnd {
    fn drop(&mut self) {
        set_recycling(false);
    }
}

/// Returns memory to which nothing else refers, except weak references if it is registered.
#[inline]
pub(super) fn allocate() -> Memory {
    FREE.with(pop).unwrap_or_else(registered::new_memory)
}

/// Sets whether memory is reused, and frees that of the list.
pub(in crate::engine) fn set_recycling(on: bool) {
    // An error means that the thread ends.
    let keeps = AT_THREAD_END.try_with(|end| end.0.set(true)).is_ok();
    while let Some(memory) = FREE.with(pop) {
        drop(memory);
    }
    FREE.with(|free| free.room.set(if on && keeps { MAX_FREE } else { 0 }));
}

#[inline]
fn pop(free: &FreeList) -> Option<Memory> {
    let first = free.first.get();
    if first.is_null() {
        return None;
    }
    free.room.set(free.room.get() + 1);
    // SAFETY: `release` leaked the memory, and wrote the next pointer to its begin. It is in no
    // list any more.
    unsafe {
        free.first.set(first.cast::<Place>().read());
        Some(Rc::from_raw(first))
    }
}

/// Takes back memory.
///
/// # Safety
///
/// It is a leaked `Memory` to which nothing else refers.
#[inline]
pub(super) unsafe fn release(place: Place) {
    FREE.with(|free| {
        // A sanitizer cannot see the use of a dropped block whose memory is reused.
        if free.room.get() == 0 || cfg!(deferred_no_free_list) {
            // SAFETY: the caller's promise.
            return unsafe { release_without_room(place) };
        }
        free.room.set(free.room.get() - 1);
        // SAFETY: the caller's promise. The memory is larger than a pointer.
        unsafe { place.cast_mut().cast::<Place>().write(free.first.get()) };
        free.first.set(place);
    });
}

/// Frees leaked memory, except at the first call, which registers [`AT_THREAD_END`].
#[cold]
unsafe fn release_without_room(place: Place) {
    // An error means that the thread ends.
    if AT_THREAD_END.try_with(|end| end.0.replace(true)).unwrap_or(true) {
        // SAFETY: the caller's promise.
        return drop(unsafe { Rc::from_raw(place) });
    }
    FREE.with(|free| free.room.set(MAX_FREE));
    // SAFETY: the caller's promise.
    unsafe { release(place) };
}
