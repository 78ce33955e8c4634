//! `QueueStream` and `QueueSink`: a queue as a `Stream` and as a `Sink`.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};
use futures_sink::Sink;

use super::queue::DeferredQueue;
use crate::coroutine::Wait;
use crate::error::{DeferredError, Failure};

impl<T: 'static, E: DeferredError> DeferredQueue<T, E> {
    /// Returns the values of the queue as a [`Stream`], which ends when the queue is closed and
    /// empty, or if the backlog of getters is full.
    ///
    /// A coroutine or any other task of this thread can poll it. Dropping it leaves the queue of
    /// getters; a value that it received and that was not taken returns to the front.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::testing::success_result_of;
    /// use deferred_core::{DeferredQueue, inline_callbacks};
    /// use futures::StreamExt;
    ///
    /// let queue = DeferredQueue::<u32>::new();
    /// let mut values = queue.stream();
    /// let sum = inline_callbacks(async move {
    ///     let mut sum = 0;
    ///     while let Some(value) = values.next().await {
    ///         sum += value;
    ///     }
    ///     Ok(sum)
    /// });
    /// queue.put(1).unwrap();
    /// queue.put(2).unwrap();
    /// queue.close();
    /// assert_eq!(success_result_of(sum), 3);
    /// ```
    pub fn stream(&self) -> QueueStream<T, E> {
        QueueStream { queue: self.clone(), waiting: None, ended: false }
    }

    /// Returns a [`Sink`] into the queue, which waits while the queue is full. Closing the sink
    /// closes the queue.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::{DeferredQueue, inline_callbacks};
    /// use futures::SinkExt;
    ///
    /// let queue = DeferredQueue::<u32>::with_limits(Some(1), None);
    /// let mut sink = queue.sink();
    /// let sent = inline_callbacks(async move {
    ///     sink.send(1).await?;
    ///     sink.send(2).await?; // waits
    ///     Ok(())
    /// });
    /// assert!(!sent.is_ready());
    /// assert_eq!(queue.try_get(), Some(1));
    /// assert!(sent.is_ready());
    /// ```
    pub fn sink(&self) -> QueueSink<T, E> {
        QueueSink { queue: self.clone(), waiting: None }
    }
}

/// A [`Stream`] of the values of a [`DeferredQueue`]. [`DeferredQueue::stream`] creates it.
#[must_use = "a stream does nothing unless it is polled"]
pub struct QueueStream<T: 'static, E: DeferredError = Failure> {
    queue: DeferredQueue<T, E>,
    waiting: Option<Wait<T, E>>,
    ended: bool,
}

impl<T: 'static, E: DeferredError> Stream for QueueStream<T, E> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.waiting.is_none() {
            if let Some(value) = self.queue.try_get() {
                return Poll::Ready(Some(value));
            }
        }
        let queue = self.queue.clone();
        let waiting = self.waiting.get_or_insert_with(|| queue.get().into_future());
        let result = ready!(Pin::new(waiting).poll(context));
        self.waiting = None;
        self.ended = result.is_err();
        Poll::Ready(result.ok())
    }
}

impl<T: 'static, E: DeferredError> FusedStream for QueueStream<T, E> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<T: 'static, E: DeferredError> Drop for QueueStream<T, E> {
    fn drop(&mut self) {
        if let Some(Ok(value)) = self.waiting.take().and_then(Wait::into_result) {
            self.queue.put_back(value);
        }
    }
}

impl<T: 'static, E: DeferredError> fmt::Debug for QueueStream<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueStream").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// A [`Sink`] into a [`DeferredQueue`]. [`DeferredQueue::sink`] creates it.
#[must_use = "a sink does nothing unless it is used"]
pub struct QueueSink<T: 'static, E: DeferredError = Failure> {
    queue: DeferredQueue<T, E>,
    waiting: Option<Wait<(), E>>,
}

impl<T: 'static, E: DeferredError> Sink<T> for QueueSink<T, E> {
    type Error = E;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), E>> {
        let Some(waiting) = &mut self.waiting else { return Poll::Ready(Ok(())) };
        let result = ready!(Pin::new(waiting).poll(context));
        self.waiting = None;
        Poll::Ready(result)
    }

    fn start_send(mut self: Pin<&mut Self>, value: T) -> Result<(), E> {
        match self.queue.put_wait(value).try_take() {
            Ok(result) => result,
            Err(waiting) => {
                self.waiting = Some(waiting.into_future());
                Ok(())
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.poll_ready(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), E>> {
        ready!(self.as_mut().poll_flush(context))?;
        self.queue.close();
        Poll::Ready(Ok(()))
    }
}

impl<T: 'static, E: DeferredError> fmt::Debug for QueueSink<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueSink").field("queue", &self.queue).finish_non_exhaustive()
    }
}
