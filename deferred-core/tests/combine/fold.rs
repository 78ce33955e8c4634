//! `fold`, which makes one call after the other.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use deferred_core::{Cancelled, Clock, Deferred, Failure, Resolver, fold, repeat_times};

use crate::support::{App, peek_text, take_text};

/// Returns a Deferred that only a cancel fires.
fn never() -> Deferred<u32> {
    let (never, resolver) = Deferred::new();
    std::mem::forget(resolver);
    never
}

#[test]
fn returns_the_result_of_the_last_call() {
    assert_eq!(take_text(fold(1..=4, 0, |sum, n| Ok(sum + n))), "10");
    assert_eq!(take_text(fold(Vec::<u32>::new(), 7, |sum, n| Ok(sum + n))), "7");
}

#[test]
fn each_call_waits_for_the_previous_one() {
    let waiting = Rc::new(Cell::new(None::<Resolver<u32>>));
    let slot = waiting.clone();
    let mut all = fold(1..=3, 0, move |sum, n| {
        let (deferred, resolver) = Deferred::new();
        slot.set(Some(resolver));
        deferred.map(move |more: u32| sum * 10 + n + more)
    });
    for more in [0, 1, 0] {
        assert_eq!(peek_text(&mut all), "pending");
        waiting.take().expect("it waits").callback(more);
    }
    assert_eq!(take_text(all), "133");
}

#[test]
fn an_error_or_a_panic_ends_the_fold() {
    let calls = Rc::new(Cell::new(0));
    let count = calls.clone();
    let failed = fold(0..10, (), move |(), n| {
        count.set(count.get() + 1);
        if n == 2 { Err(Failure::from(App(n))) } else { Ok(()) }
    });
    assert_eq!((take_text(failed).as_str(), calls.get()), ("App(2)", 3));
    let panics = repeat_times(2, |n| -> Result<(), Failure> { panic!("in call {n}") });
    assert_eq!(take_text(panics), "Panicked(in call 0)");
    let items = std::iter::from_fn(|| -> Option<u32> { panic!("in the iterator") });
    assert_eq!(take_text(fold(items, (), |(), _| Ok(()))), "Panicked(in the iterator)");
}

#[test]
fn a_cancel_goes_to_the_awaited_deferred() {
    let (inner, resolver) = Deferred::<u32>::new();
    let inner = Cell::new(Some(inner));
    let all = fold(0..2, 0, move |_, _| inner.take().expect("called once"));
    all.cancel();
    assert_eq!(take_text(all), "Cancelled");
    assert!(resolver.is_cancelled());
}

#[test]
fn after_a_cancel_no_call_begins_even_if_the_awaited_one_has_a_value() {
    for items in [3, 1] {
        let begun = Rc::new(Cell::new(0));
        let count = begun.clone();
        let all = fold(0..items, 0, move |_, n| {
            count.set(count.get() + 1);
            never().add_errback(move |_| Ok(n + 10))
        });
        let clock = Clock::new();
        let all = all.add_timeout(Duration::from_secs(1), &clock);
        clock.advance(Duration::from_secs(1));
        // The value of the last call is the result.
        assert_eq!(take_text(all), if items > 1 { "another error: timed out after 1s" } else { "10" });
        assert_eq!(begun.get(), 1);
    }
    // No item is taken for a call that does not begin.
    let items = Rc::new(Cell::new(0));
    let taken = items.clone();
    let counted = std::iter::from_fn(move || Some(taken.replace(taken.get() + 1)));
    let all = fold(counted, 0, |_, _| never().add_errback(|_| Ok(1)));
    all.cancel();
    assert_eq!((take_text(all).as_str(), items.get()), ("Cancelled", 1));

    let all = fold(0..3, 0, |_, _| never().add_errback(|_| Ok(1)));
    all.cancel_with(&Cancelled::because("the window was closed"));
    let failure = all.try_take().unwrap().unwrap_err();
    assert_eq!(failure.to_string(), "cancelled: the window was closed");
}

#[test]
fn a_million_calls_need_no_stack_whether_they_wait_or_not() {
    let many = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    assert_eq!(take_text(repeat_times(many, |_| Ok(()))), "()");
    let done = fold(0..many, 0_u64, |sum, n| {
        let (deferred, resolver) = Deferred::<u64>::new();
        resolver.callback(sum + n);
        deferred
    });
    assert_eq!(take_text(done), (many * (many - 1) / 2).to_string());
    let waits = fold(0..many, 0_u64, |sum, n| {
        let (deferred, resolver) = Deferred::<u64>::new();
        drop(resolver); // fires after this call
        deferred.add_errback(move |_| Ok(sum + n))
    });
    assert_eq!(take_text(waits), (many * (many - 1) / 2).to_string());
}
