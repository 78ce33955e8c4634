//! `Clock`.

use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use deferred_core::{Clock, Deferred, Failure, Inactive, Phase, Reactor, ReactorHandle, SystemEvent};

use crate::secs;
use crate::support::{App, Log, ignore_unhandled, unhandled_into};

#[test]
fn the_clock_stands_still_until_it_is_advanced() {
    let clock = Clock::new();
    let begun = clock.now();
    assert_eq!(clock.now(), begun);
    clock.pump([secs(1), secs(2)]);
    assert_eq!(clock.now() - begun, secs(3));
    assert!(clock.is_running());
}

#[test]
fn a_new_clock_has_started() {
    let clock = Clock::new();
    for phase in [Phase::Before, Phase::During, Phase::After] {
        let late = clock.add_system_event_trigger(phase, SystemEvent::Startup, || -> () { unreachable!() });
        assert_eq!(late.remove(), Err(Inactive::TooLate));
    }
}

#[test]
fn due_calls_run_in_order_together_with_the_calls_that_they_add() {
    let (clock, log) = (Clock::new(), Log::new());
    let (later, seen) = (clock.clone(), log.clone());
    clock.call_later(secs(1), move || {
        seen.add("at 1");
        let inner = seen.clone();
        later.call_later(Duration::ZERO, move || inner.add("at 1, added"));
        let inner = seen.clone();
        later.call_later(secs(5), move || inner.add("never"));
        assert!(Reactor::current().is_some());
    });
    let seen = log.clone();
    clock.call_later(secs(3), move || seen.add("at 3"));
    clock.advance(Duration::ZERO);
    assert!(log.take().is_empty());
    // The time moves at once, as for a loop that was blocked: it runs all late calls, and the
    // delays of new calls begin at the new time.
    clock.advance(secs(4));
    assert_eq!(log.take(), ["at 1", "at 3", "at 1, added"]);
}

#[test]
fn posted_calls_run_before_and_after_due_calls() {
    let clock = Clock::new();
    let (sender, received) = mpsc::channel();
    let (handle, late, first) = (clock.handle(), sender.clone(), sender.clone());
    clock.call_later(secs(1), move || {
        sender.send("timer").unwrap();
        handle.call_from_thread(move || late.send("posted by the timer").unwrap()).unwrap();
    });
    clock.handle().call_from_thread(move || first.send("posted").unwrap()).unwrap();
    clock.advance(secs(1));
    assert_eq!(received.try_iter().collect::<Vec<_>>(), ["posted", "timer", "posted by the timer"]);
}

#[test]
fn posts_of_posted_calls_run_in_the_same_advance() {
    fn posts(left: u32, handle: &ReactorHandle, sender: mpsc::Sender<u32>) {
        let again = handle.clone();
        let call = move || {
            sender.send(left).unwrap();
            if left > 0 {
                posts(left - 1, &again, sender);
            }
        };
        handle.call_from_thread(call).unwrap();
    }
    let clock = Clock::new();
    let (sender, received) = mpsc::channel();
    posts(5, &clock.handle(), sender);
    clock.advance(Duration::ZERO);
    assert_eq!(received.try_iter().collect::<Vec<_>>(), [5, 4, 3, 2, 1, 0]);
}

#[test]
fn a_coroutine_that_a_call_wakes_runs_before_the_next_call_however_often_it_wakes_itself() {
    let (clock, log) = (Clock::new(), Log::new());
    let (sender, received) = futures::channel::oneshot::channel::<()>();
    let lines = log.clone();
    let coroutine = clock.ensure_deferred(async move {
        received.await.unwrap();
        for number in 0..3 {
            lines.add(number.to_string());
            let mut polled = false;
            std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
        Ok(())
    });
    clock.call_later(secs(1), || sender.send(()).unwrap());
    let lines = log.clone();
    clock.call_later(secs(2), move || lines.add("next call"));
    clock.advance(secs(3));
    assert_eq!(log.take(), ["0", "1", "2", "next call"]);
    assert!(coroutine.is_ready());
}

#[test]
fn a_call_that_fails_is_reported_and_the_next_one_runs() {
    let (clock, log) = (Clock::new(), Log::new());
    let _hook = unhandled_into(&log);
    clock.call_later(secs(1), || Err::<(), _>(App(1).into()));
    clock.call_later(secs(1), || Deferred::<()>::fail(App(2)));
    let (deferred, resolver) = Deferred::<()>::new();
    clock.call_later(secs(1), move || deferred);
    clock.call_when_running(|| Err::<(), _>(App(3).into()));
    clock.handle().call_from_thread(|| Err::<(), _>(App(4).into())).unwrap();
    clock.advance(secs(1));
    assert_eq!(log.take(), ["unhandled App(3)", "unhandled App(4)", "unhandled App(1)", "unhandled App(2)"]);
    resolver.errback(App(5));
    assert_eq!(log.take(), ["unhandled App(5)"]);
}

#[test]
fn a_stop_ends_an_advance() {
    let (clock, log) = (Clock::new(), Log::new());
    let (stopper, seen) = (clock.clone(), log.clone());
    clock.call_later(secs(1), move || stopper.stop());
    clock.call_later(secs(1), move || seen.add("in the same advance"));
    let seen = log.clone();
    clock.call_later(secs(2), move || seen.add("too late"));
    clock.advance(secs(1));
    assert!(!clock.is_running());
    clock.advance(secs(1));
    assert_eq!(log.take(), ["in the same advance"]);
}

#[test]
#[should_panic = "something adds calls without a delay"]
fn calls_that_add_calls_forever_are_detected() {
    fn again(reactor: Reactor) {
        reactor.clone().call_later(Duration::ZERO, move || again(reactor));
    }
    let clock = Clock::new();
    again(clock.clone());
    clock.advance(Duration::ZERO);
}

#[test]
fn coroutines_that_wake_themselves_forever_are_detected() {
    for sleeps in [false, true] {
        let found = std::panic::catch_unwind(|| {
            let _quiet = ignore_unhandled();
            let clock = Clock::new();
            let slept = clock.sleep(secs(1));
            let _again = clock.ensure_deferred(async move {
                if sleeps {
                    slept.await?;
                }
                std::future::poll_fn(|context| -> Poll<Result<(), Failure>> {
                    context.waker().wake_by_ref();
                    Poll::Pending
                })
                .await
            });
            clock.advance(secs(1));
        });
        let message = *found.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("adds calls without a delay"), "{message}");
    }
}

#[test]
fn in_steps_each_call_runs_at_its_due_time() {
    let (clock, log) = (Clock::new(), Log::new());
    let begun = clock.now();
    for at in [3, 1, 2] {
        let (time, line) = (clock.clone(), log.clone());
        clock.call_later(secs(at), move || {
            line.add(format!("{:?}", time.now() - begun));
            let (later, inner) = (time.clone(), line.clone());
            time.call_later(secs(4), move || inner.add(format!("then {:?}", later.now() - begun)));
        });
    }
    clock.advance_in_steps(secs(6));
    assert_eq!(log.take(), ["1s", "2s", "3s", "then 5s", "then 6s"]);
    assert_eq!(clock.now() - begun, secs(6));
    clock.advance_in_steps(secs(1));
    assert_eq!(log.take(), ["then 7s"]);
}

#[test]
fn in_steps_a_stop_ends_the_calls_and_the_time_still_advances() {
    for closes in [false, true] {
        let (clock, log) = (Clock::new(), Log::new());
        let begun = clock.now();
        let (stopper, seen) = (clock.clone(), log.clone());
        clock.call_later(secs(1), move || if closes { stopper.close() } else { stopper.stop() });
        clock.call_later(secs(2), move || seen.add("too late"));
        clock.advance_in_steps(secs(3));
        assert!(!clock.is_running());
        assert_eq!(clock.now() - begun, secs(3));
        clock.advance_in_steps(secs(3));
        assert!(log.take().is_empty());
    }
}

#[test]
fn in_steps_a_shutdown_that_waits_for_a_timer_has_it() {
    let (clock, log) = (Clock::new(), Log::new());
    let sleeps = clock.clone();
    clock.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || sleeps.sleep(secs(2)));
    let seen = log.clone();
    clock.add_system_event_trigger(Phase::During, SystemEvent::Shutdown, move || seen.add("stopped"));
    let stopper = clock.clone();
    clock.call_later(secs(1), move || stopper.stop());
    clock.call_later(secs(9), || ());
    clock.advance_in_steps(secs(2));
    assert!(clock.is_running() && log.take().is_empty());
    clock.advance_in_steps(secs(8));
    assert!(!clock.is_running());
    assert_eq!(log.take(), ["stopped"]);
}
