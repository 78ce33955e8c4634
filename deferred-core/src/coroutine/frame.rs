//! `Frame`: the future of a coroutine, and later its output.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::engine::Pinned;

/// A future that is polled and dropped in place; then its output.
pub(super) type Frame<F> = Pinned<Content<F>>;

pin_project! {
    #[project = ContentProjection]
    pub(super) enum Content<F: Future> {
        Future { #[pin] future: F },
        // Nothing after the output was taken, or the future was dropped.
        Output { output: Option<F::Output> },
    }
}

pub(super) fn new<F: Future>(future: F) -> Frame<F> {
    Pinned::new(Content::Future { future })
}

/// Polls the future. Once it is ready, drops it and keeps its output.
#[inline]
pub(super) fn poll<F: Future>(frame: Pin<&Frame<F>>, context: &mut Context<'_>) -> Poll<()> {
    frame.with(|mut content| {
        let ContentProjection::Future { future } = content.as_mut().project() else {
            panic!("a coroutine was polled after its end");
        };
        let output = ready!(future.poll(context));
        content.set(Content::Output { output: None }); // the destructor may panic
        content.set(Content::Output { output: Some(output) });
        Poll::Ready(())
    })
}

/// Drops the future or its output, and keeps this output instead.
pub(super) fn set_output<F: Future>(frame: Pin<&Frame<F>>, output: Option<F::Output>) {
    frame.with(|mut content| content.set(Content::Output { output }));
}

/// Takes the output, if there is one.
pub(super) fn take_output<F: Future>(frame: Pin<&Frame<F>>) -> Option<F::Output> {
    frame.with(|content| match content.project() {
        ContentProjection::Output { output } => output.take(),
        ContentProjection::Future { .. } => None,
    })
}
