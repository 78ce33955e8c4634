//! The coroutine that runs on this thread now.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr;
use std::rc::Rc;
use std::task::Waker;

use super::task::Coroutine;
use crate::reactor::WakerHandle;

/// The coroutine that is being polled, and its waker.
pub(super) struct Current {
    pub(super) coroutine: Pin<Rc<dyn Coroutine>>,
    pub(super) waker: Rc<WakerHandle>,
}

thread_local! {
    /// Set only while a poll runs. It has no destructor, because that would cost a check at each
    /// access.
    static CURRENT: Cell<Option<ManuallyDrop<Current>>> = const { Cell::new(None) };
}

/// Makes `new` the current coroutine while `poll` runs, which must not panic. Returns it again.
#[inline]
pub(super) fn with<R>(new: Current, poll: impl FnOnce() -> R) -> (R, Current) {
    let outer = CURRENT.replace(Some(ManuallyDrop::new(new)));
    let value = poll();
    let new = CURRENT.replace(outer).expect("each poll restores the outer coroutine");
    (value, ManuallyDrop::into_inner(new))
}

/// Calls `f` with the coroutine that is being polled, if there is one. `f` must not call user code.
#[inline]
fn with_current<R>(f: impl FnOnce(Option<&Current>) -> R) -> R {
    let current = CURRENT.take();
    let value = f(current.as_deref());
    CURRENT.set(current);
    value
}

#[inline]
fn is_polled_by(current: &Current, waker: &Waker) -> bool {
    let own = current.waker.waker();
    ptr::eq(own, waker) || own.data() == waker.data() && ptr::eq(own.vtable(), waker.vtable())
}

/// Returns the coroutine that is being polled with this waker, if there is one.
#[inline]
pub(super) fn polled_with(waker: &Waker) -> Option<Pin<Rc<dyn Coroutine>>> {
    with_current(|current| current.filter(|current| is_polled_by(current, waker)).map(|current| current.coroutine.clone()))
}

/// Returns the coroutine that is being polled, if there is one.
#[inline]
pub(super) fn coroutine() -> Option<Pin<Rc<dyn Coroutine>>> {
    with_current(|current| current.map(|current| current.coroutine.clone()))
}
