//! `spawn`: futures as tasks of the runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use std::future::pending;

use deferred_tokio::{
    Abandoned, Cancelled, Deferred, Failure, NoReactor, Panicked, Reactor, drive, gather, run, run_until, spawn, tokio,
};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

const MS: Duration = Duration::from_millis(1);

/// Returns a future that is never ready and sets `dropped` when it is dropped, even unpolled.
fn never_ready(dropped: Arc<AtomicBool>) -> impl Future<Output = Result<(), Failure>> + Send {
    struct Note(Arc<AtomicBool>);
    impl Drop for Note {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let note = Note(dropped);
    async move {
        let _note = note;
        pending().await
    }
}

#[test]
fn the_future_runs_on_a_worker_and_callbacks_on_the_loops_thread() {
    let here = thread::current().id();
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (there, back) = runtime.block_on(async {
        let owner = Reactor::new();
        let reactor = owner.clone();
        let outcome = {
            let _entered = reactor.enter();
            let there = spawn(async { Ok(thread::current().id()) });
            reactor.stop_after(there.add_callback(|there| Ok((there, thread::current().id()))))
        };
        drive(owner).await;
        outcome.take().unwrap()
    });
    assert_ne!(there, here);
    assert_eq!(back, here);
}

#[test]
fn an_error_and_a_panic_of_the_future_arrive() {
    let failed = run_until(|_| spawn(async { Err::<(), _>(Failure::msg("no such row")) }));
    assert_eq!(failed.unwrap_err().to_string(), "no such row");
    fn ouch() -> Result<(), Failure> {
        panic!("ouch")
    }
    let panicked = run_until(|_| spawn(async { ouch() }));
    assert_eq!(panicked.unwrap_err().trap::<Panicked>().unwrap().message(), "ouch");
}

#[test]
fn a_cancel_drops_the_future() {
    let dropped = Arc::new(AtomicBool::new(false));
    let seen = dropped.clone();
    let result = run_until(|reactor| {
        let mut deferred = spawn(never_ready(seen));
        let handle = deferred.cancel_handle();
        reactor.call_later(5 * MS, move || handle.cancel());
        deferred
    });
    assert!(result.unwrap_err().check::<Cancelled>());
    while !dropped.load(Ordering::SeqCst) {
        thread::yield_now();
    }
}

#[test]
fn the_end_of_the_reactor_drops_the_future_and_abandons_its_deferred() {
    let dropped = Arc::new(AtomicBool::new(false));
    let waits = run(|reactor| {
        let waits = spawn(never_ready(dropped.clone()));
        let stopper = reactor.clone();
        reactor.call_later(5 * MS, move || stopper.stop());
        Ok::<_, Failure>(waits)
    })
    .unwrap();
    assert!(waits.try_take().unwrap().unwrap_err().check::<Abandoned>());
    while !dropped.load(Ordering::SeqCst) {
        thread::yield_now();
    }
}

#[test]
fn without_a_reactor_nothing_runs() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let _entered = runtime.enter();
    let (sender, receiver) = oneshot::channel::<()>();
    let deferred = spawn(async move { sender.send(()).map_err(|()| Failure::msg("it is gone")) });
    assert!(deferred.try_take().unwrap().unwrap_err().check::<NoReactor>());
    assert!(receiver.blocking_recv().is_err(), "its captures are dropped, and it did not send");
}

#[test]
fn on_a_closed_reactor_nothing_runs() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let _runtime = runtime.enter();
    let (sender, receiver) = oneshot::channel::<()>();
    let owner = Reactor::new();
    let reactor = owner.clone();
    drop(owner);
    let _entered = reactor.enter();
    let deferred = spawn(async move { sender.send(()).map_err(|()| Failure::msg("it is gone")) });
    assert!(deferred.try_take().unwrap().unwrap_err().check::<Abandoned>());
    assert!(receiver.blocking_recv().is_err());
}

#[test]
fn many_at_once_of_which_some_are_cancelled() {
    let results = run_until(|_| {
        let all: Vec<Deferred<usize>> = (0..1000)
            .map(|n| {
                let deferred = spawn(async move {
                    for _ in 0..n % 7 {
                        tokio::task::yield_now().await;
                    }
                    Ok(n)
                });
                if n % 3 == 0 {
                    deferred.cancel();
                }
                deferred.add_errback(|failure| failure.trap::<Cancelled>().map(|_| 0))
            })
            .collect();
        gather(all).map_err(Failure::from)
    });
    let expected: Vec<_> = (0..1000).map(|n| if n % 3 == 0 { 0 } else { n }).collect();
    assert_eq!(results.unwrap(), expected);
}

#[test]
#[should_panic(expected = "there is no reactor running")]
fn outside_of_a_runtime_it_panics_like_tokio() {
    drop(spawn(async { Ok(()) }));
}

#[test]
fn the_shutdown_of_the_runtime_abandons_the_deferred() {
    let owner = Reactor::new();
    let entered = owner.enter();
    let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let deferred = {
        let _runtime = runtime.enter();
        spawn(pending::<Result<(), Failure>>())
    };
    drop(runtime);
    let _ = owner.turn(std::task::Waker::noop());
    assert!(deferred.try_take().unwrap().unwrap_err().check::<Abandoned>());
    drop(entered);
}
