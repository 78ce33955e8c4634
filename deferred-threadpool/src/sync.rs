//! What the protocols lock and sleep with: parking_lot's and the standard library's, or loom's when `cfg(loom)` replays
//! every interleaving.

use std::ops::Deref;
#[cfg(not(loom))]
pub(crate) use std::thread::{Thread, current};

#[cfg(not(loom))]
pub(crate) use parking_lot::Mutex;

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

    pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        self.0.lock().expect("no code of a user runs under this lock")
    }
}

/// In cache lines of its own, since threads contend for it: what stands beside it is not for them.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Apart<X>(pub(crate) X);

impl<X> Deref for Apart<X> {
    type Target = X;

    fn deref(&self) -> &X {
        &self.0
    }
}
