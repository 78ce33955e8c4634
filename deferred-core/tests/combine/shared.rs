//! `share` and `shield`.

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;

use deferred_core::testing::failure_result_of;
use deferred_core::{BuiltinError, Cancelled, Deferred, Failure, gather, race};

use crate::support::{App, Caused, Log, ignore_unhandled, peek_text, take_text, unhandled_into};

#[test]
fn observers_fire_in_order_and_later_ones_at_once() {
    for fails in [false, true] {
        let log = Log::new();
        let (deferred, resolver) = Deferred::<u32>::new();
        let shared = deferred.share();
        let waiting = ["a", "b", "c"].map(|name| log.watch(name, shared.observe()));
        assert_eq!((shared.observers(), shared.is_ready()), (3, false));
        if fails {
            resolver.errback(App(1))
        } else {
            resolver.callback(1)
        }
        let outcome = if fails { "App(1)" } else { "1" };
        assert_eq!(log.take(), ["a", "b", "c"].map(|name| format!("{name} {outcome}")));
        assert!(shared.is_ready());
        assert_eq!(take_text(shared.observe()), outcome);
        assert!(waiting.map(take_text).iter().all(|result| result == outcome));
    }
}

#[test]
fn a_ready_deferred_can_be_shared() {
    assert_eq!(take_text(Deferred::succeed(1).share().observe()), "1");
    assert_eq!(take_text(Deferred::<u32>::fail(App(1)).share().observe()), "App(1)");
}

#[test]
fn each_observer_of_an_error_has_the_original_and_its_own_trail() {
    let shared = Deferred::<u32>::fail(App(1)).share();
    let (one, other) = (shared.observe(), shared.observe());
    let before = one.try_take().unwrap().unwrap_err();
    let other = other.add_both(|result| result).try_take().unwrap().unwrap_err();
    assert_eq!(other.trail().total(), before.trail().total() + 1);
    assert_eq!((before.downcast_ref(), other.to_string().as_str()), (Some(&App(1)), "application error 1"));
    let trapped = before.trap::<App>().unwrap();
    let trapped = trapped.into_inner().expect_err("others share it");
    drop((shared, other));
    assert_eq!(trapped.into_inner().expect("the last one"), App(1));
}

#[test]
fn an_error_that_is_shared_again_keeps_the_original() {
    let first = Deferred::<u32>::fail(App(1)).share();
    let before = first.observe().try_take().unwrap().unwrap_err();
    let second = first.observe().add_both(|result| result).share();
    let failure = second.observe().try_take().unwrap().unwrap_err();
    assert!(failure.check::<App>());
    assert_eq!(failure.trail().total(), before.trail().total() + 1);
    let boxed: Box<dyn Error> = failure.into();
    assert_eq!(boxed.to_string(), "application error 1");
}

#[test]
fn a_shared_error_keeps_its_cause() {
    for reason in [None, Some(App(1))] {
        let cancelled = reason.map_or_else(Cancelled::new, |app| Cancelled::because(Caused(app)));
        let shared = Deferred::<u32>::fail(cancelled).share();
        let boxed: Box<dyn Error> = shared.observe().try_take().unwrap().unwrap_err().into();
        assert_eq!(boxed.source().and_then(|source| source.downcast_ref::<App>()), reason.as_ref());
    }
}

#[test]
fn a_shared_builtin_error_is_still_a_builtin_error() {
    let shared = Deferred::<u32>::fail(Cancelled::new()).share();
    let failure = shared.observe().try_take().unwrap().unwrap_err();
    assert!(failure.check::<Cancelled>());
    assert!(matches!(deferred_core::DeferredError::builtin(&failure), Some(BuiltinError::Cancelled(_))));
}

#[test]
fn the_source_is_cancelled_only_when_all_have_cancelled() {
    let cancelled = Rc::new(Cell::new(0));
    let count = cancelled.clone();
    let (deferred, resolver) = Deferred::<u32>::with_canceller(move || {
        count.set(count.get() + 1);
        None
    });
    let shared = deferred.share();
    let (one, other) = (shared.observe(), shared.observe());
    one.cancel();
    assert_eq!((take_text(one).as_str(), cancelled.get()), ("Cancelled", 0));
    other.cancel();
    assert_eq!((take_text(other).as_str(), cancelled.get()), ("Cancelled", 1));
    assert!(resolver.is_cancelled());
    let late = shared.observe();
    assert_eq!(take_text(late), "Cancelled(all observers have cancelled)");
}

#[test]
fn an_observer_added_before_the_last_cancel_keeps_the_source_running() {
    let (deferred, resolver) = Deferred::<u32>::new();
    let shared = deferred.share();
    let one = shared.observe();
    let other = shared.observe();
    one.cancel();
    drop(one);
    resolver.callback(1);
    assert_eq!(take_text(other), "1");
}

#[test]
fn an_unobserved_error_is_reported() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (deferred, resolver) = Deferred::<u32>::new();
    let shared = deferred.share();
    resolver.errback(App(1));
    assert!(log.take().is_empty());
    drop(shared);
    assert_eq!(log.take(), ["unhandled App(1)"]);

    let shared = Deferred::<u32>::fail(App(2)).share();
    drop(shared.observe());
    assert_eq!(log.take(), ["unhandled App(2)"], "of the observer");
    drop(shared);
    assert!(log.take().is_empty());
}

#[test]
fn an_observed_error_is_the_observers_to_handle() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (deferred, resolver) = Deferred::<u32>::new();
    let shared = deferred.share();
    let observer = shared.observe();
    resolver.errback(App(1));
    assert_eq!(take_text(observer), "App(1)");
    drop(shared);
    assert!(log.take().is_empty());
}

#[test]
fn a_panic_of_clone_is_the_error_of_that_observer_only() {
    #[derive(Debug)]
    struct PanicOnClone(bool);
    impl Clone for PanicOnClone {
        fn clone(&self) -> Self {
            assert!(!self.0, "not to be cloned");
            PanicOnClone(self.0)
        }
    }
    let (deferred, resolver) = Deferred::new();
    let shared = deferred.share();
    let one = shared.observe();
    resolver.callback(PanicOnClone(true));
    assert_eq!(take_text(one), "Panicked(not to be cloned)");
    assert_eq!(take_text(shared.observe()), "Panicked(not to be cloned)");
}

#[test]
fn a_million_nested_shared_deferreds_need_no_stack() {
    let many = if cfg!(debug_assertions) { 50_000 } else { 500_000 };
    let (mut deferred, resolver) = Deferred::<u32>::new();
    for _ in 0..many {
        let shared = deferred.share();
        let _second = shared.observe();
        deferred = shared.observe();
    }
    resolver.callback(1);
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn a_shield_stops_a_cancel_and_the_later_result_counts_as_handled() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    for fails in [false, true] {
        let (deferred, resolver) = Deferred::<u32>::new();
        let shielded = log.watch("inside", deferred).shield();
        shielded.cancel();
        assert_eq!(take_text(shielded), "Cancelled");
        assert!(!resolver.is_cancelled());
        if fails {
            resolver.errback(App(1))
        } else {
            resolver.callback(1)
        }
        assert_eq!(log.take(), [if fails { "inside App(1)" } else { "inside 1" }]);
    }
    let (deferred, resolver) = Deferred::<u32>::new();
    let mut shielded = deferred.shield();
    assert_eq!(peek_text(&mut shielded), "pending");
    resolver.callback(1);
    assert_eq!(take_text(shielded), "1");
    assert_eq!(take_text(Deferred::succeed(2).shield()), "2");
}

#[test]
fn cancelling_all_observers_of_a_source_that_ignores_it_leaves_it_running() {
    let _quiet = ignore_unhandled();
    let (deferred, resolver) = Deferred::<u32>::with_forwarding_canceller(|_| ());
    let shared = deferred.share();
    shared.observe().cancel();
    resolver.callback(1);
    assert_eq!(take_text(shared.observe()), "1");
}

#[test]
fn an_error_after_all_have_cancelled_is_reported_unless_it_is_their_cancel() {
    for (decides, expected) in [(true, vec!["unhandled App(1)"]), (false, vec![])] {
        let log = Log::new();
        let _hook = unhandled_into(&log);
        let (source, _resolver) = Deferred::<u32>::with_canceller(move || decides.then(|| Err(Failure::from(App(1)))));
        let shared = source.share();
        let observer = shared.observe();
        observer.cancel();
        assert_eq!(take_text(observer), "Cancelled");
        assert!(shared.is_ready());
        drop(shared);
        assert_eq!(log.take(), expected);
    }
}

#[test]
fn the_errors_of_a_group_can_be_shared() {
    let failing = || [Deferred::fail(Failure::msg("one")), Deferred::<u32>::fail(Failure::msg("two"))];
    let gathered = gather(failing()).share();
    for _ in 0..2 {
        let first = failure_result_of(gathered.observe());
        assert_eq!((first.index, first.error.to_string()), (Some(0), "one".to_owned()));
    }
    let raced = race(failing()).share();
    for _ in 0..2 {
        let group = failure_result_of(raced.observe());
        let texts: Vec<_> = group.errors().iter().map(ToString::to_string).collect();
        assert_eq!((texts, group.is_whole()), (vec!["one".to_owned(), "two".to_owned()], false));
    }
}
