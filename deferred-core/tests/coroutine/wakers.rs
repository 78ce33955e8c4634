//! Wakers that are kept, cloned and dropped at various times.

use std::cell::RefCell;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use deferred_core::{Deferred, Failure, Reactor, Turn, inline_callbacks};

use crate::support::{Log, ignore_unhandled, peek_text, take_text};

/// Returns a future that stores its waker in `wakers`, and is ready once `ready` returns `true`.
fn store_waker(
    wakers: &Rc<RefCell<Vec<Waker>>>,
    ready: impl Fn() -> bool + 'static,
) -> Pin<Box<dyn Future<Output = ()>>> {
    let wakers = wakers.clone();
    Box::pin(std::future::poll_fn(move |context| {
        if ready() {
            return Poll::Ready(());
        }
        wakers.borrow_mut().push(context.waker().clone());
        Poll::Pending
    }))
}

fn flag() -> (Rc<std::cell::Cell<bool>>, impl Fn() -> bool) {
    let flag = Rc::new(std::cell::Cell::new(false));
    let read = flag.clone();
    (flag, move || read.get())
}

#[test]
fn a_waker_that_outlives_its_coroutine_does_nothing() {
    let reactor = Reactor::new();
    let wakers = Rc::default();
    let (set, ready) = flag();
    let future = store_waker(&wakers, ready);
    let deferred = reactor.ensure_deferred(async move {
        future.await;
        Ok(())
    });
    set.set(true);
    let waker = wakers.borrow()[0].clone();
    waker.wake_by_ref();
    assert_eq!(reactor.turn(Waker::noop()), Turn::Sleep(None));
    assert_eq!(take_text(deferred), "()");
    waker.wake_by_ref();
    assert_eq!(reactor.turn(Waker::noop()), Turn::Sleep(None));
    drop(reactor);
    waker.wake_by_ref();
    std::thread::spawn(move || waker.wake()).join().unwrap();
    wakers.take().into_iter().for_each(Waker::wake);
}

#[test]
fn thousands_of_clones_wake_once() {
    let log = Log::new();
    let reactor = Reactor::new();
    let wakers = Rc::default();
    let (polled, mut counter) = (log.clone(), store_waker(&wakers, || false));
    let deferred = reactor.ensure_deferred(std::future::poll_fn(move |context| -> Poll<Result<(), _>> {
        polled.add("polled");
        assert!(counter.as_mut().poll(context).is_pending());
        Poll::Pending
    }));
    assert_eq!(log.take().len(), 1);
    let clones: Vec<_> = (0..5_000).map(|_| wakers.borrow()[0].clone()).collect();
    assert!(clones.iter().all(|clone| clone.will_wake(&wakers.borrow()[0])));
    clones.into_iter().for_each(Waker::wake);
    let _ = reactor.turn(Waker::noop());
    assert_eq!(log.take(), ["polled"]);
    drop(deferred);
}

#[test]
fn the_waker_of_one_coroutine_stays_the_same_so_that_will_wake_holds() {
    let reactor = Reactor::new();
    let wakers = Rc::default();
    let future = store_waker(&wakers, || false);
    let deferred = reactor.ensure_deferred(async move {
        future.await;
        Ok(())
    });
    for _ in 0..3 {
        let waker = wakers.borrow().last().expect("kept").clone();
        waker.wake();
        let _ = reactor.turn(Waker::noop());
    }
    let wakers = wakers.borrow();
    assert_eq!(wakers.len(), 4);
    assert!(wakers.iter().all(|waker| waker.will_wake(&wakers[0])));
    drop(deferred);
}

#[test]
fn wakers_of_different_coroutines_wake_only_their_own() {
    let reactor = Reactor::new();
    let (wakers, log) = (Rc::default(), Log::new());
    let mut all: Vec<_> = (0..3)
        .map(|n| {
            let (set, ready) = flag();
            let (future, log) = (store_waker(&wakers, ready), log.clone());
            let deferred = reactor.ensure_deferred(async move {
                future.await;
                log.add(n.to_string());
                Ok(())
            });
            (set, deferred)
        })
        .collect();
    for n in [1_usize, 2, 0] {
        all[n].0.set(true);
        let waker = wakers.borrow()[n].clone();
        waker.wake();
        let _ = reactor.turn(Waker::noop());
        assert_eq!(log.take(), [n.to_string()]);
        assert_eq!(peek_text(&mut all[n].1), "()");
    }
}

#[test]
fn a_wait_polled_by_one_coroutine_with_the_waker_of_another_wakes_the_other() {
    let reactor = Reactor::new();
    let (wakers, log) = (Rc::<RefCell<Vec<Waker>>>::default(), Log::new());
    let (keeps, events) = (wakers.clone(), log.clone());
    let woken = reactor.ensure_deferred(std::future::poll_fn(move |context| -> Poll<Result<(), Failure>> {
        keeps.borrow_mut().push(context.waker().clone());
        events.add("the other one");
        Poll::Pending
    }));
    let (deferred, resolver) = Deferred::<u32>::new();
    let (events, waker) = (log.clone(), wakers.borrow()[0].clone());
    let mut wait = deferred.into_future();
    let polls = reactor.ensure_deferred(std::future::poll_fn(move |_| -> Poll<Result<(), Failure>> {
        assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(&waker)).is_pending());
        events.add("the one that polls");
        Poll::Pending
    }));
    assert_eq!(log.take(), ["the other one", "the one that polls"]);
    resolver.callback(1);
    let _ = reactor.turn(Waker::noop());
    assert_eq!(log.take(), ["the other one"]);
    drop((woken, polls));
}

#[test]
fn a_wait_polled_outside_with_the_waker_of_a_coroutine_wakes_it() {
    let reactor = Reactor::new();
    let (wakers, log) = (Rc::<RefCell<Vec<Waker>>>::default(), Log::new());
    let (keeps, events) = (wakers.clone(), log.clone());
    let woken = reactor.ensure_deferred(std::future::poll_fn(move |context| -> Poll<Result<(), Failure>> {
        keeps.borrow_mut().push(context.waker().clone());
        events.add("polled");
        Poll::Pending
    }));
    let (deferred, resolver) = Deferred::<u32>::new();
    let mut wait = deferred.into_future();
    let waker = wakers.borrow()[0].clone();
    assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(&waker)).is_pending());
    resolver.callback(1);
    let _ = reactor.turn(Waker::noop());
    assert_eq!(log.take(), ["polled", "polled"]);
    drop(woken);
}

#[test]
fn a_waker_may_be_dropped_last_or_never_used() {
    let wakers = Rc::default();
    let reactor = Reactor::new();
    let future = store_waker(&wakers, || false);
    let deferred = reactor.ensure_deferred(async move {
        future.await;
        Ok(())
    });
    drop(reactor);
    assert_eq!(take_text(deferred), "Abandoned");
    drop(wakers);
}

#[test]
fn without_a_reactor_the_next_engine_call_polls_woken_coroutines() {
    type Call = fn();
    let calls: [(&str, Call); 5] = [
        ("a ready callback", || drop(Deferred::succeed(()).map(|()| ()))),
        ("a resolver that fires", || {
            let (deferred, resolver) = Deferred::<()>::new();
            let deferred = deferred.map(|()| ());
            resolver.callback(());
            drop(deferred);
        }),
        ("a resolver that is dropped", || drop(Deferred::<()>::new().0.add_errback(|_| Ok(())))),
        ("a coroutine", || drop(inline_callbacks(async { Ok(()) }))),
        ("a cancel", || Deferred::<()>::new().0.cancel()),
    ];
    for (name, call) in calls {
        let log = Log::new();
        let _quiet = ignore_unhandled();
        let wakers = Rc::default();
        let (set, ready) = flag();
        let (future, (waits, _resolver)) = (store_waker(&wakers, ready), Deferred::<()>::new());
        let deferred = log.watch(
            "ended",
            inline_callbacks(async move {
                futures::future::select(future, waits.into_future()).await;
                Ok(())
            }),
        );
        set.set(true);
        wakers.take().into_iter().for_each(Waker::wake);
        assert!(log.take().is_empty(), "a wake never polls");
        call();
        assert_eq!(log.take(), ["ended ()"], "{name}");
        drop(deferred);
    }
}
