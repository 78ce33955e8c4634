//! `add_timeout`.

use std::time::Duration;

use deferred_core::{BuiltinError, Cancelled, Clock, Deferred, DeferredError, Failure, TimedOut};

use crate::secs;
use crate::support::{App, Log, quietly, taken};

#[test]
fn what_takes_too_long_is_cancelled_and_has_timed_out() {
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
fn what_comes_in_time_stays_and_its_timer_goes() {
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
        assert_eq!(taken(deferred), want);
        assert_eq!(rest.take(), ["dropped"]);
    }
    assert_eq!(taken(Deferred::succeed(1).add_timeout(Duration::ZERO, &clock)), "1");
}

#[test]
fn only_the_timeouts_own_cancel_is_converted() {
    let clock = Clock::new();
    let (deferred, _resolver) = Deferred::<u32>::new();
    let deferred = deferred.add_timeout(secs(3), &clock);
    deferred.cancel();
    clock.advance(secs(3));
    assert_eq!(taken(deferred), "Cancelled");

    // The canceller has an answer of its own.
    let (deferred, _resolver) = Deferred::<u32>::with_canceller(|| Some(Ok(7)));
    let deferred = deferred.add_timeout(secs(3), &clock);
    clock.advance(secs(3));
    assert_eq!(taken(deferred), "7");
}

#[test]
fn it_reaches_what_was_added_before_and_a_deferred_that_is_waited_for() {
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
fn an_error_type_of_the_users_own_tells_its_interrupt() {
    #[derive(Debug)]
    struct Own(BuiltinError);
    impl From<BuiltinError> for Own {
        fn from(builtin: BuiltinError) -> Self {
            Own(builtin)
        }
    }
    impl DeferredError for Own {
        fn builtin(&self) -> Option<&BuiltinError> {
            Some(&self.0)
        }
    }
    let clock = Clock::new();
    let (deferred, _resolver) = Deferred::<u32, Own>::typed();
    let deferred = deferred.add_timeout(secs(1), &clock);
    clock.advance(secs(1));
    assert!(matches!(deferred.try_take().unwrap(), Err(Own(BuiltinError::TimedOut(_)))));
}

#[test]
fn a_closed_reactor_has_no_time() {
    let _quiet = quietly();
    let clock = Clock::new();
    let (before, one) = Deferred::<u32>::new();
    let before = before.add_timeout(secs(1), &clock);
    clock.close();
    let (after, two) = Deferred::<u32>::new();
    let after = after.add_timeout(Duration::ZERO, &clock);
    assert!(!before.is_ready() && !after.is_ready());
    one.callback(1);
    two.errback(Cancelled::new());
    assert_eq!((taken(before), taken(after)), ("1".into(), "Cancelled".into()));
}

#[test]
fn what_arrives_once_the_time_has_passed_is_converted_and_what_comes_in_time_is_not() {
    for (decides, arrives) in [(None, "Cancelled(timed out after 3s)"), (Some(7), "7")] {
        let (clock, log) = (Clock::new(), Log::new());
        let seen = log.clone();
        let (deferred, _resolver) = Deferred::<u32>::with_canceller(move || decides.map(Ok));
        let deferred = deferred.add_timeout_with(secs(3), &clock, move |result| {
            seen.add(crate::support::told(result.as_ref()));
            Ok(9)
        });
        clock.advance(secs(3));
        assert_eq!(log.take(), [arrives]);
        assert_eq!(taken(deferred), "9");
    }
    let clock = Clock::new();
    let (deferred, resolver) = Deferred::<u32>::new();
    let deferred = deferred.add_timeout_with(secs(3), &clock, |_| Ok(9));
    resolver.errback(App(1));
    assert_eq!(taken(deferred), "App(1)");
    assert!(clock.delayed_calls().is_empty());
}
