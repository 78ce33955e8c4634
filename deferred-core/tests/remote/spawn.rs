//! `Reactor::spawn_with`: futures on an executor of other threads.

use std::sync::Arc;
use std::thread;

use deferred_core::testing::{failure_result_of, success_result_of};
use deferred_core::{Abandoned, Cancelled, Deferred, Failure, Panicked, Reactor, RemoteFuture, park};
use futures::executor::block_on;

/// Runs the task in a thread.
fn spawn<T: Send + 'static>(future: impl Future<Output = Result<T, Failure>> + Send + 'static) -> Deferred<T> {
    Reactor::current().unwrap().spawn_with(future, |task| drop(thread::spawn(move || block_on(task))))
}

fn ouch() -> Result<u32, Failure> {
    panic!("ouch")
}

#[test]
fn a_value_an_error_and_a_panic_arrive_on_the_loops_thread() {
    let here = thread::current().id();
    let value = park::run_until(|_| {
        spawn(async { Ok(thread::current().id()) }).map(move |there| (there != here, thread::current().id() == here))
    });
    assert_eq!(value.unwrap(), (true, true));
    let failed = park::run_until(|_| spawn(async { Err::<(), _>(Failure::msg("no")) }));
    assert_eq!(failed.unwrap_err().to_string(), "no");
    let panicked = park::run_until(|_| spawn(async { ouch() }));
    assert_eq!(panicked.unwrap_err().trap::<Panicked>().unwrap().message(), "ouch");
    let later = park::run_until(|_| {
        let (wait, completer) = RemoteFuture::<u32>::new();
        thread::spawn(move || completer.callback(7));
        spawn(wait)
    });
    assert_eq!(later.unwrap(), 7);
}

#[test]
fn an_executor_that_runs_the_task_at_once_is_fine() {
    let reactor = Reactor::new();
    let deferred = reactor.spawn_with(async { Ok(1) }, block_on);
    let _ = crate::turn(&reactor);
    assert_eq!(success_result_of(deferred), 1);
}

#[test]
fn a_task_that_the_executor_drops_is_abandoned() {
    let reactor = Reactor::new();
    let deferred = reactor.spawn_with(std::future::pending::<Result<u32, Failure>>(), drop);
    let _ = crate::turn(&reactor);
    assert!(failure_result_of(deferred).check::<Abandoned>());
}

#[test]
fn a_cancel_drops_what_spawn_returned() {
    let reactor = Reactor::new();
    let guard = Arc::new(());
    let held = guard.clone();
    let deferred = reactor.spawn_with(std::future::pending::<Result<u32, Failure>>(), move |task| (task, held));
    assert_eq!(Arc::strong_count(&guard), 2);
    deferred.cancel();
    assert_eq!(Arc::strong_count(&guard), 1);
    assert!(failure_result_of(deferred).check::<Cancelled>());
}

#[test]
fn the_closing_of_the_reactor_drops_it_and_a_closed_one_spawns_nothing() {
    let reactor = Reactor::new();
    let guard = Arc::new(());
    let held = guard.clone();
    let deferred = reactor.spawn_with(std::future::pending::<Result<u32, Failure>>(), move |task| (task, held));
    reactor.close();
    assert!(failure_result_of(deferred).check::<Abandoned>());
    assert_eq!(Arc::strong_count(&guard), 1);
    let refused = reactor.spawn_with(async { Ok(1) }, |_| panic!("nothing is spawned"));
    assert!(failure_result_of(refused).check::<Abandoned>());
}
