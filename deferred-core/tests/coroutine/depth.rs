//! The stack stays flat however many coroutines wait for each other.

use std::cell::Cell;
use std::future::{Future, IntoFuture, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use deferred_core::{Deferred, Reactor, inline_callbacks};

use crate::support::{App, MANY, on_a_small_stack, take_text};

fn line(first: Deferred<u64>) -> Deferred<u64> {
    let mut deferred = first;
    for _ in 0..MANY {
        deferred = inline_callbacks(async move { Ok(deferred.await? + 1) });
    }
    deferred
}

#[test]
fn a_million_coroutines_that_wait_for_each_other_finish() {
    on_a_small_stack(|| {
        let (first, resolver) = Deferred::new();
        let last = line(first);
        resolver.callback(0);
        assert_eq!(take_text(last), MANY.to_string());

        let (first, resolver) = Deferred::new();
        let last = line(first);
        resolver.errback(App(1));
        let failure = last.try_take().unwrap().unwrap_err();
        assert!(failure.check::<App>());
    });
}

#[test]
fn a_cancel_goes_through_a_million() {
    on_a_small_stack(|| {
        let cancelled = Rc::new(Cell::new(0));
        let count = cancelled.clone();
        let (first, resolver) = Deferred::with_canceller(move || {
            count.set(count.get() + 1);
            None
        });
        let last = line(first);
        last.cancel();
        assert_eq!((take_text(last).as_str(), cancelled.get()), ("Cancelled", 1));
        drop(resolver);
    });
}

#[test]
fn a_million_waits_that_drop_each_other_need_no_stack() {
    on_a_small_stack(|| {
        // Each coroutine holds a wait for the next one besides its own. When the first ends, it
        // drops its wait, which ends the next, and so on.
        let reactor = Reactor::new();
        let _entered = reactor.enter();
        let (first, resolver) = Deferred::<u64>::with_canceller(|| Some(Ok(0)));
        let mut deferred = first;
        for _ in 0..MANY {
            deferred = inline_callbacks(async move {
                let mut wait = IntoFuture::into_future(deferred);
                let _ = futures::poll!(&mut wait);
                pending::<()>().await;
                Ok(1)
            });
        }
        let mut wait = IntoFuture::into_future(deferred);
        let waker = Waker::noop();
        assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(waker)).is_pending());
        drop(wait);
        // The cancel reached the first one, which lets all of them continue and wait forever.
        assert!(resolver.is_cancelled());
        drop(reactor);
    });
}

#[test]
fn closing_a_reactor_ends_a_million_nested_coroutines() {
    on_a_small_stack(|| {
        let reactor = Reactor::new();
        let entered = reactor.enter();
        let mut deferred = inline_callbacks(async {
            pending::<()>().await;
            Ok(0_u64)
        });
        deferred = line(deferred);
        drop(entered);
        drop(reactor);
        assert_eq!(take_text(deferred), "Abandoned");
    });
}
