//! `Frame`: the pinned future of a coroutine.

use std::cell::RefCell;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that is polled in place until it is dropped in place. Its owner is shared.
pub(crate) struct Frame<F> {
    future: RefCell<Option<F>>,
    _pinned: PhantomPinned,
}

impl<F: Future> Frame<F> {
    pub(crate) fn new(future: F) -> Self {
        Frame { future: RefCell::new(Some(future)), _pinned: PhantomPinned }
    }

    /// Polls the future. Returns `None` if it has been dropped, or if the future itself calls this.
    #[inline]
    pub(crate) fn poll(self: Pin<&Self>, context: &mut Context<'_>) -> Option<Poll<F::Output>> {
        let mut slot = self.future.try_borrow_mut().ok()?;
        // SAFETY: the future lies in `self`, which is pinned. Otherwise only `discard` touches it,
        // and drops it in place.
        Some(unsafe { Pin::new_unchecked(slot.as_mut()?) }.poll(context))
    }

    /// Drops the future, unless the future itself calls this.
    pub(crate) fn discard(self: Pin<&Self>) {
        let _ = self.future.try_borrow_mut().map(|mut slot| *slot = None);
    }
}
