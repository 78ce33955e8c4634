//! However many coroutines wait for each other, the stack stays flat.

use std::cell::Cell;
use std::future::{Future, IntoFuture, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use deferred_core::{Deferred, Reactor, inline_callbacks};

use crate::support::{App, MANY, on_a_small_stack, taken};

fn line(first: Deferred<u64>) -> Deferred<u64> {
    let mut deferred = first;
    for _ in 0..MANY {
        deferred = inline_callbacks(async move { Ok(deferred.await? + 1) });
    }
    deferred
}

#[test]
fn a_million_that_wait_for_each_other_unwind() {
    on_a_small_stack(|| {
        let (first, resolver) = Deferred::new();
        let last = line(first);
        resolver.callback(0);
        assert_eq!(taken(last), MANY.to_string());

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
        assert_eq!((taken(last).as_str(), cancelled.get()), ("Cancelled", 1));
        drop(resolver);
    });
}

#[test]
fn a_million_that_drop_their_wait_one_after_the_other() {
    on_a_small_stack(|| {
        // Each holds a wait for the next one beside what it really waits for; the first ends, and
        // so on.
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
        // The cancel has come through to the first, which lets all of them go on and wait for ever.
        assert!(resolver.is_cancelled());
        drop(reactor);
    });
}

#[test]
fn a_million_that_the_closing_of_their_reactor_ends_from_the_first_to_the_last() {
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
        assert_eq!(taken(deferred), "Abandoned");
    });
}
