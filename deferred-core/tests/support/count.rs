//! An allocator that counts per thread, so that concurrent tests do not count each other's
//! allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
    static PEAK_BYTES: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(allocations: u64, bytes: i64) {
    ALLOCATIONS.set(ALLOCATIONS.get() + allocations);
    let live = LIVE_BYTES.get() + bytes;
    LIVE_BYTES.set(live);
    PEAK_BYTES.set(PEAK_BYTES.get().max(live));
}

// SAFETY: each call is forwarded unchanged to `System`. The counters are thread-locals without a
// destructor and without lazy initialization, so counting neither allocates nor accesses a
// destroyed thread-local.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: the caller upholds the contract of `dealloc`.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as i64 - layout.size() as i64);
        // SAFETY: the caller upholds the contract of `realloc`.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Runs `work` and returns the number of allocations that it makes on this thread.
#[allow(dead_code)] // each test binary uses only a part of it
pub(crate) fn allocations<R>(work: impl FnOnce() -> R) -> (R, u64) {
    let before = ALLOCATIONS.get();
    let result = work();
    (result, ALLOCATIONS.get() - before)
}

/// Runs `work` and returns the maximum growth of this thread's live memory meanwhile, in bytes.
#[allow(dead_code)] // each test binary uses only a part of it
pub(crate) fn peak_bytes<R>(work: impl FnOnce() -> R) -> (R, i64) {
    let before = LIVE_BYTES.get();
    PEAK_BYTES.set(before);
    let result = work();
    (result, PEAK_BYTES.get() - before)
}

/// Returns the number of bytes that this thread has allocated and not freed.
#[allow(dead_code)] // each test binary uses only a part of it
pub(crate) fn live_bytes() -> i64 {
    LIVE_BYTES.get()
}
