//! The coroutines of a thread that a waker can reach, by their keys.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;

use super::task::{self, Coroutine};

thread_local! {
    static LAST_KEY: Cell<u64> = const { Cell::new(0) };
    static REGISTERED: Registered = const { Registered(RefCell::new(BTreeMap::new())) };
}

struct Registered(RefCell<BTreeMap<u64, Pin<Rc<dyn Coroutine>>>>);

/// Abandons the coroutines at the end of the thread, since no waker can reach them any more.
impl Drop for Registered {
    fn drop(&mut self) {
        for coroutine in self.0.take().into_values() {
            task::abandon(&coroutine);
        }
    }
}

/// Returns a key that no other coroutine of this thread has had. The first one is 1.
pub(super) fn new_key() -> u64 {
    LAST_KEY.with(|last| {
        last.set(last.get() + 1);
        last.get()
    })
}

/// Lets wakers reach a coroutine until [`remove`].
pub(super) fn insert(key: u64, coroutine: Pin<Rc<dyn Coroutine>>) {
    let _ = REGISTERED.try_with(|registered| registered.0.borrow_mut().insert(key, coroutine));
}

pub(super) fn remove(key: u64) {
    let removed = REGISTERED.try_with(|registered| registered.0.borrow_mut().remove(&key));
    drop(removed); // after the borrow
}

/// Wakes the coroutine with this key, if it still exists. Wakers call this on the coroutine's
/// thread.
pub(super) fn wake(key: u64) {
    let found = REGISTERED.try_with(|registered| registered.0.borrow().get(&key).cloned());
    if let Some(coroutine) = found.ok().flatten() {
        task::wake(&coroutine);
    }
}
