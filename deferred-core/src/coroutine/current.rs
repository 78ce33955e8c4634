//! Which coroutine runs on this thread just now.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{RawWakerVTable, Waker};

use super::task::Coroutine;

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// The coroutine that is polled, and the waker that it is polled with.
pub(super) struct Current {
    coroutine: Pin<Rc<dyn Coroutine>>,
    waker: (*const (), &'static RawWakerVTable),
}

fn identity(waker: &Waker) -> (*const (), &'static RawWakerVTable) {
    (waker.data(), waker.vtable())
}

/// Makes it the current one for the time of a poll.
pub(super) fn set(coroutine: Pin<Rc<dyn Coroutine>>, waker: &Waker) -> Set {
    let current = Current { coroutine, waker: identity(waker) };
    Set(CURRENT.try_with(|slot| slot.replace(Some(current))).ok().flatten())
}

/// Who polls: the current coroutine, if there is one, and whether it is what `waker` wakes.
pub(super) fn who(waker: &Waker) -> Option<(Pin<Rc<dyn Coroutine>>, bool)> {
    CURRENT
        .try_with(|slot| {
            let slot = slot.borrow();
            let current = slot.as_ref()?;
            let (data, table) = identity(waker);
            let direct = data == current.waker.0 && std::ptr::eq(table, current.waker.1);
            Some((current.coroutine.clone(), direct))
        })
        .ok()
        .flatten()
}

/// The time of a poll; the one before it is the current one again afterwards.
pub(super) struct Set(Option<Current>);

impl Drop for Set {
    fn drop(&mut self) {
        let outer = self.0.take();
        let ended = CURRENT.try_with(|slot| slot.replace(outer));
        drop(ended); // behind the borrow
    }
}
