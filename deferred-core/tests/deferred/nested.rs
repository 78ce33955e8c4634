//! Callbacks that return Deferreds, and chain_deferred.

use crate::support::{App, Log, ignore_unhandled, peek_text, take_text, unhandled_into};
use deferred_core::{Deferred, Failure, Resolver};

#[test]
fn a_waiting_deferred_is_pending_until_the_returned_one_has_its_result() {
    let log = Log::new();
    let (inner, inner_resolver) = Deferred::<u32>::new();
    let (outer, resolver) = Deferred::<u32>::new();
    let outer = outer.add_callback(move |value| inner.map(move |more| value + more));
    let mut outer = log.watch("outer", outer);
    resolver.callback(1);
    assert!(!outer.is_ready());
    assert_eq!(peek_text(&mut outer), "pending");
    let outer = outer.try_take().expect_err("it waits");
    assert!(log.take().is_empty());
    inner_resolver.callback(2);
    assert_eq!(log.take(), ["outer 3"]);
    assert!(outer.is_ready());
    assert_eq!(take_text(outer), "3");
}

#[test]
fn the_outer_continues_inside_the_call_that_fires_the_inner() {
    let log = Log::new();
    let (inner, inner_resolver) = Deferred::<u32>::new();
    let inner = log.watch("inner", inner);
    let middle = log.watch("middle", Deferred::succeed(()).add_callback(|()| inner));
    let outer = log.watch("outer", Deferred::succeed(()).add_callback(|()| middle));
    let other = log.clone();
    let (trigger, trigger_resolver) = Deferred::<()>::new();
    drop(trigger.map(move |()| {
        other.add("before");
        inner_resolver.callback(1);
        other.add("after");
    }));
    trigger_resolver.callback(());
    assert_eq!(log.take(), ["before", "inner 1", "middle 1", "outer 1", "after"]);
    assert_eq!(take_text(outer), "1");
}

fn permutations(of: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for next in 0..of {
        all = all
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                (0..=order.len()).map(move |place| {
                    let mut order = order.clone();
                    order.insert(place, next);
                    order
                })
            })
            .collect();
    }
    all
}

/// Five Deferreds, each of which waits for the next, are fired in every order, with and without
/// stages after the wait, and with and without a cancel handle.
#[test]
fn the_order_of_firing_makes_no_difference_to_the_outcome() {
    const DEPTH: usize = 5;
    for order in permutations(DEPTH) {
        for stages_behind in [false, true] {
            for handles in [false, true] {
                for dropped in [false, true] {
                    let log = Log::new();
                    let mut resolvers: Vec<Option<Resolver<u32>>> = Vec::new();
                    let mut kept = Vec::new();
                    let (innermost, resolver) = Deferred::<u32>::new();
                    let mut deferred = log.watch("innermost", innermost);
                    resolvers.push(Some(resolver));
                    for level in 1..DEPTH {
                        let (mut outer, resolver) = Deferred::<u32>::new();
                        if handles {
                            kept.push(outer.cancel_handle());
                        }
                        let inner = deferred;
                        deferred = outer.add_callback(|_| inner);
                        if stages_behind {
                            deferred = log.watch(&format!("level {level}"), deferred);
                        }
                        resolvers.push(Some(resolver));
                    }
                    if dropped {
                        drop(log.watch("the end", deferred));
                        deferred = Deferred::succeed(0);
                    }
                    for &index in &order {
                        resolvers[index].take().unwrap().callback(index as u32);
                    }
                    let mut expected = vec!["innermost 0".to_owned()];
                    if stages_behind {
                        expected.extend((1..DEPTH).map(|level| format!("level {level} 0")));
                    }
                    if dropped {
                        expected.push("the end 0".into());
                    }
                    assert_eq!(log.take(), expected, "{order:?}");
                    assert_eq!(take_text(deferred), "0");
                }
            }
        }
    }
}

#[test]
fn an_error_of_the_returned_deferred_is_the_outers() {
    let _quiet = ignore_unhandled();
    let (inner, inner_resolver) = Deferred::<u32>::new();
    let outer = Deferred::succeed(()).add_callback(|()| inner);
    let outer = outer.add_callback(|_| -> Result<u32, Failure> { unreachable!("an error passes it") });
    inner_resolver.errback(App(3));
    assert_eq!(take_text(outer), "App(3)");
}

#[test]
fn a_returned_ready_deferred_continues_at_once() {
    let log = Log::new();
    for ready_before in [false, true] {
        let (inner, inner_resolver) = Deferred::<u32>::new();
        let mut inner = Some(inner);
        if ready_before {
            inner_resolver.callback(1);
        } else {
            inner = Some(Deferred::succeed(1));
        }
        let (outer, resolver) = Deferred::<()>::new();
        let outer = log.watch("outer", outer.add_callback(move |()| inner.take().unwrap()));
        resolver.callback(());
        assert_eq!(log.take(), ["outer 1"]);
        assert_eq!(take_text(outer), "1");
    }
}

#[test]
fn stages_added_while_it_waits_run_in_order_after_it() {
    let log = Log::new();
    let (inner, inner_resolver) = Deferred::<u32>::new();
    let inner = log.watch("inner", inner);
    let (outer, resolver) = Deferred::<()>::new();
    let outer = log.watch("first", outer.add_callback(|()| inner));
    resolver.callback(());
    let outer = log.watch("second", outer.map(|value| value + 1));
    let outer = outer.add_callback(|value| Deferred::succeed(value * 10));
    let outer = log.watch("third", outer);
    inner_resolver.callback(1);
    assert_eq!(log.take(), ["inner 1", "first 1", "second 2", "third 20"]);
    assert_eq!(take_text(outer), "20");
}

#[test]
fn a_dropped_outer_still_waits_and_runs() {
    let log = Log::new();
    let (inner, inner_resolver) = Deferred::<u32>::new();
    let (outer, resolver) = Deferred::<()>::new();
    drop(log.watch("outer", outer.add_callback(|()| inner)));
    resolver.callback(());
    inner_resolver.callback(1);
    assert_eq!(log.take(), ["outer 1"]);
}

#[test]
fn a_returned_result_of_another_size_arrives_intact() {
    let (inner, inner_resolver) = Deferred::<[u64; 40]>::new();
    let (outer, resolver) = Deferred::<u8>::new();
    let outer = outer.add_callback(|_| inner).map(|array| array.iter().sum::<u64>());
    resolver.callback(0);
    inner_resolver.callback([3; 40]);
    assert_eq!(take_text(outer), "120");

    // `outer` only waits; the Deferred that it waits for makes a larger one its successor.
    let (last, last_resolver) = Deferred::<[u64; 40]>::new();
    let (inner, inner_resolver) = Deferred::<u8>::new();
    let inner = inner.add_callback(|_| last);
    let (outer, resolver) = Deferred::<u8>::new();
    let outer = outer.add_callback(|_| inner);
    resolver.callback(0);
    inner_resolver.callback(0);
    last_resolver.callback([2; 40]);
    assert_eq!(outer.try_take().unwrap().unwrap(), [2; 40]);
}

#[test]
fn a_chain_of_returned_deferreds_runs_depth_first() {
    let log = Log::new();
    let later = |name: &'static str| {
        let (deferred, resolver) = Deferred::<u32>::new();
        (log.watch(name, deferred), resolver)
    };
    let (a, a_resolver) = later("a");
    let (b, b_resolver) = later("b");
    let (c, c_resolver) = later("c");
    let events = log.clone();
    let a = a.add_callback(move |_| {
        events.add("a returns b");
        b
    });
    let events = log.clone();
    let a = a.add_callback(move |_| {
        events.add("a returns c");
        c
    });
    let outer = log.watch("outer", Deferred::succeed(()).add_callback(|()| a));
    c_resolver.callback(3);
    a_resolver.callback(1);
    b_resolver.callback(2);
    assert_eq!(log.take(), ["c 3", "a 1", "a returns b", "b 2", "a returns c", "outer 3"]);
    assert_eq!(take_text(outer), "3");
}

#[test]
fn chain_deferred_fires_the_other_with_the_result() {
    let _quiet = ignore_unhandled();
    for (result, expected) in [(Ok(1), "1"), (Err(App(1)), "App(1)")] {
        for fired_first in [false, true] {
            let log = Log::new();
            let (source, source_resolver) = Deferred::<u32>::new();
            let (target, target_resolver) = Deferred::<u32>::new();
            let target = log.watch("target", target);
            let source = log.watch("source", source);
            let fire = || source_resolver.fire(result.map_err(Failure::from));
            if fired_first {
                fire();
                source.chain_deferred(target_resolver);
            } else {
                source.chain_deferred(target_resolver);
                assert!(log.take().is_empty());
                fire();
            }
            assert_eq!(log.take(), [format!("source {expected}"), format!("target {expected}")]);
            assert_eq!(take_text(target), expected);
        }
    }
}

#[test]
fn chain_deferred_of_a_ready_deferred_fires_inside_the_call() {
    let (target, target_resolver) = Deferred::<u32>::new();
    Deferred::succeed(4).chain_deferred(target_resolver);
    assert_eq!(take_text(target), "4");
    let (target, target_resolver) = Deferred::<u32>::new();
    Deferred::fail(App(4)).chain_deferred(target_resolver);
    assert_eq!(take_text(target), "App(4)");
}

#[test]
fn cancelling_the_source_of_chain_deferred_reaches_the_target() {
    let (mut source, source_resolver) = Deferred::<u32>::new();
    let handle = source.cancel_handle();
    let (target, target_resolver) = Deferred::<u32>::new();
    source.chain_deferred(target_resolver);
    handle.cancel();
    assert!(source_resolver.is_cancelled());
    assert_eq!(take_text(target), "Cancelled");
}

#[test]
fn an_error_moved_by_chain_deferred_is_reported_at_its_target() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (source, source_resolver) = Deferred::<u32>::new();
    let (target, target_resolver) = Deferred::<u32>::new();
    source.chain_deferred(target_resolver);
    source_resolver.errback(App(5));
    assert!(log.take().is_empty());
    drop(target);
    assert_eq!(log.take(), ["unhandled App(5)"]);
}

#[test]
fn the_targets_canceller_may_still_decide() {
    let (source, source_resolver) = Deferred::<u32>::new();
    let (target, target_resolver) = Deferred::<u32>::with_canceller(|| Some(Ok(77)));
    source.chain_deferred(target_resolver);
    target.cancel();
    source_resolver.callback(1);
    assert_eq!(take_text(target), "77");
}

#[test]
fn a_source_that_waits_or_is_paused_keeps_its_target_waiting() {
    let (inner, inner_resolver) = Deferred::<u32>::new();
    let mut source = Deferred::succeed(()).add_callback(|()| inner);
    let pause = source.pause();
    let (target, target_resolver) = Deferred::<u32>::new();
    source.chain_deferred(target_resolver);
    inner_resolver.callback(6);
    assert!(!target.is_ready());
    pause.unpause();
    assert_eq!(take_text(target), "6");
}

#[test]
fn a_deferred_chained_onto_itself_fires_cycle() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (deferred, resolver) = Deferred::<u32>::new();
    log.watch("saw", deferred).chain_deferred(resolver);
    assert_eq!(log.take(), ["saw Cycle", "unhandled Cycle"]);
}
