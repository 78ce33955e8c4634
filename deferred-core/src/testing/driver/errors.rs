//! Calls that fail or panic.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use super::super::Reports;
use super::{Check, DriverTest};
use crate::coroutine::inline_callbacks;
use crate::deferred::Deferred;
use crate::error::{Abandoned, Failure, Panicked};
use crate::reactor::Reactor;

pub(super) const CHECKS: &[Check] = &[
    ("calls that fail or panic are reported, and the loop goes on", failed_calls_are_reported),
    ("a panic goes to the waiting thread", a_panic_goes_to_the_waiting_thread),
    ("an owner that is dropped undriven fails what is pending", an_undriven_owner_fails_what_is_pending),
];

fn failed_calls_are_reported(test: &DriverTest) {
    let reports = Reports::collect();
    let survived = Rc::new(Cell::new(false));
    test.drive(|reactor| {
        let handle = reactor.handle();
        handle.call_from_thread(|| -> () { panic!("in a post") }).map_err(drop).expect("it is not closed");
        handle.call_from_thread(|| Err::<(), _>(Failure::msg("from a post"))).map_err(drop).expect("it is not closed");
        reactor.call_later(Duration::ZERO, || -> () { panic!("in a timer") });
        reactor.call_later(Duration::ZERO, || Err::<(), _>(Failure::msg("from a timer")));
        reactor.call_when_running(|| -> () { panic!("in the startup") });
        let own = reactor.clone();
        drop(inline_callbacks::<()>(async move {
            own.sleep(Duration::from_millis(1)).await?;
            panic!("in a coroutine");
        }));
        let (last, stopper) = (survived.clone(), reactor.clone());
        reactor.call_later(Duration::from_millis(10), move || {
            last.set(true);
            stopper.stop();
        });
    });
    let reports = reports.take();
    for cause in ["in a post", "from a post", "in a timer", "from a timer", "in the startup", "in a coroutine"] {
        assert!(reports.iter().any(|report| report.contains(cause)), "{cause:?} is not in {reports:?}");
    }
    assert_eq!(reports.len(), 6, "{reports:?}");
    assert!(survived.get());
}

fn a_panic_goes_to_the_waiting_thread(test: &DriverTest) {
    let waits = test.drive(|reactor| {
        let handle = reactor.handle();
        thread::spawn(move || {
            let result = handle.call(|| -> Deferred<()> { panic!("in a call") }).wait();
            handle.stop();
            result
        })
    });
    let result = waits.join().expect("it has only waited");
    assert!(result.is_err_and(|failure| failure.check::<Panicked>()));
}

fn an_undriven_owner_fails_what_is_pending(_: &DriverTest) {
    // Of the reactor and not of the driver; adapters whose future owns the reactor rely on it.
    let owner = Reactor::new();
    let (remote, resolver) = owner.remote::<()>();
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _owner = owner;
        panic!("between the creation and the driver");
    }));
    assert!(panicked.is_err());
    let result = remote.try_take().expect("the drop of the owner closes the reactor");
    assert!(result.is_err_and(|failure| failure.check::<Abandoned>()));
    drop(resolver);
}
