//! Cancellation of coroutines.

use std::cell::RefCell;
use std::future::IntoFuture;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use deferred_core::{CancelHandle, Cancelled, Deferred, Failure, Reactor, Wait, inline_callbacks};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{join, select_biased};

use crate::support::{
    App, Log, cancellable, deferred_cell, describe, describe_failure, ignore_unhandled, peek_text, take_text,
    unhandled_into,
};

#[test]
fn a_cancel_goes_to_the_awaited_deferred_and_returns_as_its_error() {
    let log = Log::new();
    let awaited = cancellable(&log, "awaited", None);
    let inner = log.clone();
    let deferred = inline_callbacks(async move {
        let result = awaited.await;
        inner.add(describe(result.as_ref()));
        result
    });
    deferred.cancel_with(&Cancelled::because("why not"));
    assert_eq!(log.take(), ["cancels awaited", "Cancelled(why not)"]);
    assert_eq!(take_text(deferred), "Cancelled(why not)");
}

#[test]
fn a_coroutine_may_handle_a_cancel_and_continue_translate_it_or_return() {
    let log = Log::new();
    let (first, second) = (cancellable(&log, "first", None), cancellable(&log, "second", None));
    let mut deferred = inline_callbacks(async move {
        assert!(first.await.unwrap_err().check::<Cancelled>());
        second.await.map_err(|_| App(3).into())
    });
    deferred.cancel();
    assert_eq!((log.take(), peek_text(&mut deferred)), (vec!["cancels first".into()], "pending".into()));
    deferred.cancel();
    assert_eq!((log.take(), take_text(deferred).as_str()), (vec!["cancels second".into()], "App(3)"));

    let awaited = cancellable(&log, "awaited", None);
    let returns = inline_callbacks(async move { Ok(awaited.await.unwrap_or(7)) });
    returns.cancel();
    assert_eq!(take_text(returns), "7");
}

#[test]
fn the_body_receives_the_result_of_the_canceller() {
    let (awaited, _resolver) = Deferred::with_canceller(|| Some(Ok(5)));
    let deferred = inline_callbacks(async move { awaited.await });
    deferred.cancel();
    assert_eq!(take_text(deferred), "5");
}

#[test]
fn a_deferred_that_ignores_the_cancel_leaves_the_coroutine_waiting() {
    let (awaited, resolver) = Deferred::<u32>::with_forwarding_canceller(|_| ());
    let mut deferred = inline_callbacks(async move { awaited.await });
    deferred.cancel();
    assert_eq!(peek_text(&mut deferred), "pending");
    resolver.callback(1);
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn a_cancel_while_the_body_runs_is_delivered_at_its_next_await() {
    let log = Log::new();
    let handle = Rc::new(RefCell::new(None::<CancelHandle>));
    let mine = handle.clone();
    let (first, resolver) = Deferred::<()>::new();
    let awaited = cancellable(&log, "awaited", None);
    let inner = log.clone();
    let mut deferred = inline_callbacks(async move {
        first.await?;
        mine.borrow().as_ref().expect("set").cancel_with(&Cancelled::because("from inside"));
        inner.add(format!("ready {}", Deferred::succeed(1).await?));
        awaited.await
    });
    handle.replace(Some(deferred.cancel_handle()));
    resolver.callback(());
    assert_eq!(log.take(), ["ready 1", "cancels awaited"]);
    assert_eq!(take_text(deferred), "Cancelled(from inside)");
}

#[test]
fn a_cancel_while_the_body_runs_may_be_handled_and_ends_a_foreign_wait() {
    for foreign in [false, true] {
        let reactor = Reactor::new();
        let handle = Rc::new(RefCell::new(None::<CancelHandle>));
        let mine = handle.clone();
        let (first, resolver) = Deferred::<()>::new();
        let (awaited, _resolver) = Deferred::<u32>::new();
        let mut deferred = reactor.ensure_deferred(async move {
            first.await?;
            mine.borrow().as_ref().expect("set").cancel_with(&Cancelled::because("from inside"));
            if foreign {
                std::future::pending::<()>().await;
            }
            Ok(awaited.await.unwrap_or(7))
        });
        handle.replace(Some(deferred.cancel_handle()));
        resolver.callback(());
        assert_eq!(take_text(deferred), if foreign { "Cancelled(from inside)" } else { "7" });
    }
}

#[test]
fn a_cancel_while_the_body_runs_for_the_last_time_changes_nothing() {
    let handle = Rc::new(RefCell::new(None::<CancelHandle>));
    let mine = handle.clone();
    let (first, resolver) = Deferred::<()>::new();
    let mut deferred = inline_callbacks(async move {
        first.await?;
        mine.borrow().as_ref().expect("set").cancel();
        Ok(1)
    });
    handle.replace(Some(deferred.cancel_handle()));
    resolver.callback(());
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn a_cancel_after_the_end_does_nothing() {
    let (awaited, resolver) = Deferred::<u32>::new();
    let mut deferred = inline_callbacks(async move { awaited.await });
    let handle = deferred.cancel_handle();
    resolver.callback(1);
    handle.cancel();
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn all_awaited_deferreds_are_cancelled_in_the_order_of_their_awaits() {
    let log = Log::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| cancellable(&log, name, None).into_future());
    let deferred = inline_callbacks(async move {
        let (c, a, b) = join!(c, a, b);
        Ok(c.is_err() && a.is_err() && b.is_err())
    });
    deferred.cancel();
    assert_eq!(log.take(), ["cancels c", "cancels a", "cancels b"]);
    assert_eq!(take_text(deferred), "true");
}

#[test]
fn a_hundred_in_a_join_all_are_cancelled_in_order_as_are_three() {
    for count in [3, 100] {
        let log = Log::new();
        let awaited: Vec<_> = (0..count)
            .map(|n| {
                let log = log.clone();
                let (deferred, resolver) = Deferred::<u32>::with_canceller(move || {
                    log.add(n.to_string());
                    None
                });
                std::mem::forget(resolver);
                deferred.into_future()
            })
            .collect();
        let deferred = inline_callbacks(async move {
            let results = futures::future::join_all(awaited).await;
            Ok(results.iter().filter(|result| result.is_err()).count())
        });
        deferred.cancel();
        let names: Vec<_> = (0..count).map(|n| n.to_string()).collect();
        assert_eq!(log.take(), names);
        assert_eq!(take_text(deferred), count.to_string());
    }
}

#[test]
fn the_loser_of_a_select_is_cancelled_and_reports_nothing() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (winner, resolver) = Deferred::<u32>::new();
    let loser = cancellable(&log, "loser", None);
    let deferred = inline_callbacks(async move {
        let (mut winner, mut loser) = (winner.into_future(), loser.into_future());
        select_biased! {
            won = winner => won,
            lost = loser => lost,
        }
    });
    let deferred = log.watch("outer", deferred);
    resolver.callback(1);
    // A resolver that the body dropped fires right after the body, before its consequences.
    assert_eq!(log.take(), ["cancels loser", "outer 1"]);
    drop(deferred);
    assert!(log.take().is_empty());
}

#[test]
fn dropping_an_unpolled_wait_cancels_and_dropping_a_deferred_does_not() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    drop(cancellable(&log, "deferred", None));
    assert!(log.take().is_empty());
    drop(cancellable(&log, "wait", None).into_future());
    assert_eq!(log.take(), ["cancels wait"]);
    drop(Deferred::<u32>::fail(App(1)).into_future());
    assert!(log.take().is_empty(), "the result in a dropped wait counts as handled");
}

#[test]
fn the_later_result_of_a_dropped_wait_counts_as_handled() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (awaited, resolver) = Deferred::<u32>::with_forwarding_canceller(|_| ());
    drop(awaited.into_future());
    resolver.errback(App(1));
    assert!(log.take().is_empty());
}

#[test]
fn a_coroutine_in_a_foreign_wait_is_dropped_and_fires_cancelled() {
    let log = Log::new();
    let reactor = Reactor::new();
    let probe = log.probe("dropped");
    let deferred = reactor.ensure_deferred(async move {
        let _probe = probe;
        std::future::pending::<()>().await;
        Ok(())
    });
    let mut deferred = log.watch("outer", deferred);
    let handle = deferred.cancel_handle();
    assert!(log.take().is_empty());
    handle.cancel_with(&Cancelled::because("enough"));
    assert_eq!(log.take(), ["dropped", "outer Cancelled(enough)"]);
    handle.cancel();
    assert_eq!(take_text(deferred), "Cancelled(enough)");
}

#[test]
fn a_cancel_does_not_go_to_a_dropped_wait() {
    for by_itself in [false, true] {
        let reactor = Reactor::new();
        let (ignores, _resolver) = Deferred::<u32>::with_forwarding_canceller(|_| ());
        let deferred = reactor.ensure_deferred(async move {
            let wait = ignores.into_future();
            if by_itself {
                assert!(futures::poll!(wait).is_pending());
            } else {
                let mut one: FuturesUnordered<_> = [wait].into_iter().collect();
                assert!(futures::poll!(one.next()).is_pending());
            }
            std::future::pending::<()>().await;
            Ok(())
        });
        deferred.cancel();
        assert_eq!(take_text(deferred), "Cancelled", "{by_itself}");
    }
}

#[test]
fn a_cancel_does_not_go_to_a_wait_that_moved_to_another_coroutine() {
    let reactor = Reactor::new();
    let (awaited, resolver) = Deferred::<u32>::new();
    let slot = Rc::new(RefCell::new(None::<Wait<u32>>));
    let source = slot.clone();
    let first = reactor.ensure_deferred(async move {
        let mut wait = awaited.into_future();
        assert!(futures::poll!(&mut wait).is_pending());
        source.replace(Some(wait));
        std::future::pending::<()>().await;
        Ok(())
    });
    let wait = slot.take().expect("given");
    let second = reactor.ensure_deferred(wait);
    first.cancel();
    assert_eq!(take_text(first), "Cancelled");
    resolver.callback(1);
    assert_eq!(take_text(second), "1");
}

#[test]
fn a_panic_of_a_destructor_during_a_cancel_is_the_result() {
    let reactor = Reactor::new();
    let deferred = reactor.ensure_deferred(async move {
        let _bomb = crate::support::PanicOnDrop("in a local");
        std::future::pending::<()>().await;
        Ok(())
    });
    deferred.cancel();
    assert_eq!(take_text(deferred), "Panicked(in a local)");
}

#[test]
fn a_cancel_ends_in_a_cycle_of_coroutines() {
    let _quiet = ignore_unhandled();
    let slot = Rc::new(RefCell::new(None::<Deferred<u32>>));
    let mine = slot.clone();
    let (start, resolver) = Deferred::<()>::new();
    let first = inline_callbacks(async move {
        start.await?;
        let second = mine.take().expect("set");
        second.await
    });
    let mut first = first;
    let handle = first.cancel_handle();
    let second = inline_callbacks(async move { first.await });
    slot.replace(Some(second));
    resolver.callback(());
    handle.cancel(); // returns
}

#[test]
fn a_cancel_of_a_paused_coroutine_goes_to_the_awaited_deferred() {
    let log = Log::new();
    let awaited = cancellable(&log, "awaited", None);
    let mut deferred = inline_callbacks(async move { awaited.await });
    let pause = deferred.pause();
    deferred.cancel();
    assert_eq!(log.take(), ["cancels awaited"]);
    assert_eq!(peek_text(&mut deferred), "pending");
    pause.unpause();
    assert_eq!(take_text(deferred), "Cancelled");
}

#[test]
fn a_coroutine_that_awaits_its_own_deferred_gets_a_cycle_at_that_await() {
    type Awaits = fn(Deferred<u32>) -> Pin<Box<dyn Future<Output = Result<u32, Failure>>>>;
    let ways: [(&str, Awaits); 4] = [
        ("plainly", |own| Box::pin(async { own.await })),
        ("in a set", |own| {
            Box::pin(async { FuturesUnordered::from_iter([own.into_future()]).next().await.expect("one") })
        }),
        ("beside another", |own| {
            Box::pin(async {
                futures::try_join!(own.into_future(), Deferred::<u32>::new().0.into_future()).map(|both| both.0)
            })
        }),
        ("inside a future that is polled again", |own| {
            Box::pin(async {
                let mut own = Some(Box::pin(own.into_future()));
                std::future::poll_fn(move |context| own.as_mut().expect("polled once").as_mut().poll(context)).await
            })
        }),
    ];
    for (name, awaits) in ways {
        let log = Log::new();
        let _quiet = ignore_unhandled();
        let (own, waits) = (deferred_cell::<u32>(), Deferred::<()>::new());
        let (takes, events) = (own.clone(), log.clone());
        let (first, resolver) = waits;
        let deferred = inline_callbacks(async move {
            first.await?;
            let own = takes.take().expect("it was put there");
            let result = awaits(own).await;
            events.add(result.as_ref().map_or_else(describe_failure, u32::to_string));
            result
        });
        own.replace(Some(deferred));
        resolver.callback(());
        assert_eq!(log.take(), ["Cycle"], "{name}");
    }
}

#[test]
fn a_coroutine_that_awaits_its_own_deferred_after_another_did_gets_a_cycle_too() {
    let log = Log::new();
    let _quiet = ignore_unhandled();
    let own = Rc::new(RefCell::new(None::<Wait<u32>>));
    let (first, resolver) = Deferred::<()>::new();
    let (takes, events) = (own.clone(), log.clone());
    let deferred = inline_callbacks(async move {
        first.await?;
        let wait = takes.take().expect("it was put there");
        let result = wait.await;
        events.add(result.as_ref().map_or_else(describe_failure, u32::to_string));
        result
    });
    let mut wait = deferred.into_future();
    assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    own.replace(Some(wait));
    resolver.callback(());
    assert_eq!(log.take(), ["Cycle"]);
}

#[test]
fn the_cycle_of_a_coroutine_that_awaits_its_own_deferred_is_reported() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let own = deferred_cell::<u32>();
    let (first, resolver) = Deferred::<()>::new();
    let takes = own.clone();
    let deferred = inline_callbacks(async move {
        first.await?;
        let own = takes.take().expect("it was put there");
        own.await
    });
    own.replace(Some(deferred));
    resolver.callback(());
    assert_eq!(log.take(), ["unhandled Cycle"]);
}
