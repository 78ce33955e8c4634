//! `LoopingCall`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use deferred_core::{Clock, Deferred, Failure, LoopingCall, Reactor, Resolver, Turn};

use crate::support::{App, Log, ignore_unhandled, take_text};
use crate::{millis, secs};

/// A `LoopingCall` that logs the seconds since the start at each call.
struct Ticking {
    clock: Rc<Clock>,
    log: Log,
    call: LoopingCall,
}

/// Each call takes `work` of the clock's time, as a blocking call would.
fn ticking(work: Duration) -> Ticking {
    let (clock, log) = (Rc::new(Clock::new()), Log::new());
    let begun = clock.now();
    let (time, seen) = (clock.clone(), log.clone());
    let call = LoopingCall::new(&clock, move || {
        seen.add(format!("{:?}", time.now() - begun));
        if !work.is_zero() {
            time.advance(work);
        }
    });
    Ticking { clock, log, call }
}

#[test]
fn the_first_call_is_inside_start_and_later_ones_are_on_the_grid() {
    let Ticking { clock, log, call } = ticking(Duration::ZERO);
    let done = call.start(secs(10));
    assert_eq!(log.take(), ["0ns"]);
    clock.advance(secs(9));
    assert!(log.take().is_empty());
    clock.pump([secs(1), secs(10), secs(10)]);
    assert_eq!(log.take(), ["10s", "20s", "30s"]);
    assert!(!done.is_ready() && call.is_running());
}

#[test]
fn start_later_skips_the_first_call() {
    let Ticking { clock, log, call } = ticking(Duration::ZERO);
    let _done = call.start_later(secs(10));
    assert!(log.take().is_empty() && call.is_running());
    clock.advance(secs(10));
    assert_eq!(log.take(), ["10s"]);
}

#[test]
fn a_late_call_does_not_move_the_grid() {
    let Ticking { clock, log, call } = ticking(Duration::ZERO);
    let _done = call.start(millis(500));
    clock.pump([millis(700), millis(300), millis(499), millis(1)]);
    assert_eq!(log.take(), ["0ns", "700ms", "1s", "1.5s"]);
}

#[test]
fn intervals_that_have_passed_are_skipped() {
    let Ticking { clock, log, call } = ticking(Duration::ZERO);
    let _done = call.start(secs(1));
    clock.advance(millis(4200));
    clock.advance(millis(800));
    assert_eq!(log.take(), ["0ns", "4.2s", "5s"]);
}

#[test]
fn work_longer_than_the_interval_skips_calls_and_does_not_drift() {
    let Ticking { clock, log, call } = ticking(millis(2500));
    let _done = call.start(secs(1));
    clock.pump([millis(500); 4]);
    assert_eq!(log.take(), ["0ns", "3s", "6s", "9s", "12s"]);
}

#[test]
fn an_interval_of_a_third_of_a_second_does_not_drift_in_a_million_calls() {
    let clock = Clock::new();
    let count = Rc::new(Cell::new(0));
    let counted = count.clone();
    let call = LoopingCall::new(&clock, move || counted.set(counted.get() + 1));
    let interval = secs(1) / 3;
    let _done = call.start(interval);
    for _ in 0..1_000_000 {
        clock.advance(interval);
    }
    assert_eq!(count.get(), 1_000_001);
}

#[test]
fn an_interval_of_zero_is_a_call_a_turn() {
    let reactor = Reactor::new();
    let count = Rc::new(Cell::new(0));
    let counted = count.clone();
    let call = LoopingCall::new(&reactor, move || counted.set(counted.get() + 1));
    let done = call.start(Duration::ZERO);
    for turns in 1..100 {
        assert_eq!(count.get(), turns);
        assert_ne!(reactor.turn(std::task::Waker::noop()), Turn::Stopped);
    }
    call.stop();
    assert!(done.is_ready());
}

#[test]
fn an_interval_beyond_the_clock_never_ends() {
    let Ticking { clock, log, call } = ticking(Duration::ZERO);
    let done = call.start(Duration::MAX);
    clock.advance(secs(1_000_000));
    assert_eq!(log.take(), ["0ns"]);
    call.stop();
    assert!(done.is_ready());
}

#[test]
fn stopping_between_two_calls_fires_with_the_looping_call_which_may_start_again() {
    let Ticking { clock, log, call } = ticking(Duration::ZERO);
    let done = call.start(secs(1));
    call.stop();
    assert!(!call.is_running());
    call.stop(); // nothing to stop
    clock.advance(secs(5));
    let same = done.try_take().unwrap().unwrap();
    log.take();
    let again = same.start(secs(1));
    clock.advance(secs(1));
    assert_eq!(log.take(), ["5s", "6s"]);
    assert!(call.is_running() && !again.is_ready());
}

#[test]
fn stopping_inside_the_call_fires_at_its_end() {
    let (clock, log) = (Clock::new(), Log::new());
    let own = Rc::new(RefCell::new(None::<LoopingCall>));
    let (me, seen) = (own.clone(), log.clone());
    let call = LoopingCall::new(&clock, move || {
        let me = me.take().unwrap();
        me.stop();
        assert!(!me.is_running());
        seen.add("called");
    });
    own.replace(Some(call.clone()));
    let done = log.watch("done", call.start(secs(1)).map(|_| ()));
    assert_eq!(log.take(), ["called", "done ()"]);
    assert!(done.is_ready());
    clock.advance(secs(3));
    assert!(log.take().is_empty());
}

/// Returns a looping call whose function returns a pending Deferred each time, and the resolvers.
fn waiting(clock: &Clock) -> (LoopingCall, Rc<RefCell<Vec<Resolver<()>>>>) {
    let resolvers = Rc::new(RefCell::new(Vec::new()));
    let made = resolvers.clone();
    let call = LoopingCall::new(clock, move || {
        let (deferred, resolver) = Deferred::<()>::new();
        made.borrow_mut().push(resolver);
        deferred
    });
    (call, resolvers)
}

fn last(resolvers: &RefCell<Vec<Resolver<()>>>) -> Resolver<()> {
    resolvers.borrow_mut().pop().expect("it was called")
}

#[test]
fn a_deferred_of_the_function_is_waited_for() {
    let clock = Clock::new();
    let (call, resolvers) = waiting(&clock);
    let done = call.start(secs(1));
    clock.advance(millis(3500));
    assert_eq!(resolvers.borrow().len(), 1);
    last(&resolvers).callback(());
    clock.advance(millis(499));
    assert_eq!(resolvers.borrow().len(), 0);
    clock.advance(millis(1));
    assert_eq!(resolvers.borrow().len(), 1);
    call.stop();
    assert!(!done.is_ready());
    last(&resolvers).callback(());
    assert!(done.is_ready());
}

#[test]
fn errors_and_panics_end_a_looping_call() {
    let clock = Clock::new();
    let failing = LoopingCall::new(&clock, || Err::<(), _>(App(1).into()));
    assert_eq!(take_text(failing.start(secs(1))), "App(1)");
    assert!(!failing.is_running());
    let panicking = LoopingCall::new(&clock, || -> () { panic!("ouch") });
    assert_eq!(take_text(panicking.start(secs(1))), "Panicked(ouch)");
    assert_eq!(take_text(panicking.start(secs(1))), "Panicked(ouch)");
    let (call, resolvers) = waiting(&clock);
    let done = call.start(secs(1));
    last(&resolvers).errback(App(2));
    assert_eq!(take_text(done), "App(2)");
    clock.advance(secs(5));
    assert!(resolvers.borrow().is_empty());
}

#[test]
fn cancelling_its_deferred_stops_the_looping_call() {
    let Ticking { clock, log, call } = ticking(Duration::ZERO);
    let done = call.start(secs(1));
    done.cancel();
    assert!(!call.is_running());
    assert_eq!(take_text(done), "Cancelled");
    log.take();
    clock.advance(secs(5));
    assert!(log.take().is_empty());
    let _again = call.start(secs(1));
    assert_eq!(log.take(), ["5s"]);
}

#[test]
fn cancelling_its_deferred_cancels_the_awaited_deferred() {
    let _quiet = ignore_unhandled();
    let clock = Clock::new();
    let (call, resolvers) = waiting(&clock);
    let done = call.start(secs(1));
    done.cancel();
    assert!(last(&resolvers).is_cancelled());
    assert_eq!(take_text(done), "Cancelled");
    clock.advance(secs(5));
    assert!(resolvers.borrow().is_empty());
    assert!(!call.is_running());
    let _again = call.start(secs(1));
    assert_eq!(resolvers.borrow().len(), 1);
}

#[test]
fn a_stopped_or_cancelled_looping_call_is_dropped_with_its_last_handle() {
    for cancels in [false, true] {
        let (clock, log) = (Clock::new(), Log::new());
        let probe = log.probe("dropped");
        let call = LoopingCall::new(&clock, move || {
            let _probe = &probe;
        });
        let done = call.start(secs(1));
        if cancels {
            done.cancel();
        } else {
            call.stop();
        }
        drop((call, done));
        assert_eq!(log.take(), ["dropped"]);
    }
}

#[test]
fn a_cancel_from_inside_the_call_reaches_the_deferred_that_it_returns() {
    let clock = Clock::new();
    let handle = Rc::new(RefCell::new(None::<deferred_core::CancelHandle>));
    let resolver = Rc::new(RefCell::new(None));
    let (canceller, kept) = (handle.clone(), resolver.clone());
    let call = LoopingCall::new(&clock, move || {
        if let Some(handle) = canceller.take() {
            handle.cancel();
        }
        let (deferred, resolver) = Deferred::<()>::new();
        kept.replace(Some(resolver));
        deferred
    });
    let mut done = call.start_later(secs(1));
    handle.replace(Some(done.cancel_handle()));
    clock.advance(secs(1));
    assert!(resolver.take().unwrap().is_cancelled());
    assert_eq!(take_text(done), "Cancelled");
    assert!(!call.is_running());
}

#[test]
#[should_panic = "already running"]
fn starting_a_running_looping_call_panics() {
    let clock = Clock::new();
    let call = LoopingCall::new(&clock, || ());
    let _done = call.start(secs(1));
    let _twice = call.start(secs(1));
}

#[test]
fn closing_the_reactor_ends_a_looping_call_that_has_handles() {
    let clock = Clock::new();
    let between = LoopingCall::new(&clock, || ());
    let (inside, resolvers) = waiting(&clock);
    let (one, two) = (between.start(secs(1)), inside.start(secs(1)));
    clock.close();
    assert!(one.is_ready() && two.is_ready());
    assert!(!between.is_running());
    last(&resolvers).callback(());
    assert!(!inside.is_running());
    let log = Log::new();
    let seen = log.clone();
    let never = LoopingCall::new(&clock, move || seen.add("never"));
    for done in [never.start(secs(1)), never.start_later(secs(1)), between.start(secs(1))] {
        assert!(done.try_take().unwrap().is_ok());
    }
    assert!(log.take().is_empty());
}

#[test]
fn the_count_is_the_number_of_passed_intervals() {
    let (clock, log) = (Clock::new(), Log::new());
    let seen = log.clone();
    let call = LoopingCall::with_count(&clock, move |count| seen.add(count.to_string()));
    let _done = call.start(secs(2));
    clock.pump([secs(2), secs(5), secs(1), secs(20)]);
    assert_eq!(log.take(), ["1", "1", "2", "1", "10"]);
    call.stop();

    let _done = call.start_later(secs(2));
    clock.pump([secs(1), secs(1), secs(4)]);
    assert_eq!(log.take(), ["1", "2"]);
    call.stop();

    let _done = call.start(Duration::ZERO);
    call.stop();
    assert_eq!(log.take(), ["1"]);
}

#[test]
fn a_reset_restarts_the_grid() {
    let Ticking { clock, log, call } = ticking(Duration::ZERO);
    let _done = call.start(secs(10));
    clock.advance(secs(4));
    call.reset();
    clock.pump([secs(9), secs(1), secs(10)]);
    assert_eq!(log.take(), ["0ns", "14s", "24s"]);
    call.stop();
    call.reset(); // does not run
    assert!(!call.is_running());
}

#[test]
fn a_reset_does_nothing_while_a_call_runs_or_is_waited_for() {
    let (clock, log) = (Clock::new(), Log::new());
    let (inner, resolver) = Deferred::<()>::new();
    let inner = RefCell::new(Some(inner));
    let seen = log.clone();
    let call = LoopingCall::new(&clock, move || {
        seen.add("tick");
        inner.take().unwrap_or_else(|| Deferred::succeed(()))
    });
    let _done = call.start(secs(10));
    clock.advance(secs(4));
    call.reset();
    resolver.callback(());
    clock.advance(secs(6));
    assert_eq!(log.take(), ["tick", "tick"]);
}

#[test]
fn after_a_reset_right_after_a_call_the_count_restarts() {
    let (clock, log) = (Clock::new(), Log::new());
    let seen = log.clone();
    let call = LoopingCall::with_count(&clock, move |count| seen.add(count.to_string()));
    let _done = call.start(secs(10));
    clock.advance(secs(13));
    call.reset();
    clock.advance(secs(10));
    assert_eq!(log.take(), ["1", "1", "1"]);
}

#[test]
fn after_a_late_reset_the_count_includes_the_intervals_before_it() {
    let (clock, log) = (Clock::new(), Log::new());
    let seen = log.clone();
    let call = LoopingCall::with_count(&clock, move |count| seen.add(count.to_string()));
    let _done = call.start(secs(10));
    let resets = call.clone();
    let _before = clock.call_later(secs(5), move || resets.reset());
    clock.advance(secs(25)); // both are due
    clock.pump([secs(9), secs(1), secs(10)]);
    assert_eq!(log.take(), ["1", "3", "1"]);
}

#[test]
fn keep_going_reports_each_error_and_continues_until_stopped() {
    let (clock, log) = (Clock::new(), Log::new());
    let _hook = crate::support::unhandled_into(&log);
    let seen = log.clone();
    let call = LoopingCall::new(&clock, move || {
        seen.add("tick");
        if seen.take() == ["none"] { Ok(()) } else { Err(App(1).into()) }
    })
    .keep_going();
    let done = call.start(secs(1));
    assert_eq!(log.take(), ["unhandled App(1)"]);
    clock.advance(secs(1));
    assert_eq!(log.take(), ["unhandled App(1)"]);
    call.stop();
    assert!(done.try_take().unwrap().is_ok());
}

#[test]
fn the_hook_of_a_keep_going_error_may_stop_the_looping_call() {
    let clock = Clock::new();
    let calls = Rc::new(Cell::new(0));
    let counts = calls.clone();
    let ticking = LoopingCall::new(&clock, move || {
        counts.set(counts.get() + 1);
        Err::<(), _>(Failure::msg("each time"))
    })
    .keep_going();
    let (stops, seen) = (ticking.clone(), Rc::new(Cell::new(None)));
    let sees = seen.clone();
    let _hook = deferred_core::on_unhandled(move |_| {
        sees.set(Some(stops.is_running()));
        stops.stop();
    });
    let done = ticking.start(secs(1));
    clock.advance(secs(3));
    assert_eq!((calls.get(), seen.get(), ticking.is_running()), (1, Some(true), false));
    assert!(done.is_ready());
}
