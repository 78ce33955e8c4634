//! `call_later` and `DelayedCall`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::{HOUR, Log, turn};
use deferred_core::{Clock, DelayedCall, Inactive, Reactor, Turn, park};

#[test]
fn timers_run_by_due_time_and_then_in_the_order_they_were_made() {
    let names = |reactor: &Reactor, log: &Log| {
        let later = Duration::from_millis(5);
        let begun = Instant::now();
        reactor.call_later(later, log.adds("later"));
        for number in 0..20 {
            reactor.call_later(Duration::ZERO, log.adds(format!("{number}")));
        }
        begun.elapsed() < later
    };
    let (reactor, log) = loop {
        let (reactor, log) = (Reactor::new(), Log::default());
        // If this thread was suspended until "later" was due first, the loop tries again.
        if names(&reactor, &log) {
            break (reactor, log);
        }
    };
    let stopper = reactor.clone();
    reactor.call_later(Duration::from_millis(6), move || stopper.stop());
    park::drive(&reactor).unwrap();
    let mut want: Vec<_> = (0..20).map(|number| format!("{number}")).collect();
    want.push("later".into());
    assert_eq!(log.take(), want);
}

#[test]
fn a_turn_runs_a_batch_of_timers_at_most() {
    let reactor = Reactor::new();
    reactor.set_calls_per_turn(2);
    let log = Log::default();
    for number in 0..5 {
        reactor.call_later(Duration::ZERO, log.adds(format!("{number}")));
    }
    assert_eq!(turn(&reactor), Turn::Again);
    assert_eq!(log.take(), ["0", "1"]);
    assert_eq!(turn(&reactor), Turn::Again);
    assert_eq!(turn(&reactor), Turn::Sleep(None));
    assert_eq!(log.take(), ["2", "3", "4"]);
}

#[test]
fn a_timer_made_by_a_timer_waits_for_the_next_turn() {
    let reactor = Reactor::new();
    let log = Log::default();
    let (again, inner) = (reactor.clone(), log.clone());
    reactor.call_later(Duration::ZERO, move || {
        again.call_later(Duration::ZERO, inner.adds("inner"));
        inner.add("outer");
    });
    let first = turn(&reactor);
    assert_ne!(first, Turn::Sleep(None));
    assert_eq!(log.take(), ["outer"]);
    let _ = turn(&reactor);
    assert_eq!(log.take(), ["inner"]);
}

#[test]
fn a_cancelled_call_never_runs_and_its_captures_are_dropped_at_once() {
    let reactor = Reactor::new();
    let capture = Rc::new(());
    let held = capture.clone();
    let call = reactor.call_later(Duration::ZERO, move || -> () { unreachable!("{held:?}") });
    assert!(call.active());
    assert_eq!(Rc::strong_count(&capture), 2);
    assert_eq!(call.cancel(), Ok(()));
    assert_eq!(Rc::strong_count(&capture), 1);
    assert!(!call.active());
    assert_eq!(call.cancel(), Err(Inactive::AlreadyCancelled));
    assert_eq!(turn(&reactor), Turn::Sleep(None));
}

#[test]
fn a_handle_keeps_its_meaning_when_later_calls_use_the_memory_of_earlier_ones() {
    let clock = Clock::new();
    let ran = Rc::new(RefCell::new(Vec::new()));
    let start = |name: u32| {
        let ran = ran.clone();
        clock.call_later(Duration::from_secs(1), move || ran.borrow_mut().push(name))
    };
    let held = start(0);
    held.cancel().unwrap();
    drop(start(1));
    let calls = [2, 3, 4].map(start);
    calls[1].cancel().unwrap();
    drop(calls);
    let last = start(5);
    assert_eq!(held.cancel(), Err(Inactive::AlreadyCancelled));
    assert!(!held.active() && last.active());
    clock.advance(Duration::from_secs(1));
    assert_eq!(*ran.borrow(), [1, 2, 4, 5]);
    assert_eq!(last.cancel(), Err(Inactive::AlreadyCalled));
    drop(last);
    drop(start(6));
    clock.advance(Duration::from_secs(1));
    assert_eq!(ran.borrow().last(), Some(&6));
}

#[test]
fn a_call_that_has_begun_cannot_be_cancelled() {
    let reactor = Reactor::new();
    let own = Rc::new(RefCell::new(None));
    let answer = Rc::new(Cell::new(None));
    let (handle, seen) = (own.clone(), answer.clone());
    let call = reactor.call_later(Duration::ZERO, move || {
        let call: Option<DelayedCall> = handle.take();
        seen.set(call.map(|call| call.cancel()));
    });
    own.replace(Some(call.clone()));
    let _ = turn(&reactor);
    assert_eq!(answer.get(), Some(Err(Inactive::AlreadyCalled)));
    assert_eq!(call.cancel(), Err(Inactive::AlreadyCalled));
}

#[test]
fn a_due_call_can_be_cancelled_by_an_earlier_call() {
    let reactor = Reactor::new();
    let log = Log::default();
    let victim = Rc::new(RefCell::new(None::<DelayedCall>));
    let (target, first) = (victim.clone(), log.clone());
    reactor.call_later(Duration::ZERO, move || {
        target.borrow().as_ref().unwrap().cancel().unwrap();
        first.add("first");
    });
    victim.replace(Some(reactor.call_later(Duration::ZERO, log.adds("victim"))));
    reactor.call_later(Duration::ZERO, log.adds("last"));
    let _ = turn(&reactor);
    assert_eq!(log.take(), ["first", "last"]);
}

#[test]
fn dropping_the_handle_of_a_call_changes_nothing() {
    let reactor = Reactor::new();
    let log = Log::default();
    drop(reactor.call_later(Duration::ZERO, log.adds("ran")));
    let _ = turn(&reactor);
    assert_eq!(log.take(), ["ran"]);
}

#[test]
fn the_sleep_ends_with_the_earliest_remaining_timer() {
    let reactor = Reactor::new();
    let before = Instant::now();
    let calls: Vec<_> = (1..=5).map(|hours| reactor.call_later(HOUR * hours, || ())).collect();
    let after = Instant::now();
    for (hours, call) in (1..).zip(&calls) {
        let Turn::Sleep(Some(due)) = turn(&reactor) else { panic!("a timer is left") };
        assert!(before + HOUR * hours <= due && due <= after + HOUR * hours);
        call.cancel().unwrap();
    }
    assert_eq!(turn(&reactor), Turn::Sleep(None));
}

#[test]
fn timers_cancelled_in_any_order_leave_the_others() {
    let reactor = Reactor::new();
    let log = Log::default();
    let calls: Vec<_> =
        (0..1000).map(|number| reactor.call_later(Duration::ZERO, log.adds(format!("{number}")))).collect();
    let mut want = Vec::new();
    for number in (0..1000).rev() {
        if number % 7 == 0 {
            want.push(format!("{number}"));
        } else {
            calls[number].cancel().unwrap();
        }
    }
    want.reverse();
    while turn(&reactor) == Turn::Again {}
    assert_eq!(log.take(), want);
}

#[test]
fn a_delay_beyond_the_clock_never_ends() {
    let reactor = Reactor::new();
    let call = reactor.call_later(Duration::MAX, || -> () { unreachable!() });
    assert!(matches!(turn(&reactor), Turn::Sleep(Some(_))));
    assert!(call.active());
}
