//! The coroutine that runs on this thread now.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr;
use std::rc::Rc;
use std::task::{RawWakerVTable, Waker};

use super::task::Coroutine;

/// The coroutine that is being polled, and the identity of its waker.
struct Current {
    waker: Cell<WakerIdentity>,
    coroutine: Cell<Polled>,
}

type WakerIdentity = (*const (), Option<&'static RawWakerVTable>);

/// The coroutine that is being polled, set only while a poll runs. It has no destructor, because
/// that would cost a check at each access.
type Polled = Option<ManuallyDrop<Pin<Rc<dyn Coroutine>>>>;

thread_local! {
    static CURRENT: Current =
        const { Current { waker: Cell::new((ptr::null(), None)), coroutine: Cell::new(None) } };
}

/// Makes `coroutine` the current one while `poll` runs, which must not panic.
#[inline]
pub(super) fn with<R>(coroutine: Pin<Rc<dyn Coroutine>>, waker: &Waker, poll: impl FnOnce() -> R) -> R {
    let before = CURRENT.with(|current| {
        let waker = current.waker.replace((waker.data(), Some(waker.vtable())));
        (waker, current.coroutine.replace(Some(ManuallyDrop::new(coroutine))))
    });
    let value = poll();
    CURRENT.with(|current| {
        current.waker.set(before.0);
        if let Some(ended) = current.coroutine.replace(before.1) {
            drop(ManuallyDrop::into_inner(ended));
        }
    });
    value
}

/// Returns `true` if the current coroutine is polled with this waker.
#[inline]
pub(super) fn is_polled_with(waker: &Waker) -> bool {
    let (data, table) = CURRENT.with(|current| current.waker.get());
    data == waker.data() && table.is_some_and(|table| ptr::eq(table, waker.vtable()))
}

/// Returns the coroutine that is being polled, if there is one.
#[inline]
pub(super) fn coroutine() -> Option<Pin<Rc<dyn Coroutine>>> {
    CURRENT.with(|current| {
        let now = current.coroutine.take();
        let coroutine = now.as_deref().cloned();
        current.coroutine.set(now);
        coroutine
    })
}
