//! Several Deferreds at once, through futures that wrap wakers and futures that do not.

use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use deferred_core::{Deferred, Reactor, Resolver, inline_callbacks};
use futures::future::{FusedFuture, FutureExt, join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{join, select};

use crate::support::{App, Log, quietly, seen, taken, told, told_failure};

fn some(count: u32) -> (Vec<Deferred<u32>>, Vec<Resolver<u32>>) {
    (0..count).map(|_| Deferred::new()).unzip()
}

#[test]
fn a_join_goes_on_when_the_last_one_has_fired() {
    let (left, resolve_left) = Deferred::<u32>::new();
    let (right, resolve_right) = Deferred::<u32>::new();
    let mut deferred = inline_callbacks(async move {
        let (left, right) = join!(left.into_future(), right.into_future());
        Ok(format!("{} {}", told(left.as_ref()), told(right.as_ref())))
    });
    resolve_right.errback(App(2));
    assert_eq!(seen(&mut deferred), "pending");
    resolve_left.callback(1);
    assert_eq!(taken(deferred), "\"1 App(2)\"");
}

#[test]
fn a_select_in_a_loop_takes_each_as_it_fires() {
    let log = Log::new();
    let (left, resolve_left) = Deferred::<u32>::new();
    let (right, resolve_right) = Deferred::<u32>::new();
    let inner = log.clone();
    let deferred = inline_callbacks(async move {
        let (mut left, mut right) = (left.into_future(), right.into_future());
        loop {
            select! {
                value = left => inner.add(format!("left {}", value?)),
                value = right => inner.add(format!("right {}", value?)),
                complete => return Ok(left.is_terminated() && right.is_terminated()),
            }
        }
    });
    resolve_right.callback(2);
    assert_eq!(log.take(), ["right 2"]);
    resolve_left.callback(1);
    assert_eq!(log.take(), ["left 1"]);
    assert_eq!(taken(deferred), "true");
}

#[test]
fn join_all_of_three_and_of_a_hundred_in_any_order() {
    for count in [3_u32, 100] {
        for reverse in [false, true] {
            let (deferreds, resolvers) = some(count);
            let mut deferred = inline_callbacks(async move {
                join_all(deferreds.into_iter().map(IntoFuture::into_future)).await.into_iter().sum::<Result<u32, _>>()
            });
            let mut order: Vec<_> = resolvers.into_iter().zip(0..).collect();
            if reverse {
                order.reverse();
            }
            for (resolver, n) in order {
                assert_eq!(seen(&mut deferred), "pending");
                resolver.callback(n);
            }
            assert_eq!(taken(deferred), (count * (count - 1) / 2).to_string());
        }
    }
}

#[test]
fn futures_unordered_yields_as_they_fire_with_and_without_a_reactor() {
    let reactor = Reactor::new();
    for with_reactor in [false, true] {
        let _entered = with_reactor.then(|| reactor.enter());
        let log = Log::new();
        let (deferreds, mut resolvers) = some(4);
        let inner = log.clone();
        let deferred = inline_callbacks(async move {
            let mut all: FuturesUnordered<_> = deferreds.into_iter().map(IntoFuture::into_future).collect();
            while let Some(value) = all.next().await {
                inner.add(value?.to_string());
            }
            Ok(())
        });
        for n in [2, 0, 1, 0] {
            resolvers.remove(n).callback(n as u32);
            assert_eq!(log.take(), [n.to_string()]);
        }
        assert_eq!(taken(deferred), "()");
    }
}

#[test]
fn dropping_futures_unordered_cancels_what_is_left() {
    let log = Log::new();
    let (first, resolver) = Deferred::<u32>::new();
    let inner = log.clone();
    let (second, _kept) = Deferred::<u32>::with_canceller(move || {
        inner.add("cancelled");
        None
    });
    let deferred = inline_callbacks(async move {
        let mut all: FuturesUnordered<_> = [first, second].into_iter().map(IntoFuture::into_future).collect();
        all.next().await.expect("two")
    });
    resolver.callback(1);
    assert_eq!(log.take(), ["cancelled"]);
    assert_eq!(taken(deferred), "1");
}

#[test]
fn one_shared_by_several_coroutines_of_a_reactor() {
    let reactor = Reactor::new();
    let (deferred, resolver) = Deferred::<u32>::new();
    let shared = deferred.into_future().map(|result| result.map_err(|failure| told_failure(&failure))).shared();
    let waiting: Vec<_> = (0..3)
        .map(|n| {
            let shared = shared.clone();
            reactor.ensure_deferred(async move { Ok(shared.await.unwrap() + n) })
        })
        .collect();
    drop(shared);
    resolver.callback(1);
    let results: Vec<_> = waiting.into_iter().map(taken).collect();
    assert_eq!(results, ["1", "2", "3"]);
}

#[test]
fn one_that_moves_from_one_coroutine_to_another_resumes_the_last_that_polled_it() {
    let _quiet = quietly();
    let (deferred, resolver) = Deferred::<u32>::new();
    let (sender, receiver) = Deferred::<std::cell::RefCell<Option<deferred_core::Wait<u32>>>>::new();
    let first = inline_callbacks(async move {
        let mut wait = deferred.into_future();
        assert!(poll_fn(|context| Poll::Ready(Pin::new(&mut wait).poll(context).is_pending())).await);
        receiver.callback(std::cell::RefCell::new(Some(wait)));
        Ok(())
    });
    let second = inline_callbacks(async move {
        let wait = sender.await?.take().expect("sent");
        wait.await
    });
    assert_eq!(taken(first), "()");
    resolver.callback(1);
    assert_eq!(taken(second), "1");
}

#[test]
fn a_wait_that_nobody_polls_any_more_takes_the_result_along() {
    // The coroutine polls it once, and then waits for something else.
    let (deferred, resolver) = Deferred::<u32>::new();
    let (other, resolve_other) = Deferred::<u32>::new();
    let mut outer = inline_callbacks(async move {
        let mut wait = deferred.into_future();
        assert!(poll_fn(|context| Poll::Ready(Pin::new(&mut wait).poll(context).is_pending())).await);
        let other = other.await?;
        Ok(wait.await? + other)
    });
    resolver.callback(1);
    assert_eq!(seen(&mut outer), "pending");
    resolve_other.callback(2);
    assert_eq!(taken(outer), "3");
}

#[test]
fn any_executor_may_await_a_deferred() {
    let (deferred, resolver) = Deferred::<u32>::new();
    let mut pool = futures::executor::LocalPool::new();
    use futures::task::LocalSpawnExt;
    let handle = pool.spawner().spawn_local_with_handle(deferred.into_future()).unwrap();
    pool.run_until_stalled();
    resolver.callback(1);
    assert_eq!(pool.run_until(handle).unwrap(), 1);
}

#[test]
fn a_wait_wakes_the_waker_that_polled_it_last() {
    let (deferred, resolver) = Deferred::<u32>::new();
    let mut wait = deferred.into_future();
    let (first, second) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
    for counter in [&first, &second] {
        let waker = Waker::from(counter.clone());
        assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    resolver.callback(1);
    assert_eq!((first.count(), second.count()), (0, 1));
    let waker = Waker::from(first);
    assert!(matches!(Pin::new(&mut wait).poll(&mut Context::from_waker(&waker)), Poll::Ready(Ok(1))));
    assert!(wait.is_terminated());
}

#[derive(Default)]
struct Counter(AtomicUsize);

impl Counter {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
