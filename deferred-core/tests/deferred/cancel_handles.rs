//! Cancel handles: they stay valid when the Deferred moves, and do nothing after its wait has
//! ended.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::support::{Log, deferred_cell, ignore_unhandled, take_text};
use deferred_core::{CancelHandle, Deferred, Resolver};

#[test]
fn a_handle_works_wherever_the_deferred_has_gone() {
    let _quiet = ignore_unhandled();
    let make = || {
        let (mut deferred, resolver) = Deferred::<u32>::new();
        (deferred.cancel_handle(), deferred, resolver)
    };

    let (handle, deferred, resolver) = make();
    drop(deferred);
    handle.cancel();
    assert!(resolver.is_cancelled());

    let (handle, deferred, resolver) = make();
    let outer = Deferred::succeed(()).add_callback(|()| deferred);
    handle.clone().cancel();
    assert!(resolver.is_cancelled());
    assert_eq!(take_text(outer), "Cancelled");

    let (handle, deferred, resolver) = make();
    let (target, target_resolver) = Deferred::<u32>::new();
    deferred.chain_deferred(target_resolver);
    handle.cancel();
    assert!(resolver.is_cancelled());
    assert_eq!(take_text(target), "Cancelled");

    let (handle, deferred, resolver) = make();
    resolver.callback(1);
    assert_eq!(take_text(deferred), "1");
    handle.cancel();
    handle.cancel();
}

#[test]
fn a_handle_keeps_neither_the_captures_nor_the_value() {
    let log = Log::new();
    let (mut deferred, resolver) = Deferred::<crate::support::Probe>::new();
    let handle = deferred.cancel_handle();
    let probe = log.probe("capture dropped");
    drop(deferred.map(move |value| {
        let _captured = &probe;
        value
    }));
    resolver.callback(log.probe("value dropped"));
    assert_eq!(log.take(), ["capture dropped", "value dropped"]);
    handle.cancel();
}

#[test]
fn a_cancel_in_a_cycle_of_two_does_nothing() {
    let (first, first_resolver) = Deferred::<()>::new();
    let (second, second_resolver) = Deferred::<()>::new();
    let (a, b) = (deferred_cell::<u32>(), deferred_cell::<u32>());
    let (take_a, take_b) = (a.clone(), b.clone());
    let mut first = first.add_callback(move |()| take_b.take().unwrap());
    let mut second = second.add_callback(move |()| take_a.take().unwrap());
    let handles = [first.cancel_handle(), second.cancel_handle()];
    *a.borrow_mut() = Some(first);
    *b.borrow_mut() = Some(second);
    first_resolver.callback(());
    second_resolver.callback(());
    assert!(a.borrow().is_none() && b.borrow().is_none());
    for handle in &handles {
        handle.cancel(); // returns
    }
}

/// The rounds of a tail-recursive chain. Each round stores its resolver for the driver, and passes
/// its handle to `made`.
struct Rounds {
    left: Cell<u64>,
    pending: RefCell<Option<Resolver<()>>>,
    keep: Vec<u64>,
    handles: RefCell<Vec<CancelHandle>>,
    round: Cell<u64>,
    cancels: Rc<Cell<u32>>,
}

fn step(rounds: &Rc<Rounds>) -> Deferred<u64> {
    let round = rounds.round.get() + 1;
    rounds.round.set(round);
    let cancels = rounds.cancels.clone();
    let (mut deferred, resolver) = Deferred::<()>::with_forwarding_canceller(move |_| cancels.set(cancels.get() + 1));
    *rounds.pending.borrow_mut() = Some(resolver);
    if rounds.keep.contains(&round) {
        rounds.handles.borrow_mut().push(deferred.cancel_handle());
    }
    let rounds = rounds.clone();
    deferred.add_callback(move |()| {
        if rounds.left.get() == 0 {
            return Deferred::succeed(rounds.round.get());
        }
        rounds.left.set(rounds.left.get() - 1);
        step(&rounds)
    })
}

#[test]
fn handles_from_any_round_of_a_tail_recursive_chain_stay_valid() {
    let total: u64 = if cfg!(debug_assertions) { 200_000 } else { 10_000_000 };
    let rounds = Rc::new(Rounds {
        left: Cell::new(total),
        pending: RefCell::new(None),
        keep: vec![1, 2, total / 2],
        handles: RefCell::new(Vec::new()),
        round: Cell::new(0),
        cancels: Rc::new(Cell::new(0)),
    });
    let log = Log::new();
    let (afterwards, afterwards_resolver) = {
        let events = log.clone();
        Deferred::<u64>::with_forwarding_canceller(move |_| events.add("the later deferred is cancelled"))
    };
    let mut outer = step(&rounds).add_callback(move |value| afterwards.map(move |more| value + more));
    let outer_handle = outer.cancel_handle();
    let fire = || rounds.pending.take().expect("a round waits").callback(());

    for _ in 0..total / 2 + 10 {
        fire();
    }
    let handles = rounds.handles.take();
    assert_eq!(handles.len(), 3);
    for handle in &handles {
        handle.cancel();
    }
    assert_eq!(rounds.cancels.take(), 3, "each handle reaches the current round");
    while rounds.left.get() > 0 {
        fire();
    }
    for handle in &handles {
        handle.cancel();
    }
    outer_handle.cancel();
    assert_eq!(rounds.cancels.take(), 4, "also in the last round");
    fire();
    assert!(!outer.is_ready());

    // The wait is over: the first round's handle is that of `outer`, which waits again. The other
    // handles do nothing now.
    handles[1].cancel();
    handles[2].cancel();
    assert!(log.take().is_empty());
    outer_handle.cancel();
    assert_eq!(log.take(), ["the later deferred is cancelled"]);
    afterwards_resolver.callback(1);
    for handle in &handles {
        handle.cancel();
    }
    assert_eq!(take_text(outer), (total + 2).to_string());
    assert_eq!(rounds.cancels.get(), 0);
}

#[test]
fn a_handle_to_a_returned_deferred_does_nothing_after_that_wait() {
    let log = Log::new();
    let source = |name: &'static str| {
        let events = log.clone();
        Deferred::<()>::with_forwarding_canceller(move |_| events.add(name))
    };
    let (mut first, first_resolver) = source("first");
    let (second, second_resolver) = source("second");
    let (third, third_resolver) = source("third");
    let first_handle = first.cancel_handle();
    // `first` makes `second` its successor, since nothing is left to do in `first` but to pass its
    // result to `outer`.
    let first = first.add_callback(|()| second);
    let outer = Deferred::succeed(()).add_callback(|()| first).add_callback(|()| third).map(|()| 1);
    first_handle.cancel();
    assert_eq!(log.take(), ["first"]);
    first_resolver.callback(());
    first_handle.cancel();
    assert_eq!(log.take(), ["second"]);
    second_resolver.callback(());
    first_handle.cancel();
    assert!(log.take().is_empty());
    outer.cancel();
    assert_eq!(log.take(), ["third"]);
    third_resolver.callback(());
    first_handle.cancel();
    outer.cancel();
    assert!(log.take().is_empty());
    assert_eq!(take_text(outer), "1");
}
