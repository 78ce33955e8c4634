//! The future of a coroutine, which lies in what others hold too.

use std::cell::RefCell;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that is polled where it lies, until it is dropped there.
pub(crate) struct Frame<F> {
    future: RefCell<Option<F>>,
    _pinned: PhantomPinned,
}

impl<F: Future> Frame<F> {
    pub(crate) fn new(future: F) -> Self {
        Frame { future: RefCell::new(Some(future)), _pinned: PhantomPinned }
    }

    /// Polls it. None if it has been dropped, or if this is called from inside it.
    #[inline]
    pub(crate) fn poll(self: Pin<&Self>, context: &mut Context<'_>) -> Option<Poll<F::Output>> {
        let mut slot = self.future.try_borrow_mut().ok()?;
        // SAFETY: it lies in what is pinned. Only `discard` touches it otherwise, which drops it in place.
        Some(unsafe { Pin::new_unchecked(slot.as_mut()?) }.poll(context))
    }

    /// Drops it, unless this is called from inside it.
    pub(crate) fn discard(self: Pin<&Self>) {
        let _ = self.future.try_borrow_mut().map(|mut slot| *slot = None);
    }
}
