//! Several Deferreds at once, through combinators that wrap wakers and combinators that do not.

use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use deferred_core::{Deferred, Reactor, Resolver, inline_callbacks};
use futures::future::{FusedFuture, FutureExt, join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{join, select};

use crate::support::{App, Log, describe, describe_failure, ignore_unhandled, peek_text, take_text};

fn some(count: u32) -> (Vec<Deferred<u32>>, Vec<Resolver<u32>>) {
    (0..count).map(|_| Deferred::new()).unzip()
}

#[test]
fn a_join_continues_when_the_last_deferred_fires() {
    let (left, resolve_left) = Deferred::<u32>::new();
    let (right, resolve_right) = Deferred::<u32>::new();
    let mut deferred = inline_callbacks(async move {
        let (left, right) = join!(left.into_future(), right.into_future());
        Ok(format!("{} {}", describe(left.as_ref()), describe(right.as_ref())))
    });
    resolve_right.errback(App(2));
    assert_eq!(peek_text(&mut deferred), "pending");
    resolve_left.callback(1);
    assert_eq!(take_text(deferred), "\"1 App(2)\"");
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
    assert_eq!(take_text(deferred), "true");
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
                assert_eq!(peek_text(&mut deferred), "pending");
                resolver.callback(n);
            }
            assert_eq!(take_text(deferred), (count * (count - 1) / 2).to_string());
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
        assert_eq!(take_text(deferred), "()");
    }
}

#[test]
fn dropping_futures_unordered_cancels_the_pending_ones() {
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
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn several_coroutines_may_share_one_deferred() {
    let reactor = Reactor::new();
    let (deferred, resolver) = Deferred::<u32>::new();
    let shared = deferred.into_future().map(|result| result.map_err(|failure| describe_failure(&failure))).shared();
    let waiting: Vec<_> = (0..3)
        .map(|n| {
            let shared = shared.clone();
            reactor.ensure_deferred(async move { Ok(shared.await.unwrap() + n) })
        })
        .collect();
    drop(shared);
    resolver.callback(1);
    let results: Vec<_> = waiting.into_iter().map(take_text).collect();
    assert_eq!(results, ["1", "2", "3"]);
}

#[test]
fn a_wait_that_moves_between_coroutines_resumes_the_last_one_that_polled_it() {
    let _quiet = ignore_unhandled();
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
    assert_eq!(take_text(first), "()");
    resolver.callback(1);
    assert_eq!(take_text(second), "1");
}

#[test]
fn the_result_of_a_wait_that_is_no_longer_polled_stays_in_it() {
    // The coroutine polls it once, and then waits for another future.
    let (deferred, resolver) = Deferred::<u32>::new();
    let (other, resolve_other) = Deferred::<u32>::new();
    let mut outer = inline_callbacks(async move {
        let mut wait = deferred.into_future();
        assert!(poll_fn(|context| Poll::Ready(Pin::new(&mut wait).poll(context).is_pending())).await);
        let other = other.await?;
        Ok(wait.await? + other)
    });
    resolver.callback(1);
    assert_eq!(peek_text(&mut outer), "pending");
    resolve_other.callback(2);
    assert_eq!(take_text(outer), "3");
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
