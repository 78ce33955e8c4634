//! Pauses: the callbacks that they hold back, and when these run afterwards.

use std::cell::RefCell;
use std::rc::Rc;

use crate::support::{App, Log, deferred_cell, ignore_unhandled, peek_text, take_text};
use deferred_core::{Deferred, Pause};

#[test]
fn a_paused_deferred_keeps_its_result_until_it_is_unpaused() {
    let log = Log::new();
    let (mut deferred, resolver) = Deferred::<u32>::new();
    let pause = deferred.pause();
    let deferred = log.watch("saw", deferred);
    resolver.callback(1);
    let mut deferred = log.watch("also saw", deferred);
    assert!(log.take().is_empty());
    assert!(!deferred.is_ready());
    assert_eq!(peek_text(&mut deferred), "pending");
    let deferred = deferred.try_take().expect_err("it is paused");
    pause.unpause();
    assert_eq!(log.take(), ["saw 1", "also saw 1"]);
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn dropping_the_guard_unpauses() {
    let log = Log::new();
    let (mut deferred, resolver) = Deferred::<u32>::new();
    let pause = deferred.pause();
    let deferred = log.watch("saw", deferred);
    resolver.callback(1);
    drop(pause);
    assert_eq!(log.take(), ["saw 1"]);
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn pauses_are_counted() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let log = Log::new();
        let (mut deferred, resolver) = Deferred::<u32>::new();
        let mut pauses: Vec<_> = (0..3).map(|_| Some(deferred.pause())).collect();
        let deferred = log.watch("saw", deferred);
        resolver.callback(1);
        for (count, index) in order.into_iter().enumerate() {
            assert!(log.take().is_empty());
            let pause: Option<Pause> = pauses[index].take();
            if count == 1 { drop(pause) } else { pause.unwrap().unpause() }
        }
        assert_eq!(log.take(), ["saw 1"]);
        assert_eq!(take_text(deferred), "1");
    }
}

#[test]
fn unpausing_a_pending_deferred_runs_nothing() {
    let log = Log::new();
    let (mut deferred, resolver) = Deferred::<u32>::new();
    let pause = deferred.pause();
    let deferred = log.watch("saw", deferred);
    pause.unpause();
    assert!(log.take().is_empty());
    resolver.callback(1);
    assert_eq!(log.take(), ["saw 1"]);
    assert_eq!(take_text(deferred), "1");
}

#[test]
fn a_ready_deferred_can_be_paused() {
    let log = Log::new();
    let mut deferred = Deferred::<u32>::succeed(1);
    let pause = deferred.pause();
    assert_eq!(peek_text(&mut deferred), "pending");
    let mut deferred = log.watch("saw", deferred);
    assert!(log.take().is_empty());
    pause.unpause();
    assert_eq!(log.take(), ["saw 1"]);
    assert_eq!(peek_text(&mut deferred), "1");
    let mut deferred = deferred.map(|value| value + 1);
    let pause = deferred.pause();
    let deferred = deferred.map(|value| value + 1);
    drop(pause);
    assert_eq!(take_text(deferred), "3");
}

#[test]
fn a_guard_outlives_the_deferred() {
    let log = Log::new();
    let (mut deferred, resolver) = Deferred::<u32>::new();
    let pause = deferred.pause();
    drop(log.watch("saw", deferred));
    resolver.callback(1);
    assert!(log.take().is_empty());
    pause.unpause();
    assert_eq!(log.take(), ["saw 1"]);
}

#[test]
fn a_pause_may_be_dropped_after_its_deferred() {
    let (mut deferred, resolver) = Deferred::<u32>::new();
    let first = deferred.pause();
    let second = deferred.pause();
    drop(deferred);
    drop(resolver);
    let _quiet = ignore_unhandled();
    first.unpause();
    drop(second);
}

#[test]
fn a_pause_inside_the_deferreds_own_callback_holds_back_later_callbacks() {
    let (log, shelf) = (Log::new(), deferred_cell::<u32>());
    let (deferred, resolver) = Deferred::<u32>::new();
    let (own, inside) = (shelf.clone(), log.clone());
    let guard = Rc::new(RefCell::new(None));
    let keep = guard.clone();
    let deferred = deferred.map(move |value| {
        *keep.borrow_mut() = Some(own.borrow_mut().as_mut().unwrap().pause());
        inside.add("goes on");
        value + 1
    });
    *shelf.borrow_mut() = Some(log.watch("held back", deferred));
    resolver.callback(1);
    assert_eq!(log.take(), ["goes on"]);
    assert_eq!(peek_text(shelf.borrow_mut().as_mut().unwrap()), "pending");
    guard.take().unwrap().unpause();
    assert_eq!(log.take(), ["held back 2"]);
    assert_eq!(take_text(shelf.take().unwrap()), "2");
}

#[test]
fn a_pause_taken_and_dropped_inside_one_callback_has_no_effect() {
    for by_drop in [false, true] {
        let (log, shelf) = (Log::new(), deferred_cell::<u32>());
        let (deferred, resolver) = Deferred::<u32>::new();
        let (own, inside) = (shelf.clone(), log.clone());
        let deferred = deferred.map(move |value| {
            let pause = own.borrow_mut().as_mut().unwrap().pause();
            if by_drop {
                drop(pause)
            } else {
                pause.unpause()
            }
            inside.add("goes on");
            value
        });
        *shelf.borrow_mut() = Some(log.watch("next", deferred));
        resolver.callback(1);
        assert_eq!(log.take(), ["goes on", "next 1"]);
        assert_eq!(take_text(shelf.take().unwrap()), "1");
    }
}

#[test]
fn a_pause_inside_a_callback_that_returns_a_deferred_holds_back_later_callbacks() {
    let (log, shelf) = (Log::new(), deferred_cell::<u32>());
    let (inner, inner_resolver) = Deferred::<u32>::new();
    let inner = log.watch("inner", inner);
    let (deferred, resolver) = Deferred::<u32>::new();
    let guard = Rc::new(RefCell::new(None));
    let (own, keep) = (shelf.clone(), guard.clone());
    let deferred = deferred.add_callback(move |_| {
        *keep.borrow_mut() = Some(own.borrow_mut().as_mut().unwrap().pause());
        inner
    });
    *shelf.borrow_mut() = Some(log.watch("outer", deferred));
    resolver.callback(1);
    inner_resolver.callback(5);
    assert_eq!(log.take(), ["inner 5"]);
    guard.take().unwrap().unpause();
    assert_eq!(log.take(), ["outer 5"]);
    assert_eq!(take_text(shelf.take().unwrap()), "5");
}

#[test]
fn a_pause_dropped_inside_a_callback_takes_effect_after_it_and_unpause_inside() {
    for by_drop in [false, true] {
        let log = Log::new();
        let (mut held, held_resolver) = Deferred::<u32>::new();
        let pause = held.pause();
        let held = log.watch("held", held);
        held_resolver.callback(1);
        let (other, resolver) = Deferred::<()>::new();
        let inside = log.clone();
        let other = other.map(move |()| {
            if by_drop {
                drop(pause)
            } else {
                pause.unpause()
            }
            inside.add("the callback ends");
        });
        let other = log.watch("other", other);
        resolver.callback(());
        let lines = log.take();
        if by_drop {
            let at = |line: &str| lines.iter().position(|other| other == line).unwrap();
            assert!(at("the callback ends") < at("held 1"), "{lines:?}");
        } else {
            assert_eq!(lines, ["held 1", "the callback ends", "other ()"]);
        }
        assert_eq!(lines.len(), 3);
        assert_eq!(take_text(held), "1");
        assert_eq!(take_text(other), "()");
    }
}

#[test]
fn dropped_pauses_take_effect_in_the_order_they_were_dropped() {
    let log = Log::new();
    let (mut pauses, mut kept) = (Vec::new(), Vec::new());
    for name in ["first", "second", "third"] {
        let (mut deferred, resolver) = Deferred::<u32>::new();
        pauses.push(deferred.pause());
        kept.push(log.watch(name, deferred));
        resolver.callback(1);
    }
    let (other, resolver) = Deferred::<()>::new();
    drop(other.map(move |()| pauses.into_iter().for_each(drop)));
    resolver.callback(());
    assert_eq!(log.take(), ["first 1", "second 1", "third 1"]);
}

#[test]
fn a_paused_inner_deferred_keeps_its_result() {
    for fired_first in [false, true] {
        let log = Log::new();
        let (mut inner, inner_resolver) = Deferred::<u32>::new();
        let pause = inner.pause();
        let (outer, resolver) = Deferred::<()>::new();
        let outer = outer.add_callback(move |()| inner);
        let mut outer = log.watch("outer", outer);
        if fired_first {
            inner_resolver.callback(1);
            resolver.callback(());
        } else {
            resolver.callback(());
            inner_resolver.callback(1);
        }
        assert!(log.take().is_empty());
        assert_eq!(peek_text(&mut outer), "pending");
        pause.unpause();
        assert_eq!(log.take(), ["outer 1"]);
        assert_eq!(take_text(outer), "1");
    }
}

#[test]
fn a_paused_ready_inner_keeps_its_result_from_a_ready_outer() {
    let log = Log::new();
    let mut inner = Deferred::<u32>::succeed(1);
    let pause = inner.pause();
    let outer = log.watch("outer", Deferred::succeed(()).add_callback(|()| inner));
    assert!(log.take().is_empty());
    drop(pause);
    assert_eq!(log.take(), ["outer 1"]);
    assert_eq!(take_text(outer), "1");
}

#[test]
fn unpausing_a_waiting_deferred_does_not_end_its_wait() {
    let log = Log::new();
    let (inner, inner_resolver) = Deferred::<u32>::new();
    let (outer, resolver) = Deferred::<()>::new();
    let mut outer = log.watch("outer", outer.add_callback(|()| inner));
    resolver.callback(());
    for _ in 0..3 {
        let pause = outer.pause();
        pause.unpause();
        drop(outer.pause());
        assert!(log.take().is_empty());
        assert!(!outer.is_ready());
    }
    inner_resolver.callback(1);
    assert_eq!(log.take(), ["outer 1"]);
    assert_eq!(take_text(outer), "1");
}

#[test]
fn a_pause_does_not_delay_the_callbacks_of_the_inner_deferred() {
    for outer_is_ready in [false, true] {
        for adds_before_the_pause in [false, true] {
            let log = Log::new();
            let (inner, inner_resolver) = Deferred::<u32>::new();
            let inner = log.watch("inner", inner);
            let (pending, resolver) = Deferred::<()>::new();
            let outer = if outer_is_ready { Deferred::succeed(()) } else { pending };
            let mut outer = outer.add_callback(|()| inner);
            if adds_before_the_pause {
                outer = log.watch("outer", outer);
            }
            resolver.callback(());
            let pause = outer.pause();
            if !adds_before_the_pause {
                outer = log.watch("outer", outer);
            }
            inner_resolver.callback(1);
            assert_eq!(log.take(), ["inner 1"], "{outer_is_ready} {adds_before_the_pause}");
            pause.unpause();
            assert_eq!(log.take(), ["outer 1"]);
            assert_eq!(take_text(outer), "1");
        }
    }
}

#[test]
fn pauses_of_an_outer_and_an_inner_deferred_are_independent() {
    let log = Log::new();
    let (mut inner, inner_resolver) = Deferred::<u32>::new();
    let inner_pause = inner.pause();
    let inner = log.watch("inner", inner);
    let mut outer = Deferred::succeed(()).add_callback(|()| inner);
    let outer_pause = outer.pause();
    let outer = log.watch("outer", outer);
    inner_resolver.callback(1);
    assert!(log.take().is_empty());
    outer_pause.unpause();
    assert!(log.take().is_empty());
    inner_pause.unpause();
    assert_eq!(log.take(), ["inner 1", "outer 1"]);
    assert_eq!(take_text(outer), "1");
}

#[test]
fn a_pause_holds_back_errors_too() {
    let log = Log::new();
    let _hook = crate::support::unhandled_into(&log);
    let (mut deferred, resolver) = Deferred::<u32>::new();
    let pause = deferred.pause();
    resolver.errback(App(1));
    drop(deferred);
    assert!(log.take().is_empty(), "another pause still holds it back");
    pause.unpause();
    assert_eq!(log.take(), ["unhandled App(1)"]);
}

#[test]
fn a_pause_in_the_middle_of_a_tail_recursive_chain_stops_it_there() {
    let log = Log::new();
    let (first, first_resolver) = Deferred::<()>::new();
    let (mut second, second_resolver) = Deferred::<()>::new();
    let (third, third_resolver) = Deferred::<u32>::new();
    let pause = second.pause();
    let third = log.watch("third", third);
    let events = log.clone();
    let second = second.add_callback(move |()| {
        events.add("second");
        third
    });
    let first = first.add_callback(|()| second);
    let outer = log.watch("outer", Deferred::succeed(()).add_callback(|()| first));
    first_resolver.callback(());
    second_resolver.callback(());
    assert!(log.take().is_empty());
    third_resolver.callback(3);
    assert_eq!(log.take(), ["third 3"]);
    pause.unpause();
    assert_eq!(log.take(), ["second", "outer 3"]);
    assert_eq!(take_text(outer), "3");
}

#[test]
fn a_pause_of_a_deferred_that_was_left_out_of_a_tail_call_still_holds_its_result() {
    let log = Log::new();
    let (mut first, first_resolver) = Deferred::<()>::new();
    let (second, second_resolver) = Deferred::<u32>::new();
    let pauses = [first.pause(), first.pause()];
    let first = first.add_callback(|()| second);
    let outer = log.watch("outer", Deferred::succeed(()).add_callback(|()| first));
    let [one, two] = pauses;
    one.unpause();
    first_resolver.callback(());
    second_resolver.callback(2);
    assert!(log.take().is_empty());
    two.unpause();
    assert_eq!(log.take(), ["outer 2"]);
    assert_eq!(take_text(outer), "2");
}
