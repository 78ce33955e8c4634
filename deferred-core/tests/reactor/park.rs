//! `park`, the driver for a thread without an executor.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use crate::Log;
use deferred_core::{Abandoned, Deferred, Failure, Reactor, ReactorHandle, on_unhandled, park};

#[test]
fn run_returns_the_value_of_main_when_the_loop_stops() {
    let log = Log::default();
    let value = park::run(|reactor| {
        let stopper = reactor.clone();
        let seen = log.clone();
        reactor.call_later(Duration::from_millis(1), move || {
            seen.add("stopping");
            stopper.stop();
        });
        Ok::<_, Infallible>(7)
    });
    assert_eq!(value, Ok(7));
    assert_eq!(log.take(), ["stopping"]);
    assert!(Reactor::current().is_none());
}

#[test]
fn run_until_ends_with_abandoned_if_the_reactor_is_stopped_first() {
    let result = park::run_until(|reactor| {
        let stopper = reactor.clone();
        reactor.call_later(Duration::ZERO, move || stopper.stop());
        let (deferred, resolver) = reactor.remote::<u32>();
        std::mem::forget(resolver);
        deferred
    });
    assert!(result.unwrap_err().check::<Abandoned>());
    let (deferred, resolver) = Deferred::<u32>::new();
    let result = park::run_until(|reactor| {
        reactor.stop();
        deferred
    });
    assert!(result.unwrap_err().check::<Abandoned>());
    resolver.callback(1);
}

#[test]
fn a_main_that_panics_closes_the_reactor() {
    let handle = Cell::new(None);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        park::run(|reactor| -> () {
            handle.set(Some(reactor.handle()));
            panic!("main");
        })
    }));
    assert!(outcome.is_err());
    assert!(handle.take().unwrap().call_from_thread(|| ()).is_err());
    assert!(Reactor::current().is_none());
}

#[test]
fn threads_that_post_against_a_stop_lose_no_call() {
    for round in 0..200 {
        let ran = Arc::new(AtomicUsize::new(0));
        let dropped = Arc::new(());
        let posters: Result<Vec<thread::JoinHandle<usize>>, Infallible> = park::run(|reactor| {
            reactor.set_calls_per_turn(1 + round % 5);
            let posters = (0..3)
                .map(|poster| {
                    let (handle, ran, held) = (reactor.handle(), ran.clone(), dropped.clone());
                    thread::spawn(move || {
                        let mut accepted = 0;
                        for number in 0..50 {
                            let (ran, held) = (ran.clone(), held.clone());
                            let call = move || drop((ran.fetch_add(1, Ordering::SeqCst), held));
                            accepted += usize::from(handle.call_from_thread(call).is_ok());
                            if poster == 0 && number == round / 4 {
                                handle.stop();
                            }
                        }
                        accepted
                    })
                })
                .collect();
            Ok(posters)
        });
        let accepted: usize = posters.unwrap().into_iter().map(|poster| poster.join().unwrap()).sum();
        assert!(ran.load(Ordering::SeqCst) <= accepted);
        assert!(ran.load(Ordering::SeqCst) > round / 4);
        assert_eq!(Arc::strong_count(&dropped), 1);
    }
}

#[test]
fn reactors_on_several_threads_post_to_each_other() {
    fn bounce(here: &ReactorHandle, there: &ReactorHandle, left: u32) {
        if left == 0 {
            there.stop();
            here.stop();
            return;
        }
        let (next, back) = (there.clone(), here.clone());
        // A call that is returned found the other loop ended.
        let _ = there.call_from_thread(move || bounce(&next, &back, left - 1));
    }
    let (sender, receiver) = mpsc::channel();
    let other = thread::spawn(move || park::run(|reactor| sender.send(reactor.handle()).unwrap()));
    let there = receiver.recv().unwrap();
    park::run(|reactor| bounce(&reactor.handle(), &there, 1000));
    other.join().unwrap();
}

#[test]
fn react_returns_the_exit_code_and_reports_the_error() {
    let reports = Rc::new(RefCell::new(Vec::new()));
    let seen = reports.clone();
    let _hook = on_unhandled(move |unhandled| {
        let text = unhandled.downcast_ref::<Failure>().unwrap().to_string();
        seen.borrow_mut().push((text, unhandled.made_at().line()));
    });
    let code = |code: ExitCode| format!("{code:?}");
    let (success, failure) = (code(ExitCode::SUCCESS), code(ExitCode::FAILURE));

    assert_eq!(code(park::react(|_| println!("done at once"))), success);
    let later = park::react(|reactor| {
        let (deferred, resolver) = Deferred::<u32>::new();
        reactor.call_later(Duration::from_millis(1), move || resolver.callback(1));
        deferred
    });
    assert_eq!(code(later), success);
    let stopped = park::react(|reactor| {
        let (deferred, resolver) = Deferred::<u32>::new();
        reactor.call_later(Duration::from_millis(1), move || drop(resolver));
        reactor.stop();
        deferred
    });
    assert_eq!(code(stopped), success);
    assert!(reports.take().is_empty());

    let line = line!() + 1;
    assert_eq!(code(park::react(|_| Err::<(), _>(Failure::msg("no")))), failure);
    assert_eq!(code(park::react(|_| -> () { panic!("ouch") })), failure);
    assert_eq!(reports.take(), [("no".into(), line), ("panicked: ouch".into(), line + 1)]);
}

#[test]
fn a_loop_inside_another_one_is_refused_in_a_callback_and_in_main() {
    fn refused(f: impl FnOnce()) -> bool {
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        panic.is_err_and(|payload| {
            payload.downcast_ref::<String>().is_some_and(|text| text.contains("on a thread of its own"))
        })
    }
    let tries: [fn() -> bool; 4] = [
        || refused(|| park::run(|reactor| reactor.stop())),
        || refused(|| drop(park::run_until(|_| Deferred::succeed(())))),
        || refused(|| _ = park::react(|_| Ok(()))),
        || refused(|| _ = park::drive(&Reactor::new())),
    ];
    for (number, inner) in tries.into_iter().enumerate() {
        let seen = park::run_until(|reactor| {
            // A loop that is driven manually, as for a dialog, is allowed, also in `main`.
            assert!(number == 3 || inner(), "in main");
            let (deferred, resolver) = Deferred::<bool>::new();
            reactor.call_later(Duration::ZERO, move || resolver.callback(inner()));
            deferred
        });
        assert!(seen.unwrap(), "number {number}, in a callback");
    }
    // Afterwards the thread may run another loop.
    assert!(park::run_until(|_| Deferred::succeed(())).is_ok());
    assert!(
        park::run_until(|reactor| {
            let nested = reactor.clone();
            let (deferred, resolver) = Deferred::<()>::new();
            reactor.call_later(Duration::ZERO, move || {
                nested.stop();
                park::drive(&nested).unwrap();
                resolver.callback(());
            });
            deferred
        })
        .is_ok()
    );
}

#[test]
fn a_main_that_fails_ends_run_before_the_loop() {
    let log = Log::default();
    let seen = log.clone();
    let result = park::run(move |reactor| {
        reactor.call_when_running(seen.adds("the loop runs"));
        let port: u16 = "taken".parse()?;
        Ok::<_, std::num::ParseIntError>(port)
    });
    assert!(result.is_err());
    assert!(log.take().is_empty());
    let failed = park::run_until(|_| {
        deferred_core::try_deferred(|| {
            let port: u16 = "taken".parse()?;
            assert_eq!(port, 0);
            Ok(Deferred::never())
        })
    });
    assert!(failed.is_err());
}

#[test]
fn a_reactor_whose_loop_has_ended_is_not_driven_again() {
    let reactor = Reactor::new();
    assert!(reactor.ensure_runnable().is_ok());
    reactor.stop();
    park::drive(&reactor).unwrap();
    assert!(reactor.ensure_runnable().is_err() && park::drive(&reactor).is_err());
}
