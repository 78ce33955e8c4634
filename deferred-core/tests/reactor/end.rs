//! Stopping and closing a reactor.

use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::{HOUR, Log, on_another_thread, record, turn};
use deferred_core::{Failure, Inactive, Panicked, Reactor, Turn, on_unhandled, park};

#[test]
fn a_stopped_turn_runs_to_its_end_and_is_the_last() {
    let reactor = Reactor::new();
    let log = Log::default();
    let stopper = reactor.clone();
    reactor.call_later(Duration::ZERO, move || stopper.stop());
    reactor.call_later(Duration::ZERO, log.adds("after the stop"));
    assert_eq!(turn(&reactor), Turn::Stopped);
    assert!(!reactor.is_running());
    reactor.call_later(Duration::ZERO, log.adds("too late"));
    reactor.call_when_running(log.adds("too late"));
    assert_eq!(turn(&reactor), Turn::Stopped);
    assert_eq!(log.take(), ["after the stop"]);
}

#[test]
fn a_stop_before_the_loop_takes_effect_after_the_first_turn() {
    let reactor = Reactor::new();
    let log = Log::default();
    reactor.call_when_running(log.adds("start"));
    reactor.stop();
    assert_eq!(turn(&reactor), Turn::Stopped);
    assert_eq!(log.take(), ["start"]);
}

#[test]
fn a_stop_from_a_thread_runs_after_earlier_posts() {
    let reactor = Reactor::new();
    reactor.set_calls_per_turn(1);
    let count = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let count = count.clone();
        reactor.handle().call_from_thread(move || _ = count.fetch_add(1, Ordering::SeqCst)).unwrap();
    }
    reactor.handle().stop();
    park::drive(&reactor).unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[test]
fn a_closed_reactor_drops_pending_and_new_calls() {
    let reactor = Reactor::new();
    let held = Rc::new(());
    let crossing = Arc::new(());
    let (start, timer, post) = (held.clone(), held.clone(), crossing.clone());
    let (in_start, in_timer) = (reactor.clone(), reactor.clone());
    reactor.call_when_running(move || drop((start, in_start)));
    let call = reactor.call_later(Duration::ZERO, move || drop((timer, in_timer)));
    reactor.handle().call_from_thread(move || drop(post)).unwrap();
    reactor.extension(|| held.clone());
    assert_eq!((Rc::strong_count(&held), Arc::strong_count(&crossing)), (4, 2));
    reactor.close();
    assert_eq!((Rc::strong_count(&held), Arc::strong_count(&crossing)), (1, 1));
    assert_eq!(call.cancel(), Err(Inactive::ReactorClosed));

    let given = held.clone();
    let late = reactor.call_later(Duration::ZERO, move || drop(given));
    assert_eq!(late.cancel(), Err(Inactive::ReactorClosed));
    let given = held.clone();
    reactor.call_when_running(move || drop(given));
    let log = Log::default();
    record(&log, reactor.remote().0);
    assert_eq!(log.take(), ["abandoned"]);
    assert_eq!(Rc::strong_count(&held), 1);
    assert_eq!(turn(&reactor), Turn::Stopped);
}

#[test]
fn a_post_to_a_closed_reactor_returns_the_closure() {
    let reactor = Reactor::new();
    let handle = reactor.handle();
    reactor.close();
    let (sender, received) = mpsc::channel();
    let refused = on_another_thread(move || handle.call_from_thread(move || sender.send(7).unwrap()).unwrap_err());
    assert!(received.try_recv().is_err());
    refused.into_inner()();
    assert_eq!(received.try_recv(), Ok(7));
}

#[test]
fn code_that_runs_during_the_closing_finds_the_reactor_closed() {
    let reactor = Reactor::new();
    let (deferred, resolver) = reactor.remote::<u32>();
    let log = Log::default();
    let (seen, late) = (log.clone(), log.clone());
    let closing = reactor.clone();
    record(
        &log,
        deferred.add_errback(move |failure: Failure| {
            assert!(Reactor::current().is_some());
            assert!(!closing.call_later(Duration::ZERO, late.adds("late")).active());
            assert!(closing.handle().call_from_thread(|| ()).is_err());
            closing.close();
            seen.add("errback");
            Err(failure)
        }),
    );
    reactor.close();
    assert_eq!(log.take(), ["errback", "abandoned"]);
    assert!(resolver.is_cancelled());
}

#[test]
fn dropping_the_owner_closes_a_reactor_that_its_own_timer_holds() {
    let owner = Reactor::new();
    let clone = owner.clone();
    let call = owner.call_later(HOUR, move || clone.stop());
    assert!(call.active());
    drop(owner);
    assert!(!call.active());
}

#[test]
fn a_call_may_close_its_own_reactor() {
    let reactor = Reactor::new();
    let log = Log::default();
    let closing = reactor.clone();
    reactor.call_later(Duration::ZERO, move || closing.close());
    reactor.call_later(Duration::ZERO, log.adds("after"));
    assert_eq!(turn(&reactor), Turn::Stopped);
    assert!(log.take().is_empty());
}

#[test]
fn a_closed_reactor_stays_closed_and_stores_nothing() {
    let reactor = Reactor::new();
    assert_eq!(turn(&reactor), Turn::Sleep(None));
    reactor.close();
    reactor.stop();
    assert!(reactor.handle().call_from_thread(|| ()).is_err());
    let made = reactor.extension(|| 1_u32);
    assert_eq!((Rc::strong_count(&made), *reactor.extension(|| 2_u32)), (1, 2));
}

#[test]
fn a_posted_call_whose_drop_panics_at_the_end_is_reported_and_the_next_ones_are_dropped() {
    struct PanicOnDrop;
    impl Drop for PanicOnDrop {
        fn drop(&mut self) {
            panic!("of a capture");
        }
    }
    let (log, reactor, kept) = (Log::default(), Reactor::new(), Arc::new(()));
    let events = log.clone();
    let _hook = on_unhandled(move |unhandled| events.add(unhandled.downcast_ref::<Panicked>().unwrap().message()));
    for bomb in [None, Some(PanicOnDrop), None] {
        let held = (bomb, kept.clone());
        reactor.handle().call_from_thread(move || drop(held)).unwrap();
    }
    reactor.close();
    assert_eq!((log.take(), Arc::strong_count(&kept)), (vec!["of a capture".to_owned()], 1));
}
