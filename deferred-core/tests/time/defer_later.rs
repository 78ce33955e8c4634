//! `defer_later`, `sleep`, and the handle of a timed call.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use deferred_core::{Clock, Deferred, DelayedCall, Inactive, Reactor, inline_callbacks};

use crate::secs;
use crate::support::{App, Log, peek_text, take_text};

#[test]
fn defer_later_returns_the_result_of_the_function_after_the_delay() {
    let (clock, log) = (Clock::new(), Log::new());
    let called = log.clone();
    let mut value = clock.defer_later(secs(2), move || {
        called.add("called");
        Ok(1)
    });
    let error = clock.defer_later(secs(2), || Err::<(), _>(App(1).into()));
    let panic = clock.defer_later(secs(2), || -> Result<(), _> { panic!("late") });
    let (inner, resolver) = Deferred::<u32>::new();
    let mut waits = clock.defer_later(secs(2), move || inner);
    clock.advance(secs(1));
    assert_eq!((peek_text(&mut value), log.take().len()), ("pending".into(), 0));
    clock.advance(secs(1));
    assert_eq!((take_text(value), log.take().len()), ("1".into(), 1));
    assert_eq!((take_text(error), take_text(panic)), ("App(1)".into(), "Panicked(late)".into()));
    assert_eq!(peek_text(&mut waits), "pending");
    resolver.callback(3);
    assert_eq!(take_text(waits), "3");
}

#[test]
fn cancelling_cancels_the_timer_or_the_deferred_of_the_function() {
    let clock = Clock::new();
    let early = clock.defer_later(secs(2), || -> Result<(), _> { panic!("never called") });
    early.cancel();
    assert_eq!(take_text(early), "Cancelled");
    assert!(clock.delayed_calls().is_empty());

    let (inner, resolver) = Deferred::<u32>::new();
    let late = clock.defer_later(secs(2), move || inner);
    clock.advance(secs(2));
    late.cancel();
    assert_eq!(take_text(late), "Cancelled");
    assert!(resolver.is_cancelled());
}

#[test]
fn a_delay_beyond_the_clock_lasts_for_decades() {
    let clock = Clock::new();
    let (never, _resolver) = Deferred::<()>::new();
    let waits = [clock.sleep(Duration::MAX), never.add_timeout(Duration::MAX, &clock)];
    clock.advance(secs(60 * 60 * 24 * 365 * 20));
    assert_eq!(waits.map(take_text), ["pending", "pending"]);
}

#[test]
fn closing_the_reactor_abandons_it() {
    let reactor = Reactor::new();
    let (later, sleeps) = (reactor.defer_later(secs(2), || Ok(1)), reactor.sleep(secs(1)));
    reactor.close();
    assert_eq!((take_text(later), take_text(sleeps)), ("Abandoned".into(), "Abandoned".into()));
    assert_eq!(take_text(reactor.sleep(secs(1))), "Abandoned");
}

#[test]
fn a_coroutine_sleeps_by_the_clock() {
    let (clock, log) = (Rc::new(Clock::new()), Log::new());
    let (time, lines) = (clock.clone(), log.clone());
    let done = inline_callbacks(async move {
        for second in 1..=3 {
            time.sleep(secs(1)).await?;
            lines.add(second.to_string());
        }
        Ok(())
    });
    clock.advance(secs(1));
    assert_eq!(log.take(), ["1"]);
    clock.advance(secs(5));
    assert_eq!(log.take(), ["2"], "one that is made late counts from then on");
    clock.advance(secs(1));
    assert_eq!((log.take(), take_text(done)), (vec!["3".to_owned()], "()".to_owned()));
}

#[test]
fn a_call_can_be_reset_and_delayed() {
    let (clock, log) = (Clock::new(), Log::new());
    let begun = clock.now();
    let line = log.clone();
    let call = clock.call_later(secs(5), move || line.add("called"));
    assert_eq!(call.time() - begun, secs(5));
    clock.advance(secs(3));
    call.reset(secs(4)).unwrap();
    assert_eq!(call.time() - begun, secs(7));
    call.delay(secs(2)).unwrap();
    assert_eq!(call.time() - begun, secs(9));
    clock.advance(secs(5));
    assert!(log.take().is_empty());
    clock.advance(secs(1));
    assert_eq!(log.take(), ["called"]);
    assert_eq!(call.reset(secs(1)), Err(Inactive::AlreadyCalled));
    assert_eq!(call.delay(secs(1)), Err(Inactive::AlreadyCalled));

    let call = clock.call_later(secs(5), || ());
    call.reset(secs(1)).unwrap(); // earlier than before
    clock.advance(secs(1));
    assert!(!call.active());
}

#[test]
fn a_due_call_can_be_changed_from_another_calls_callback() {
    for operation in ["cancel", "reset", "delay"] {
        let (clock, log) = (Clock::new(), Log::new());
        let second = Rc::new(RefCell::new(None::<DelayedCall>));
        let operated = second.clone();
        clock.call_later(secs(1), move || {
            let call = operated.take().expect("set");
            match operation {
                "cancel" => call.cancel().unwrap(),
                "reset" => call.reset(secs(1)).unwrap(),
                _ => call.delay(secs(1)).unwrap(),
            }
        });
        let line = log.clone();
        second.replace(Some(clock.call_later(secs(1), move || line.add("second"))));
        clock.advance(secs(1));
        assert!(log.take().is_empty());
        clock.advance(secs(1));
        assert_eq!(log.take().len(), usize::from(operation != "cancel"));
    }
}

#[test]
fn a_reset_in_a_turn_waits_for_the_next_one() {
    let (clock, log) = (Clock::new(), Log::new());
    let lines = log.clone();
    let call = clock.call_later(secs(1), move || lines.add("first"));
    call.reset(secs(0)).unwrap();
    let lines = log.clone();
    clock.call_later(secs(0), move || lines.add("second"));
    clock.advance(secs(0));
    assert_eq!(log.take(), ["first", "second"]);
}

#[test]
fn the_pending_calls_are_listed_with_their_locations() {
    let clock = Clock::new();
    clock.call_later(secs(2), || ());
    clock.call_later(secs(1), || ()).cancel().unwrap();
    clock.call_later(secs(1), || ());
    let calls = clock.delayed_calls();
    let due: Vec<_> = calls.iter().map(|call| call.time() - clock.now()).collect();
    assert_eq!(due, [secs(1), secs(2)]);
    assert!(calls.iter().all(|call| call.registered_at().file().ends_with("later.rs")));
    assert_eq!(calls[0].cancel(), Ok(()));
    assert_eq!(clock.delayed_calls().len(), 1);
}
