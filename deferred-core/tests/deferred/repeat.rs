//! `repeat_until`: a loop whose body may wait.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;

use crate::support::{App, Log, ignore_unhandled, take_text};
use deferred_core::{Deferred, Failure, Resolver, repeat_until};

type Turn = ControlFlow<u32>;

#[test]
fn repeat_until_runs_its_body_until_it_breaks() {
    let mut count = 0;
    let deferred = repeat_until(move || {
        count += 1;
        Ok::<Turn, Failure>(if count == 10 { ControlFlow::Break(count) } else { ControlFlow::Continue(()) })
    });
    assert_eq!(take_text(deferred), "10");
}

#[test]
fn repeat_until_waits_for_the_deferred_of_its_body() {
    let log = Log::new();
    let (events, next) = (log.clone(), Rc::new(RefCell::new(None::<Resolver<Turn>>)));
    let place = next.clone();
    let deferred = repeat_until(move || {
        events.add("body");
        let (deferred, resolver) = Deferred::<Turn>::new();
        assert!(place.replace(Some(resolver)).is_none(), "one at a time");
        deferred
    });
    let deferred = log.watch("end", deferred);
    let fire = |turn| next.take().unwrap().callback(turn);
    assert_eq!(log.take(), ["body"], "the first runs inside the call");
    fire(ControlFlow::Continue(()));
    assert_eq!(log.take(), ["body"]);
    fire(ControlFlow::Continue(()));
    assert_eq!(log.take(), ["body"]);
    assert!(!deferred.is_ready());
    fire(ControlFlow::Break(5));
    assert_eq!(log.take(), ["end 5"]);
    assert_eq!(take_text(deferred), "5");
}

#[test]
fn a_body_may_be_ready_in_one_turn_and_wait_in_the_next() {
    let next = Rc::new(RefCell::new(None::<Resolver<Turn>>));
    let (place, count) = (next.clone(), Rc::new(Cell::new(0)));
    let counted = count.clone();
    let deferred = repeat_until(move || {
        counted.set(counted.get() + 1);
        match counted.get() {
            100 => Deferred::succeed(ControlFlow::Break(1)),
            count if count % 7 == 0 => {
                let (deferred, resolver) = Deferred::new();
                *place.borrow_mut() = Some(resolver);
                deferred
            }
            _ => Deferred::succeed(ControlFlow::Continue(())),
        }
    });
    let mut waits = 0;
    while let Some(resolver) = next.take() {
        waits += 1;
        assert_eq!(count.get(), waits * 7);
        resolver.callback(ControlFlow::Continue(()));
    }
    assert_eq!(waits, 14);
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn an_error_or_a_panic_ends_the_loop() {
    let _quiet = ignore_unhandled();
    let deferred = repeat_until(|| Err::<Turn, Failure>(App(1).into()));
    assert_eq!(take_text(deferred), "App(1)");
    let deferred = repeat_until(|| -> Result<Turn, Failure> { panic!("body") });
    assert_eq!(take_text(deferred), "Panicked(body)");
    let (pending, resolver) = Deferred::<Turn>::new();
    let mut pending = Some(pending);
    let deferred = repeat_until(move || pending.take().expect("an error ends it"));
    resolver.errback(App(2));
    assert_eq!(take_text(deferred), "App(2)");

    let next = Rc::new(RefCell::new(None::<Resolver<Turn>>));
    let (place, mut count) = (next.clone(), 0);
    let deferred = repeat_until(move || {
        count += 1;
        assert!(count < 2, "the second turn");
        let (deferred, resolver) = Deferred::new();
        *place.borrow_mut() = Some(resolver);
        deferred
    });
    next.take().unwrap().callback(ControlFlow::Continue(()));
    assert_eq!(take_text(deferred), "Panicked(the second turn)");
}

#[test]
fn the_body_is_dropped_when_the_loop_ends() {
    let _quiet = ignore_unhandled();
    for (turn, expected) in [(Some(ControlFlow::Break(1)), "1"), (None, "Abandoned")] {
        let log = Log::new();
        let probe = log.probe("body dropped");
        let (pending, resolver) = Deferred::<Turn>::new();
        let mut pending = Some(pending);
        let deferred = repeat_until(move || {
            let _captured = &probe;
            pending.take().unwrap()
        });
        assert!(log.take().is_empty());
        match turn {
            Some(turn) => resolver.callback(turn),
            None => drop(resolver),
        }
        assert_eq!(log.take(), ["body dropped"]);
        assert_eq!(take_text(deferred), expected);
    }
}

#[test]
fn a_cancel_goes_to_the_deferred_of_the_body() {
    let log = Log::new();
    let events = log.clone();
    let deferred = repeat_until(move || {
        events.add("body");
        let events = events.clone();
        let (deferred, resolver) = Deferred::<Turn>::with_canceller(move || {
            events.add("cancelled");
            None
        });
        std::mem::forget(resolver);
        deferred
    });
    let deferred = log.watch("end", deferred);
    deferred.cancel();
    assert_eq!(log.take(), ["body", "cancelled", "end Cancelled"]);
    drop(deferred.add_errback(|_| Ok(0)));
}

#[test]
fn a_body_that_survives_a_cancel_continues() {
    let log = Log::new();
    let events = log.clone();
    let mut deferred = repeat_until(move || {
        events.add("body");
        let (deferred, resolver) = Deferred::<Turn>::new();
        std::mem::forget(resolver);
        deferred.add_errback(|_| Ok(ControlFlow::Continue(())))
    });
    let handle = deferred.cancel_handle();
    drop(deferred);
    for _ in 0..5 {
        handle.cancel();
    }
    assert_eq!(log.take().len(), 6);
}

#[test]
fn a_loop_whose_deferred_is_dropped_continues() {
    let next = Rc::new(RefCell::new(None::<Resolver<Turn>>));
    let (place, count) = (next.clone(), Rc::new(Cell::new(0)));
    let counted = count.clone();
    drop(repeat_until(move || {
        counted.set(counted.get() + 1);
        let (deferred, resolver) = Deferred::new();
        *place.borrow_mut() = Some(resolver);
        deferred
    }));
    for _ in 0..10 {
        next.take().unwrap().callback(ControlFlow::Continue(()));
    }
    assert_eq!(count.get(), 11);
    next.take().unwrap().callback(ControlFlow::Break(0));
    assert_eq!(count.get(), 11);
}

#[test]
fn a_pause_delays_the_end_of_the_loop() {
    let (pending, resolver) = Deferred::<Turn>::new();
    let mut pending = Some(pending);
    let mut deferred = repeat_until(move || pending.take().unwrap());
    let pause = deferred.pause();
    resolver.callback(ControlFlow::Break(3));
    assert!(!deferred.is_ready());
    pause.unpause();
    assert_eq!(take_text(deferred), "3");
}
