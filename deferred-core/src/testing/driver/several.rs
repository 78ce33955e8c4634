//! Nested turns, and two reactors on one thread.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Waker;
use std::thread;
use std::time::Duration;

use super::{Check, DriverTest};
use crate::error::Failure;
use crate::reactor::{Reactor, ReactorHandle, Turn};

pub(super) const CHECKS: &[Check] = &[
    ("a call may turn its own reactor", a_call_may_turn_its_own_reactor),
    ("one thread runs several reactors after each other", reactors_run_after_each_other),
    ("two threads with a reactor each wake each other", two_threads_wake_each_other),
];
pub(super) const CHECKS_OF_BOTH: &[Check] = &[
    ("two reactors on one thread both run", two_reactors_both_run),
    ("two reactors on one thread wait for each other", two_reactors_wait_for_each_other),
    ("one of two reactors ends without the other", one_of_two_reactors_ends),
    ("a call of one reactor wakes another one of its thread", a_call_wakes_another_reactor),
];

fn a_call_may_turn_its_own_reactor(test: &DriverTest) {
    let inside = Rc::new(Cell::new(false));
    test.drive(|reactor| {
        let (own, seen) = (reactor.clone(), inside.clone());
        reactor.call_later(Duration::from_millis(1), move || {
            // A modal dialog, which a timer and a thread close.
            let (timer, thread) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
            let fired = timer.clone();
            own.call_later(Duration::from_millis(2), move || fired.set(true));
            let (remote, resolver) = own.remote::<()>();
            thread::spawn(move || resolver.callback(()));
            let posted = thread.clone();
            drop(remote.map(move |()| posted.set(true)));
            while !(timer.get() && thread.get()) {
                let turned = own.turn(Waker::noop());
                assert_ne!(turned, Turn::Stopped);
                thread::sleep(Duration::from_micros(100));
            }
            seen.set(true);
        });
        // The sleep after it is woken although the inner turns had another waker.
        let handle = reactor.handle();
        let own = reactor.clone();
        reactor.call_later(Duration::from_millis(2), move || {
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(10));
                handle.stop();
            });
            drop(own);
        });
    });
    assert!(inside.get());
}

fn reactors_run_after_each_other(test: &DriverTest) {
    for number in 0..20 {
        let result = test.drive_until(|reactor| {
            let (deferred, resolver) = reactor.remote();
            thread::spawn(move || resolver.callback(number));
            deferred
        });
        assert_eq!(result.ok(), Some(number));
    }
}

/// Drives two new reactors after a call of `main`.
fn drive_both(test: &DriverTest, main: impl FnOnce(&Reactor, &Reactor)) {
    let drive_both = test.drive_both.as_ref().expect("the driver has one");
    let (first, second) = (Reactor::new(), Reactor::new());
    let reactors = [first.clone(), second.clone()];
    main(&first, &second);
    drive_both(first, second);
    for reactor in reactors {
        assert!(reactor.is_closed(), "the driver has returned and has not closed a reactor");
    }
}

fn two_reactors_both_run(test: &DriverTest) {
    let ticks = [Rc::new(Cell::new(0)), Rc::new(Cell::new(0))];
    fn tick(reactor: &Reactor, ticks: Rc<Cell<u32>>) {
        ticks.set(ticks.get() + 1);
        if ticks.get() == 20 {
            return reactor.stop();
        }
        let again = reactor.clone();
        reactor.call_later(Duration::from_millis(1), move || tick(&again, ticks));
    }
    drive_both(test, |first, second| {
        tick(first, ticks[0].clone());
        tick(second, ticks[1].clone());
    });
    assert_eq!(ticks.map(|ticks| ticks.get()), [20, 20]);
}

fn two_reactors_wait_for_each_other(test: &DriverTest) {
    // One coroutine each; they pass a number to and fro.
    drive_both(test, |first, second| {
        let (to_second, from_first) = (crate::DeferredQueue::new(), crate::DeferredQueue::new());
        let (sends, receives) = (to_second.clone(), from_first.clone());
        let (a, b) = (first.clone(), second.clone());
        drop(first.ensure_deferred(async move {
            for number in 0..500_u32 {
                sends.put(number)?;
                if receives.get().await? != number + 1 {
                    return Err(Failure::msg("a wrong number"));
                }
            }
            a.stop();
            Ok(())
        }));
        drop(second.ensure_deferred(async move {
            for _ in 0..500 {
                let number: u32 = to_second.get().await?;
                b.sleep(Duration::ZERO).await?;
                from_first.put(number + 1)?;
            }
            b.stop();
            Ok(())
        }));
    });
}

fn one_of_two_reactors_ends(test: &DriverTest) {
    let late = Rc::new(Cell::new(false));
    drive_both(test, |first, second| {
        first.stop();
        let (own, seen) = (second.clone(), late.clone());
        second.call_later(Duration::from_millis(10), move || {
            seen.set(true);
            own.stop();
        });
    });
    assert!(late.get());
}

fn a_call_wakes_another_reactor(test: &DriverTest) {
    // The second one sleeps for an hour, and is changed outside of its turns: by an earlier timer,
    // and by a stop.
    drive_both(test, |first, second| {
        second.call_later(Duration::from_secs(3600), || ());
        let (changes, other) = (second.clone(), first.clone());
        first.call_later(Duration::from_millis(20), move || {
            let (stopper, first) = (changes.clone(), other.clone());
            changes.call_later(Duration::from_millis(1), move || {
                let stopped_by = first.clone();
                first.call_later(Duration::from_millis(20), move || {
                    stopper.stop();
                    stopped_by.stop();
                });
            });
        });
    });
}

fn two_threads_wake_each_other(test: &DriverTest) {
    /// Posts `left` to the other loop, which answers.
    fn pass(own: ReactorHandle, other: ReactorHandle, left: u32) {
        if left == 0 {
            own.stop();
            return other.stop();
        }
        let (next_own, next_other) = (other.clone(), own);
        other.call_from_thread(move || pass(next_own, next_other, left - 1)).expect("both loops run");
    }
    let (handles, all_handles) = mpsc::channel();
    let threads = [handles.clone(), handles].map(|handles| {
        let test = test.clone();
        thread::spawn(move || test.drive(|reactor| handles.send(reactor.handle()).expect("the check waits")))
    });
    let (first, second) = (all_handles.recv().expect("a loop"), all_handles.recv().expect("a loop"));
    let (own, other) = (first.clone(), second);
    first.call_from_thread(move || pass(own, other, 2_000)).expect("both loops run");
    for thread in threads {
        thread.join().expect("a loop has only passed posts");
    }
}
