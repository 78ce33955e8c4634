//! `Frame`: the pinned future of a coroutine.

use std::cell::RefCell;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A future that is polled in place until it is dropped in place; then its output. Its owner is
/// shared.
pub(crate) struct Frame<F: Future> {
    content: RefCell<Content<F>>,
    _pinned: PhantomPinned,
}

enum Content<F: Future> {
    Future(F),
    /// The output of the future, or nothing after it was taken or the future was dropped.
    Output(Option<F::Output>),
}

impl<F: Future> Frame<F> {
    pub(crate) fn new(future: F) -> Self {
        Frame { content: RefCell::new(Content::Future(future)), _pinned: PhantomPinned }
    }

    /// Polls the future. Once it is ready, drops it and keeps its output.
    ///
    /// # Panics
    ///
    /// Panics if the future panics, if it was dropped before, or if it calls this itself.
    #[inline]
    pub(crate) fn poll(self: Pin<&Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut content = self.content.borrow_mut();
        let Content::Future(future) = &mut *content else { panic!("a coroutine was polled after its end") };
        // SAFETY: the future lies in `self`, which is pinned. Nothing moves it: it is only dropped
        // in place, below and by `discard`.
        let output = ready!(unsafe { Pin::new_unchecked(future) }.poll(context));
        *content = Content::Output(None); // the destructor may panic
        *content = Content::Output(Some(output));
        Poll::Ready(())
    }

    /// Drops the future or its output, and keeps this output instead.
    pub(crate) fn set_output(self: Pin<&Self>, output: F::Output) {
        *self.content.borrow_mut() = Content::Output(Some(output));
    }

    /// Takes the output, if there is one.
    pub(crate) fn take_output(self: Pin<&Self>) -> Option<F::Output> {
        match &mut *self.content.borrow_mut() {
            Content::Output(output) => output.take(),
            Content::Future(_) => None,
        }
    }

    /// Drops the future, unless the future itself calls this.
    pub(crate) fn discard(self: Pin<&Self>) {
        let _ = self.content.try_borrow_mut().map(|mut content| *content = Content::Output(None));
    }
}
