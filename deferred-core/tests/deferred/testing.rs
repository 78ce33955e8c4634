//! The helpers of `testing`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use deferred_core::testing::{Reports, assert_no_result, checked, failure_result_of, success_result_of};
use deferred_core::{Deferred, Failure};

/// Returns the message of the panic of `f`.
fn panic_of(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it panics");
    payload.downcast_ref::<String>().cloned().unwrap_or_else(|| payload.downcast_ref::<&str>().unwrap().to_string())
}

#[test]
fn success_result_of_panics_with_the_state_of_the_deferred() {
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
fn a_pending_timed_call_is_reported_with_its_location() {
    let left = panic_of(|| {
        checked(|clock| drop(clock.call_later(Duration::from_secs(1), || ())));
    });
    assert!(left.starts_with("timed calls are still pending at the end of the test, registered at "), "{left}");
    assert!(left.contains("testing.rs"), "{left}");
}

#[test]
fn an_unhandled_error_is_reported() {
    let message = panic_of(|| checked(|_| drop(Deferred::<u32>::fail(Failure::msg("not handled")))));
    assert!(
        message.starts_with("1 reports since ") && message.contains(" that the test did not expect:\nunhandled error:"),
        "{message}"
    );
    assert!(message.contains("not handled"), "{message}");
}

#[test]
fn deferreds_that_the_clock_abandons_count_too() {
    let message = panic_of(|| {
        checked(|clock| {
            let (deferred, _resolver) = clock.remote::<u32>();
            drop(deferred);
            std::mem::forget(_resolver);
        });
    });
    assert!(message.contains("abandoned"), "{message}");
}

#[test]
fn a_clean_test_returns_its_value_and_a_panic_propagates() {
    assert_eq!(checked(|_| 5), 5);
    let own = panic_of(|| {
        checked(|clock| -> () {
            clock.call_later(Duration::from_secs(1), || ());
            drop(Deferred::<u32>::fail(Failure::msg("not handled")));
            panic!("the test's own")
        });
    });
    assert_eq!(own, "the test's own");
}

#[test]
fn errors_are_collected_and_those_not_taken_panic() {
    let errors = Reports::collect();
    drop(Deferred::<u32>::fail(Failure::msg("first")));
    assert_eq!(errors.take().len(), 1);
    drop(Deferred::<u32>::fail(Failure::msg("second")));
    assert!(panic_of(|| drop(errors)).contains("second"));
}
