//! The locks and threads of the two protocols: parking_lot's and the standard library's, or loom's
//! with `cfg(loom)`, and preemption points for tests.

use std::ops::Deref;
#[cfg(not(loom))]
pub(crate) use std::thread::{Thread, current};

#[cfg(not(loom))]
pub(crate) use parking_lot::{Mutex, MutexGuard};

#[cfg(loom)]
pub(crate) use loom::sync::MutexGuard;
#[cfg(loom)]
pub(crate) use loom::thread::{Thread, current};

#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

#[cfg(loom)]
impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("no user code runs under this lock")
    }
}

/// Aligns a value to a cache line, so that threads that contend for it do not slow down access to
/// its neighbors.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct CachePadded<X>(pub(crate) X);

impl<X> Deref for CachePadded<X> {
    type Target = X;

    fn deref(&self) -> &X {
        &self.0
    }
}

/// A point at which another thread may preempt this one. With `cfg(deferred_delays)`, for tests, it
/// often delays the thread; otherwise it is a no-op.
#[inline]
pub(crate) fn preemption_point() {
    #[cfg(deferred_delays)]
    delays::delay();
}

#[cfg(deferred_delays)]
mod delays {
    use std::cell::Cell;
    use std::hint;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;
    use std::time::Duration;

    /// Returns a seed from the environment variable `DEFERRED_SEED` and the number of this thread.
    fn seed() -> u64 {
        static THREADS: AtomicU64 = AtomicU64::new(1);
        let given = std::env::var("DEFERRED_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1u64);
        given.wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ THREADS.fetch_add(1, Ordering::Relaxed).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    }

    pub(super) fn delay() {
        thread_local!(static RANDOM: Cell<u64> = Cell::new(seed() | 1));
        let Ok(random) = RANDOM.try_with(|random| {
            // Xorshift.
            let mut bits = random.get();
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            random.set(bits);
            bits
        }) else {
            return;
        };
        match random % 16 {
            0 => thread::sleep(Duration::from_micros(random >> 8 & 63)),
            1..4 => thread::yield_now(),
            4..8 => (0..random >> 8 & 1023).for_each(|_| hint::spin_loop()),
            _ => {}
        }
    }
}
