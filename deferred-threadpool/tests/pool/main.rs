//! Tests of `ThreadPool`.

mod cancel;
mod context;
mod end;
mod origins;
mod queue;
mod results;
mod shuffle;
mod stop;
mod stress;
mod submit;
mod threads;
mod watch;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use deferred_threadpool::{Deferred, Failure, PoolStats, Reactor, ThreadPool, park};

/// A time longer than any test takes: if it passes, something hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs all Deferreds that `main` returns, and returns their results in the order in which they
/// fired.
pub(crate) fn all<T: 'static>(main: impl FnOnce(&Reactor) -> Vec<Deferred<T>>) -> Vec<Result<T, Failure>> {
    let results = Rc::new(RefCell::new(Vec::new()));
    park::run(|reactor| {
        let deferreds = main(reactor);
        let left = Rc::new(Cell::new(deferreds.len()));
        for deferred in deferreds {
            let (results, left, reactor) = (results.clone(), left.clone(), reactor.clone());
            deferred.add_both(move |result| {
                results.borrow_mut().push(result);
                left.set(left.get() - 1);
                if left.get() == 0 {
                    reactor.stop();
                }
                Ok(())
            });
        }
    });
    results.take()
}

/// Submits a job that blocks its thread until the sender is used, and waits until it has started.
pub(crate) fn hold(pool: &ThreadPool) -> (Deferred<()>, mpsc::Sender<()>) {
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let deferred = pool.defer_to_thread(move || {
        begun.send(()).unwrap();
        released.recv_timeout(LIMIT)?;
        Ok(())
    });
    has_begun.recv_timeout(LIMIT).unwrap();
    (deferred, release)
}

thread_local!(static THREAD_END: RefCell<Option<ThreadEnd>> = const { RefCell::new(None) });

/// Sends a message when its thread ends.
pub(crate) struct ThreadEnd(mpsc::Sender<()>);

impl Drop for ThreadEnd {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// Runs a job; returns the name of its thread and a receiver that is notified when that thread
/// ends.
pub(crate) fn visit(pool: &ThreadPool) -> (String, mpsc::Receiver<()>) {
    let (sender, ended) = mpsc::channel();
    let name = park::run_until(|_| {
        pool.defer_to_thread(move || {
            THREAD_END.set(Some(ThreadEnd(sender)));
            Ok(thread::current().name().unwrap().to_owned())
        })
    });
    (name.unwrap(), ended)
}

/// Checks that each submitted job is counted exactly once.
#[track_caller]
fn adds_up(stats: &PoolStats) {
    let ended = stats.done + stats.failed + stats.panicked + stats.cancelled + stats.refused;
    let there = (stats.queued + stats.busy - stats.abandoned) as u64;
    assert_eq!(stats.submitted, ended + there, "{stats:?}");
    assert_eq!(stats.threads, stats.busy + stats.idle, "{stats:?}");
}

/// Waits for a condition that threads establish, for at most `LIMIT`.
#[track_caller]
fn until(what: impl Fn() -> bool) {
    let since = std::time::Instant::now();
    while !what() {
        assert!(since.elapsed() < LIMIT, "it never came");
        thread::yield_now();
    }
}
