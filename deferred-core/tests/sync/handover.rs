//! A permit, a guard or a value that a drop hands over, and a waiter that is used before the
//! handover takes effect.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Waker};

use deferred_core::{
    Deferred, DeferredLock, DeferredQueue, Gate, Permit, Resolver, gather, inline_callbacks, race, scope,
};
use futures::StreamExt as _;

use crate::support::{Log, ignore_unhandled, take_text};

type Uses = fn(Deferred<Permit>) -> Deferred<()>;

/// Uses of a `Deferred<Permit>` in the callback that handed the permit to it. Each returns a
/// Deferred whose result shows whether it received the permit.
const USES: [(&str, Uses); 12] = [
    ("add_callback", |next| next.add_callback(drop)),
    ("map", |next| next.map(drop)),
    ("add_finally", |next| next.add_finally(|| ()).map(drop)),
    ("chain_deferred", |next| {
        let (chained, resolver) = Deferred::new();
        next.chain_deferred(resolver);
        chained.map(drop)
    }),
    ("gather", |next| gather([next]).map_err(Into::into).map(drop)),
    ("race", |next| race([next]).map_err(Into::into).map(drop)),
    ("pause", |mut next| {
        next.pause().unpause();
        next.map(drop)
    }),
    ("held back", |mut next| {
        let pause = next.pause();
        let next = next.map(drop);
        drop(pause);
        next
    }),
    ("a coroutine", |next| inline_callbacks(async move { next.await.map(drop) })),
    ("shield", |next| next.shield().map(drop)),
    ("scope", |next| scope(move |scope| scope.add(next))),
    ("returned", |next| Deferred::succeed(()).add_callback(|()| next).map(drop)),
];

#[test]
fn a_waiter_may_be_used_in_the_callback_that_drops_the_permit() {
    for (name, used) in USES {
        for inside in ["a ready callback", "a pending callback", "a coroutine"] {
            let lock = DeferredLock::new();
            let permit = lock.try_acquire().unwrap();
            let next = lock.acquire();
            let uses = move || {
                drop(permit);
                used(next)
            };
            let done = match inside {
                "a ready callback" => Deferred::succeed(()).add_callback(|()| uses()),
                "a pending callback" => {
                    let (deferred, resolver) = Deferred::new();
                    let deferred = deferred.add_callback(|()| uses());
                    resolver.callback(());
                    deferred
                }
                _ => inline_callbacks(async move { uses().await }),
            };
            assert_eq!(take_text(done), "()", "{name} in {inside}");
            assert!(!lock.is_locked(), "{name} in {inside}: the permit is lost");
            assert_eq!(lock.waiting(), 0);
            drop(lock.try_acquire().expect("it is free"));
        }
    }
}

#[test]
fn a_waiter_may_be_dropped_cancelled_or_inspected_in_that_callback() {
    type Use = fn(Permit, Deferred<Permit>);
    let uses: [(&str, Use); 8] = [
        ("dropped", |permit, next| drop((permit, next))),
        ("dropped first", |permit, next| drop((next, permit))),
        ("cancelled", |permit, next| {
            drop(permit);
            next.cancel();
        }),
        ("cancelled first", |permit, next| {
            next.cancel();
            drop(permit);
        }),
        ("cancelled by a handle", |permit, mut next| {
            let handle = next.cancel_handle();
            drop((permit, next));
            handle.cancel();
        }),
        ("looked at", |permit, mut next| {
            drop(permit);
            assert!(next.peek().is_none() && !next.is_ready(), "the handover has not happened yet");
            assert!(next.try_take().is_err());
        }),
        ("polled before", |permit, next| {
            let mut wait = next.into_future();
            assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(Waker::noop())).is_pending());
            drop((permit, wait));
        }),
        ("polled after", |permit, next| {
            let mut wait = next.into_future();
            drop(permit);
            assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(Waker::noop())).is_pending());
            drop(wait);
        }),
    ];
    for (name, used) in uses {
        let _quiet = ignore_unhandled();
        let lock = DeferredLock::new();
        let (permit, next) = (lock.try_acquire().unwrap(), lock.acquire());
        let done = Deferred::succeed(()).map(move |()| used(permit, next));
        assert_eq!(take_text(done), "()", "{name}");
        assert!(!lock.is_locked(), "{name}: the permit is lost");
    }
}

#[test]
fn operations_on_a_waiter_take_effect_in_order() {
    let log = Log::new();
    let lock = DeferredLock::new();
    let (permit, next) = (lock.try_acquire().unwrap(), lock.acquire());
    let inner = log.clone();
    let done = Deferred::succeed(()).map(move |()| {
        let probe = inner.probe("abandoned before");
        let (before, resolver) = Deferred::<()>::new();
        drop(before.add_errback(move |_| {
            drop(probe);
            Ok(())
        }));
        drop(resolver);
        drop(permit);
        let events = inner.clone();
        drop(next.map(move |permit| {
            events.add("the waiter");
            drop(permit);
        }));
        inner.add("callback ends");
    });
    drop(done);
    assert_eq!(log.take(), ["callback ends", "abandoned before", "the waiter"]);
    assert!(!lock.is_locked());
}

#[test]
fn a_gate_that_a_drop_drains_and_a_close_that_is_used_in_the_same_callback() {
    let gate = Gate::new();
    let pass = gate.enter().unwrap();
    let closed = gate.close();
    let done = Deferred::succeed(()).add_callback(move |()| {
        drop(pass);
        gather([closed.map(drop)]).map_err(Into::into)
    });
    assert_eq!(take_text(done), "[()]");
}

/// Returns a stream of the queue that has received a value and not yielded it.
fn stream_with_a_value(queue: &DeferredQueue<u32>) -> impl Sized + 'static {
    let mut stream = queue.stream();
    assert!(stream.poll_next_unpin(&mut Context::from_waker(Waker::noop())).is_pending());
    queue.put(1).unwrap();
    stream
}

#[test]
fn a_stream_dropped_with_a_value_passes_it_to_the_next_getter_after_the_callback() {
    let log = Log::new();
    let queue = DeferredQueue::<u32>::new();
    let stream = stream_with_a_value(&queue);
    let next = log.watch("getter", queue.get());
    let inner = log.clone();
    drop(Deferred::succeed(()).map(move |()| {
        drop(stream);
        inner.add("callback ends");
    }));
    assert_eq!(log.take(), ["callback ends", "getter 1"]);
    drop(next);
}

#[test]
fn a_resolver_in_the_captures_of_a_waiter_is_dropped_after_the_handover() {
    let log = Log::new();
    let _hook = crate::support::unhandled_into(&log);
    let lock = DeferredLock::new();
    let (permit, next) = (lock.try_acquire().unwrap(), lock.acquire());
    let (watched, resolver): (_, Resolver<()>) = Deferred::new();
    let watched = log.watch("resolver", watched);
    let events = log.clone();
    let next = next.map(move |_permit| {
        let _resolver = resolver;
        events.add("the waiter");
    });
    drop(Deferred::succeed(()).map(move |()| drop(permit)));
    assert_eq!(log.take(), ["the waiter", "resolver Abandoned"]);
    drop((next, watched));
}
