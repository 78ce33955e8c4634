//! The stack stays flat however long or deep a chain is: all tests run in 256 KiB of stack.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;

use crate::support::{App, MANY, on_a_small_stack, take_text};
use deferred_core::{Cancelled, Deferred, Failure, Resolver, repeat_until};

const ROUNDS: u64 = MANY * 10;

#[test]
fn a_million_callbacks_on_one_deferred() {
    on_a_small_stack(|| {
        for fails in [false, true] {
            let (mut deferred, resolver) = Deferred::<u64>::new();
            for _ in 0..MANY {
                deferred = deferred.add_callback(|value| Ok(value + 1));
            }
            if fails {
                resolver.errback(App(1));
                assert_eq!(take_text(deferred), "App(1)");
            } else {
                resolver.callback(0);
                assert_eq!(take_text(deferred), MANY.to_string());
            }
        }
    });
}

#[test]
fn a_million_callbacks_are_dropped_with_their_deferred() {
    on_a_small_stack(|| {
        let counted = Rc::new(Cell::new(0_u64));
        for abandoned in [false, true] {
            let (mut deferred, resolver) = Deferred::<u64>::new();
            for _ in 0..MANY {
                let counted = counted.clone();
                deferred = deferred.map(move |value| {
                    counted.set(counted.get() + 1);
                    value
                });
            }
            drop(deferred);
            if abandoned {
                drop(resolver)
            } else {
                resolver.callback(0)
            }
            assert_eq!((counted.get(), Rc::strong_count(&counted)), (MANY, 1));
        }
    });
}

/// The variant of a test of nested waits.
#[derive(Clone, Copy, Debug)]
struct Link {
    /// If `true`, another callback follows the wait.
    stage_behind: bool,
    /// If `true`, the test keeps a cancel handle.
    handle: bool,
    /// If `true`, the Deferreds are linked from the innermost outward, so that each one waits at
    /// once; otherwise from the outermost inward.
    inner_first: bool,
}

impl Link {
    fn all() -> impl Iterator<Item = Link> {
        (0..8).map(|bits| Link { stage_behind: bits & 1 != 0, handle: bits & 2 != 0, inner_first: bits & 4 != 0 })
    }
}

/// Returns the first of `MANY` Deferreds, each waiting for the next, and the resolver of the last.
fn waiting_line(link: Link) -> (Deferred<u64>, Resolver<u64>) {
    let (mut deferred, last) = Deferred::<u64>::new();
    let mut handles = Vec::new();
    let mut resolvers = Vec::new();
    for _ in 0..MANY {
        let (mut outer, resolver) = Deferred::<()>::new();
        if link.handle {
            handles.push(outer.cancel_handle());
        }
        deferred = outer.add_callback(|()| deferred);
        if link.stage_behind {
            deferred = deferred.map(|value| value + 1);
        }
        if link.inner_first {
            resolver.callback(());
        } else {
            resolvers.push(resolver);
        }
    }
    for resolver in resolvers.into_iter().rev() {
        resolver.callback(());
    }
    (deferred, last)
}

#[test]
fn a_million_nested_waits_are_fired() {
    on_a_small_stack(|| {
        for link in Link::all() {
            let (deferred, last) = waiting_line(link);
            assert!(!deferred.is_ready());
            last.callback(5);
            let expected = if link.stage_behind { 5 + MANY } else { 5 };
            assert_eq!(take_text(deferred), expected.to_string(), "{link:?}");
        }
    });
}

#[test]
fn a_million_nested_waits_are_cancelled() {
    on_a_small_stack(|| {
        for link in Link::all() {
            let (deferred, last) = waiting_line(link);
            deferred.cancel();
            assert!(last.is_cancelled(), "{link:?}");
            assert_eq!(take_text(deferred), "Cancelled");
        }
    });
}

#[test]
fn a_million_nested_waits_are_dropped_unfired() {
    on_a_small_stack(|| {
        for link in Link::all() {
            let (deferred, last) = waiting_line(link);
            drop(last);
            assert_eq!(take_text(deferred), "Abandoned", "{link:?}");
            let (deferred, last) = waiting_line(link);
            drop(deferred);
            drop(last);
        }
    });
}

#[test]
fn a_million_nested_waits_fire_after_the_outermost_was_dropped() {
    on_a_small_stack(|| {
        for link in Link::all() {
            let (deferred, last) = waiting_line(link);
            let got = Rc::new(Cell::new(0));
            let sink = got.clone();
            drop(deferred.map(move |value| sink.set(value)));
            last.callback(7);
            assert_eq!(got.get(), if link.stage_behind { 7 + MANY } else { 7 });
        }
    });
}

#[test]
fn a_million_deferreds_captured_to_be_returned_are_dropped() {
    // Each Deferred is a capture of the next one's callback, which an error skips.
    on_a_small_stack(|| {
        let (mut deferred, mut resolver) = Deferred::<u64>::new();
        for _ in 0..MANY {
            let (outer, outer_resolver) = Deferred::<u64>::new();
            let inner_resolver = resolver;
            let inner = deferred;
            deferred = outer.add_callback(move |value| {
                inner_resolver.callback(value);
                inner
            });
            resolver = outer_resolver;
        }
        resolver.errback(App(1));
        assert_eq!(take_text(deferred), "App(1)");
    });
}

#[test]
fn a_million_links_of_chain_deferred() {
    on_a_small_stack(|| {
        for end in 0..4 {
            let (first, first_resolver) = Deferred::<u64>::new();
            let mut deferred = first;
            let mut handle = deferred.cancel_handle();
            for index in 0..MANY {
                let (next, resolver) = Deferred::<u64>::new();
                deferred.chain_deferred(resolver);
                deferred = if index % 2 == 0 { next } else { next.map(|value| value + 1) };
            }
            match end {
                0 => {
                    first_resolver.callback(0);
                    assert_eq!(take_text(deferred), (MANY / 2).to_string());
                }
                1 => {
                    first_resolver.errback(App(1));
                    assert_eq!(take_text(deferred), "App(1)");
                }
                2 => {
                    handle.cancel();
                    assert_eq!(take_text(deferred), "Cancelled");
                }
                _ => {
                    drop(first_resolver);
                    assert_eq!(take_text(deferred), "Abandoned");
                }
            }
            handle = Deferred::succeed(()).cancel_handle();
            handle.cancel();
        }
    });
}

#[test]
fn a_million_resolvers_each_held_by_the_next_callback() {
    on_a_small_stack(|| {
        for dropped_first in [false, true] {
            let ran = Rc::new(Cell::new(0_u64));
            let (first, mut resolver) = Deferred::<u64>::new();
            let mut kept = Some(first);
            for _ in 0..MANY {
                let (deferred, next) = Deferred::<u64>::new();
                let (held, ran) = (resolver, ran.clone());
                drop(deferred.add_callback(move |value| {
                    held.callback(value);
                    ran.set(ran.get() + 1);
                    Ok(())
                }));
                resolver = next;
            }
            if dropped_first {
                kept = None;
            }
            drop(resolver);
            assert_eq!((ran.get(), Rc::strong_count(&ran)), (0, 1));
            if let Some(first) = kept {
                assert_eq!(take_text(first), "Abandoned");
            }
        }
    });
}

#[test]
fn a_million_resolvers_each_held_by_a_callback_that_runs_and_drops_it() {
    on_a_small_stack(|| {
        let ran = Rc::new(Cell::new(0_u64));
        let (first, mut resolver) = Deferred::<u64>::new();
        for _ in 0..MANY {
            let (deferred, next) = Deferred::<u64>::new();
            let (held, ran) = (resolver, ran.clone());
            drop(deferred.add_both(move |result| {
                ran.set(ran.get() + 1);
                drop(held);
                result
            }));
            resolver = next;
        }
        resolver.callback(1);
        assert_eq!((ran.get(), Rc::strong_count(&ran)), (MANY, 1));
        assert_eq!(take_text(first), "Abandoned");
    });
}

#[test]
fn a_million_pauses_each_dropped_inside_the_next_callback() {
    on_a_small_stack(|| {
        let ran = Rc::new(Cell::new(0_u64));
        let mut held = None;
        for _ in 0..MANY {
            let (mut deferred, resolver) = Deferred::<u64>::new();
            let pause = deferred.pause();
            let (before, ran) = (held.replace(pause), ran.clone());
            drop(deferred.map(move |_| {
                ran.set(ran.get() + 1);
                drop(before);
            }));
            resolver.callback(1);
        }
        assert_eq!(ran.get(), 0);
        drop(held);
        assert_eq!(ran.get(), MANY);
    });
}

/// Fires the Deferreds that the rounds of a recursion wait for.
#[derive(Default)]
struct Driver {
    resolvers: RefCell<Vec<Resolver<()>>>,
}

impl Driver {
    fn later(&self) -> Deferred<()> {
        let (deferred, resolver) = Deferred::new();
        self.resolvers.borrow_mut().push(resolver);
        deferred
    }

    /// Fires one Deferred after the other until none is left.
    fn run(&self) {
        loop {
            let Some(resolver) = self.resolvers.borrow_mut().pop() else { return };
            resolver.callback(());
        }
    }

    /// Runs all rounds of `deferred`, and checks that they need little memory at any time.
    #[track_caller]
    fn run_in_constant_memory(&self, deferred: &Deferred<u64>) {
        for _ in 0..100 {
            let resolver = self.resolvers.borrow_mut().pop().expect("a round waits");
            resolver.callback(());
        }
        let ((), peak) = crate::count::peak_bytes(|| self.run());
        assert!(deferred.is_ready());
        assert!(peak < 64 * 1024, "{peak} bytes more than after 100 firings");
    }
}

fn count_down(driver: &Rc<Driver>, left: u64) -> Deferred<u64> {
    let next = driver.clone();
    driver.later().add_callback(move |()| if left == 0 { Deferred::succeed(7) } else { count_down(&next, left - 1) })
}

#[test]
fn a_tail_recursive_chain_runs_in_constant_memory() {
    on_a_small_stack(|| {
        let driver = Rc::new(Driver::default());
        let deferred = count_down(&driver, ROUNDS);
        driver.run_in_constant_memory(&deferred);
        assert_eq!(take_text(deferred), "7");
    });
}

#[test]
fn a_tail_recursive_chain_inside_a_wait_runs_in_constant_memory() {
    on_a_small_stack(|| {
        let driver = Rc::new(Driver::default());
        let first = count_down(&driver, ROUNDS);
        let deferred = Deferred::succeed(()).add_callback(|()| first).map(|value| value + 1);
        let (last, resolver) = Deferred::<u64>::new();
        deferred.chain_deferred(resolver);
        driver.run_in_constant_memory(&last);
        assert_eq!(take_text(last), "8");
    });
}

fn count_down_with_handles(driver: &Rc<Driver>, left: u64) -> Deferred<u64> {
    let next = driver.clone();
    let mut deferred = driver.later();
    let handle = deferred.cancel_handle();
    deferred.add_callback(move |()| {
        handle.cancel(); // does nothing inside the Deferred's own callback
        if left == 0 { Deferred::succeed(7) } else { count_down_with_handles(&next, left - 1) }
    })
}

#[test]
fn a_tail_recursive_chain_with_handles_runs_in_constant_memory() {
    on_a_small_stack(|| {
        let driver = Rc::new(Driver::default());
        let deferred = count_down_with_handles(&driver, MANY);
        driver.run_in_constant_memory(&deferred);
        assert_eq!(take_text(deferred), "7");
    });
}

fn count_down_with_finally(driver: &Rc<Driver>, left: u64) -> Deferred<u64> {
    let (closing, next) = (driver.clone(), driver.clone());
    driver
        .later()
        .add_finally(move || closing.later())
        .add_callback(move |()| if left == 0 { Deferred::succeed(7) } else { count_down_with_finally(&next, left - 1) })
}

#[test]
fn a_tail_recursive_chain_with_a_finally_that_waits_runs_in_constant_memory() {
    on_a_small_stack(|| {
        let driver = Rc::new(Driver::default());
        let deferred = count_down_with_finally(&driver, ROUNDS);
        driver.run_in_constant_memory(&deferred);
        assert_eq!(take_text(deferred), "7");
    });
}

fn retry(driver: &Rc<Driver>, left: u64) -> Deferred<u64> {
    let next = driver.clone();
    driver
        .later()
        .add_callback(|()| Err(App(1).into()))
        .add_errback(move |_: Failure| if left == 0 { Deferred::succeed(7) } else { retry(&next, left - 1) })
}

#[test]
fn a_tail_recursive_errback_runs_in_constant_memory() {
    on_a_small_stack(|| {
        let driver = Rc::new(Driver::default());
        let deferred = retry(&driver, MANY);
        driver.run_in_constant_memory(&deferred);
        assert_eq!(take_text(deferred), "7");
    });
}

/// The wait of each round ends before the next begins: the recursion is in a Deferred that is ready
/// by then.
fn already_fired(left: u64) -> Deferred<u64> {
    let (deferred, resolver) = Deferred::<u64>::new();
    let deferred = deferred.map(move |value| value + left);
    resolver.callback(0);
    deferred
}

#[test]
fn a_loop_over_fired_deferreds_runs_in_constant_memory() {
    on_a_small_stack(|| {
        let (sum, peak) = crate::count::peak_bytes(|| {
            let mut deferred = already_fired(0);
            for round in 0..MANY {
                deferred = deferred.add_callback(move |_| already_fired(round));
            }
            take_text(deferred)
        });
        assert_eq!(sum, (MANY - 1).to_string());
        assert!(peak < 64 * 1024, "{peak} bytes");
    });
}

#[test]
fn repeat_until_runs_a_million_ready_bodies() {
    on_a_small_stack(|| {
        let mut count = 0;
        let (deferred, peak) = crate::count::peak_bytes(|| {
            repeat_until(move || {
                count += 1;
                Ok::<_, Failure>(if count == MANY { ControlFlow::Break(count) } else { ControlFlow::Continue(()) })
            })
        });
        assert_eq!(take_text(deferred), MANY.to_string());
        assert!(peak < 64 * 1024, "{peak} bytes");

        let mut count = 0;
        let deferred = repeat_until(move || {
            count += 1;
            Deferred::succeed(if count == MANY { ControlFlow::Break(count) } else { ControlFlow::Continue(()) })
        });
        assert_eq!(take_text(deferred), MANY.to_string());

        let mut count = 0;
        let deferred = repeat_until(move || {
            count += 1;
            let (fired, resolver) = Deferred::new();
            resolver.callback(if count == MANY { ControlFlow::Break(count) } else { ControlFlow::Continue(()) });
            fired
        });
        assert_eq!(take_text(deferred), MANY.to_string());
    });
}

#[test]
fn repeat_until_runs_a_million_bodies_that_wait() {
    on_a_small_stack(|| {
        let driver = Rc::new(Driver::default());
        let (sources, mut count) = (driver.clone(), 0);
        let deferred = repeat_until(move || {
            count += 1;
            let turn = if count == MANY { ControlFlow::Break(count) } else { ControlFlow::Continue(()) };
            sources.later().map(move |()| turn)
        });
        driver.run_in_constant_memory(&deferred);
        assert_eq!(take_text(deferred), MANY.to_string());
    });
}

#[test]
fn a_million_resolvers_each_held_by_the_next_canceller() {
    on_a_small_stack(|| {
        let (first, mut resolver) = Deferred::<u64>::new();
        for _ in 0..MANY {
            let held = resolver;
            let (deferred, next) = Deferred::<u64>::with_canceller(move || {
                drop(held);
                None
            });
            drop(deferred.add_errback(|failure| {
                failure.trap::<Cancelled>()?;
                Ok(0)
            }));
            resolver = next;
        }
        drop(resolver);
        assert_eq!(take_text(first), "Abandoned");
    });
}
