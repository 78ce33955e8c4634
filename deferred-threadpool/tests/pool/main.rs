//! What the pool promises about each job.

mod cancel;
mod end;
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

/// Longer than anything here takes: when it passes, something hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs what `main` returns to its end, and gives the results in the order they came.
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

/// A job that holds its thread until the sender is used, and says when it has begun.
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

thread_local!(static FAREWELL: RefCell<Option<Farewell>> = const { RefCell::new(None) });

/// Says that its thread ends.
pub(crate) struct Farewell(mpsc::Sender<()>);

impl Drop for Farewell {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// Runs a job, and gives its thread's name and what hears of the end of that thread.
pub(crate) fn visit(pool: &ThreadPool) -> (String, mpsc::Receiver<()>) {
    let (sender, ended) = mpsc::channel();
    let name = park::run_until(|_| {
        pool.defer_to_thread(move || {
            FAREWELL.set(Some(Farewell(sender)));
            Ok(thread::current().name().unwrap().to_owned())
        })
    });
    (name.unwrap(), ended)
}

/// Each job that was ever given to the pool is counted once.
#[track_caller]
fn adds_up(stats: &PoolStats) {
    let ended = stats.done + stats.failed + stats.panicked + stats.cancelled + stats.refused;
    let there = (stats.queued + stats.busy - stats.abandoned) as u64;
    assert_eq!(stats.submitted, ended + there, "{stats:?}");
    assert_eq!(stats.threads, stats.busy + stats.idle, "{stats:?}");
}

/// Waits, as long as a test may take, for something that threads do by themselves.
#[track_caller]
fn until(what: impl Fn() -> bool) {
    let since = std::time::Instant::now();
    while !what() {
        assert!(since.elapsed() < LIMIT, "it never came");
        thread::yield_now();
    }
}
