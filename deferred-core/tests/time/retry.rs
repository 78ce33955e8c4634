//! `Reactor::retry` and `Backoff`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use deferred_core::{Abandoned, Backoff, Clock, Deferred, Failure, Reactor, Resolver, context};

use crate::secs;
use crate::support::{App, Log, take_text};

/// Returns the times of the attempts in seconds, all of which fail, and the final result.
fn moments(backoff: Backoff, until: u64) -> (Vec<f64>, String) {
    let clock = Clock::new();
    let begun = clock.now();
    let moments = Rc::new(RefCell::new(Vec::new()));
    let (seen, time) = (moments.clone(), clock.clone());
    let result = clock.retry(backoff, move |attempt| {
        seen.borrow_mut().push((time.now() - begun).as_secs_f64());
        Err::<(), _>(App(attempt).into())
    });
    clock.advance_in_steps(secs(until));
    (moments.take(), take_text(result))
}

#[test]
fn waits_grow_up_to_the_limit() {
    let backoff = Backoff::new(secs(1)).jitter(0.0).max_delay(secs(5)).max_attempts(6);
    assert_eq!(moments(backoff, 100), (vec![0.0, 1.0, 3.0, 7.0, 12.0, 17.0], "App(5)".into()));
    let even = Backoff::new(secs(2)).jitter(0.0).factor(1.0).max_attempts(3);
    assert_eq!(moments(even, 100), (vec![0.0, 2.0, 4.0], "App(2)".into()));
    assert_eq!(moments(Backoff::new(secs(1)).max_attempts(0), 9), (vec![0.0], "App(0)".into()));
    assert_eq!(moments(Backoff::new(secs(1)).jitter(0.0), 8).1, "pending");
}

#[test]
fn jitter_shortens_waits_at_random_and_reproducibly_by_seed() {
    let backoff = |seed| Backoff::new(secs(8)).factor(1.0).jitter(0.25).max_attempts(50).seed(seed);
    let waits = |seed| {
        let (moments, _) = moments(backoff(seed), 1000);
        moments.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>()
    };
    for seed in [0, 1, 2, 4242, u64::MAX] {
        let waits = waits(seed);
        assert!(waits.iter().all(|wait| (6.0 - 1e-6..=8.0 + 1e-6).contains(wait)), "{seed}: {waits:?}");
        for part in [6.0, 6.5, 7.0, 7.5] {
            let number = waits.iter().filter(|wait| (part..part + 0.5).contains(*wait)).count();
            assert!((3..=25).contains(&number), "{seed}: {number} of {} from {part}", waits.len());
        }
    }
    assert_eq!(waits(1), waits(1));
    assert_ne!(waits(1), waits(3));
}

#[test]
fn retry_ends_with_the_first_success_and_waits_for_each_attempt() {
    let (clock, log) = (Clock::new(), Log::new());
    let attempts = Rc::new(Cell::new(None::<Resolver<u32>>));
    let (slot, lines) = (attempts.clone(), log.clone());
    let result = clock.retry(Backoff::new(secs(1)).jitter(0.0), move |attempt| {
        lines.add(format!("attempt {attempt}"));
        let (deferred, resolver) = Deferred::new();
        slot.set(Some(resolver));
        deferred
    });
    clock.advance(secs(9));
    assert_eq!(log.take(), ["attempt 0"]);
    attempts.take().unwrap().errback(App(1));
    clock.advance(secs(1));
    assert_eq!(log.take(), ["attempt 1"]);
    attempts.take().unwrap().callback(7);
    assert_eq!(take_text(result), "7");
    assert!(clock.delayed_calls().is_empty());
}

#[test]
fn only_retryable_errors_are_retried_and_a_panic_counts_as_one() {
    let clock = Clock::new();
    let once = clock.retry_if(
        Backoff::new(secs(1)),
        |failure| !failure.check::<App>(),
        |attempt| if attempt == 0 { panic!("at first") } else { Err::<(), _>(Failure::from(App(attempt))) },
    );
    clock.advance_in_steps(secs(9));
    assert_eq!(take_text(once), "App(1)");
}

#[test]
fn a_cancel_ends_the_attempt_or_the_wait_and_no_attempt_follows() {
    let clock = Clock::new();
    let (attempt, resolver) = Deferred::<u32>::new();
    let attempt = Cell::new(Some(attempt));
    let attempts = clock.retry(Backoff::new(secs(1)), move |_| attempt.take().expect("called once"));
    attempts.cancel();
    assert_eq!(take_text(attempts), "Cancelled");
    assert!(resolver.is_cancelled() && clock.delayed_calls().is_empty());

    let waits = clock.retry(Backoff::new(secs(1)), |_| Err::<(), _>(App(1).into()));
    waits.cancel();
    assert_eq!(take_text(waits), "Cancelled");
    assert!(clock.delayed_calls().is_empty());
}

#[test]
fn a_cancel_that_an_attempt_turns_into_another_error_or_a_value_ends_it_too() {
    for value in [None, Some(7)] {
        let (clock, begun) = (Clock::new(), Rc::new(Cell::new(0)));
        let count = begun.clone();
        let attempts = clock.retry(Backoff::new(secs(1)), move |_| {
            count.set(count.get() + 1);
            let (attempt, resolver) = Deferred::<u32>::new();
            std::mem::forget(resolver);
            attempt.add_errback(move |_| value.ok_or_else(|| App(1).into()))
        });
        attempts.cancel();
        clock.advance_in_steps(secs(100));
        assert_eq!(take_text(attempts), value.map_or_else(|| "App(1)".to_owned(), |value| value.to_string()));
        assert_eq!(begun.get(), 1);
    }
}

#[test]
fn no_attempt_begins_after_the_deadline_of_the_context() {
    let (clock, begun) = (Clock::new(), Rc::new(Cell::new(0)));
    let fails = |_| Err::<(), _>(App(1).into());
    let limited = context::with_deadline(clock.now() + secs(5), || {
        let count = begun.clone();
        clock.retry(Backoff::new(secs(1)).factor(1.0).jitter(0.0), move |attempt| {
            count.set(count.get() + 1);
            fails(attempt)
        })
    });
    clock.advance_in_steps(secs(4));
    assert_eq!(take_text(limited), "App(1)");
    assert_eq!(begun.get(), 5, "at 0, 1, 2, 3 and 4 s");
    assert!(clock.delayed_calls().is_empty());

    // An attempt that ends after the deadline is the last one; so is one that began after it.
    let slow = context::with_deadline(clock.now() + secs(5), || {
        let reactor = clock.clone();
        clock.retry(Backoff::new(Duration::ZERO), move |_| {
            reactor.sleep(secs(9)).add_callback(|()| Err::<(), _>(App(2).into()))
        })
    });
    clock.advance_in_steps(secs(9));
    assert_eq!(take_text(slow), "App(2)");
    // The loop was blocked for longer than the delay.
    let count = Rc::new(Cell::new(0));
    let (begun, backoff) = (count.clone(), Backoff::new(secs(1)).jitter(0.0));
    let late = context::with_deadline(clock.now() + secs(2), || {
        clock.retry(backoff, move |attempt| {
            begun.set(begun.get() + 1);
            fails(attempt)
        })
    });
    clock.advance(secs(3));
    assert_eq!((take_text(late).as_str(), count.get()), ("App(1)", 1));
    assert_eq!(take_text(context::with_deadline(clock.now(), || clock.retry(Backoff::new(secs(1)), fails))), "App(1)");
}

#[test]
fn closing_the_reactor_ends_it() {
    let reactor = Reactor::new();
    let waits = reactor.retry(Backoff::new(secs(1)), |_| Err::<(), _>(App(1).into()));
    reactor.close();
    assert!(waits.try_take().unwrap().unwrap_err().check::<Abandoned>());
}

#[test]
fn a_hundred_thousand_attempts_need_no_stack() {
    let clock = Clock::new();
    let backoff = Backoff::new(Duration::from_millis(1)).factor(1.0).jitter(0.0);
    let result = clock.retry(backoff, |attempt| if attempt < 100_000 { Err(App(1).into()) } else { Ok(attempt) });
    clock.advance_in_steps(secs(1000));
    assert_eq!(take_text(result), "100000");
}

#[test]
fn a_backoff_of_any_length_waits() {
    for first in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(u64::MAX), Duration::MAX] {
        for factor in [1.0, 1e300, f64::INFINITY] {
            for jitter in [0.0, 1e-300, 0.5, 1.0] {
                let clock = Clock::new();
                let backoff =
                    Backoff::new(first).max_delay(Duration::MAX).factor(factor).jitter(jitter).max_attempts(3);
                let result = clock.retry(backoff, |attempt| Err::<(), _>(App(attempt).into()));
                for _ in 0..3 {
                    clock.advance(secs(60 * 60 * 24 * 365 * 600)); // more nanoseconds than a `u64` can hold
                }
                assert_eq!(take_text(result), "App(2)", "{first:?}, {factor}, {jitter}");
            }
        }
    }
}
