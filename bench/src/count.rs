//! An allocator that counts how often it is asked for memory, and for how much.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<u64> = const { Cell::new(0) };
}

/// Only while somebody asks, so that counting is no part of the times.
static COUNTS: AtomicBool = AtomicBool::new(false);

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

/// What a block of the usual allocators costs: eight bytes of its own, all rounded up to sixteen.
fn cost(layout: Layout) -> u64 {
    (layout.size() as u64 + 8).next_multiple_of(16).max(32)
}

// SAFETY: each call is passed on to `System` as it came. The counters are thread-locals without a destructor and
// without lazy initialisation, so counting neither allocates nor can find them gone.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTS.load(Ordering::Relaxed) {
            ALLOCATIONS.set(ALLOCATIONS.get() + 1);
            LIVE_BYTES.set(LIVE_BYTES.get().wrapping_add(cost(layout)));
        }
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if COUNTS.load(Ordering::Relaxed) {
            LIVE_BYTES.set(LIVE_BYTES.get().wrapping_sub(cost(layout)));
        }
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(place, layout) }
    }
}

/// What `work` gives, and by how much it grew what this thread has allocated: bytes, all told, and how often it allocated.
pub(crate) fn count<R>(work: impl FnOnce() -> R) -> (R, u64, u64) {
    let (allocations, bytes) = (ALLOCATIONS.get(), LIVE_BYTES.get());
    COUNTS.store(true, Ordering::Relaxed);
    let made = work();
    COUNTS.store(false, Ordering::Relaxed);
    (made, LIVE_BYTES.get().wrapping_sub(bytes), ALLOCATIONS.get() - allocations)
}
