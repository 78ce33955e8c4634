//! `DeferredQueue`.

use deferred_core::{Cancelled, Deferred, DeferredQueue, Overflow, QueueClosed, QueueUnderflow, inline_callbacks};

use crate::support::{Log, ignore_unhandled, peek_text, take_text, unhandled_into};

fn reason(deferred: Deferred<u32>) -> String {
    let cancelled = deferred.try_take().unwrap().unwrap_err().downcast::<Cancelled>().unwrap();
    cancelled.reason().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn values_and_getters_are_matched_in_fifo_order() {
    let queue = DeferredQueue::new();
    let (first, second) = (queue.get(), queue.get());
    assert_eq!(queue.waiting(), 2);
    for value in 1..=4 {
        queue.put(value).unwrap();
    }
    assert_eq!((queue.len(), queue.is_empty()), (2, false));
    let all: Vec<_> = [first, second, queue.get(), queue.get()].map(take_text).into();
    assert_eq!(all, ["1", "2", "3", "4"]);
    assert!(queue.is_empty() && queue.try_get().is_none());
}

#[test]
fn put_runs_the_callbacks_of_the_getter_inside() {
    let log = Log::new();
    let queue = DeferredQueue::<u32>::new();
    let _got = log.watch("got", queue.get());
    queue.put(1).unwrap();
    assert_eq!(log.take(), ["got 1"]);
}

#[test]
fn a_full_queue_returns_the_value_in_the_error() {
    let queue = DeferredQueue::with_limits(Some(1), Some(1));
    queue.put(1).unwrap();
    let refused = queue.put(2).unwrap_err();
    assert_eq!(refused.reason(), Overflow::Full);
    assert_eq!(refused.to_string(), "the queue is full");
    assert_eq!(refused.into_inner(), 2);
    assert_eq!(take_text(queue.get()), "1");
    let waits = queue.get();
    assert_eq!(queue.get_unless_full().unwrap_err(), QueueUnderflow);
    assert_eq!(reason(queue.get()), "the backlog of the queue is full: too many getters wait");
    queue.put(3).unwrap();
    assert_eq!(take_text(waits), "3");

    let none = DeferredQueue::with_limits(Some(0), Some(0));
    assert_eq!(none.put(1).unwrap_err().reason(), Overflow::Full);
    assert!(none.get_unless_full().is_err());
}

#[test]
fn a_cancelled_getter_leaves_and_no_value_is_lost() {
    let queue = DeferredQueue::new();
    let (first, second) = (queue.get(), queue.get());
    first.cancel();
    assert_eq!((take_text(first).as_str(), queue.waiting()), ("Cancelled", 1));
    queue.put(1).unwrap();
    assert_eq!(take_text(second), "1");
}

#[test]
fn waiting_puts_enter_in_order_as_capacity_becomes_free() {
    let log = Log::new();
    let queue = DeferredQueue::with_limits(Some(1), None);
    assert!(queue.put_wait(1).is_ready());
    let _second = log.watch("second", queue.put_wait(2));
    let third = queue.put_wait(3);
    let _fourth = log.watch("fourth", queue.put_wait(4));
    assert!(queue.put(5).is_err(), "waiting puts come first");
    third.cancel();
    assert_eq!(take_text(third), "Cancelled");
    assert_eq!(take_text(queue.get()), "1");
    assert_eq!(log.take(), ["second ()"]);
    assert_eq!(queue.try_get(), Some(2));
    assert_eq!(log.take(), ["fourth ()"]);
    assert_eq!(take_text(queue.get()), "4");
}

#[test]
fn a_queue_of_capacity_zero_hands_over_directly() {
    let queue = DeferredQueue::with_limits(Some(0), None);
    let mut put = queue.put_wait(1);
    assert_eq!(peek_text(&mut put), "pending");
    assert_eq!(take_text(queue.get()), "1");
    assert_eq!(peek_text(&mut put), "()");
    let got = queue.get();
    assert!(queue.put(2).is_ok());
    assert_eq!(take_text(got), "2");
}

#[test]
fn closing_fails_waiting_getters_and_keeps_queued_values() {
    let queue = DeferredQueue::with_limits(Some(1), None);
    queue.put(1).unwrap();
    let waits = queue.put_wait(2);
    queue.close();
    queue.close();
    assert!(queue.is_closed());
    assert_eq!(queue.put(3).unwrap_err().reason(), Overflow::Closed);
    assert_eq!(take_text(queue.put_wait(3)), "Cancelled(the queue is closed)");
    assert_eq!((take_text(queue.get()), take_text(queue.get())), ("1".into(), "2".into()));
    assert_eq!(take_text(waits), "()");
    assert_eq!(reason(queue.get()), QueueClosed.to_string());

    let queue = DeferredQueue::new();
    let (first, second) = (queue.get(), queue.get());
    queue.close();
    assert_eq!((reason(first), reason(second)), (QueueClosed.to_string(), QueueClosed.to_string()));
}

#[test]
fn a_queue_that_is_dropped_abandons_its_getters() {
    let queue = DeferredQueue::<u32>::new();
    let waits = queue.get();
    drop(queue);
    assert_eq!(take_text(waits), "Abandoned");
}

#[test]
fn a_getter_that_puts_and_gets_inside_its_callback() {
    let log = Log::new();
    let _quiet = ignore_unhandled();
    let queue = DeferredQueue::<u32>::new();
    let inner = queue.clone();
    let _first = log.watch(
        "first",
        queue.get().add_callback(move |value| {
            inner.put(value + 1).unwrap();
            inner.get()
        }),
    );
    let _second = log.watch("second", queue.get());
    queue.put(1).unwrap();
    assert_eq!(log.take(), ["second 2"]);
    queue.put(5).unwrap();
    assert_eq!(log.take(), ["first 5"]);
}

#[test]
fn a_consumer_that_loops_until_the_end() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let queue = DeferredQueue::<u32>::new();
    let (jobs, inner) = (queue.clone(), log.clone());
    let consumer = inline_callbacks(async move {
        while let Ok(job) = jobs.get().await {
            inner.add(job.to_string());
        }
        inner.add("end");
        Ok(())
    });
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    assert_eq!(log.take(), ["1", "2"]);
    queue.close();
    assert_eq!(log.take(), ["end"]);
    assert_eq!(take_text(consumer), "()");
}
