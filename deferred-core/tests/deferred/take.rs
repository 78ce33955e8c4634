//! Inspecting and taking a result without waiting.

use crate::support::{App, Log, describe, ignore_unhandled, peek_text, take_text, unhandled_into};
use deferred_core::{Cancelled, Deferred, Failure};

#[test]
fn a_result_can_be_inspected_without_taking_it() {
    let _quiet = ignore_unhandled();
    let (mut deferred, resolver) = Deferred::<String>::new();
    assert!(!deferred.is_ready() && deferred.peek().is_none());
    resolver.callback("text".into());
    assert!(deferred.is_ready());
    assert_eq!(deferred.peek().unwrap().unwrap(), "text");
    assert_eq!(deferred.peek().unwrap().unwrap(), "text");
    assert!(deferred.is_ready());
    assert_eq!(deferred.try_take().unwrap().unwrap(), "text");
    assert_eq!(peek_text(&mut Deferred::<u32>::fail(App(1))), "App(1)");
    assert!(Deferred::succeed(1).is_ready());
}

#[test]
fn taking_from_a_pending_deferred_returns_it_unchanged() {
    let log = Log::new();
    let (deferred, resolver) = Deferred::<u32>::new();
    let deferred = log.watch("before", deferred).try_take().expect_err("it is pending");
    let deferred = log.watch("after", deferred).try_take().expect_err("it is pending");
    resolver.callback(1);
    assert_eq!(log.take(), ["before 1", "after 1"]);
    assert_eq!(take_text(deferred), "1");
}

/// Returns the events of `go_on` on a Deferred that was not inspected, and on one that was.
fn with_and_without_peek(go_on: impl Fn(Deferred<u32>) -> Vec<String>) -> [Vec<String>; 2] {
    [false, true].map(|looked| {
        let (mut deferred, resolver) = Deferred::<u32>::new();
        let _handle = deferred.cancel_handle();
        let mut deferred = deferred.map(|n| n + 1);
        resolver.callback(1);
        if looked {
            assert_eq!(deferred.peek().unwrap().unwrap(), &2);
        }
        go_on(deferred)
    })
}

#[test]
fn peeking_changes_nothing() {
    let [unseen, seen] = with_and_without_peek(|deferred| vec![take_text(deferred.map(|n| n * 10))]);
    assert_eq!((&*unseen[0], &*seen[0]), ("20", "20"));

    let [unseen, seen] = with_and_without_peek(|mut deferred| {
        let pause = deferred.pause();
        let mut deferred = deferred.map(|n| n * 10);
        let held = peek_text(&mut deferred);
        pause.unpause();
        vec![held, take_text(deferred)]
    });
    assert_eq!((&unseen, &seen), (&vec!["pending".to_owned(), "20".to_owned()], &unseen));

    let [unseen, seen] =
        with_and_without_peek(|deferred| vec![take_text(Deferred::succeed(()).add_callback(|()| deferred))]);
    assert_eq!((&*unseen[0], &*seen[0]), ("2", "2"));

    let [unseen, seen] = with_and_without_peek(|deferred| {
        let (target, resolver) = Deferred::new();
        deferred.chain_deferred(resolver);
        vec![take_text(target)]
    });
    assert_eq!((&*unseen[0], &*seen[0]), ("2", "2"));
}

#[test]
fn handles_stay_valid_after_peeking() {
    let _quiet = ignore_unhandled();
    let (mut deferred, resolver) = Deferred::<u32>::new();
    let handle = deferred.cancel_handle();
    resolver.callback(1);
    assert_eq!(peek_text(&mut deferred), "1");
    handle.cancel();
    assert_eq!(peek_text(&mut deferred), "1");
    let (inner, inner_resolver) = Deferred::<u32>::new();
    let deferred = deferred.add_callback(|_| inner);
    handle.cancel();
    assert!(inner_resolver.is_cancelled());
    assert_eq!(take_text(deferred), "Cancelled");
}

#[test]
fn an_error_that_was_only_inspected_is_reported() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (mut deferred, resolver) = Deferred::<u32>::new();
    resolver.errback(App(1));
    assert_eq!(describe(deferred.peek().unwrap()), "App(1)");
    assert!(log.take().is_empty());
    drop(deferred);
    assert_eq!(log.take(), ["unhandled App(1)"]);
    let _ = Deferred::<u32>::fail(App(2)).try_take().unwrap();
    assert!(log.take().is_empty());
}

#[test]
fn a_cancelled_result_can_be_taken() {
    let (deferred, _resolver) = Deferred::<u32>::new();
    deferred.cancel();
    let failure: Failure = deferred.try_take().unwrap().unwrap_err();
    assert!(failure.trap::<Cancelled>().is_ok());
}
