//! The future of a coroutine, which lies in what others hold too.

use std::cell::{Cell, UnsafeCell};
use std::future::Future;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that is polled where it lies, until it is dropped there.
pub(crate) struct Frame<F> {
    /// Somebody is in the future: polls or drops it. Only it touches `future`.
    busy: Cell<bool>,
    future: UnsafeCell<Option<F>>,
    _pinned: PhantomPinned,
}

impl<F: Future> Frame<F> {
    pub(crate) fn new(future: F) -> Self {
        Frame { busy: Cell::new(false), future: UnsafeCell::new(Some(future)), _pinned: PhantomPinned }
    }

    /// Polls it. None if it has been dropped, or if this is called from inside it.
    #[inline]
    pub(crate) fn poll(self: Pin<&Self>, context: &mut Context<'_>) -> Option<Poll<F::Output>> {
        let _alone = Alone::enter(self.get_ref())?;
        // SAFETY: `busy` was clear, and is set as long as this reference lives.
        let future = unsafe { &mut *self.future.get() }.as_mut()?;
        // SAFETY: it lies in what is pinned, is not moved anywhere, and is dropped in place.
        Some(unsafe { Pin::new_unchecked(future) }.poll(context))
    }

    /// Drops it, unless this is called from inside it.
    pub(crate) fn discard(self: Pin<&Self>) {
        if let Some(_alone) = Alone::enter(self.get_ref()) {
            // SAFETY: `busy` was clear, and is set as long as this reference lives. An assignment drops in place.
            unsafe { *self.future.get() = None };
        }
    }
}

/// The time in which one caller is in the future. A panic of that ends it too.
struct Alone<'a>(&'a Cell<bool>);

impl<'a> Alone<'a> {
    #[inline]
    fn enter<F>(frame: &'a Frame<F>) -> Option<Self> {
        (!frame.busy.replace(true)).then(|| Alone(&frame.busy))
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
