//! `InContext`: a future in a context.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use pin_project_lite::pin_project;

use super::Context;

pin_project! {
    /// A future that is polled and dropped in a context. [`Context::wrap`] creates it.
    #[must_use = "a future does nothing unless it is polled"]
    pub struct InContext<F> {
        context: Context,
        // `None` once it is dropped.
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for InContext<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.context.run(|| this.future.set(None));
        }
    }
}

impl Context {
    /// Returns a future that is polled and dropped in this context. This is for other executors;
    /// [`inline_callbacks`](crate::inline_callbacks) does it by itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::context::{self, Context};
    /// use deferred_core::with_context;
    /// use futures::executor::block_on;
    ///
    /// let task = with_context(7_u32, || Context::current().wrap(async { *context::get::<u32>().unwrap() }));
    /// assert_eq!(block_on(task), 7);
    /// ```
    pub fn wrap<F: Future>(self, future: F) -> InContext<F> {
        InContext { context: self, future: Some(future) }
    }
}

impl<F: Future> Future for InContext<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<F::Output> {
        let this = self.project();
        let future = this.future.as_pin_mut().expect("it is taken only by the drop");
        this.context.run(|| future.poll(context))
    }
}

impl<F> fmt::Debug for InContext<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InContext").field("context", &self.context).finish_non_exhaustive()
    }
}
