//! `add_timeout`.

use std::time::Duration;

use deferred_core::{BuiltinError, Cancelled, Clock, Deferred, DeferredError, Failure, TimedOut};

use crate::secs;
use crate::support::{App, Log, ignore_unhandled, take_text};

#[test]
fn a_deferred_that_takes_too_long_is_cancelled_and_times_out() {
    let (clock, log) = (Clock::new(), Log::new());
    let seen = log.clone();
    let (deferred, resolver) = Deferred::<u32>::with_canceller(move || {
        seen.add("canceller");
        None
    });
    let deferred = deferred.add_timeout(secs(3), &clock);
    clock.advance(secs(2));
    assert!(!deferred.is_ready());
    clock.advance(secs(1));
    assert!(resolver.is_cancelled());
    let failure = deferred.try_take().unwrap().unwrap_err();
    assert_eq!(failure.downcast_ref::<TimedOut>().unwrap().duration(), Some(secs(3)));
    assert_eq!(log.take(), ["canceller"]);
}

#[test]
fn a_result_in_time_cancels_the_timer() {
    let clock = Clock::new();
    for outcome in [Ok(1), Err(App(1))] {
        let (deferred, resolver) = Deferred::<u32>::new();
        let deferred = deferred.add_timeout(secs(3), &clock);
        let rest = Log::new();
        let held = rest.probe("dropped");
        let deferred = deferred.add_both(move |result| {
            drop(held);
            result
        });
        resolver.fire(outcome.map_err(Failure::from));
        clock.advance(secs(3));
        let want = outcome.map_or_else(|error| format!("{error:?}"), |value| value.to_string());
        assert_eq!(take_text(deferred), want);
        assert_eq!(rest.take(), ["dropped"]);
    }
    assert_eq!(take_text(Deferred::succeed(1).add_timeout(Duration::ZERO, &clock)), "1");
}

#[test]
fn only_the_timeouts_own_cancel_is_converted() {
    let clock = Clock::new();
    let (deferred, _resolver) = Deferred::<u32>::new();
    let deferred = deferred.add_timeout(secs(3), &clock);
    deferred.cancel();
    clock.advance(secs(3));
    assert_eq!(take_text(deferred), "Cancelled");

    // The canceller decides the result.
    let (deferred, _resolver) = Deferred::<u32>::with_canceller(|| Some(Ok(7)));
    let deferred = deferred.add_timeout(secs(3), &clock);
    clock.advance(secs(3));
    assert_eq!(take_text(deferred), "7");
}

#[test]
fn a_timeout_reaches_earlier_callbacks_and_the_inner_deferred() {
    let (clock, log) = (Clock::new(), Log::new());
    let (inner, inner_resolver) = Deferred::<u32>::new();
    let deferred = log.watch("before", Deferred::succeed(1).add_callback(|_| inner)).add_timeout(secs(1), &clock);
    clock.advance(secs(1));
    assert!(inner_resolver.is_cancelled());
    assert_eq!(log.take(), [format!("before Cancelled({})", TimedOut::after(secs(1)))]);
    assert!(deferred.try_take().unwrap().unwrap_err().check::<TimedOut>());
}

#[test]
fn the_shorter_of_two_wins() {
    let clock = Clock::new();
    for (inner, outer) in [(1, 5), (5, 1)] {
        let (deferred, _resolver) = Deferred::<u32>::new();
        let deferred = deferred.add_timeout(secs(inner), &clock).add_timeout(secs(outer), &clock);
        clock.advance(secs(1));
        let failure = deferred.try_take().unwrap().unwrap_err();
        assert_eq!(failure.downcast_ref::<TimedOut>().unwrap().duration(), Some(secs(1)));
        clock.advance(secs(5));
    }
}

#[test]
fn a_user_error_type_returns_its_builtin_error() {
    #[derive(Debug)]
    struct UserError(BuiltinError);
    impl From<BuiltinError> for UserError {
        fn from(builtin: BuiltinError) -> Self {
            UserError(builtin)
        }
    }
    impl DeferredError for UserError {
        fn builtin(&self) -> Option<&BuiltinError> {
            Some(&self.0)
        }
    }
    let clock = Clock::new();
    let (deferred, _resolver) = Deferred::<u32, UserError>::typed();
    let deferred = deferred.add_timeout(secs(1), &clock);
    clock.advance(secs(1));
    assert!(matches!(deferred.try_take().unwrap(), Err(UserError(BuiltinError::TimedOut(_)))));
}

#[test]
fn a_closed_reactor_has_no_time() {
    let _quiet = ignore_unhandled();
    let clock = Clock::new();
    let (before, one) = Deferred::<u32>::new();
    let before = before.add_timeout(secs(1), &clock);
    clock.close();
    let (after, two) = Deferred::<u32>::new();
    let after = after.add_timeout(Duration::ZERO, &clock);
    assert!(!before.is_ready() && !after.is_ready());
    one.callback(1);
    two.errback(Cancelled::new());
    assert_eq!((take_text(before), take_text(after)), ("1".into(), "Cancelled".into()));
}

#[test]
fn a_cancel_after_the_time_has_passed_is_converted_and_an_earlier_one_is_not() {
    for (decides, arrives) in [(None, "Cancelled(timed out after 3s)"), (Some(7), "7")] {
        let (clock, log) = (Clock::new(), Log::new());
        let seen = log.clone();
        let (deferred, _resolver) = Deferred::<u32>::with_canceller(move || decides.map(Ok));
        let deferred = deferred.add_timeout_with(secs(3), &clock, move |result| {
            seen.add(crate::support::describe(result.as_ref()));
            Ok(9)
        });
        clock.advance(secs(3));
        assert_eq!(log.take(), [arrives]);
        assert_eq!(take_text(deferred), "9");
    }
    let clock = Clock::new();
    let (deferred, resolver) = Deferred::<u32>::new();
    let deferred = deferred.add_timeout_with(secs(3), &clock, |_| Ok(9));
    resolver.errback(App(1));
    assert_eq!(take_text(deferred), "App(1)");
    assert!(clock.delayed_calls().is_empty());
}
