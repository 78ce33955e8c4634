//! The triggers of startup and shutdown, and the Deferreds that both wait for.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::{HOUR, Log, Wakes, turn};
use deferred_core::{
    Clock, Deferred, Failure, HookGuard, Inactive, Phase, Reactor, Resolver, ShutdownTimedOut, SystemEvent, Turn,
    on_unhandled, park, report,
};

const PHASES: [Phase; 3] = [Phase::Before, Phase::During, Phase::After];

/// Returns a Deferred for a trigger to return, and its resolver.
fn pending() -> (Deferred<u32>, Resolver<u32>) {
    Deferred::new()
}

fn reports_to(log: &Log) -> HookGuard {
    let log = log.clone();
    on_unhandled(move |unhandled| match unhandled.downcast_ref::<Failure>() {
        Some(failure) => log.add(format!("{failure} at line {}", unhandled.made_at().line())),
        None => log.add(format!("{unhandled}")),
    })
}

#[test]
fn the_phases_run_in_order() {
    let reactor = Reactor::new();
    let log = Log::default();
    for event in [SystemEvent::Shutdown, SystemEvent::Startup] {
        for phase in PHASES.into_iter().rev().chain(PHASES) {
            let (log, seen) = (log.clone(), reactor.clone());
            reactor.add_system_event_trigger(phase, event, move || {
                log.add(format!("{phase:?} {event:?} {}", seen.is_running()));
            });
        }
    }
    reactor.call_when_running(log.adds("call_when_running"));
    reactor.handle().call_from_thread(|| ()).unwrap();
    reactor.call_later(Duration::ZERO, log.adds("timer"));
    assert!(matches!(turn(&reactor), Turn::Sleep(None)));
    reactor.stop();
    assert_eq!(log.take().len(), 8);
    let log_again = log.clone();
    reactor.call_later(Duration::ZERO, move || log_again.add("the last turn"));
    assert_eq!(turn(&reactor), Turn::Stopped);
    assert_eq!(
        log.take(),
        [
            "the last turn",
            "Before Shutdown true",
            "Before Shutdown true",
            "During Shutdown false",
            "During Shutdown false",
            "After Shutdown false",
            "After Shutdown false",
        ]
    );
}

#[test]
fn startup_sets_running_before_its_during_triggers() {
    let reactor = Reactor::new();
    let log = Log::default();
    for phase in PHASES {
        let (log, seen) = (log.clone(), reactor.clone());
        reactor.add_system_event_trigger(phase, SystemEvent::Startup, move || {
            let (inner, late) = (log.clone(), log.clone());
            seen.call_when_running(move || late.add(format!("asked in {phase:?}")));
            inner.add(format!("{phase:?} {}", seen.is_running()));
        });
    }
    let _ = turn(&reactor);
    let expected =
        ["Before false", "asked in During", "During true", "asked in After", "After true", "asked in Before"];
    // Calls requested by `call_when_running` before the startup run after the triggers that were
    // added to `After` earlier.
    assert_eq!(log.take(), expected);
}

#[test]
fn both_events_wait_for_all_before_triggers_whatever_they_fire() {
    for event in [SystemEvent::Startup, SystemEvent::Shutdown] {
        let reactor = Reactor::new();
        let log = Log::default();
        let _hook = reports_to(&log);
        if event == SystemEvent::Shutdown {
            let _ = turn(&reactor);
            reactor.stop();
        }
        let mut resolvers = Vec::new();
        for _ in 0..4 {
            let (deferred, resolver) = pending();
            resolvers.push(resolver);
            reactor.add_system_event_trigger(Phase::Before, event, move || deferred);
        }
        reactor.add_system_event_trigger(Phase::Before, event, || Ok::<_, Failure>(()));
        reactor.add_system_event_trigger(Phase::During, event, log.adds("the event"));
        reactor.call_later(Duration::ZERO, log.adds("the loop goes on"));
        assert_ne!(turn(&reactor), Turn::Stopped);
        assert_eq!(log.take(), ["the loop goes on"]);

        let mut resolvers = resolvers.into_iter();
        resolvers.next().unwrap().callback(1);
        resolvers.next().unwrap().errback(Failure::msg("no good"));
        drop(resolvers.next());
        let events = log.take();
        assert!(events[0].starts_with("no good") && events[1].starts_with("abandoned"), "{events:?}");
        assert_ne!(turn(&reactor), Turn::Stopped);
        resolvers.next().unwrap().callback(2);
        assert_eq!(log.take(), ["the event"]);
        assert_eq!(turn(&reactor) == Turn::Stopped, event == SystemEvent::Shutdown);
    }
}

#[test]
fn a_trigger_that_fails_or_panics_is_reported_and_the_others_are_called() {
    for phase in PHASES {
        let reactor = Reactor::new();
        let log = Log::default();
        let _hook = reports_to(&log);
        let line = line!() + 1;
        reactor.add_system_event_trigger(phase, SystemEvent::Shutdown, || Err::<(), _>(Failure::msg("no good")));
        reactor.add_system_event_trigger(phase, SystemEvent::Shutdown, || -> () { panic!("on purpose") });
        reactor.add_system_event_trigger(phase, SystemEvent::Shutdown, log.adds("called"));
        reactor.stop();
        assert_eq!(turn(&reactor), Turn::Stopped);
        let events = log.take();
        assert_eq!(events[0], format!("no good at line {line}"));
        assert!(
            events[1].contains("on purpose") && events[1].ends_with(&format!("at line {}", line + 1)),
            "{events:?}"
        );
        assert_eq!(events[2], "called");
    }
}

#[test]
fn a_trigger_can_be_removed_until_it_is_called_even_by_another_trigger() {
    for phase in PHASES {
        let reactor = Reactor::new();
        let log = Log::default();
        let kept = Rc::new(());
        let held = kept.clone();
        let gone = reactor.add_system_event_trigger(phase, SystemEvent::Startup, move || drop(held));
        assert!(gone.active());
        assert_eq!(gone.remove(), Ok(()));
        assert_eq!((Rc::strong_count(&kept), gone.active()), (1, false));
        assert_eq!(gone.remove(), Err(Inactive::AlreadyCancelled));

        let slot = Rc::new(RefCell::new(None));
        let other = slot.clone();
        let first = reactor.add_system_event_trigger(phase, SystemEvent::Startup, move || {
            let removed: deferred_core::SystemEventTrigger = other.take().unwrap();
            removed.remove().unwrap();
        });
        slot.replace(Some(reactor.add_system_event_trigger(phase, SystemEvent::Startup, log.adds("never"))));
        let _ = turn(&reactor);
        assert_eq!(log.take(), [""; 0]);
        assert_eq!(first.remove(), Err(Inactive::AlreadyCalled));
    }
}

#[test]
fn a_trigger_added_in_its_phase_is_called_and_one_added_later_is_dropped() {
    let reactor = Reactor::new();
    let log = Log::default();
    let (deferred, resolver) = pending();
    let (adds, to) = (log.clone(), reactor.clone());
    reactor.add_system_event_trigger(Phase::Before, SystemEvent::Startup, move || {
        to.add_system_event_trigger(Phase::Before, SystemEvent::Startup, adds.adds("in the pass"));
        deferred
    });
    let _ = turn(&reactor);
    assert_eq!(log.take(), ["in the pass"]);
    // While the startup waits, the trigger is called at once and waited for.
    let (second, release) = pending();
    let adds = log.clone();
    reactor.add_system_event_trigger(Phase::Before, SystemEvent::Startup, move || {
        adds.add("at once");
        second
    });
    assert_eq!(log.take(), ["at once"]);
    resolver.callback(1);
    assert!(!reactor.is_running());
    release.callback(2);
    assert!(reactor.is_running());

    let kept = Rc::new(());
    for phase in PHASES {
        let held = kept.clone();
        let late = reactor.add_system_event_trigger(phase, SystemEvent::Startup, move || drop(held));
        assert_eq!(late.remove(), Err(Inactive::TooLate));
    }
    assert_eq!(Rc::strong_count(&kept), 1);
}

#[test]
fn a_phase_has_passed_when_the_next_one_begins() {
    let reactor = Reactor::new();
    let log = Log::default();
    let (adds, to) = (log.clone(), reactor.clone());
    reactor.add_system_event_trigger(Phase::After, SystemEvent::Startup, move || {
        let late = to.add_system_event_trigger(Phase::During, SystemEvent::Startup, adds.adds("during"));
        assert_eq!(late.remove(), Err(Inactive::TooLate));
        to.add_system_event_trigger(Phase::After, SystemEvent::Startup, adds.adds("after"));
    });
    let _ = turn(&reactor);
    assert_eq!(log.take(), ["after"]);
}

#[test]
fn a_shutdown_that_ends_between_two_turns_wakes_a_sleeping_driver() {
    let reactor = Reactor::new();
    let (wakes, waker) = Wakes::new();
    let (deferred, resolver) = pending();
    reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || deferred);
    reactor.stop();
    assert!(matches!(reactor.turn(&waker), Turn::Sleep(_)));
    resolver.callback(1);
    assert_eq!(wakes.count(), 1);
    assert_eq!(reactor.turn(&waker), Turn::Stopped);
}

#[test]
fn a_shutdown_that_waits_wakes_the_driver_when_it_has_ended() {
    let log = Log::default();
    let adds = log.clone();
    park::run(|reactor| {
        let waits = reactor.clone();
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || {
            let (deferred, resolver) = waits.remote::<()>();
            std::thread::spawn(move || resolver.callback(()));
            deferred
        });
        reactor.add_system_event_trigger(Phase::After, SystemEvent::Shutdown, adds.adds("bye"));
        reactor.stop();
    });
    assert_eq!(log.take(), ["bye"]);
}

#[test]
fn the_turn_ends_when_the_shutdown_ends() {
    let reactor = Reactor::new();
    let log = Log::default();
    let (deferred, resolver) = pending();
    reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || deferred);
    reactor.stop();
    assert_ne!(turn(&reactor), Turn::Stopped);
    let poster = reactor.handle();
    let resolver = std::cell::Cell::new(Some(resolver));
    reactor.call_later(Duration::ZERO, log.adds("a timer after the end"));
    reactor.call_later(HOUR, || ());
    // The Deferred fires in a posted call, so the timers of that turn do not run.
    let (remote, fires) = reactor.remote::<()>();
    drop(remote.add_callback(move |()| {
        resolver.take().unwrap().callback(1);
        Ok(())
    }));
    fires.callback(());
    let late = poster.clone();
    assert_eq!(turn(&reactor), Turn::Stopped);
    assert_eq!(log.take(), [""; 0]);
    drop(reactor);
    assert!(late.call_from_thread(|| ()).is_err());
}

#[test]
fn the_deadline_reports_and_cancels_pending_triggers_and_continues() {
    let clock = Clock::new();
    let log = Log::default();
    let reports = log.clone();
    let _hook = report::on_report(move |report| match report.downcast_ref::<ShutdownTimedOut>() {
        Some(overdue) => {
            reports.add(format!("{:?}", overdue.pending().iter().map(|at| at.line()).collect::<Vec<_>>()));
            reports.add(overdue.to_string());
        }
        None if report.kind() == "pending" => {} // if inspection is on for all tests
        None => reports.add(if report.is_cancelled() { "cancelled" } else { "else" }),
    });
    clock.set_shutdown_deadline(Duration::from_secs(5));
    let (deferred, _held) = pending();
    let cancels = log.clone();
    let (stubborn, _kept) = Deferred::<u32>::with_canceller(move || {
        cancels.add("the canceller");
        None
    });
    let line = line!() + 1;
    clock.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || deferred);
    clock.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || stubborn);
    clock.add_system_event_trigger(Phase::During, SystemEvent::Shutdown, log.adds("the shutdown"));
    clock.stop();
    clock.advance(Duration::from_millis(1));
    assert!(clock.is_running());
    clock.advance(Duration::from_secs(4));
    assert_eq!(log.take(), [""; 0]);
    clock.advance(Duration::from_secs(1));
    let events = log.take();
    assert_eq!(events[0], format!("[{}, {}]", line, line + 1));
    assert!(
        events[1].starts_with("the deadline of the shutdown, 5s, has passed; cancelling 2 shutdown triggers"),
        "{}",
        events[1]
    );
    assert!(events[1].contains(&format!("events.rs:{}", line + 1)), "{}", events[1]);
    assert_eq!(events[2..], ["cancelled", "the canceller", "cancelled", "the shutdown"]);
    assert!(!clock.is_running());
}

#[test]
fn a_shutdown_in_time_cancels_its_deadline_and_one_without_a_deadline_waits_forever() {
    let clock = Clock::new();
    let (deferred, resolver) = pending();
    clock.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || deferred);
    clock.stop();
    clock.advance(Duration::ZERO);
    assert_eq!(clock.delayed_calls().len(), 1);
    resolver.callback(1);
    assert!(!clock.is_running());
    assert!(clock.delayed_calls().is_empty());

    let clock = Clock::new();
    clock.set_shutdown_deadline(None);
    let (deferred, resolver) = pending();
    clock.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || deferred);
    clock.stop();
    clock.advance(HOUR * 24 * 365);
    assert!(clock.is_running());
    resolver.callback(1);
    assert!(!clock.is_running());
}

#[test]
fn a_stop_during_the_startup_replaces_it() {
    let reactor = Reactor::new();
    let log = Log::default();
    let (deferred, resolver) = pending();
    reactor.add_system_event_trigger(Phase::Before, SystemEvent::Startup, move || deferred);
    reactor.add_system_event_trigger(Phase::During, SystemEvent::Startup, log.adds("startup"));
    reactor.call_when_running(log.adds("running"));
    reactor.add_system_event_trigger(Phase::During, SystemEvent::Shutdown, log.adds("shutdown"));
    let _ = turn(&reactor);
    let (before, shuts_down) = (log.clone(), reactor.clone());
    let (waits, goes_on) = pending();
    reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || {
        // The startup is over, so this trigger is dropped.
        let late = before.adds("late");
        let late = shuts_down.add_system_event_trigger(Phase::Before, SystemEvent::Startup, late);
        assert_eq!(late.remove(), Err(Inactive::TooLate));
        waits
    });
    reactor.stop();
    assert_ne!(turn(&reactor), Turn::Stopped);
    resolver.callback(1);
    assert!(!reactor.is_running());
    goes_on.callback(2);
    assert_eq!(turn(&reactor), Turn::Stopped);
    assert_eq!(log.take(), ["shutdown"]);
}

#[test]
fn a_startup_trigger_may_end_the_loop_in_a_nested_turn() {
    for phase in PHASES {
        let reactor = Reactor::new();
        let log = Log::default();
        let (nested, adds) = (reactor.clone(), log.clone());
        reactor.add_system_event_trigger(phase, SystemEvent::Startup, move || {
            nested.stop();
            assert_eq!(turn(&nested), Turn::Stopped);
            adds.add("back");
        });
        let never = reactor.add_system_event_trigger(Phase::After, SystemEvent::Startup, log.adds("never"));
        reactor.add_system_event_trigger(Phase::After, SystemEvent::Shutdown, log.adds("shutdown"));
        assert_eq!(turn(&reactor), Turn::Stopped);
        assert_eq!(never.remove(), Err(Inactive::TooLate));
        assert!(!reactor.is_running());
        assert_eq!(log.take(), ["shutdown", "back"]);
    }
}

#[test]
fn closing_drops_the_remaining_triggers_even_inside_a_trigger() {
    for event in [SystemEvent::Startup, SystemEvent::Shutdown] {
        for closes_in in PHASES {
            let reactor = Reactor::new();
            let kept = Rc::new(());
            let closes = reactor.clone();
            reactor.add_system_event_trigger(closes_in, event, move || closes.close());
            let held = kept.clone();
            let last = reactor.add_system_event_trigger(Phase::After, event, move || drop(held));
            reactor.stop();
            assert_eq!(turn(&reactor), Turn::Stopped);
            assert_eq!(Rc::strong_count(&kept), 1);
            assert_eq!(last.remove(), Err(Inactive::ReactorClosed));
            let late = reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, || ());
            assert_eq!(late.remove(), Err(Inactive::ReactorClosed));
        }
    }
}

#[test]
fn a_nested_turn_of_a_trigger_runs_nothing_twice() {
    let reactor = Reactor::new();
    let log = Log::default();
    for event in [SystemEvent::Startup, SystemEvent::Shutdown] {
        for phase in PHASES {
            let (log, nested) = (log.clone(), reactor.clone());
            reactor.add_system_event_trigger(phase, event, move || {
                log.add(format!("{phase:?} {event:?}"));
                let _ = turn(&nested);
            });
        }
    }
    assert!(matches!(turn(&reactor), Turn::Sleep(None)));
    assert_eq!(log.take(), ["Before Startup", "During Startup", "After Startup"]);
    reactor.stop();
    assert_eq!(turn(&reactor), Turn::Stopped);
    assert_eq!(log.take(), ["Before Shutdown", "During Shutdown", "After Shutdown"]);
}
