//! Stop, shutdown and closing.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::{Check, DriverTest};
use crate::coroutine::inline_callbacks;
use crate::deferred::Deferred;
use crate::error::Abandoned;
use crate::reactor::{Phase, Reactor, SystemEvent};

pub(super) const CHECKS: &[Check] = &[
    ("a stop ends the loop, wherever it is called", a_stop_ends_the_loop),
    ("the shutdown waits for its Deferreds", the_shutdown_waits),
    ("a close inside a call ends the loop", a_close_ends_the_loop),
    ("the end drops and fails what is pending", the_end_fails_what_is_pending),
    ("posts against a stop are run, dropped or refused", posts_against_a_stop_are_accounted_for),
];

fn a_stop_ends_the_loop(test: &DriverTest) {
    let soon = Duration::from_millis(1);
    test.drive(|reactor| reactor.stop());
    test.drive(|reactor| {
        let stopper = reactor.clone();
        reactor.call_when_running(move || stopper.stop());
    });
    test.drive(|reactor| {
        let stopper = reactor.clone();
        reactor.call_later(soon, move || stopper.stop());
    });
    test.drive(|reactor| {
        let stopper = reactor.clone();
        drop(inline_callbacks::<()>(async move {
            stopper.sleep(Duration::from_millis(1)).await?;
            stopper.stop();
            Ok(())
        }));
    });
    test.drive(|reactor| reactor.handle().call_from_thread_with(Reactor::stop).expect("it is not closed"));
    test.drive(|reactor| {
        let handle = reactor.handle();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(10)); // the loop sleeps
            handle.stop();
        });
    });
}

fn the_shutdown_waits(test: &DriverTest) {
    let done = Rc::new(Cell::new(0));
    test.drive(|reactor| {
        let (by_timer, first) = (reactor.clone(), done.clone());
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || {
            by_timer.sleep(Duration::from_millis(5)).map(move |()| first.set(first.get() + 1))
        });
        let (by_thread, second) = (reactor.clone(), done.clone());
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || {
            let (deferred, resolver) = by_thread.remote::<()>();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(10));
                resolver.callback(());
            });
            deferred.map(move |()| second.set(second.get() + 1))
        });
        reactor.stop();
    });
    assert_eq!(done.get(), 2, "the loop has ended before its shutdown");
}

fn a_close_ends_the_loop(test: &DriverTest) {
    test.drive(|reactor| {
        let closes = reactor.clone();
        reactor.call_later(Duration::from_millis(1), move || closes.close());
    });
    test.drive(|reactor| {
        reactor.handle().call_from_thread_with(Reactor::close).expect("it is not closed");
    });
}

fn the_end_fails_what_is_pending(test: &DriverTest) {
    let held = Rc::new(());
    let (remote, resolver, handle) = test.drive(|reactor| {
        let inside = held.clone();
        reactor.call_later(Duration::from_secs(3600), move || drop(inside));
        let (remote, resolver) = reactor.remote::<()>();
        let stopper = reactor.clone();
        reactor.call_later(Duration::from_millis(1), move || stopper.stop());
        (remote, resolver, reactor.handle())
    });
    assert_eq!(Rc::strong_count(&held), 1, "the driver has returned, and the timer is still there");
    let result = remote.try_take().expect("the end fires every Deferred that waits for another thread");
    assert!(result.is_err_and(|failure| failure.check::<Abandoned>()));
    assert!(resolver.is_cancelled());
    assert!(handle.call_from_thread(|| ()).is_err(), "a closed reactor has accepted a post");
}

fn posts_against_a_stop_are_accounted_for(test: &DriverTest) {
    for round in 0..50 {
        let (posters, ran) = test.drive(|reactor| {
            let ran = Arc::new(AtomicUsize::new(0));
            let posters: Vec<_> = (0..3)
                .map(|_| {
                    let (handle, ran) = (reactor.handle(), ran.clone());
                    thread::spawn(move || {
                        let posted = (0..50).map(|_| {
                            let ran = ran.clone();
                            handle.call(move || {
                                ran.fetch_add(1, Ordering::SeqCst);
                                Deferred::succeed(())
                            })
                        });
                        let posted: Vec<_> = posted.collect();
                        // Each is complete, whatever has become of its call.
                        posted.into_iter().map(|posted| usize::from(posted.wait().is_ok())).sum::<usize>()
                    })
                })
                .collect();
            let stopper = reactor.clone();
            reactor.call_later(Duration::from_micros(round * 10), move || stopper.stop());
            (posters, ran)
        });
        let succeeded: usize = posters.into_iter().map(|thread| thread.join().expect("it has only posted")).sum();
        assert_eq!(ran.load(Ordering::SeqCst), succeeded);
    }
}
