//! `Reactor::health`: what a loop has done, how late it is, and what waits for it.

use std::future::{pending, poll_fn};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use deferred_core::{
    Cancelled, Clock, Deferred, Failure, Phase, Reactor, SystemEvent, Turn, inline_callbacks, on_unhandled, park,
};

#[test]
fn each_kind_of_call_is_counted() {
    let reactor = Reactor::new();
    assert_eq!(reactor.health().turns, 0);
    reactor.add_system_event_trigger(Phase::During, SystemEvent::Startup, || ());
    reactor.call_when_running(|| ());
    (0..3).for_each(|_| drop(reactor.call_later(Duration::ZERO, || ())));
    let handle = reactor.handle();
    (0..2).for_each(|_| handle.call_from_thread(|| ()).unwrap());
    let _ = reactor.turn(Waker::noop());
    let mut again = true;
    let wakes_itself = poll_fn(move |context| {
        context.waker().wake_by_ref();
        if std::mem::take(&mut again) { Poll::Pending } else { Poll::Ready(Ok(())) }
    });
    // Woken in a turn, so that the next one resumes it.
    reactor.call_later(Duration::ZERO, || inline_callbacks(wakes_itself));
    let _ = (reactor.turn(Waker::noop()), reactor.turn(Waker::noop()));
    let health = reactor.health();
    assert_eq!((health.turns, health.trigger_calls), (3, 2));
    assert_eq!((health.timer_calls, health.posted_calls, health.coroutine_calls), (4, 2, 1));
    assert_eq!((health.turn_times.count(), health.timer_lateness.count()), (3, 4));
}

#[test]
fn what_waits_is_counted() {
    let reactor = Reactor::new();
    let (first, second) =
        (reactor.call_later(Duration::from_secs(9), || ()), reactor.call_later(Duration::from_secs(9), || ()));
    assert_eq!(reactor.health().timers, 2);
    second.reset(Duration::from_secs(10)).unwrap();
    first.cancel().unwrap();
    assert_eq!(reactor.health().timers, 1);
    assert_eq!((reactor.health().inbox, reactor.health().oldest_post), (0, None));
    let (handle, posts) = (reactor.handle(), reactor.handle());
    handle.call_from_thread(|| ()).unwrap();
    thread::sleep(Duration::from_millis(3));
    handle.call_from_thread(|| ()).unwrap();
    let health = reactor.health();
    assert_eq!(health.inbox, 2);
    assert!(health.oldest_post.unwrap() >= Duration::from_millis(3));
    // The calls that a turn has left wait too.
    posts.call_from_thread(|| ()).unwrap();
    reactor.set_calls_per_turn(1);
    assert_eq!(reactor.turn(Waker::noop()), Turn::Again);
    let health = reactor.health();
    assert_eq!((health.inbox, health.posted_calls), (2, 1));
    assert!(health.oldest_post.unwrap() >= Duration::from_millis(3));
    let _ = (reactor.turn(Waker::noop()), reactor.turn(Waker::noop()));
    assert_eq!((reactor.health().inbox, reactor.health().oldest_post), (0, None));
}

#[test]
fn timers_and_coroutines_that_end_in_any_way_are_not_counted_any_more() {
    let owner = Reactor::new();
    let reactor = owner.clone();
    let _entered = owner.enter();
    let (deferred, resolver) = Deferred::<()>::new();
    let before = reactor.health().coroutines;
    let waits = inline_callbacks(async move { deferred.await });
    let cancelled: Deferred<()> = inline_callbacks(pending());
    let closed: Deferred<()> = inline_callbacks(pending());
    assert_eq!(reactor.health().coroutines, before + 3);
    resolver.callback(());
    cancelled.cancel();
    drop((waits, cancelled));
    assert_eq!(reactor.health().coroutines, before + 1);
    reactor.call_later(Duration::from_secs(9), || ());
    drop(owner);
    assert_eq!((reactor.health().coroutines, reactor.health().timers), (before, 0));
    drop(closed.add_errback(|_| Ok(())));
}

#[test]
fn lateness_is_that_of_the_clock() {
    let clock = Clock::new();
    clock.call_later(Duration::from_secs(1), || ());
    clock.call_later(Duration::from_secs(4), || ());
    clock.advance(Duration::from_secs(5)); // as if the loop had been blocked
    let lateness = clock.health().timer_lateness;
    assert_eq!((lateness.count(), lateness.max()), (2, Duration::from_secs(4)));
    assert!(lateness.quantile(0.5) < Duration::from_millis(2100));
}

#[test]
fn unhandled_errors_of_the_thread_are_counted_without_cancels() {
    let _hook = on_unhandled(|_| ());
    let reactor = Reactor::new();
    let before = reactor.health().unhandled_errors;
    drop(Deferred::<()>::fail(Failure::msg("nothing handles this")));
    drop(Deferred::<()>::fail(Cancelled::new()));
    thread::spawn(|| {
        let _hook = on_unhandled(|_| ());
        drop(Deferred::<()>::fail(Failure::msg("on another thread")));
    })
    .join()
    .unwrap();
    assert_eq!(reactor.health().unhandled_errors, before + 1);
}

#[test]
fn a_long_turn_is_seen() {
    park::run(|reactor| {
        let (same, stopper) = (reactor.clone(), reactor.clone());
        reactor.call_later(Duration::ZERO, || thread::sleep(Duration::from_millis(20)));
        reactor.call_later(Duration::from_millis(1), move || {
            assert!(same.health().turn_times.max() >= Duration::from_millis(20), "{:?}", same.health());
            stopper.stop();
        });
    });
}

#[test]
fn a_timer_that_is_cancelled_when_it_is_due_is_not_counted_any_more() {
    let reactor = Reactor::new();
    let slot = std::rc::Rc::new(std::cell::Cell::new(None::<deferred_core::DelayedCall>));
    let cancels = slot.clone();
    reactor.call_later(Duration::ZERO, move || cancels.take().unwrap().cancel().unwrap());
    slot.set(Some(reactor.call_later(Duration::ZERO, || ())));
    thread::sleep(Duration::from_millis(2));
    let _ = (reactor.turn(Waker::noop()), reactor.turn(Waker::noop()));
    assert_eq!((reactor.delayed_calls().len(), reactor.health().timers), (0, 0));
}

#[test]
fn the_number_of_timers_is_right_after_any_sequence() {
    let clock = Clock::new();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut calls = Vec::new();
    for _ in 0..5000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (delay, any) = (Duration::from_millis(random >> 8 & 63), random as usize >> 20);
        match random % 5 {
            0 | 1 => calls.push(clock.call_later(delay, || ())),
            2 if !calls.is_empty() => drop(calls.swap_remove(any % calls.len()).cancel()),
            3 if !calls.is_empty() => drop(calls[any % calls.len()].reset(delay)),
            _ => clock.advance(Duration::from_millis(random >> 30 & 7)),
        }
        assert_eq!(clock.health().timers, clock.delayed_calls().len() as u64);
    }
}
