//! An allocator that counts allocations and bytes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

// These counters are of all threads.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE_BYTES: AtomicU64 = AtomicU64::new(0);

/// Set only during a count, so that counting does not affect the times.
static COUNTS: AtomicBool = AtomicBool::new(false);

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

/// Returns the size of a block in common allocators: eight bytes of overhead, rounded up to
/// sixteen.
fn cost(layout: Layout) -> u64 {
    (layout.size() as u64 + 8).next_multiple_of(16).max(32)
}

// SAFETY: each call is forwarded unchanged to `System`. Counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTS.load(Ordering::Relaxed) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
            LIVE_BYTES.fetch_add(cost(layout), Ordering::Relaxed);
        }
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if COUNTS.load(Ordering::Relaxed) {
            LIVE_BYTES.fetch_sub(cost(layout), Ordering::Relaxed);
        }
        // SAFETY: the caller upholds the contract of `dealloc`.
        unsafe { System.dealloc(place, layout) }
    }
}

/// Runs `work`. Returns its result, the growth of allocated bytes (with overhead) and the number of
/// allocations, both of all threads.
pub(crate) fn count<R>(work: impl FnOnce() -> R) -> (R, u64, u64) {
    let (allocations, bytes) = (ALLOCATIONS.load(Ordering::Relaxed), LIVE_BYTES.load(Ordering::Relaxed));
    COUNTS.store(true, Ordering::Relaxed);
    let made = work();
    COUNTS.store(false, Ordering::Relaxed);
    (made, LIVE_BYTES.load(Ordering::Relaxed).wrapping_sub(bytes), ALLOCATIONS.load(Ordering::Relaxed) - allocations)
}
