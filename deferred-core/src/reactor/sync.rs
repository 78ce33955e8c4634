//! The lock of the inbox: parking_lot's, or loom's when `cfg(loom)` replays every interleaving.

#[cfg(not(loom))]
pub(super) use parking_lot::Mutex;

#[cfg(loom)]
#[derive(Debug)]
pub(super) struct Mutex<T>(loom::sync::Mutex<T>);

#[cfg(loom)]
impl<T> Mutex<T> {
    pub(super) fn new(value: T) -> Self {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(super) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        self.0.lock().expect("no code of a user runs under this lock")
    }
}
