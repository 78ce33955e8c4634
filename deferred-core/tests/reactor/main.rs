//! The reactor: what a turn runs, in which order, when the driver sleeps, and how all that ends.

mod completer;
mod elsewhere;
mod end;
mod events;
mod many;
mod park;
mod remote;
mod sender;
mod sleep;
mod timers;
mod turns;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use deferred_core::{Abandoned, Cancelled, Deferred, Reactor, Turn};

const HOUR: Duration = Duration::from_secs(3600);

/// What ran, in order.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    fn add(&self, entry: impl Into<String>) {
        self.0.borrow_mut().push(entry.into());
    }

    /// A callback that adds `entry`.
    fn adds(&self, entry: impl Into<String>) -> impl FnOnce() + 'static {
        let (log, entry) = (self.clone(), entry.into());
        move || log.add(entry)
    }

    fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// Counts how often the reactor wakes its driver.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn new() -> (Arc<Wakes>, Waker) {
        let wakes = Arc::new(Wakes::default());
        (wakes.clone(), Waker::from(wakes))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn turn(reactor: &Reactor) -> Turn {
    reactor.turn(Waker::noop())
}

fn on_another_thread<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    thread::spawn(f).join().unwrap()
}

/// Adds the outcome of `deferred` to the log.
fn record(log: &Log, deferred: Deferred<u32>) {
    let log = log.clone();
    deferred.add_both(move |result| {
        log.add(match result {
            Ok(value) => format!("{value}"),
            Err(failure) if failure.check::<Abandoned>() => "abandoned".into(),
            Err(failure) if failure.check::<Cancelled>() => "cancelled".into(),
            Err(failure) => format!("{failure:?}"),
        });
        Ok(())
    });
}
