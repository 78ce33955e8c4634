//! The queue as a `Stream` and a `Sink`.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use deferred_core::{DeferredQueue, inline_callbacks};
use futures::stream::FusedStream;
use futures::{SinkExt, Stream, StreamExt};

use crate::support::{Log, peek_text, take_text};

#[test]
fn a_stream_yields_queued_and_later_values_until_the_end() {
    let log = Log::new();
    let queue = DeferredQueue::<u32>::new();
    queue.put(1).unwrap();
    let (mut stream, inner) = (queue.stream(), log.clone());
    assert!(!stream.is_terminated());
    let done = inline_callbacks(async move {
        while let Some(value) = stream.next().await {
            inner.add(value.to_string());
        }
        Ok(stream.is_terminated())
    });
    assert_eq!(log.take(), ["1"]);
    queue.put(2).unwrap();
    assert_eq!(log.take(), ["2"]);
    queue.close();
    assert_eq!(take_text(done), "true");
}

#[test]
fn a_stream_that_is_dropped_loses_no_value() {
    let queue = DeferredQueue::<u32>::new();
    let mut stream = queue.stream();
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(Pin::new(&mut stream).poll_next(&mut context), Poll::Pending);
    queue.put(1).unwrap(); // moves the value to the stream
    queue.put(2).unwrap();
    drop(stream);
    assert_eq!((queue.try_get(), queue.try_get()), (Some(1), Some(2)));

    let mut stream = queue.stream();
    assert_eq!(Pin::new(&mut stream).poll_next(&mut context), Poll::Pending);
    drop(stream);
    assert_eq!(queue.waiting(), 0);
}

#[test]
fn a_sink_waits_while_the_queue_is_full_and_closes_it() {
    let queue = DeferredQueue::<u32>::with_limits(Some(2), None);
    let mut sink = queue.sink();
    let mut done = inline_callbacks(async move {
        for value in 0..5 {
            sink.send(value).await?;
        }
        sink.close().await?;
        Ok(())
    });
    assert_eq!((peek_text(&mut done), queue.is_closed()), ("pending".into(), false));
    let mut got = Vec::new();
    while let Some(value) = queue.try_get() {
        got.push(value);
    }
    assert_eq!(got, [0, 1, 2, 3, 4]);
    assert_eq!(peek_text(&mut done), "()");
    assert!(queue.is_closed());
}

#[test]
fn forwarding_one_queue_into_another() {
    let (from, to) = (DeferredQueue::<u32>::new(), DeferredQueue::<u32>::with_limits(Some(1), None));
    let (stream, sink) = (from.stream(), to.sink());
    let done = inline_callbacks(async move { stream.map(Ok).forward(sink).await });
    for value in 0..3 {
        from.put(value).unwrap();
    }
    from.close();
    assert_eq!((to.try_get(), to.try_get(), to.try_get(), to.try_get()), (Some(0), Some(1), Some(2), None));
    assert_eq!(take_text(done), "()");
}
