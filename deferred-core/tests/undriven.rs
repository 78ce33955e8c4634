//! The report about a reactor that nothing drives. The hook is that of the process, so this is one
//! test of its own.

use std::sync::mpsc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use deferred_core::{Reactor, Undriven, park, report};

#[test]
fn a_reactor_that_nothing_drives_is_reported_once_and_no_other() {
    let (sender, reports) = mpsc::channel();
    let sender = parking_lot::Mutex::new(sender);
    report::set_hook(move |report| {
        if let Some(undriven) = report.downcast_ref::<Undriven>() {
            sender.lock().send((undriven.to_string(), undriven.location().unwrap().line())).unwrap();
        }
    });

    // A result of a thread.
    let reactor = Reactor::new();
    let (deferred, resolver) = reactor.remote();
    let made = line!() - 1;
    thread::spawn(move || resolver.callback(1));
    let (text, line) = reports.recv().unwrap();
    assert!(text.starts_with("nothing drives the reactor: a call or result that was posted to it at"), "{text}");
    assert!(text.contains("deferred_tokio"), "{text}");
    assert_eq!(line, made);
    drop(deferred);

    // A Deferred that a task awaits, polled twice.
    let reactor = Reactor::new();
    let entered = reactor.enter();
    let mut sleep = Box::pin(async { reactor.sleep(Duration::ZERO).await });
    let awaited = line!() - 1;
    for _ in 0..2 {
        assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    let (text, line) = reports.recv().unwrap();
    assert!(text.starts_with("nothing drives the reactor: a Deferred that is awaited at"), "{text}");
    assert_eq!(line, awaited);
    drop(sleep);
    drop(entered);

    // The same without a current reactor.
    let reactor = Reactor::new();
    let mut sleep = Box::pin(async { reactor.sleep(Duration::ZERO).await });
    let awaited = line!() - 1;
    assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(reports.recv().unwrap().1, awaited);
    drop(sleep);

    // A call whose future is awaited on the reactor's own thread.
    let reactor = Reactor::new();
    let call = reactor.handle().call(|| Ok(1));
    assert_eq!(reports.recv().unwrap().1, line!() - 1);
    drop(call);

    // Not if a turn has run meanwhile, if the program has ended it, or if a loop is about to run.
    let driven = Reactor::new();
    let handle = driven.handle();
    thread::spawn(move || handle.call_from_thread(|| ()).unwrap()).join().unwrap();
    let _ = driven.turn(Waker::noop());
    let ended = Reactor::new();
    let handle = ended.handle();
    thread::spawn(move || handle.call_from_thread(|| ()).unwrap()).join().unwrap();
    drop(ended);
    park::run(|reactor| {
        let handle = reactor.handle();
        thread::spawn(move || handle.stop());
        thread::sleep(Duration::from_millis(1100)); // opens its files
    });
    assert!(reports.recv_timeout(Duration::from_millis(1500)).is_err());
}
