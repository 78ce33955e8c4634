//! `add_finally` keeps the result, and waits for the Deferred that its function returns.

use crate::support::{App, Log, ignore_unhandled, take_text, unhandled_into};
use deferred_core::{Deferred, Failure};

#[test]
fn a_finally_waits_for_its_deferred_before_the_result_continues() {
    let _quiet = ignore_unhandled();
    for (result, expected) in [(Ok(1), "1"), (Err(App(1)), "App(1)")] {
        for ready in [false, true] {
            let log = Log::new();
            let (closing, closed) = Deferred::<()>::new();
            let closing = log.watch("closing", closing);
            let (deferred, resolver) = Deferred::<u32>::new();
            let deferred = if ready { Deferred::from(result.map_err(Failure::from)) } else { deferred };
            let deferred = log.watch("outcome", deferred.add_finally(move || closing));
            resolver.fire(result.map_err(Failure::from));
            assert!(log.take().is_empty());
            assert!(!deferred.is_ready());
            closed.callback(());
            assert_eq!(log.take(), ["closing ()".to_owned(), format!("outcome {expected}")]);
            assert_eq!(take_text(deferred), expected);
        }
    }
}

#[test]
fn the_error_of_a_finally_replaces_a_value_and_is_reported_beside_an_error() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    for (result, outcome, events) in [(Ok(1), "App(9)", &[][..]), (Err(App(1)), "App(1)", &["unhandled App(9)"][..])] {
        let (closing, closed) = Deferred::<()>::new();
        let deferred = Deferred::<u32>::from(result.map_err(Failure::from)).add_finally(|| closing);
        closed.errback(App(9));
        assert_eq!(take_text(deferred), outcome);
        assert_eq!(log.take(), events);

        let deferred = Deferred::<u32>::from(result.map_err(Failure::from)).add_finally(|| Err::<(), _>(App(9).into()));
        assert_eq!(take_text(deferred), outcome);
        assert_eq!(log.take(), events);
    }
}

#[test]
fn a_panic_of_a_finally_counts_as_its_error() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    for (result, outcome, events) in
        [(Ok(1), "Panicked(close)", &[][..]), (Err(App(1)), "App(1)", &["unhandled Panicked"][..])]
    {
        let deferred = Deferred::<u32>::from(result.map_err(Failure::from))
            .add_finally(|| -> Result<(), Failure> { panic!("close") });
        assert_eq!(take_text(deferred), outcome);
        assert_eq!(log.take(), events);
    }
}

#[test]
fn a_cancel_while_a_finally_waits_goes_to_its_deferred() {
    let _quiet = ignore_unhandled();
    for ready in [false, true] {
        let log = Log::new();
        let heard = log.clone();
        let (closing, closed) = Deferred::<()>::with_forwarding_canceller(move |_| heard.add("heard"));
        let (pending, resolver) = Deferred::<u32>::new();
        let deferred = if ready { Deferred::succeed(1) } else { pending };
        let deferred = deferred.add_finally(|| closing);
        resolver.callback(1);
        deferred.cancel();
        assert_eq!(log.take(), ["heard"]);
        closed.callback(());
        assert_eq!(take_text(deferred), "1");
    }
}

#[test]
fn a_finally_runs_after_a_cancel_and_after_a_panic() {
    let log = Log::new();
    let events = log.clone();
    let (deferred, _resolver) = Deferred::<u32>::new();
    let deferred = deferred.add_finally(move || {
        events.add("finally");
        Ok(())
    });
    deferred.cancel();
    assert_eq!(log.take(), ["finally"]);
    assert_eq!(take_text(deferred), "Cancelled");
    let events = log.clone();
    let deferred = Deferred::succeed(1).map(|_| -> u32 { panic!("here") }).add_finally(move || {
        events.add("finally");
        Deferred::succeed(())
    });
    assert_eq!(log.take(), ["finally"]);
    assert_eq!(take_text(deferred), "Panicked(here)");
}

#[test]
fn several_finallys_run_in_the_order_they_were_added() {
    let log = Log::new();
    let (mut deferred, resolver) = Deferred::<u32>::new();
    let mut closed = Vec::new();
    for name in ["first", "second", "third"] {
        let (closing, resolver) = Deferred::<u32>::new();
        let events = log.clone();
        deferred = deferred.add_finally(move || {
            events.add(name);
            closing
        });
        closed.push(resolver);
    }
    resolver.callback(1);
    assert_eq!(log.take(), ["first"]);
    let mut closed = closed.into_iter();
    closed.next().unwrap().callback(0);
    assert_eq!(log.take(), ["second"]);
    closed.next().unwrap().callback(0);
    assert_eq!(log.take(), ["third"]);
    assert!(!deferred.is_ready());
    closed.next().unwrap().callback(0);
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn the_result_that_a_finally_keeps_is_dropped_once() {
    let _quiet = ignore_unhandled();
    for fails in [false, true] {
        for ready in [false, true] {
            for taken_afterwards in [false, true] {
                let log = Log::new();
                let (closing, closed) = Deferred::<[u64; 30]>::new();
                let (pending, resolver) = Deferred::<crate::support::Probe>::new();
                let deferred = if ready { Deferred::succeed(log.probe("value")) } else { pending };
                let deferred = deferred.add_finally(|| closing);
                if !ready {
                    resolver.callback(log.probe("value"));
                }
                let kept = taken_afterwards.then_some(deferred);
                assert!(log.take().is_empty());
                if fails {
                    closed.errback(App(1))
                } else {
                    closed.callback([0; 30])
                }
                assert_eq!(log.take().len(), usize::from(fails || !taken_afterwards));
                drop(kept);
                assert_eq!(log.take().len(), usize::from(!fails && taken_afterwards));
            }
        }
    }
}

#[test]
fn a_recursive_finally_ends_with_the_first_result() {
    fn down(left: u32) -> Deferred<u32> {
        Deferred::succeed(left).add_finally(move || if left == 0 { Deferred::succeed(0) } else { down(left - 1) })
    }
    assert_eq!(take_text(down(50)), "50");
}
