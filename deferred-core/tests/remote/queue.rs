//! Values from other threads in a queue of the loop.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use deferred_core::{Cancelled, Deferred, DeferredQueue, Failure, Overflow, Reactor, Turn, inline_callbacks, park};
use futures::StreamExt;

use crate::turn;

fn drain(queue: &DeferredQueue<u32>) -> Vec<u32> {
    std::iter::from_fn(|| queue.try_get()).collect()
}

#[test]
fn sent_values_arrive_in_a_turn_in_order() {
    let reactor = Reactor::new();
    let (queue, sender) = reactor.remote_queue::<u32>(None);
    thread::spawn(move || (0..1000).for_each(|n| sender.send(n).unwrap())).join().unwrap();
    assert!(queue.is_empty());
    while turn(&reactor) == Turn::Again {}
    assert_eq!(drain(&queue), (0..1000).collect::<Vec<_>>());
    assert!(queue.is_closed(), "the last sender is gone");
}

#[test]
fn a_flood_is_delivered_in_batches_and_timers_run_in_between() {
    let reactor = Reactor::new();
    let (queue, sender) = reactor.remote_queue::<u32>(None);
    (0..1000).for_each(|n| sender.send(n).unwrap());
    let _ = turn(&reactor);
    assert_eq!(queue.len(), 256);
    while turn(&reactor) == Turn::Again {}
    assert_eq!(queue.len(), 1000);
}

#[test]
fn a_waiting_getter_gets_the_value_in_the_turn() {
    let reactor = Reactor::new();
    let (queue, sender) = reactor.remote_queue::<u32>(None);
    let got = queue.get();
    sender.send(1).unwrap();
    assert!(!got.is_ready());
    let _ = turn(&reactor);
    assert_eq!(got.try_take().unwrap().unwrap(), 1);
}

#[test]
fn a_full_queue_refuses_values_until_some_are_taken() {
    let reactor = Reactor::new();
    let (queue, sender) = reactor.remote_queue::<u32>(Some(2));
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    let refused = sender.send(3).unwrap_err();
    assert_eq!((refused.reason(), refused.into_inner()), (Overflow::Full, 3));
    let _ = turn(&reactor);
    assert!(sender.send(3).is_err(), "the queue is full, and no value has been taken");
    assert_eq!(queue.try_get(), Some(1));
    sender.send(3).unwrap();
    assert!(sender.send(4).is_err());
    queue.put(9).unwrap(); // counts against the limit and is not refused
    assert_eq!(queue.try_get(), Some(2));
    assert!(sender.send(4).is_err());
    let _ = turn(&reactor);
    assert_eq!(drain(&queue), [9, 3]);
    sender.send(4).unwrap();
    let got = queue.get();
    let _ = turn(&reactor);
    assert_eq!(got.try_take().unwrap().unwrap(), 4);
    sender.send(5).unwrap();
    sender.send(6).unwrap();
    assert!(sender.send(7).is_err());
}

#[test]
fn send_blocking_waits_for_capacity_and_not_on_the_loops_thread() {
    let most = Arc::new(AtomicUsize::new(0));
    let sum = park::run_until(|reactor| {
        let (queue, sender) = reactor.remote_queue::<u64>(Some(3));
        for thread in 0..4 {
            let sender = sender.clone();
            thread::spawn(move || (0..500).for_each(|n| sender.send_blocking(thread * 500 + n).unwrap()));
        }
        drop(sender);
        let peak = most.clone();
        inline_callbacks(async move {
            let mut sum = 0;
            while let Ok(n) = queue.get().await {
                peak.fetch_max(queue.len(), Ordering::Relaxed);
                sum += n;
            }
            Ok(sum)
        })
    });
    assert_eq!(sum.unwrap(), (0..2000).sum());
    assert!(most.load(Ordering::Relaxed) <= 3);

    let reactor = Reactor::new();
    let (_queue, sender) = reactor.remote_queue::<u32>(Some(1));
    sender.send(1).unwrap();
    assert_eq!(sender.send_blocking(2).unwrap_err().reason(), Overflow::Full);
}

#[test]
fn closing_the_sender_ends_the_queue_after_all_values() {
    let reactor = Reactor::new();
    let (queue, sender) = reactor.remote_queue::<u32>(None);
    let other = sender.clone();
    sender.send(1).unwrap();
    sender.close();
    assert_eq!(other.send(2).unwrap_err().reason(), Overflow::Closed);
    assert!(!queue.is_closed());
    let _ = turn(&reactor);
    assert!(queue.is_closed());
    assert_eq!(drain(&queue), [1]);
    assert!(queue.get().try_take().unwrap().unwrap_err().check::<Cancelled>());
}

#[test]
fn dropping_the_last_sender_ends_an_empty_queue() {
    for sends in [false, true] {
        let reactor = Reactor::new();
        let (queue, sender) = reactor.remote_queue::<u32>(None);
        let got = queue.get();
        if sends {
            sender.send(1).unwrap();
        }
        let _ = turn(&reactor);
        drop(sender);
        let _ = turn(&reactor);
        assert!(queue.is_closed());
        assert_eq!(got.try_take().unwrap().is_ok(), sends);
    }
}

#[test]
fn closing_the_queue_refuses_later_values_and_waiting_senders() {
    let reactor = Reactor::new();
    let (queue, sender) = reactor.remote_queue::<u32>(Some(1));
    sender.send(1).unwrap();
    let _ = turn(&reactor);
    let other = sender.clone();
    let (begins, begun) = mpsc::channel();
    let blocked = thread::spawn(move || {
        begins.send(()).unwrap();
        other.send_blocking(2)
    });
    begun.recv().unwrap();
    thread::sleep(Duration::from_millis(2));
    queue.close();
    assert_eq!(blocked.join().unwrap().unwrap_err().reason(), Overflow::Closed);
    assert_eq!(sender.send(3).unwrap_err().reason(), Overflow::Closed);
    assert_eq!(drain(&queue), [1], "values in the queue can still be taken");
}

#[test]
fn a_dropped_queue_refuses_values_unless_a_getter_waits() {
    let reactor = Reactor::new();
    let (queue, sender) = reactor.remote_queue::<u32>(None);
    let got = queue.get();
    drop(queue);
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    let _ = turn(&reactor);
    assert_eq!(got.try_take().unwrap().unwrap(), 1);
    assert_eq!(sender.send(3).unwrap_err().reason(), Overflow::Closed);
}

#[test]
fn a_waiting_sender_is_refused_when_the_queue_is_dropped() {
    for turns in [0, 1] {
        let reactor = Reactor::new();
        let (queue, sender) = reactor.remote_queue::<u32>(Some(1));
        sender.send(1).unwrap();
        for _ in 0..turns {
            let _ = turn(&reactor); // moves the value into the queue
        }
        let (begins, begun) = mpsc::channel();
        let blocked = thread::spawn(move || {
            begins.send(()).unwrap();
            sender.send_blocking(2)
        });
        begun.recv().unwrap();
        thread::sleep(Duration::from_millis(2));
        let stream = queue.stream();
        drop(queue);
        drop(stream); // the last handle of the queue
        assert_eq!(blocked.join().unwrap().unwrap_err().into_inner(), 2);
    }
}

#[test]
fn closing_the_reactor_closes_the_queue_and_drops_values_in_flight() {
    let reactor = Reactor::new();
    let (queue, sender) = reactor.remote_queue::<u32>(Some(1));
    let waiting = queue.get();
    sender.send(1).unwrap();
    let blocked = sender.clone();
    let (begins, begun) = mpsc::channel();
    let blocked = thread::spawn(move || {
        begins.send(()).unwrap();
        blocked.send_blocking(2)
    });
    begun.recv().unwrap();
    thread::sleep(Duration::from_millis(2));
    drop(reactor);
    assert_eq!(blocked.join().unwrap().unwrap_err().reason(), Overflow::Closed);
    assert_eq!(sender.send(3).unwrap_err().reason(), Overflow::Closed);
    assert!(waiting.try_take().unwrap().unwrap_err().check::<Cancelled>());

    let closed = Reactor::new();
    closed.close();
    let (queue, sender) = closed.remote_queue::<u32>(None);
    assert!(queue.is_closed() && sender.send(1).is_err());
}

#[test]
fn senders_dropped_while_the_loop_ends_do_not_hang() {
    for seed in 0..300_u32 {
        let reactor = Reactor::new();
        let (queue, sender) = reactor.remote_queue::<u32>(Some(4));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let sender = sender.clone();
                thread::spawn(move || (0..20).take_while(|n| sender.send_blocking(*n).is_ok()).count())
            })
            .collect();
        drop(sender);
        for _ in 0..seed % 7 {
            let _ = turn(&reactor);
            drain(&queue);
        }
        drop(reactor);
        threads.into_iter().for_each(|thread| assert!(thread.join().unwrap() <= 20));
        assert!(queue.is_closed());
    }
}

#[test]
fn a_stream_yields_values_from_other_threads() {
    let all = park::run_until(|reactor| {
        let (queue, sender) = reactor.remote_queue::<u32>(None);
        thread::spawn(move || {
            for n in 0..3 {
                thread::sleep(Duration::from_millis(1));
                sender.send(n).unwrap();
            }
        });
        inline_callbacks(async move { Ok::<_, Failure>(queue.stream().collect::<Vec<_>>().await) })
    });
    assert_eq!(all.unwrap(), [0, 1, 2]);
}

#[test]
fn a_value_returned_by_a_stream_counts_again() {
    let reactor = Reactor::new();
    let (queue, sender) = reactor.remote_queue::<u32>(Some(1));
    let mut stream = queue.stream();
    assert!(stream.poll_next_unpin(&mut Context::from_waker(Waker::noop())).is_pending());
    sender.send(1).unwrap();
    let _ = turn(&reactor); // moves the value to the stream
    drop(stream);
    assert_eq!(sender.send(2).unwrap_err().reason(), Overflow::Full);
    assert_eq!(drain(&queue), [1]);
    sender.send(2).unwrap();
}

#[test]
#[should_panic(expected = "a remote queue with a limit of 0 could never take a value")]
fn a_limit_of_zero_is_refused() {
    let _ = Reactor::new().remote_queue::<u32>(Some(0));
}

#[test]
fn values_do_not_go_to_another_entered_reactor() {
    let (first, second) = (Reactor::new(), Reactor::new());
    let (queue, sender) = first.remote_queue::<u32>(None);
    let (others, _sender) = second.remote_queue::<u32>(None);
    let kept = Rc::new(std::cell::Cell::new(None));
    let (keeps, enters) = (kept.clone(), second.clone());
    first.call_when_running(move || keeps.set(Some(enters.enter())));
    sender.send(7).unwrap();
    let (waits, resolver) = Deferred::<u32>::new();
    let remote = waits.into_remote(&first);
    drop(remote);
    for _ in 0..3 {
        let _ = turn(&first);
    }
    assert_eq!((queue.try_get(), others.try_get()), (Some(7), None));
    assert!(resolver.is_cancelled());
    drop(kept.take());
}

/// A dialog: a callback that runs turns of the loop until the user has answered.
#[test]
fn a_callback_that_turns_the_loop_gets_the_next_values() {
    for sent_before in [1, 2, 300] {
        let reactor = Reactor::new();
        let (queue, sender) = reactor.remote_queue::<u32>(None);
        let answers = Rc::new(std::cell::RefCell::new(Vec::new()));
        let (inner, turns, got) = (queue.clone(), reactor.clone(), answers.clone());
        let sends = sender.clone();
        let asks = queue.get().add_callback(move |first| {
            if sent_before == 1 {
                sends.send(1).unwrap();
            }
            let answer = inner.get();
            for _ in 0..10 {
                let _ = turn(&turns);
            }
            got.borrow_mut().extend([first, answer.try_take().expect("it is answered")?]);
            Ok(())
        });
        (0..sent_before).for_each(|n| sender.send(n).unwrap());
        while turn(&reactor) == Turn::Again {}
        asks.try_take().unwrap().unwrap();
        assert_eq!(*answers.borrow(), [0, 1]);
        assert_eq!(drain(&queue), (2..sent_before).collect::<Vec<_>>());
        drop(sender);
        while turn(&reactor) == Turn::Again {}
        assert!(queue.is_closed());
    }
}

#[test]
fn values_whose_destructor_panics_leave_no_getter_waiting() {
    struct PanicOnDrop;
    impl Drop for PanicOnDrop {
        fn drop(&mut self) {
            panic!("a destructor of a value in flight");
        }
    }
    for closes in
        [|queue: &DeferredQueue<PanicOnDrop>, _| queue.close(), |_: &DeferredQueue<PanicOnDrop>, reactor| drop(reactor)]
    {
        let reactor = Reactor::new();
        let (queue, sender) = reactor.remote_queue::<PanicOnDrop>(None);
        let getters = [queue.get(), queue.get()];
        sender.send(PanicOnDrop).unwrap_or_else(|_| panic!("it is open"));
        let _ = catch_unwind(AssertUnwindSafe(|| closes(&queue, reactor)));
        for getter in getters {
            assert!(getter.try_take().unwrap().err().unwrap().check::<Cancelled>());
        }
        assert!(sender.send(PanicOnDrop).is_err_and(|refused| {
            std::mem::forget(refused.into_inner());
            true
        }));
    }
}

#[test]
fn values_in_an_unreachable_queue_are_dropped_though_a_sender_is_left() {
    let reactor = Reactor::new();
    let (queue, sender) = reactor.remote_queue(None);
    let value = Arc::new(());
    sender.send(value.clone()).unwrap();
    let _ = turn(&reactor);
    sender.send(value.clone()).unwrap();
    assert_eq!((queue.len(), Arc::strong_count(&value)), (1, 3));
    drop(queue);
    assert_eq!(Arc::strong_count(&value), 1);
    assert!(sender.send(value).is_err());
}

#[test]
fn a_waiting_sender_is_refused_when_another_one_closes_the_queue() {
    let reactor = Reactor::new();
    let (queue, sender) = reactor.remote_queue::<u32>(Some(1));
    sender.send(1).unwrap();
    let (waits, ended) = (sender.clone(), mpsc::channel());
    let (begins, begun) = mpsc::channel();
    thread::spawn(move || {
        begins.send(()).unwrap();
        ended.0.send(waits.send_blocking(2).unwrap_err().reason())
    });
    begun.recv().unwrap();
    thread::sleep(Duration::from_millis(20)); // usually it waits by then; otherwise it is refused as well
    sender.close();
    assert_eq!(ended.1.recv_timeout(Duration::from_secs(20)), Ok(Overflow::Closed));
    while turn(&reactor) == Turn::Again {}
    assert_eq!((drain(&queue), queue.is_closed()), (vec![1], true));
}
