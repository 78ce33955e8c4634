//! `ReactorHandle::call`: calls on the loop whose result any thread or task can await.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use deferred_core::{
    Abandoned, Cancelled, Deferred, DeferredQueue, Failure, Panicked, Reactor, ReactorHandle, RemoteFuture, park,
};
use futures::executor::block_on;

use crate::{HOUR, Wakes, turn};

const MS: Duration = Duration::from_millis(1);

/// Runs a loop and calls `test` in another thread.
fn beside_a_loop<R: Send + 'static>(test: impl FnOnce(ReactorHandle) -> R + Send + 'static) -> R {
    let thread = park::run(|reactor| {
        let handle = reactor.handle();
        Ok::<_, Failure>(thread::spawn(move || {
            let stopper = handle.clone();
            let result = test(handle);
            stopper.stop();
            result
        }))
    });
    thread.unwrap().join().unwrap()
}

fn current() -> Reactor {
    Reactor::current().unwrap()
}

#[test]
fn the_result_of_the_call_or_of_its_deferred_arrives() {
    beside_a_loop(|handle| {
        // At once.
        assert_eq!(block_on(handle.call(|| Ok(1))).unwrap(), 1);
        assert_eq!(block_on(handle.call(|| Deferred::succeed(2))).unwrap(), 2);
        let failed = block_on(handle.call(|| Err::<(), _>(Failure::msg("no"))));
        assert_eq!(failed.unwrap_err().to_string(), "no");
        let panicked = block_on(handle.call(|| -> Deferred<()> { panic!("ouch") }));
        assert_eq!(panicked.unwrap_err().trap::<Panicked>().unwrap().message(), "ouch");
        let cancelled = block_on(handle.call(|| Deferred::<()>::fail(Cancelled::new())));
        assert!(cancelled.unwrap_err().check::<Cancelled>());
        // Later.
        assert_eq!(block_on(handle.call(|| current().defer_later(MS, || Ok(3)))).unwrap(), 3);
        let failed = block_on(handle.call(|| current().defer_later(MS, || Err::<(), _>(Failure::msg("late")))));
        assert_eq!(failed.unwrap_err().to_string(), "late");
        let panicked = handle.call(|| current().defer_later(MS, || -> Result<(), Failure> { panic!("later") })).wait();
        assert_eq!(panicked.unwrap_err().trap::<Panicked>().unwrap().message(), "later");
        let cancelled = handle.call(|| {
            let mut deferred = current().sleep(HOUR);
            let cancel = deferred.cancel_handle();
            current().call_later(MS, move || cancel.cancel());
            deferred
        });
        assert!(cancelled.wait().unwrap_err().check::<Cancelled>());
    });
}

#[test]
fn calls_that_were_made_before_the_loop_runs_wait_for_it() {
    let owner = Reactor::new();
    let early = owner.handle().call(|| Ok(1));
    let stopper = owner.clone();
    owner.call_later(MS, move || stopper.stop());
    park::drive(&owner).unwrap();
    assert_eq!(early.wait().unwrap(), 1);
}

#[test]
fn calls_of_one_thread_run_in_order_also_beside_posts() {
    let owner = Reactor::new();
    let handle = owner.handle();
    let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let adds = |number| {
        let order = order.clone();
        move || order.lock().push(number)
    };
    let (first, second, third) = (adds(1), adds(2), adds(3));
    let calls = [handle.call(first), {
        handle.call_from_thread(second).unwrap();
        handle.call(third)
    }];
    assert!(order.lock().is_empty(), "it never runs inside the call");
    let _ = turn(&owner);
    assert_eq!(*order.lock(), [1, 2, 3]);
    calls.into_iter().for_each(|call| call.wait().unwrap());
}

#[test]
fn dropping_the_future_cancels_its_deferred_or_keeps_the_call_from_running() {
    let owner = Reactor::new();
    let handle = owner.handle();
    let (ran, cancelled) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let sets = ran.clone();
    drop(handle.call(move || sets.store(true, Ordering::SeqCst)));
    let sets = cancelled.clone();
    let begun = handle.call(move || {
        let (deferred, resolver) = Deferred::<()>::with_canceller(move || {
            sets.store(true, Ordering::SeqCst);
            None
        });
        std::mem::forget(resolver);
        deferred
    });
    let _ = turn(&owner);
    assert!(!ran.load(Ordering::SeqCst));
    assert!(!cancelled.load(Ordering::SeqCst));
    drop(begun);
    assert!(!cancelled.load(Ordering::SeqCst), "the canceller runs on the loop, in a turn");
    let _ = turn(&owner);
    assert!(cancelled.load(Ordering::SeqCst));
}

#[test]
fn a_closed_reactor_abandons_calls_that_came_before_and_after() {
    let owner = Reactor::new();
    let handle = owner.handle();
    let (unbegun, pending) = (handle.call(|| Ok(1)), handle.call(|| Deferred::<()>::new().0));
    owner.close();
    let after = handle.call(|| Ok(2));
    for result in [unbegun.wait().map(drop), pending.wait(), after.wait().map(drop)] {
        assert!(result.unwrap_err().check::<Abandoned>());
    }
}

#[test]
fn a_pending_deferred_is_abandoned_by_the_end_of_the_loop() {
    let result = beside_a_loop(|handle| {
        let queue = handle.call(|| {
            let queue = DeferredQueue::<u32>::new();
            let get = queue.get();
            std::mem::forget(queue);
            get
        });
        handle.stop();
        queue.wait()
    });
    assert!(result.unwrap_err().check::<Abandoned>());
}

#[test]
fn the_loops_own_thread_can_make_calls_and_await_them() {
    let result = park::run_until(|reactor| {
        let handle = reactor.handle();
        deferred_core::inline_callbacks(async move {
            let first = handle.call(|| Ok(20)).await?;
            Ok(first + handle.call(|| current().defer_later(MS, || Ok(1))).await?)
        })
    });
    assert_eq!(result.unwrap(), 21);
}

#[test]
fn many_threads_each_get_their_own_results() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    beside_a_loop(move |handle| {
        let threads: Vec<_> = (0..8)
            .map(|number: u32| {
                let (handle, count) = (handle.clone(), counted.clone());
                thread::spawn(move || {
                    for round in 0..200 {
                        let call =
                            handle.call(move || current().defer_later(Duration::ZERO, move || Ok((number, round))));
                        assert_eq!(block_on(call).unwrap(), (number, round));
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert_eq!(count.load(Ordering::SeqCst), 1600);
}

#[test]
fn the_future_wakes_the_task_that_polled_it_last() {
    let owner = Reactor::new();
    let mut call: RemoteFuture<u32> = owner.handle().call(|| Ok(1));
    let (wakes, waker) = Wakes::new();
    assert!(Pin::new(&mut call).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(Pin::new(&mut call).poll(&mut Context::from_waker(&waker)).is_pending());
    let _ = turn(&owner);
    assert_eq!(wakes.count(), 1);
    assert_eq!(call.wait().unwrap(), 1);
}
