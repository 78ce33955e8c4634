//! Coroutines that await foreign futures, which are not Deferreds.

use std::cell::{Cell, RefCell};
use std::future::IntoFuture;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use deferred_core::{Clock, Deferred, LoopingCall, Reactor, Turn, park};
use futures::channel::oneshot;

use crate::support::{Log, ignore_unhandled, peek_text, take_text};

#[test]
fn a_wake_on_the_owners_thread_is_run_at_the_end_of_the_outermost_engine_call() {
    let log = Log::new();
    let reactor = Reactor::new();
    let (sender, receiver) = oneshot::channel::<u32>();
    let inner = log.clone();
    let mut deferred = reactor.ensure_deferred(async move {
        inner.add(format!("received {}", receiver.await?));
        Ok(())
    });
    let (inside, outside) = (log.clone(), log.clone());
    let (trigger, resolver) = Deferred::<()>::new();
    let (nested, nested_resolver) = Deferred::<()>::new();
    let nested = nested.add_callback(move |()| {
        let _ = sender.send(1);
        inside.add("sent");
    });
    let trigger = trigger.add_callback(move |()| {
        nested_resolver.callback(()); // an engine call inside this one
        outside.add("outer ends");
    });
    resolver.callback(());
    assert_eq!(log.take(), ["sent", "outer ends", "received 1"]);
    assert_eq!(peek_text(&mut deferred), "()");
    drop((trigger, nested));
}

#[test]
fn a_wake_outside_of_engine_calls_polls_in_the_next_turn() {
    let reactor = Reactor::new();
    let (sender, receiver) = oneshot::channel::<u32>();
    let mut deferred = reactor.ensure_deferred(async move { Ok(receiver.await?) });
    assert_eq!(reactor.turn(Waker::noop()), Turn::Sleep(None));
    sender.send(1).unwrap();
    assert_eq!(peek_text(&mut deferred), "pending");
    assert_eq!(reactor.turn(Waker::noop()), Turn::Sleep(None));
    assert_eq!(peek_text(&mut deferred), "1");
}

#[test]
fn a_future_that_wakes_itself_forever_does_not_block_the_loop() {
    let _quiet = ignore_unhandled();
    let ticks = Rc::new(Cell::new(0));
    let count = ticks.clone();
    park::run_until(|reactor| {
        let busy = reactor.ensure_deferred(std::future::poll_fn(|context| -> Poll<Result<(), _>> {
            context.waker().wake_by_ref();
            Poll::Pending
        }));
        drop(busy);
        let ticking = LoopingCall::new(reactor, move || count.set(count.get() + 1));
        drop(ticking.start(Duration::from_millis(1)));
        reactor.ensure_deferred(async move {
            let (done, resolver) = Deferred::<()>::new();
            let reactor = Reactor::current().expect("its own");
            reactor.call_later(Duration::from_millis(20), move || resolver.callback(()));
            done.await
        })
    })
    .unwrap();
    assert!(ticks.get() > 1);
}

#[test]
fn channels_and_locks_of_this_thread() {
    let log = Log::new();
    let inner = log.clone();
    park::run_until(|reactor| {
        let (sender, receiver) = async_channel::bounded::<u32>(1);
        let lock = Rc::new(async_lock::Mutex::new(0));
        let event = Rc::new(event_listener::Event::new());
        let (producer_lock, producer_event) = (lock.clone(), event.clone());
        drop(reactor.ensure_deferred(async move {
            for n in 0..100 {
                sender.send(n).await?;
                *producer_lock.lock().await += n;
            }
            producer_event.notify(1);
            Ok(())
        }));
        reactor.ensure_deferred(async move {
            let finished = event.listen();
            let mut sum = 0;
            while let Ok(n) = receiver.recv().await {
                let guard = lock.lock().await;
                sum += n;
                drop(guard);
            }
            finished.await;
            inner.add(format!("{sum} {}", lock.lock().await));
            Ok(())
        })
    })
    .unwrap();
    assert_eq!(log.take(), ["4950 4950"]);
}

#[test]
fn channels_from_other_threads() {
    let sum = park::run_until(|reactor| {
        let (sender, receiver) = async_channel::bounded::<u64>(3);
        for worker in 0..4 {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for n in 0..1_000 {
                    sender.send_blocking(worker * 1_000 + n).unwrap();
                }
            });
        }
        drop(sender);
        reactor.ensure_deferred(async move {
            let mut sum = 0;
            while let Ok(n) = receiver.recv().await {
                sum += n;
            }
            Ok(sum)
        })
    });
    assert_eq!(sum.unwrap(), (0..4_000).sum());
}

#[test]
fn many_coroutines_and_threads_that_wake_them_in_any_order() {
    for seed in 0..50_u64 {
        let total = park::run_until(|reactor| {
            let mut senders = Vec::new();
            let all: Vec<_> = (0..40_u64)
                .map(|n| {
                    let (sender, receiver) = oneshot::channel::<u64>();
                    senders.push((sender, n));
                    reactor.ensure_deferred(async move { Ok(receiver.await?) })
                })
                .collect();
            let half = senders.split_off(20);
            for (part, senders) in [senders, half].into_iter().enumerate() {
                std::thread::spawn(move || {
                    let mut random = seed * 2 + part as u64 + 1;
                    for (sender, n) in senders {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        for _ in 0..(random >> 56) {
                            std::hint::spin_loop();
                        }
                        sender.send(n).unwrap();
                    }
                });
            }
            reactor.ensure_deferred(async move {
                let mut total = 0;
                for deferred in all {
                    total += deferred.await?;
                }
                Ok(total)
            })
        });
        assert_eq!(total.unwrap(), (0..40).sum());
    }
}

#[test]
fn closing_the_reactor_abandons_coroutines_in_a_foreign_wait() {
    let log = Log::new();
    let _quiet = ignore_unhandled();
    let reactor = Reactor::new();
    let (clone, probe) = (reactor.clone(), log.probe("dropped"));
    let deferred = reactor.ensure_deferred(async move {
        let _kept = (clone, probe);
        std::future::pending::<()>().await;
        Ok(())
    });
    let (timer_clone, timer_probe) = (reactor.clone(), log.probe("timer dropped"));
    reactor.call_later(Duration::from_secs(60), move || drop((timer_clone, timer_probe)));
    let mut deferred = log.watch("outer", deferred);
    drop(reactor);
    assert_eq!(log.take(), ["timer dropped", "dropped", "outer Abandoned"]);
    assert_eq!(peek_text(&mut deferred), "Abandoned");
}

#[test]
fn closing_the_reactor_inside_a_coroutine_abandons_it_at_its_next_foreign_wait() {
    let _quiet = ignore_unhandled();
    let reactor = Reactor::new();
    let clone = reactor.clone();
    let (first, resolver) = Deferred::<()>::new();
    let deferred = reactor.ensure_deferred(async move {
        first.await?;
        clone.close();
        std::future::pending::<()>().await;
        Ok(())
    });
    resolver.callback(());
    assert_eq!(take_text(deferred), "Abandoned");
}

#[test]
fn a_coroutine_of_a_closed_reactor_ends_at_its_first_foreign_wait() {
    let reactor = Reactor::new();
    reactor.close();
    assert_eq!(take_text(reactor.ensure_deferred(async { Ok(1) })), "1");
    let deferred = reactor.ensure_deferred(async move {
        std::future::pending::<()>().await;
        Ok(())
    });
    assert_eq!(take_text(deferred), "Abandoned");
}

#[test]
fn a_select_of_a_deferred_and_a_channel_continues_with_either() {
    for channel_first in [false, true] {
        let reactor = Reactor::new();
        let (deferred, resolver) = Deferred::<u32>::new();
        let (sender, receiver) = oneshot::channel::<u32>();
        let outer = reactor.ensure_deferred(async move {
            let mut wait = IntoFuture::into_future(deferred);
            let mut receiver = receiver;
            futures::select! {
                value = wait => value,
                value = receiver => Ok(value?),
            }
        });
        if channel_first {
            sender.send(2).unwrap();
            let _ = reactor.turn(Waker::noop());
            assert!(resolver.is_cancelled());
            assert_eq!(take_text(outer), "2");
        } else {
            resolver.callback(1);
            assert_eq!(take_text(outer), "1");
        }
    }
}

#[test]
fn a_wake_that_queues_owns_the_coroutine() {
    // The coroutine is woken, and then every other reference to it is dropped.
    let log = Log::new();
    let reactor = Reactor::new();
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let keep = waker.clone();
    let mut first = true;
    let inner = log.clone();
    let deferred = reactor.ensure_deferred(async move {
        std::future::poll_fn(move |context| {
            keep.replace(Some(context.waker().clone()));
            if std::mem::replace(&mut first, false) { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        inner.add("went on");
        Ok(())
    });
    drop(deferred);
    let waker = waker.take().expect("kept");
    waker.wake_by_ref();
    drop(waker);
    let _ = reactor.turn(Waker::noop());
    assert_eq!(log.take(), ["went on"]);
}

#[test]
fn a_clock_polls_woken_coroutines_as_a_turn_does() {
    let clock = Clock::new();
    let (sender, receiver) = oneshot::channel::<u32>();
    let mut deferred = clock.ensure_deferred(async move { Ok(receiver.await?) });
    sender.send(1).unwrap();
    assert_eq!(peek_text(&mut deferred), "pending");
    clock.advance(Duration::ZERO);
    assert_eq!(peek_text(&mut deferred), "1");

    let (sender, receiver) = oneshot::channel::<u32>();
    let mut deferred = clock.ensure_deferred(async move { Ok(receiver.await?) });
    std::thread::spawn(move || sender.send(2).unwrap()).join().unwrap();
    clock.advance(Duration::ZERO);
    assert_eq!(peek_text(&mut deferred), "2");
}
