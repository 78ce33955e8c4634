//! The coroutine that runs on this thread now.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::rc::Rc;

use super::task::Coroutine;

/// The coroutine that is being polled. It has no destructor, because that would cost a check at
/// each access.
type Polled = Option<ManuallyDrop<Pin<Rc<dyn Coroutine>>>>;

thread_local! {
    static CURRENT: Cell<Polled> = const { Cell::new(None) };
}

/// Makes `new` the current coroutine while `f` runs, which must not panic.
#[inline]
pub(super) fn with<R>(new: Pin<Rc<dyn Coroutine>>, f: impl FnOnce() -> R) -> R {
    let outer = CURRENT.replace(Some(ManuallyDrop::new(new)));
    let value = f();
    drop(CURRENT.replace(outer).map(ManuallyDrop::into_inner));
    value
}

/// Returns the coroutine that is being polled, if there is one.
#[inline]
pub(super) fn coroutine() -> Option<Pin<Rc<dyn Coroutine>>> {
    let current = CURRENT.take();
    let coroutine = current.as_deref().cloned();
    CURRENT.set(current);
    coroutine
}
