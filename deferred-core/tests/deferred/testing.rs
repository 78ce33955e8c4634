//! The helpers for tests of one's own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use deferred_core::testing::{UnhandledErrors, assert_no_result, checked, failure_result_of, success_result_of};
use deferred_core::{Deferred, Failure};

/// What a panic says.
fn panic_of(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it panics");
    payload.downcast_ref::<String>().cloned().unwrap_or_else(|| payload.downcast_ref::<&str>().unwrap().to_string())
}

#[test]
fn results_are_there_at_once_or_it_says_what_is() {
    assert_eq!(success_result_of(Deferred::succeed(1)), 1);
    assert_eq!(failure_result_of(Deferred::<u32>::fail(Failure::msg("no"))).to_string(), "no");
    let failed = panic_of(|| assert_eq!(success_result_of(Deferred::<u32>::fail(Failure::msg("no"))), 0));
    assert!(failed.starts_with("expected a success, but the Deferred failed: no"), "{failed}");
    let succeeded = panic_of(|| drop(failure_result_of(Deferred::succeed(7))));
    assert_eq!(succeeded, "expected a failure, but the Deferred succeeded: 7");
    let (pending, _resolver) = Deferred::<u32>::new();
    let pending = panic_of(|| assert_eq!(success_result_of(pending), 0));
    assert!(pending.starts_with("expected a success, but the Deferred is not ready: Deferred {"), "{pending}");
}

#[test]
fn no_result_is_seen_and_left() {
    let (mut deferred, resolver) = Deferred::<u32>::new();
    assert_no_result(&mut deferred);
    resolver.callback(1);
    assert_eq!(panic_of(|| assert_no_result(&mut deferred)), "expected no result, but the Deferred is ready: Ok(1)");
    assert_eq!(success_result_of(deferred), 1);
}

#[test]
fn a_timed_call_that_is_left_behind_is_named() {
    let left = panic_of(|| {
        checked(|clock| drop(clock.call_later(Duration::from_secs(1), || ())));
    });
    assert!(left.starts_with("timed calls were left behind, registered at "), "{left}");
    assert!(left.contains("testing.rs"), "{left}");
}

#[test]
fn an_error_that_nobody_handled_is_told() {
    let told = panic_of(|| checked(|_| drop(Deferred::<u32>::fail(Failure::msg("nobody looked")))));
    assert!(told.starts_with("unhandled errors:"), "{told}");
    assert!(told.contains("nobody looked"), "{told}");
}

#[test]
fn what_the_clock_abandons_at_the_end_counts_too() {
    let told = panic_of(|| {
        checked(|clock| {
            let (deferred, _resolver) = clock.remote::<u32>();
            drop(deferred);
            std::mem::forget(_resolver);
        });
    });
    assert!(told.contains("abandoned"), "{told}");
}

#[test]
fn a_clean_test_gives_its_value_and_a_panic_of_the_test_is_passed_on() {
    assert_eq!(checked(|_| 5), 5);
    let own = panic_of(|| {
        checked(|clock| -> () {
            clock.call_later(Duration::from_secs(1), || ());
            drop(Deferred::<u32>::fail(Failure::msg("nobody looked")));
            panic!("the test's own")
        });
    });
    assert_eq!(own, "the test's own");
}

#[test]
fn errors_are_collected_and_those_not_taken_panic() {
    let errors = UnhandledErrors::collect();
    drop(Deferred::<u32>::fail(Failure::msg("first")));
    assert_eq!(errors.take().len(), 1);
    drop(Deferred::<u32>::fail(Failure::msg("second")));
    assert!(panic_of(|| drop(errors)).contains("second"));
}
