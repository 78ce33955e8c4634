//! Deferreds of the loop for which other threads and runtimes wait.

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use deferred_core::{Abandoned, Deferred, Failure, Panicked, Reactor, RemoteFuture, TimedOut, WouldDeadlock, park};

use crate::{HOUR, Wakes, turn};

fn sends<X: Send>(_: &X) {}

#[test]
fn another_thread_waits_for_a_value_and_for_an_error() {
    for fails in [false, true] {
        let result = park::run_until(|reactor| {
            let later = reactor
                .defer_later(Duration::from_millis(1), move || if fails { Err(Failure::msg("no")) } else { Ok(20) })
                .into_remote(reactor);
            sends(&later);
            let (deferred, resolver) = reactor.remote();
            thread::spawn(move || resolver.callback(later.wait().map_err(|failure| failure.to_string())));
            deferred
        });
        assert_eq!(result.unwrap(), if fails { Err("no".to_owned()) } else { Ok(20) });
    }
}

#[test]
fn a_ready_result_is_returned_at_once_even_on_the_loops_thread() {
    let reactor = Reactor::new();
    assert_eq!(Deferred::succeed(1).into_remote(&reactor).wait().unwrap(), 1);
    let (deferred, resolver) = Deferred::<u32>::new();
    let remote = deferred.into_remote(&reactor);
    resolver.callback(2);
    assert_eq!(remote.wait_timeout(HOUR).unwrap().unwrap(), 2);
}

#[test]
#[should_panic(expected = "would wait for itself forever")]
fn waiting_on_the_loops_thread_for_a_pending_result_is_refused() {
    let reactor = Reactor::new();
    let (deferred, _resolver) = Deferred::<u32>::new();
    let _ = deferred.into_remote(&reactor).wait();
}

#[test]
fn any_executor_may_poll_the_remote_future() {
    let (to_thread, remotes) = mpsc::channel::<RemoteFuture<u32>>();
    let waiting = thread::spawn(move || futures::executor::block_on(remotes.recv().unwrap()));
    park::run(|reactor| {
        let later = reactor.defer_later(Duration::from_millis(5), || Ok(7));
        to_thread.send(later.into_remote(reactor)).unwrap();
        let stopper = reactor.clone();
        reactor.call_later(Duration::from_millis(20), move || stopper.stop());
    });
    assert_eq!(waiting.join().unwrap().unwrap(), 7);
}

#[test]
fn the_remote_future_wakes_the_last_waker() {
    let reactor = Reactor::new();
    let (deferred, resolver) = Deferred::<u32>::new();
    let mut remote = pin!(deferred.into_remote(&reactor));
    let ((first, first_waker), (last, last_waker)) = (Wakes::new(), Wakes::new());
    for waker in [&first_waker, &last_waker] {
        assert!(remote.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    }
    resolver.callback(1);
    assert_eq!((first.count(), last.count()), (0, 1));
    assert!(matches!(remote.as_mut().poll(&mut Context::from_waker(&first_waker)), Poll::Ready(Ok(1))));
}

#[test]
fn dropping_the_remote_future_cancels_the_deferred_in_a_turn() {
    let reactor = Reactor::new();
    let (deferred, resolver) = Deferred::<u32>::new();
    let remote = deferred.into_remote(&reactor);
    thread::spawn(move || drop(remote)).join().unwrap();
    assert!(!resolver.is_cancelled());
    let _ = turn(&reactor);
    assert!(resolver.is_cancelled());
}

#[test]
fn a_wait_that_times_out_returns_the_future() {
    let reactor = Reactor::new();
    let (deferred, resolver) = Deferred::<u32>::new();
    let remote = deferred.into_remote(&reactor);
    let remote = thread::spawn(move || remote.wait_timeout(Duration::from_millis(1))).join().unwrap().unwrap_err();
    resolver.callback(1);
    assert_eq!(remote.wait().unwrap(), 1);
}

#[test]
fn closing_the_reactor_ends_the_wait() {
    let reactor = Reactor::new();
    let (deferred, resolver) = Deferred::<u32>::new();
    let remote = deferred.into_remote(&reactor);
    let waiting = thread::spawn(move || remote.wait());
    drop(reactor);
    assert!(waiting.join().unwrap().unwrap_err().check::<Abandoned>());
    resolver.callback(1); // the wait has ended

    let closed = Reactor::new();
    closed.close();
    let (deferred, _resolver) = Deferred::<u32>::new();
    assert!(deferred.into_remote(&closed).wait().unwrap_err().check::<Abandoned>());
}

#[test]
fn a_blocking_call_returns_the_result_of_the_call() {
    park::run(|reactor| {
        let handle = reactor.handle();
        thread::spawn(move || {
            let caller = thread::current().id();
            let value = handle.blocking_call_from_thread(move || Ok(thread::current().id() != caller));
            assert!(value.unwrap());
            let later = handle.blocking_call_from_thread(|| {
                let reactor = Reactor::current().expect("of the turn");
                reactor.defer_later(Duration::from_millis(1), || Ok(5))
            });
            assert_eq!(later.unwrap(), 5);
            let failed = handle.blocking_call_from_thread(|| Err::<(), _>(Failure::msg("no")));
            assert_eq!(failed.unwrap_err().to_string(), "no");
            let panicked = handle.blocking_call_from_thread(|| -> Result<(), Failure> { panic!("in the call") });
            assert!(panicked.unwrap_err().check::<Panicked>());
            handle.stop();
        });
    });
}

#[test]
fn a_blocking_call_on_the_loops_thread_is_refused_and_not_made() {
    let reactor = Reactor::new();
    let refused = reactor.handle().blocking_call_from_thread(|| -> Result<(), Failure> { panic!("is made") });
    assert!(refused.unwrap_err().check::<WouldDeadlock>());
}

#[test]
fn a_blocking_call_ends_with_the_loop() {
    let reactor = Reactor::new();
    let handle = reactor.handle();
    let (begins, begun) = mpsc::channel();
    let hangs = thread::spawn(move || {
        handle.blocking_call_from_thread(move || {
            begins.send(()).unwrap();
            let (deferred, resolver) = Deferred::<u32>::new();
            std::mem::forget(resolver);
            deferred
        })
    });
    while begun.try_recv().is_err() {
        let _ = turn(&reactor);
    }
    drop(reactor);
    assert!(hangs.join().unwrap().unwrap_err().check::<Abandoned>());

    let reactor = Reactor::new();
    let handle = reactor.handle();
    reactor.close();
    let refused = thread::spawn(move || handle.blocking_call_from_thread(|| Ok(()))).join().unwrap();
    assert!(refused.unwrap_err().check::<Abandoned>());
}

#[test]
fn a_blocking_call_that_was_posted_and_never_run_is_abandoned_at_the_end() {
    for _ in 0..50 {
        let reactor = Reactor::new();
        let handle = reactor.handle();
        let waiting = thread::spawn(move || handle.blocking_call_from_thread(|| Ok(())));
        thread::yield_now();
        drop(reactor);
        assert!(waiting.join().unwrap().unwrap_err().check::<Abandoned>());
    }
}

#[test]
fn a_blocking_call_that_takes_too_long_is_cancelled_or_never_made() {
    park::run(|reactor| {
        let handle = reactor.handle();
        thread::spawn(move || {
            let (cancelled, events) = mpsc::channel();
            let late = handle.blocking_call_from_thread_timeout(Duration::from_millis(5), move || {
                let (deferred, resolver) = Deferred::<u32>::with_canceller(move || {
                    cancelled.send(()).unwrap();
                    None
                });
                std::mem::forget(resolver);
                deferred
            });
            assert!(late.unwrap_err().check::<TimedOut>());
            events.recv().unwrap();
            handle.stop();
        });
    });
    let reactor = Reactor::new();
    let handle = reactor.handle();
    let late = thread::spawn(move || {
        handle.blocking_call_from_thread_timeout(Duration::ZERO, || -> Result<(), Failure> { panic!("is made") })
    });
    assert!(late.join().unwrap().unwrap_err().check::<TimedOut>());
    let _ = turn(&reactor); // does not panic: the call is not made
}

#[test]
fn the_deferred_of_a_blocking_call_is_cancelled_if_the_wait_ended_during_the_call() {
    let reactor = Reactor::new();
    let mut events = Vec::new();
    while events.is_empty() {
        let handle = reactor.handle();
        let ((ends, ended), (sink, receiver)) = (mpsc::channel(), mpsc::channel());
        let waiting = thread::spawn(move || {
            let result = handle.blocking_call_from_thread_timeout(Duration::from_millis(20), move || {
                sink.send("called").unwrap();
                ended.recv().unwrap();
                let (deferred, resolver) = Deferred::<u32>::with_canceller(move || {
                    sink.send("cancelled").unwrap();
                    None
                });
                std::mem::forget(resolver);
                deferred
            });
            assert!(result.unwrap_err().check::<TimedOut>());
            let _ = ends.send(());
        });
        while !waiting.is_finished() {
            let _ = turn(&reactor);
        }
        waiting.join().unwrap();
        events = receiver.try_iter().collect(); // none if the wait has ended before the call
    }
    assert_eq!(events, ["called", "cancelled"]);
}

#[test]
fn many_threads_wait_for_many_deferreds() {
    for seed in 0..100_u64 {
        let sum = park::run_until(|reactor| {
            let mut random = seed + 1;
            let waiting: Vec<_> = (0..10_u64)
                .map(|n| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let delay = Duration::from_micros(random >> 57);
                    reactor.defer_later(delay, move || Ok(n)).into_remote(reactor)
                })
                .collect();
            let (deferred, resolver) = reactor.remote();
            thread::spawn(move || {
                let threads: Vec<_> = waiting.into_iter().map(|remote| thread::spawn(|| remote.wait())).collect();
                resolver.callback(threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).sum::<u64>());
            });
            deferred
        });
        assert_eq!(sum.unwrap(), 45);
    }
}
