//! An allocator that counts how often it is asked for memory, and for how much.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

// Of all threads.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE_BYTES: AtomicU64 = AtomicU64::new(0);

/// Only while somebody asks, so that counting is no part of the times.
static COUNTS: AtomicBool = AtomicBool::new(false);

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

/// What a block of the usual allocators costs: eight bytes of its own, all rounded up to sixteen.
fn cost(layout: Layout) -> u64 {
    (layout.size() as u64 + 8).next_multiple_of(16).max(32)
}

// SAFETY: each call is passed on to `System` as it came. Counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTS.load(Ordering::Relaxed) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
            LIVE_BYTES.fetch_add(cost(layout), Ordering::Relaxed);
        }
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if COUNTS.load(Ordering::Relaxed) {
            LIVE_BYTES.fetch_sub(cost(layout), Ordering::Relaxed);
        }
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(place, layout) }
    }
}

/// What `work` gives, and by how much all threads together grew what is allocated: bytes, all told;
/// and how often they asked.
pub(crate) fn count<R>(work: impl FnOnce() -> R) -> (R, u64, u64) {
    let (allocations, bytes) = (ALLOCATIONS.load(Ordering::Relaxed), LIVE_BYTES.load(Ordering::Relaxed));
    COUNTS.store(true, Ordering::Relaxed);
    let made = work();
    COUNTS.store(false, Ordering::Relaxed);
    (made, LIVE_BYTES.load(Ordering::Relaxed).wrapping_sub(bytes), ALLOCATIONS.load(Ordering::Relaxed) - allocations)
}
