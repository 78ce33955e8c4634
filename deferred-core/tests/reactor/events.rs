//! What is called at the startup and at the shutdown, and what they wait for.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::{HOUR, Log, Wakes, turn};
use deferred_core::{
    Cancelled, Clock, Deferred, Failure, HookGuard, Inactive, Phase, Reactor, Resolver, ShutdownTimedOut, SystemEvent,
    Turn, on_unhandled, park,
};

const PHASES: [Phase; 3] = [Phase::Before, Phase::During, Phase::After];

/// A Deferred that a trigger returns, and what fires it.
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
fn each_phase_is_called_in_its_place_and_in_order() {
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
fn the_startup_sets_running_before_what_is_called_during_it() {
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
    // What was asked for before the startup is in line behind those that were added to `After`
    // earlier.
    assert_eq!(log.take(), expected);
}

#[test]
fn both_events_wait_for_all_that_comes_before_them_whatever_it_fires() {
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
        let told = log.take();
        assert!(told[0].starts_with("no good") && told[1].starts_with("abandoned"), "{told:?}");
        assert_ne!(turn(&reactor), Turn::Stopped);
        resolvers.next().unwrap().callback(2);
        assert_eq!(log.take(), ["the event"]);
        assert_eq!(turn(&reactor) == Turn::Stopped, event == SystemEvent::Shutdown);
    }
}

#[test]
fn a_trigger_that_fails_or_panics_is_told_with_its_place_and_the_others_are_called() {
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
        let told = log.take();
        assert_eq!(told[0], format!("no good at line {line}"));
        assert!(told[1].contains("on purpose") && told[1].ends_with(&format!("at line {}", line + 1)), "{told:?}");
        assert_eq!(told[2], "called");
    }
}

#[test]
fn a_trigger_can_be_removed_until_it_is_called_also_by_another_one() {
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
fn what_is_added_in_its_phase_is_called_and_what_is_added_behind_it_is_dropped() {
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
    // While the startup waits: it is called at once, and waited for.
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
fn a_phase_passes_when_the_next_one_begins() {
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
fn the_end_of_the_shutdown_is_the_end_of_the_turn_that_it_comes_in() {
    let reactor = Reactor::new();
    let log = Log::default();
    let (deferred, resolver) = pending();
    reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || deferred);
    reactor.stop();
    assert_ne!(turn(&reactor), Turn::Stopped);
    let poster = reactor.handle();
    let resolver = std::cell::Cell::new(Some(resolver));
    reactor.call_later(Duration::ZERO, log.adds("a timer comes behind the end"));
    reactor.call_later(HOUR, || ());
    // Fired from a posted call: the timers of that turn do not run any more.
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
fn the_deadline_says_what_is_pending_cancels_it_and_goes_on() {
    let clock = Clock::new();
    let log = Log::default();
    let reports = log.clone();
    let _hook = on_unhandled(move |unhandled| match unhandled.downcast_ref::<ShutdownTimedOut>() {
        Some(overdue) => {
            reports.add(format!("{:?}", overdue.pending().iter().map(|at| at.line()).collect::<Vec<_>>()));
            reports.add(overdue.to_string());
        }
        None => reports.add(if unhandled.downcast_ref::<Cancelled>().is_some() { "cancelled" } else { "else" }),
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
    let told = log.take();
    assert_eq!(told[0], format!("[{}, {}]", line, line + 1));
    assert!(told[1].starts_with("the shutdown stopped waiting after its deadline of 5s; it cancelled"), "{}", told[1]);
    assert!(told[1].contains(&format!("events.rs:{}", line + 1)), "{}", told[1]);
    assert_eq!(told[2..], ["cancelled", "the canceller", "cancelled", "the shutdown"]);
    assert!(!clock.is_running());
}

#[test]
fn a_shutdown_in_time_leaves_no_deadline_behind_and_one_without_waits_for_ever() {
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
fn a_stop_during_the_startup_takes_its_place() {
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
        // The startup is over, so this is too late.
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
fn a_trigger_of_the_startup_may_end_the_loop_in_a_turn_of_its_own() {
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
fn closing_drops_what_is_left_and_one_may_close_in_the_middle() {
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
