//! `concurrent(n).map`, which makes one call for each item.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use deferred_core::{
    CancelHandle, Cancelled, Clock, Deferred, DeferredQueue, Failure, FirstError, Panicked, Reactor, Resolver,
    TimedOut, concurrent,
};
use futures::StreamExt;

use crate::support::{App, Log, ignore_unhandled, peek_text, take_text, unhandled_into};

/// Calls whose Deferreds the test fires.
#[derive(Clone, Default)]
struct Calls(Rc<RefCell<VecDeque<Resolver<u32>>>>);

impl Calls {
    fn call(&self) -> Deferred<u32> {
        let (deferred, resolver) = Deferred::new();
        self.0.borrow_mut().push_back(resolver);
        deferred
    }

    fn running(&self) -> usize {
        self.0.borrow().len()
    }

    fn fire(&self, index: usize, value: u32) {
        let resolver = self.0.borrow_mut().remove(index).expect("it runs");
        resolver.callback(value);
    }
}

/// Returns a Deferred that only a cancel fires.
fn never() -> Deferred<u32> {
    let (never, resolver) = Deferred::new();
    std::mem::forget(resolver);
    never
}

fn values(deferred: Deferred<Vec<u32>, FirstError>) -> Vec<u32> {
    deferred.try_take().expect("it is done").expect("it has succeeded")
}

fn error(deferred: Deferred<Vec<u32>, FirstError>) -> FirstError {
    deferred.try_take().expect("it is done").expect_err("it has failed")
}

#[test]
fn at_most_the_limit_runs_and_items_are_taken_as_calls_begin() {
    let (calls, taken) = (Calls::default(), Rc::new(Cell::new(0)));
    let (inner, count) = (calls.clone(), taken.clone());
    let items = (0..5).inspect(move |_| count.set(count.get() + 1));
    let all = concurrent(2).map(items, move |_| inner.call());
    assert_eq!((calls.running(), taken.get()), (2, 2));
    calls.fire(1, 11);
    assert_eq!((calls.running(), taken.get()), (2, 3));
    calls.fire(1, 12);
    calls.fire(0, 10);
    assert_eq!((calls.running(), taken.get()), (2, 5));
    calls.fire(0, 13);
    calls.fire(0, 14);
    assert_eq!(values(all), [10, 11, 12, 13, 14]);
}

#[test]
fn unordered_yields_values_as_they_arrive() {
    let calls = Calls::default();
    let inner = calls.clone();
    let all = concurrent(3).unordered().map(0..3, move |_| inner.call());
    calls.fire(2, 2);
    calls.fire(0, 0);
    calls.fire(0, 1);
    assert_eq!(values(all), [2, 0, 1]);
}

#[test]
fn ready_results_need_no_waiting_and_no_stack() {
    let many = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    let all = concurrent(1).map(0..many, Ok);
    assert_eq!(values(all).len(), many as usize);
    assert_eq!(values(concurrent(3).map([], Ok)), [0; 0]);
}

#[test]
fn after_the_first_error_no_call_begins_and_running_ones_are_cancelled_before_it_fires() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let (begun, fails) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
    let (count, slot, cancels) = (begun.clone(), fails.clone(), log.clone());
    let all = concurrent(3).map(0..9, move |n| {
        count.set(count.get() + 1);
        if n == 1 {
            let (deferred, resolver) = Deferred::<u32>::new();
            slot.set(Some(resolver));
            return deferred;
        }
        let log = cancels.clone();
        let (deferred, resolver) = Deferred::with_canceller(move || {
            log.add(format!("cancels {n}"));
            None
        });
        std::mem::forget(resolver);
        deferred
    });
    let lines = log.clone();
    let all = all.add_errback(move |first| {
        lines.add(format!("{:?}", first.index));
        Err(first)
    });
    fails.take().expect("it runs").errback(App(1));
    assert_eq!(log.take(), ["cancels 0", "cancels 2", "Some(1)"]);
    assert!(error(all).error.check::<App>());
    assert_eq!(begun.get(), 3);
}

#[test]
fn a_panic_of_a_call_has_its_index_and_one_of_the_items_has_none() {
    let first = error(concurrent(2).map(0..3, |n| if n == 1 { panic!("in a call") } else { Ok(n) }));
    assert_eq!((first.index, first.error.check::<Panicked>()), (Some(1), true));
    let items = std::iter::from_fn(|| -> Option<u32> { panic!("in the iterator") });
    let whole = error(concurrent(2).map(items, Ok));
    assert_eq!((whole.index, whole.error.check::<Panicked>()), (None, true));
}

#[test]
fn a_cancel_reaches_all_running_calls_in_order_and_no_call_begins_after_it() {
    let log = Log::new();
    for answers in [false, true] {
        let cancels = log.clone();
        let all = concurrent(2).map(0..3, move |n| {
            let log = cancels.clone();
            let (deferred, resolver) = Deferred::with_canceller(move || {
                log.add(format!("cancels {n}"));
                answers.then_some(Ok(n))
            });
            std::mem::forget(resolver);
            deferred
        });
        all.cancel_with(&Cancelled::because("the window was closed"));
        assert_eq!(log.take(), ["cancels 0", "cancels 1"]);
        let first = error(all);
        assert!(first.error.check::<Cancelled>());
        // Without an error of a call, the one item that is left decides.
        assert_eq!(first.index, if answers { None } else { Some(0) });
        assert_eq!(first.error.to_string(), "cancelled: the window was closed");
    }
}

#[test]
fn after_a_cancel_the_values_of_all_calls_are_the_result_if_no_item_is_left() {
    for limit in [2, 3] {
        let all = concurrent(limit).map(0..2, |n| never().add_errback(move |_| Ok(n)));
        all.cancel();
        assert_eq!(values(all), [0, 1], "with a limit of {limit}");
    }
    // All results, with errors, and a timeout that is not one of them.
    let clock = Clock::new();
    let all = concurrent(2).map(0..9, |_| never().add_both(Ok::<_, Failure>));
    let all = all.map_err(Failure::from).add_timeout(Duration::from_secs(1), &clock);
    clock.advance(Duration::from_secs(1));
    assert!(all.try_take().unwrap().unwrap_err().check::<TimedOut>());
}

#[test]
fn no_call_begins_after_a_cancel_inside_a_call() {
    for waits in [false, true] {
        let (begun, cancels) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None::<CancelHandle>)));
        let (count, handle) = (begun.clone(), cancels.clone());
        let start = Cell::new(None);
        let (first, resolver) = Deferred::<u32>::new();
        start.set(Some(first));
        let mut all = concurrent(2).map(0..9, move |n| {
            count.set(count.get() + 1);
            if n == 0 {
                return start.take().expect("called once");
            }
            if n == 1 {
                return never();
            }
            if n == 3 {
                handle.take().expect("it is set").cancel();
            }
            if waits { never() } else { Deferred::succeed(n) }
        });
        cancels.set(Some(all.cancel_handle()));
        assert_eq!(begun.get(), 2);
        resolver.callback(0);
        if waits {
            // The third call takes the place of the first, and waits.
            assert_eq!(begun.get(), 3);
            all.cancel();
        }
        assert_eq!(begun.get(), if waits { 3 } else { 4 }, "waits: {waits}");
        assert!(error(all).error.check::<Cancelled>());
    }
}

#[test]
fn after_a_cancel_a_stream_is_not_polled() {
    let (calls, queue) = (Calls::default(), DeferredQueue::<u32>::new());
    let inner = calls.clone();
    let all = concurrent(2).map_stream(queue.stream(), move |_| inner.call().add_errback(|_| Ok(7)));
    for item in 0..3 {
        queue.put(item).unwrap();
    }
    all.cancel();
    assert_eq!((error(all).index, queue.len()), (None, 1), "no item is lost");
}

#[test]
fn a_stream_is_polled_only_when_the_next_call_can_begin() {
    let (calls, queue) = (Calls::default(), DeferredQueue::<u32>::new());
    let inner = calls.clone();
    let mut all = concurrent(2).map_stream(queue.stream(), move |_| inner.call()).map_err(Failure::from);
    for item in 0..3 {
        queue.put(item).unwrap();
    }
    assert_eq!((calls.running(), queue.len()), (2, 1));
    calls.fire(0, 10);
    assert_eq!((calls.running(), queue.len()), (2, 0));
    calls.fire(0, 11);
    calls.fire(0, 12);
    assert_eq!(peek_text(&mut all), "pending");
    queue.put(3).unwrap();
    queue.close();
    calls.fire(0, 13);
    assert_eq!(peek_text(&mut all), "[10, 11, 12, 13]");
}

#[test]
fn an_item_that_is_ready_while_a_call_runs_cancels_nothing() {
    let (first, resolver) = Deferred::<u32>::new();
    let (first, queue) = (Cell::new(Some(first)), DeferredQueue::<u32>::new());
    let all = concurrent(3).map_stream(queue.stream(), move |n| first.take().unwrap_or_else(|| Deferred::succeed(n)));
    queue.put(0).unwrap();
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    assert!(!resolver.is_cancelled());
    resolver.callback(7);
    queue.close();
    assert_eq!(values(all), [7, 1, 2]);
}

#[test]
fn a_cancel_while_waiting_for_the_stream_drops_the_stream() {
    let _quiet = ignore_unhandled();
    let reactor = Reactor::new();
    let _entered = reactor.enter();
    let all = concurrent(2).map_stream(futures::stream::pending::<u32>(), Ok);
    all.cancel();
    let whole = error(all);
    assert_eq!((whole.index, whole.error.check::<Cancelled>()), (None, true));
}

#[test]
fn running_calls_get_the_reason_of_the_cancel() {
    for closes in [false, true] {
        let reactor = Reactor::new();
        let _entered = reactor.enter();
        let (log, queue) = (Log::new(), DeferredQueue::<u32>::new());
        let lines = log.clone();
        // After the items of the queue, the stream waits for a foreign future.
        let (_sender, foreign) = futures::channel::mpsc::unbounded();
        let items = queue.stream().chain(foreign);
        let all = concurrent(3).map_stream(items, move |n| {
            if n == 1 {
                return Deferred::fail(App(1));
            }
            let (call, resolver) = Deferred::<u32>::new();
            std::mem::forget(resolver);
            lines.watch("call", call)
        });
        queue.put(0).unwrap();
        if closes {
            queue.close();
            reactor.close();
            assert_eq!(log.take(), ["call Cancelled(its `map` has ended)"]);
        } else {
            queue.put(1).unwrap();
            assert_eq!(log.take(), ["call Cancelled(another call of the same `map` has failed)"]);
        }
        assert!(all.try_take().unwrap().is_err());
    }
}

#[test]
#[should_panic(expected = "with a limit of 0 no call could run")]
fn a_limit_of_zero_is_refused() {
    let _ = concurrent(0);
}

#[test]
fn running_calls_are_cancelled_if_the_items_panic_or_a_call_fails_at_once() {
    type Starts = fn(Rc<RefCell<Vec<Resolver<u32>>>>) -> Deferred<()>;
    let starts: [(&str, Starts); 2] = [
        ("the items panic", |calls| {
            let items = (0..2).map(|n| if n == 1 { panic!("items") } else { n });
            let all = concurrent(3).map(items, move |_| {
                let (deferred, resolver) = Deferred::<u32>::new();
                calls.borrow_mut().push(resolver);
                deferred
            });
            all.map_err(Failure::from).map(drop)
        }),
        ("a call fails", |calls| {
            let all = concurrent(2).map(0..2, move |n| {
                if n == 1 {
                    return Deferred::fail(App(1));
                }
                let (deferred, resolver) = Deferred::<u32>::new();
                calls.borrow_mut().push(resolver);
                deferred
            });
            all.map_err(Failure::from).map(drop)
        }),
    ];
    for (name, start) in starts {
        for inside in [false, true] {
            let calls = Rc::new(RefCell::new(Vec::<Resolver<u32>>::new()));
            let (given, seen) = (calls.clone(), calls.clone());
            let look = move |all: Deferred<()>| {
                assert!(all.is_ready(), "{name}");
                assert!(seen.borrow()[0].is_cancelled(), "{name}, in a callback: {inside}");
                drop(all.add_errback(|_| Ok(())));
            };
            if inside {
                let looked = Deferred::succeed(()).map(move |()| look(start(given)));
                assert_eq!(take_text(looked), "()");
            } else {
                look(start(given));
            }
        }
    }
}
