//! The start, the resumption and the end of a coroutine.

use std::cell::Cell;
use std::future::{IntoFuture, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use deferred_core::{BuiltinError, Deferred, Failure, NoReactor, Reactor, inline_callbacks};

use crate::support::{
    App, Log, PanicOnDrop, deferred_cell, describe, ignore_unhandled, peek_text, take_text, unhandled_into,
};

#[test]
fn a_body_that_awaits_only_ready_deferreds_finishes_at_once() {
    let log = Log::new();
    let inner = log.clone();
    let deferred = inline_callbacks(async move {
        inner.add("begins");
        let one = Deferred::succeed(1).await?;
        let two = Deferred::<u32>::fail(App(2)).await.unwrap_or(2);
        inner.add("ends");
        Ok(one + two)
    });
    assert_eq!(log.take(), ["begins", "ends"]);
    assert_eq!(take_text(deferred), "3");
}

#[test]
fn a_coroutine_resumes_inside_the_call_that_fires() {
    for fails in [false, true] {
        let log = Log::new();
        let inner = log.clone();
        let (awaited, resolver) = Deferred::<u32>::new();
        let deferred = inline_callbacks(async move {
            let result = awaited.await;
            inner.add(describe(result.as_ref()));
            result
        });
        let deferred = log.watch("outer", deferred);
        assert!(log.take().is_empty());
        if fails {
            resolver.errback(App(1))
        } else {
            resolver.callback(1)
        }
        let outcome = if fails { "App(1)" } else { "1" };
        assert_eq!(log.take(), [outcome.to_owned(), format!("outer {outcome}")]);
        assert_eq!(take_text(deferred), outcome);
    }
}

#[test]
fn an_await_waits_for_earlier_callbacks_and_the_deferreds_that_they_return() {
    let log = Log::new();
    let (awaited, resolver) = Deferred::<u32>::new();
    let (inner, inner_resolver) = Deferred::<u32>::new();
    let awaited = log.watch("before", awaited).add_callback(move |_| inner);
    let deferred = log.watch("outer", inline_callbacks(async move { Ok(awaited.await? + 1) }));
    resolver.callback(1);
    assert_eq!(log.take(), ["before 1"]);
    inner_resolver.callback(10);
    assert_eq!(log.take(), ["outer 11"]);
    drop(deferred);
}

#[test]
fn a_paused_deferred_resumes_the_coroutine_when_the_pause_ends() {
    let (mut awaited, resolver) = Deferred::<u32>::new();
    let pause = awaited.pause();
    let mut deferred = inline_callbacks(async move { awaited.await });
    resolver.callback(1);
    assert_eq!(peek_text(&mut deferred), "pending");
    pause.unpause();
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn awaiting_a_ready_paused_deferred_suspends() {
    let mut awaited = Deferred::succeed(1);
    let pause = awaited.pause();
    let mut deferred = inline_callbacks(async move { awaited.await });
    assert_eq!(peek_text(&mut deferred), "pending");
    drop(pause);
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn an_await_inside_a_callback_of_the_awaited_deferred_resumes_after_its_callbacks() {
    let log = Log::new();
    let shelf = deferred_cell::<u32>();
    let (awaited, resolver) = Deferred::<u32>::new();
    let (inside, take) = (log.clone(), shelf.clone());
    let awaited = awaited.add_callback(move |value| {
        let awaited = take.take().expect("on the shelf");
        let coroutine = inside.clone();
        drop(inline_callbacks(async move {
            coroutine.add(format!("got {}", awaited.await?));
            Ok(())
        }));
        inside.add("callback ends");
        Ok(value + 1)
    });
    shelf.replace(Some(log.watch("next", awaited)));
    resolver.callback(1);
    assert_eq!(log.take(), ["callback ends", "next 2", "got 2"]);
}

#[test]
fn a_deferred_fired_in_the_body_resumes_it_once_it_waits() {
    let (awaited, resolver) = Deferred::<u32>::new();
    let deferred = inline_callbacks(async move {
        resolver.callback(1);
        awaited.await
    });
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn the_awaited_deferred_may_fire_in_the_same_poll() {
    let (awaited, resolver) = Deferred::<u32>::new();
    let (later, later_resolver) = Deferred::<u32>::new();
    let mut deferred = inline_callbacks(async move {
        let (value, ()) = futures::join!(awaited.into_future(), async { resolver.callback(1) });
        let (mut later, mut polls) = (later.into_future(), 0);
        let more = poll_fn(|context| {
            polls += 1;
            assert!(polls <= 2, "once more for each that fires");
            Pin::new(&mut later).poll(context)
        });
        Ok(value? + more.await?)
    });
    assert_eq!(peek_text(&mut deferred), "pending");
    later_resolver.callback(2);
    assert_eq!(take_text(deferred), "3");
}

#[test]
fn a_resolver_dropped_in_the_body_abandons_when_the_body_waits() {
    let deferred = inline_callbacks(async move {
        let (awaited, resolver) = Deferred::<u32>::new();
        drop(resolver);
        assert!(!awaited.is_ready());
        awaited.await
    });
    assert_eq!(take_text(deferred), "Abandoned");
}

#[test]
fn a_coroutine_continues_after_its_deferred_is_dropped() {
    let log = Log::new();
    let (awaited, resolver) = Deferred::<u32>::new();
    let inner = log.clone();
    let _hook = unhandled_into(&log);
    drop(inline_callbacks(async move {
        inner.add(format!("got {}", awaited.await?));
        Err::<(), _>(App(2).into())
    }));
    resolver.callback(1);
    assert_eq!(log.take(), ["got 1", "unhandled App(2)"]);
}

#[test]
fn a_panic_anywhere_in_the_body_is_the_result() {
    let at_once = inline_callbacks(async { if true { panic!("at once") } else { Ok(()) } });
    assert_eq!(take_text(at_once), "Panicked(at once)");

    let (awaited, resolver) = Deferred::<u32>::new();
    let later = inline_callbacks(async move {
        let _ = awaited.await;
        if true { panic!("later") } else { Ok(()) }
    });
    resolver.callback(1);
    assert_eq!(take_text(later), "Panicked(later)");

    let (awaited, resolver) = Deferred::<u32>::new();
    let at_the_end = inline_callbacks(async move {
        let _bomb = PanicOnDrop("in a local");
        awaited.await
    });
    resolver.callback(1);
    assert_eq!(take_text(at_the_end), "Panicked(in a local)");

    // A future that is not an `async` block is dropped with its captures.
    let bomb = PanicOnDrop("captured");
    let no_block = inline_callbacks(poll_fn(move |_| {
        let _bomb = &bomb;
        Poll::Ready(Ok(1))
    }));
    assert_eq!(take_text(no_block), "Panicked(captured)");
}

#[test]
fn captures_are_dropped_before_the_deferred_fires() {
    let log = Log::new();
    let probe = log.probe("captured");
    let (awaited, resolver) = Deferred::<u32>::new();
    let deferred = inline_callbacks(async move {
        let _probe = probe;
        awaited.await
    });
    let _deferred = log.watch("outer", deferred);
    resolver.callback(1);
    assert_eq!(log.take(), ["captured", "outer 1"]);
}

#[test]
fn the_location_of_the_await_is_in_the_trail() {
    let deferred = inline_callbacks(async {
        Deferred::<u32>::fail(App(1)).await?;
        Ok(())
    });
    let failure = deferred.try_take().unwrap().unwrap_err();
    let here = format!("{}", failure.trail());
    assert!(here.matches("resume.rs").count() >= 2, "{here}");
}

#[test]
fn coroutines_may_wait_for_coroutines_and_errors_pass_with_the_question_mark() {
    let (awaited, resolver) = Deferred::<u32>::new();
    let inner = inline_callbacks(async move { Ok(awaited.await? * 2) });
    let outer = inline_callbacks(async move { Ok(inner.await? + 1) });
    resolver.errback(App(1));
    assert_eq!(take_text(outer), "App(1)");
}

#[test]
fn errors_may_be_a_user_type() {
    let (awaited, resolver) = Deferred::<u32, BuiltinError>::typed();
    let deferred = Deferred::from_coroutine(async move { awaited.await });
    drop(resolver);
    assert!(matches!(deferred.try_take(), Ok(Err(BuiltinError::Abandoned(_)))));
}

#[test]
fn a_foreign_wait_without_a_reactor_ends_with_no_reactor() {
    let log = Log::new();
    let probe = log.probe("dropped");
    let pending = inline_callbacks(async move {
        let _probe = probe;
        std::future::pending::<()>().await;
        Ok(())
    });
    assert_eq!(log.take(), ["dropped"]);
    assert!(pending.try_take().unwrap().unwrap_err().check::<NoReactor>());

    let (_sender, receiver) = futures::channel::oneshot::channel::<u32>();
    let channel = inline_callbacks(async move { Ok(receiver.await?) });
    assert!(channel.try_take().unwrap().unwrap_err().check::<NoReactor>());

    let (awaited, resolver) = Deferred::<u32>::new();
    let later = inline_callbacks(async move {
        awaited.await?;
        std::future::pending::<()>().await;
        Ok(())
    });
    resolver.callback(1);
    assert!(later.try_take().unwrap().unwrap_err().check::<NoReactor>());
}

#[test]
fn the_reactor_of_a_coroutine_is_current_while_it_runs() {
    let reactor = Reactor::new();
    let (first, resolve_first) = Deferred::<()>::new();
    let deferred = reactor.ensure_deferred(async move {
        assert!(Reactor::current().is_some());
        first.await?;
        assert!(Reactor::current().is_some());
        Ok(())
    });
    assert!(Reactor::current().is_none());
    resolve_first.callback(());
    assert!(Reactor::current().is_none());
    assert_eq!(take_text(deferred), "()");
}

#[test]
fn awaiting_a_cancelled_deferred_returns_its_error() {
    let _quiet = ignore_unhandled();
    let (awaited, resolver) = Deferred::<u32>::new();
    awaited.cancel();
    let deferred = inline_callbacks(async move { awaited.await });
    resolver.callback(1);
    assert_eq!(take_text(deferred), "Cancelled");
}

#[test]
fn a_loop_of_a_million_ready_awaits_needs_no_stack() {
    let deferred = inline_callbacks(async {
        let mut sum = 0_u64;
        for n in 0..1_000_000 {
            sum += Deferred::succeed(n).await?;
        }
        Ok::<_, Failure>(sum)
    });
    assert_eq!(take_text(deferred), "499999500000");
}

#[test]
fn a_coroutine_may_be_resumed_while_another_runs() {
    // The body of one coroutine fires the Deferred that the other awaits, which fires the one that
    // the first will await.
    let log = Log::new();
    let (ping, ping_resolver) = Deferred::<u32>::new();
    let (pong, pong_resolver) = Deferred::<u32>::new();
    let (first, second) = (log.clone(), log.clone());
    drop(inline_callbacks(async move {
        second.add(format!("ping {}", ping.await?));
        pong_resolver.callback(2);
        second.add("second ends");
        Ok(())
    }));
    drop(inline_callbacks(async move {
        ping_resolver.callback(1);
        first.add("fired ping");
        first.add(format!("pong {}", pong.await?));
        Ok(())
    }));
    assert_eq!(log.take(), ["ping 1", "second ends", "fired ping", "pong 2"]);
}

#[test]
fn a_future_that_wakes_itself_without_a_reactor_is_polled_again() {
    let polls = Rc::new(Cell::new(0));
    let counted = polls.clone();
    let deferred = inline_callbacks(async move {
        poll_fn(move |context| {
            counted.set(counted.get() + 1);
            if counted.get() == 5 {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        Ok(())
    });
    assert_eq!((take_text(deferred).as_str(), polls.get()), ("()", 5));
}

#[test]
fn a_body_may_drop_and_cancel_its_own_deferred() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let slot = deferred_cell::<u32>();
    let (mine, inner) = (slot.clone(), log.clone());
    let (first, resolver) = Deferred::<()>::new();
    let deferred = inline_callbacks(async move {
        first.await?;
        let itself = mine.take().expect("on the shelf");
        itself.cancel();
        drop(itself);
        inner.add("goes on");
        Err(App(1).into())
    });
    slot.replace(Some(deferred));
    resolver.callback(());
    assert_eq!(log.take(), ["goes on", "unhandled App(1)"]);
}
