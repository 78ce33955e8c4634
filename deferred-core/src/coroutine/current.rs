//! Which coroutine runs on this thread just now.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr;
use std::rc::Rc;
use std::task::{RawWakerVTable, Waker};

use super::task::Coroutine;

/// The coroutine that is polled, and what the waker that it is polled with looks like.
struct Current {
    waker: Cell<Look>,
    coroutine: Cell<Polled>,
}

type Look = (*const (), Option<&'static RawWakerVTable>);

/// Without a destructor, which would cost a look at each access. It is there only as long as a poll
/// goes on.
type Polled = Option<ManuallyDrop<Pin<Rc<dyn Coroutine>>>>;

thread_local! {
    static CURRENT: Current =
        const { Current { waker: Cell::new((ptr::null(), None)), coroutine: Cell::new(None) } };
}

/// Makes it the current one while `poll` runs, which must not panic.
#[inline(always)]
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

/// Whether this is the waker that the current coroutine is polled with.
#[inline(always)]
pub(super) fn is_polled_with(waker: &Waker) -> bool {
    let (data, table) = CURRENT.with(|current| current.waker.get());
    data == waker.data() && table.is_some_and(|table| ptr::eq(table, waker.vtable()))
}

/// The coroutine that polls, if one does.
#[inline(always)]
pub(super) fn coroutine() -> Option<Pin<Rc<dyn Coroutine>>> {
    CURRENT.with(|current| {
        let now = current.coroutine.take();
        let coroutine = now.as_deref().cloned();
        current.coroutine.set(now);
        coroutine
    })
}
