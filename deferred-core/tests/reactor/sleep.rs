//! The conditions under which the driver is woken.

use std::time::Duration;

use crate::{HOUR, Wakes, on_another_thread};
use deferred_core::{Clock, Reactor, Turn};

#[test]
fn a_sleeping_driver_is_woken_once_however_much_is_posted() {
    let reactor = Reactor::new();
    let (wakes, waker) = Wakes::new();
    let handle = reactor.handle();
    handle.call_from_thread(|| ()).unwrap();
    assert_eq!(wakes.count(), 0);
    assert_eq!(reactor.turn(&waker), Turn::Sleep(None));
    on_another_thread(move || (0..100).for_each(|_| handle.call_from_thread(|| ()).unwrap()));
    assert_eq!(wakes.count(), 1);
    assert_eq!(reactor.turn(&waker), Turn::Sleep(None));
    assert_eq!(wakes.count(), 1);
}

#[test]
fn an_earlier_timer_wakes_a_sleeping_driver_and_a_later_one_does_not() {
    let reactor = Reactor::new();
    let (wakes, waker) = Wakes::new();
    reactor.call_later(HOUR * 2, || ());
    assert!(matches!(reactor.turn(&waker), Turn::Sleep(Some(_))));
    reactor.call_later(HOUR * 3, || ());
    assert_eq!(wakes.count(), 0);
    reactor.call_later(HOUR, || ());
    assert_eq!(wakes.count(), 1);
    reactor.call_later(Duration::ZERO, || ());
    assert_eq!(wakes.count(), 1);
}

#[test]
fn moving_a_timer_earlier_wakes_a_sleeping_driver_and_moving_it_later_does_not() {
    let clock = Clock::new();
    let (wakes, waker) = Wakes::new();
    let call = clock.call_later(HOUR * 2, || ());
    assert_eq!(clock.turn(&waker), Turn::Sleep(Some(clock.now() + HOUR * 2)));
    call.reset(HOUR).unwrap();
    assert_eq!(wakes.count(), 1);
    assert_eq!(clock.turn(&waker), Turn::Sleep(Some(clock.now() + HOUR)));
    call.delay(HOUR * 2).unwrap();
    assert_eq!(wakes.count(), 1);
    assert_eq!(clock.turn(&waker), Turn::Sleep(Some(clock.now() + HOUR * 3)));
    assert_eq!(clock.delayed_calls().len(), 1);
}

#[test]
fn a_timer_for_the_moment_slept_for_does_not_wake_the_driver() {
    let clock = Clock::new();
    let (wakes, waker) = Wakes::new();
    clock.call_later(HOUR, || ());
    assert_eq!(clock.turn(&waker), Turn::Sleep(Some(clock.now() + HOUR)));
    clock.call_later(HOUR, || ());
    assert_eq!(wakes.count(), 0);
    clock.call_later(HOUR - Duration::from_nanos(1), || ());
    assert_eq!(wakes.count(), 1);
}

#[test]
fn a_coroutine_that_is_woken_outside_of_a_turn_wakes_a_sleeping_driver() {
    let reactor = Reactor::new();
    let (wakes, waker) = Wakes::new();
    let (sender, received) = futures::channel::oneshot::channel::<u32>();
    let deferred = reactor.ensure_deferred(async move { Ok(received.await?) });
    assert_eq!(reactor.turn(&waker), Turn::Sleep(None));
    sender.send(1).unwrap();
    assert_eq!(wakes.count(), 1);
    assert_eq!(reactor.turn(&waker), Turn::Sleep(None));
    assert!(deferred.is_ready());
}

#[test]
fn a_stop_wakes_a_sleeping_driver() {
    let (wakes, waker) = Wakes::new();
    let reactor = Reactor::new();
    assert_eq!(reactor.turn(&waker), Turn::Sleep(None));
    reactor.stop();
    assert_eq!(wakes.count(), 1);
    assert_eq!(reactor.turn(&waker), Turn::Stopped);

    let reactor = Reactor::new();
    assert_eq!(reactor.turn(&waker), Turn::Sleep(None));
    let handle = reactor.handle();
    on_another_thread(move || handle.stop());
    assert_eq!(wakes.count(), 2);
    assert_eq!(reactor.turn(&waker), Turn::Stopped);
}

#[test]
fn closing_wakes_a_sleeping_driver() {
    let reactor = Reactor::new();
    let (wakes, waker) = Wakes::new();
    assert_eq!(reactor.turn(&waker), Turn::Sleep(None));
    reactor.close();
    assert_eq!(wakes.count(), 1);
    assert_eq!(reactor.turn(&waker), Turn::Stopped);
}

#[test]
fn the_waker_of_the_last_turn_is_woken() {
    let reactor = Reactor::new();
    let (first, first_waker) = Wakes::new();
    let (second, second_waker) = Wakes::new();
    let _ = reactor.turn(&first_waker);
    let _ = reactor.turn(&second_waker);
    reactor.handle().call_from_thread(|| ()).unwrap();
    assert_eq!((first.count(), second.count()), (0, 1));
}

#[test]
fn nothing_wakes_a_driver_in_the_middle_of_a_turn() {
    let reactor = Reactor::new();
    let (wakes, waker) = Wakes::new();
    let inner = reactor.clone();
    reactor.call_when_running(move || {
        inner.handle().call_from_thread(|| ()).unwrap();
        inner.call_later(HOUR, || ());
    });
    assert!(matches!(reactor.turn(&waker), Turn::Sleep(Some(_))));
    assert_eq!(wakes.count(), 0);
}
