//! Cancellation: which Deferreds a cancel reaches, which results it fires, and what it does not
//! affect.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::support::{
    App, Log, deferred_cell, describe_failure, ignore_unhandled, peek_text, take_text, unhandled_into,
};
use deferred_core::{CancelHandle, Cancelled, Deferred, Failure, Resolver};

fn cancelled_deferred() -> (Deferred<u32>, Resolver<u32>) {
    let (deferred, resolver) = Deferred::new();
    deferred.cancel();
    (deferred, resolver)
}

#[test]
fn a_cancel_fires_cancelled_at_once() {
    let log = Log::new();
    let (deferred, resolver) = Deferred::<u32>::new();
    let deferred = log.watch("saw", deferred);
    deferred.cancel();
    assert_eq!(log.take(), ["saw Cancelled"]);
    assert!(resolver.is_cancelled());
    assert!(deferred.is_ready());
    assert_eq!(take_text(deferred), "Cancelled");
}

#[test]
fn firing_after_a_cancel_is_ignored_and_drops_the_value() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (mut deferred, resolver) = Deferred::<crate::support::Probe>::new();
    deferred.cancel();
    assert_eq!(peek_text(&mut deferred), "Cancelled");
    resolver.callback(log.probe("value dropped"));
    assert_eq!(log.take(), ["value dropped"]);
    assert_eq!(take_text(deferred), "Cancelled");

    let (deferred, resolver) = cancelled_deferred();
    resolver.errback(App(1));
    assert_eq!(take_text(deferred), "Cancelled");

    let (deferred, resolver) = cancelled_deferred();
    drop(resolver);
    assert_eq!(take_text(deferred), "Cancelled");
    assert!(log.take().is_empty());
}

#[test]
fn is_cancelled_is_true_after_a_cancel() {
    let _quiet = ignore_unhandled();
    let (deferred, resolver) = Deferred::<u32>::new();
    assert!(!resolver.is_cancelled());
    deferred.cancel();
    assert!(resolver.is_cancelled());
    drop(deferred);
    assert!(resolver.is_cancelled());
}

#[test]
fn a_canceller_may_decide_the_result() {
    for (decision, expected) in [(None, "Cancelled"), (Some(Ok(5)), "5"), (Some(Err(App(2))), "App(2)")] {
        let calls = Rc::new(Cell::new(0));
        let counted = calls.clone();
        let (deferred, resolver) = Deferred::<u32>::with_canceller(move || {
            counted.set(counted.get() + 1);
            decision.map(|result: Result<u32, App>| result.map_err(Failure::from))
        });
        let deferred = deferred.add_both(|result| result);
        assert_eq!(calls.get(), 0);
        deferred.cancel();
        deferred.cancel();
        assert_eq!(calls.get(), 1);
        assert!(resolver.is_cancelled());
        resolver.callback(9);
        deferred.cancel();
        assert_eq!(calls.get(), 1);
        assert_eq!(take_text(deferred), expected);
    }
}

#[test]
fn a_canceller_runs_only_before_the_deferred_fires() {
    let log = Log::new();
    let events = log.clone();
    let probe = log.probe("canceller dropped");
    let (mut deferred, resolver) = Deferred::<u32>::with_canceller(move || {
        let _captured = &probe;
        events.add("canceller runs");
        None
    });
    let handle = deferred.cancel_handle();
    resolver.callback(1);
    assert_eq!(log.take(), ["canceller dropped"]);
    deferred.cancel();
    handle.cancel();
    assert!(log.take().is_empty());
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn a_canceller_is_dropped_before_the_first_callback_runs() {
    let log = Log::new();
    for cancelled in [false, true] {
        let (events, probe) = (log.clone(), log.probe("dropped"));
        let (deferred, resolver) = Deferred::<u32>::with_canceller(move || {
            let _captured = &probe;
            events.add("runs");
            None
        });
        let deferred = log.watch("saw", deferred);
        if cancelled {
            deferred.cancel();
            assert_eq!(log.take(), ["runs", "dropped", "saw Cancelled"]);
        } else {
            resolver.callback(1);
            assert_eq!(log.take(), ["dropped", "saw 1"]);
        }
        drop(deferred.add_errback(|_| Ok(0)));
    }
}

#[test]
fn a_canceller_may_fire_the_deferred_through_its_resolver() {
    // A source that owns the resolver does this: it fires from inside the canceller.
    let log = Log::new();
    let place = Rc::new(RefCell::new(None::<Resolver<u32>>));
    let own = place.clone();
    let (deferred, resolver) = Deferred::<u32>::with_canceller(move || {
        own.take().expect("stored").callback(6);
        None
    });
    *place.borrow_mut() = Some(resolver);
    let deferred = log.watch("saw", deferred);
    deferred.cancel();
    // Firing after a cancel is ignored; a canceller decides by its return value.
    let first = log.take();
    assert_eq!(first.len(), 1, "it fires exactly once: {first:?}");
    assert!(first[0] == "saw 6" || first[0] == "saw Cancelled");
    drop(deferred.add_errback(|_| Ok(0)));
}

#[test]
fn a_canceller_that_cancels_again_is_not_called_again() {
    let log = Log::new();
    let handle = Rc::new(RefCell::new(None::<CancelHandle>));
    let (own, events) = (handle.clone(), log.clone());
    let (mut deferred, _resolver) = Deferred::<u32>::with_canceller(move || {
        events.add("canceller");
        own.borrow().as_ref().expect("stored").cancel();
        None
    });
    *handle.borrow_mut() = Some(deferred.cancel_handle());
    let deferred = log.watch("saw", deferred);
    deferred.cancel();
    assert_eq!(log.take(), ["canceller", "saw Cancelled"]);
    assert_eq!(take_text(deferred), "Cancelled");
    handle.take();
}

#[test]
fn a_canceller_that_panics_leaves_the_deferred_fired() {
    let log = Log::new();
    let (deferred, resolver) = Deferred::<u32>::with_canceller(|| panic!("canceller"));
    let deferred = log.watch("saw", deferred);
    deferred.cancel();
    assert_eq!(log.take(), ["saw Panicked(canceller)"]);
    resolver.callback(1);
    assert_eq!(take_text(deferred), "Panicked(canceller)");
}

#[test]
fn a_canceller_whose_captures_panic_leaves_the_deferred_fired() {
    let _quiet = ignore_unhandled();
    let bomb = crate::support::PanicOnDrop("captured by the canceller");
    let (deferred, _resolver) = Deferred::<u32>::with_canceller(move || {
        let _captured = &bomb;
        Some(Ok(1))
    });
    deferred.cancel();
    assert_eq!(take_text(deferred), "Panicked(captured by the canceller)");
}

#[test]
fn a_forwarding_canceller_is_called_for_each_cancel_and_fires_nothing() {
    let log = Log::new();
    let heard = log.clone();
    let (deferred, resolver) = Deferred::<u32>::with_forwarding_canceller(move |cancelled| {
        heard.add(cancelled.reason().map_or("no reason".into(), ToString::to_string));
    });
    deferred.cancel();
    deferred.cancel_with(&Cancelled::because(Arc::new(App(3))));
    deferred.cancel();
    assert_eq!(log.take(), ["no reason", "application error 3", "no reason"]);
    assert!(!deferred.is_ready());
    let deferred = log.watch("saw", deferred);
    resolver.callback(1);
    assert_eq!(log.take(), ["saw 1"]);
    deferred.cancel();
    assert!(log.take().is_empty());
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn a_forwarding_canceller_may_fire_its_deferred() {
    let log = Log::new();
    let place = Rc::new(RefCell::new(None::<Resolver<u32>>));
    let own = place.clone();
    let probe = log.probe("listener dropped");
    let (deferred, resolver) = Deferred::<u32>::with_forwarding_canceller(move |_| {
        let _captured = &probe;
        if let Some(resolver) = own.take() {
            resolver.errback(App(4));
        }
    });
    *place.borrow_mut() = Some(resolver);
    let deferred = log.watch("saw", deferred);
    deferred.cancel();
    let mut lines = log.take();
    lines.sort();
    assert_eq!(lines, ["listener dropped", "saw App(4)"]);
    deferred.cancel();
    assert_eq!(take_text(deferred), "App(4)");
}

#[test]
fn a_forwarding_canceller_may_be_called_again_from_inside_itself() {
    let (log, handle) = (Log::new(), Rc::new(RefCell::new(None::<CancelHandle>)));
    let (heard, own) = (log.clone(), handle.clone());
    let (mut deferred, resolver) = Deferred::<u32>::with_forwarding_canceller(move |_| {
        heard.add("begins");
        // The callbacks of a Deferred that it cancels might do this.
        if let Some(handle) = own.take() {
            handle.cancel();
        }
        heard.add("ends");
    });
    *handle.borrow_mut() = Some(deferred.cancel_handle());
    deferred.cancel();
    assert_eq!(log.take(), ["begins", "begins", "ends", "ends"]);
    resolver.callback(1);
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn a_trapped_cancel_has_its_reason() {
    let reason = || Cancelled::because(Arc::new(App(8)));
    let log = Log::new();
    let seen = log.clone();
    let (deferred, _resolver) = Deferred::<u32>::new();
    let deferred = deferred.add_errback(move |failure| {
        let cancelled = failure.trap::<Cancelled>()?;
        seen.add(cancelled.reason().expect("given").to_string());
        Ok(0)
    });
    deferred.cancel_with(&reason());
    assert_eq!(log.take(), ["application error 8"]);
    assert_eq!(take_text(deferred), "0");

    let (mut deferred, _resolver) = Deferred::<u32>::with_canceller(|| None);
    deferred.cancel_handle().cancel_with(&reason());
    assert_eq!(take_text(deferred), "Cancelled(application error 8)");

    // The reason is forwarded to the inner Deferred.
    let (inner, _inner_resolver) = Deferred::<u32>::new();
    let outer = Deferred::succeed(()).add_callback(|()| inner).add_both(|result| result);
    outer.cancel_with(&reason());
    assert_eq!(take_text(outer), "Cancelled(application error 8)");
}

#[test]
fn a_waiting_deferred_forwards_the_cancel() {
    for taken_by_handle in [false, true] {
        for stages_after in [false, true] {
            for outer_is_ready in [false, true] {
                let log = Log::new();
                let events = log.clone();
                let (inner, inner_resolver) = Deferred::<u32>::with_canceller(move || {
                    events.add("inner's canceller");
                    None
                });
                let (mut outer, resolver) = Deferred::<()>::new();
                let early = (!outer_is_ready && taken_by_handle).then(|| outer.cancel_handle());
                if outer_is_ready {
                    outer = Deferred::succeed(());
                }
                let mut outer = outer.add_callback(|()| inner);
                if stages_after {
                    outer = log.watch("after", outer);
                }
                resolver.callback(());
                match early {
                    Some(handle) => handle.cancel(),
                    None if taken_by_handle => outer.cancel_handle().cancel(),
                    None => outer.cancel(),
                }
                let mut expected = vec!["inner's canceller"];
                expected.extend(stages_after.then_some("after Cancelled"));
                assert_eq!(log.take(), expected);
                assert!(inner_resolver.is_cancelled());
                assert_eq!(take_text(outer), "Cancelled");
            }
        }
    }
}

#[test]
fn a_forwarded_cancel_may_return_as_a_value() {
    let log = Log::new();
    let (inner, _inner_resolver) = Deferred::<u32>::new();
    let inner = inner.add_errback(|failure| {
        failure.trap::<Cancelled>()?;
        Ok(3)
    });
    let outer = log.watch("outer", Deferred::succeed(()).add_callback(|()| inner));
    outer.cancel();
    assert_eq!(log.take(), ["outer 3"]);
    assert_eq!(take_text(outer), "3");
}

#[test]
fn each_cancel_reaches_the_currently_awaited_deferred() {
    let log = Log::new();
    let source = |name: &'static str| {
        let events = log.clone();
        let (deferred, resolver) = Deferred::<u32>::with_canceller(move || {
            events.add(name);
            Some(Ok(0))
        });
        std::mem::forget(resolver);
        deferred
    };
    let (first, second, third) = (source("first"), source("second"), source("third"));
    let (mut outer, _resolver) = Deferred::<u32>::new();
    let handle = outer.cancel_handle();
    let outer = outer.add_errback(|_| first).add_callback(|_| second).add_callback(|_| third).map(|_| "the end");
    for expected in [&[][..], &["first"], &["second"], &["third"], &[]] {
        handle.cancel();
        assert_eq!(log.take(), expected);
    }
    assert_eq!(take_text(outer), "\"the end\"");
}

#[test]
fn a_cancel_while_waiting_does_not_affect_deferreds_that_it_does_not_fire() {
    // A forwarding canceller that fires nothing: the Deferred that waits keeps waiting.
    let (inner, inner_resolver) = Deferred::<u32>::with_forwarding_canceller(|_| ());
    let outer = Deferred::succeed(()).add_callback(|()| inner).map(|value| value + 1);
    outer.cancel();
    assert!(!outer.is_ready());
    inner_resolver.callback(1);
    assert_eq!(take_text(outer), "2");
}

#[test]
fn a_cancel_of_a_fired_deferred_does_nothing() {
    let deferred = Deferred::<u32>::succeed(1);
    deferred.cancel();
    deferred.cancel_with(&Cancelled::new());
    assert_eq!(take_text(deferred), "1");
    let mut deferred = Deferred::<u32>::succeed(1);
    deferred.cancel_handle().cancel();
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn a_cancel_of_a_fired_paused_deferred_does_nothing() {
    let log = Log::new();
    let (mut deferred, resolver) = Deferred::<u32>::with_canceller(|| unreachable!("it is fired"));
    let pause = deferred.pause();
    let deferred = log.watch("saw", deferred);
    resolver.callback(1);
    deferred.cancel();
    assert!(log.take().is_empty());
    pause.unpause();
    assert_eq!(log.take(), ["saw 1"]);
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn a_cancel_of_an_unfired_paused_deferred_takes_effect_when_it_is_unpaused() {
    let log = Log::new();
    let events = log.clone();
    let (mut deferred, resolver) = Deferred::<u32>::with_canceller(move || {
        events.add("canceller");
        None
    });
    let pause = deferred.pause();
    let deferred = log.watch("saw", deferred);
    deferred.cancel();
    assert_eq!(log.take(), ["canceller"]);
    assert!(resolver.is_cancelled());
    resolver.callback(3);
    pause.unpause();
    assert_eq!(log.take(), ["saw Cancelled"]);
    assert_eq!(take_text(deferred), "Cancelled");
}

#[test]
fn a_cancel_of_a_paused_waiting_deferred_goes_to_the_inner() {
    let log = Log::new();
    let events = log.clone();
    let (inner, _inner_resolver) = Deferred::<u32>::with_canceller(move || {
        events.add("inner's canceller");
        None
    });
    let (outer, resolver) = Deferred::<()>::new();
    let mut outer = log.watch("outer", outer.add_callback(|()| inner));
    resolver.callback(());
    let pause = outer.pause();
    outer.cancel();
    assert_eq!(log.take(), ["inner's canceller"]);
    assert_eq!(peek_text(&mut outer), "pending");
    pause.unpause();
    assert_eq!(log.take(), ["outer Cancelled"]);
    assert_eq!(take_text(outer), "Cancelled");
}

#[test]
fn a_cancel_inside_the_deferreds_own_callback_does_nothing() {
    let (log, shelf) = (Log::new(), deferred_cell::<u32>());
    let events = log.clone();
    let (inner, inner_resolver) = Deferred::<u32>::with_canceller(move || {
        events.add("inner's canceller");
        None
    });
    let (mut deferred, resolver) = Deferred::<u32>::new();
    let (handle, own) = (deferred.cancel_handle(), shelf.clone());
    *shelf.borrow_mut() = Some(deferred.add_callback(move |_| {
        handle.cancel();
        own.borrow().as_ref().unwrap().cancel();
        inner
    }));
    resolver.callback(1);
    // It does not cancel the inner Deferred of a later wait either.
    assert!(log.take().is_empty());
    let deferred = shelf.take().unwrap();
    assert!(!deferred.is_ready());
    inner_resolver.callback(2);
    assert_eq!(take_text(deferred), "2");
}

#[test]
fn a_cancel_inside_a_callback_of_the_inner_deferred_does_nothing() {
    let log = Log::new();
    let (inner, inner_resolver) = Deferred::<u32>::new();
    let handle = Rc::new(RefCell::new(None::<CancelHandle>));
    let (cancel, events) = (handle.clone(), log.clone());
    let inner = inner.add_callback(move |value| {
        cancel.borrow().as_ref().unwrap().cancel();
        events.add("inner goes on");
        Ok(value)
    });
    let (mut outer, resolver) = Deferred::<()>::new();
    *handle.borrow_mut() = Some(outer.cancel_handle());
    let outer = log.watch("outer", outer.add_callback(|()| inner));
    resolver.callback(());
    inner_resolver.callback(1);
    assert_eq!(log.take(), ["inner goes on", "outer 1"]);
    assert_eq!(take_text(outer), "1");
}

#[test]
fn cancelling_the_target_of_chain_deferred_does_not_cancel_its_source() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    for brings_an_error in [false, true] {
        let (source, source_resolver) = Deferred::<u32>::new();
        let (target, target_resolver) = Deferred::<u32>::new();
        source.chain_deferred(target_resolver);
        target.cancel();
        assert_eq!(take_text(target), "Cancelled");
        assert!(!source_resolver.is_cancelled());
        if brings_an_error {
            source_resolver.errback(App(1));
        } else {
            source_resolver.callback(1);
        }
        // A result that arrives too late is ignored and counts as handled.
        assert!(log.take().is_empty());
    }
}

#[test]
fn a_cancel_inside_anothers_callback_works_at_once() {
    let log = Log::new();
    let (deferred, resolver) = Deferred::<u32>::new();
    let deferred = log.watch("cancelled one", deferred);
    let (other, other_resolver) = Deferred::<()>::new();
    let events = log.clone();
    let other = other.map(move |()| {
        deferred.cancel();
        events.add("after the cancel");
        deferred
    });
    other_resolver.callback(());
    assert_eq!(log.take(), ["cancelled one Cancelled", "after the cancel"]);
    assert_eq!(take_text(other.try_take().unwrap().unwrap()), "Cancelled");
    drop(resolver);
}

#[test]
fn an_unhandled_cancel_after_a_drop_is_reported_as_cancelled() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (mut deferred, _resolver) = Deferred::<u32>::new();
    let handle = deferred.cancel_handle();
    drop(deferred);
    handle.cancel_with(&Cancelled::new());
    assert_eq!(log.take().len(), 1);
    assert_eq!(describe_failure(&Cancelled::new().into()), "Cancelled");
}
