//! Helpers that the tests share: an error, a log, and probes that log their drop.

#![allow(dead_code)] // each test binary uses only a part of it

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::thread;

use deferred_core::{Abandoned, Cancelled, Cycle, Deferred, Failure, HookGuard, Panicked, Reactor, Turn, on_unhandled};

/// An application error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct App(pub(crate) u32);

impl fmt::Display for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "application error {}", self.0)
    }
}

impl Error for App {}

/// An error whose cause is another one.
#[derive(Debug)]
pub(crate) struct Caused(pub(crate) App);

impl fmt::Display for Caused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an error with a cause")
    }
}

impl Error for Caused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// Formats a result briefly.
pub(crate) fn describe<T: fmt::Debug>(result: Result<&T, &Failure>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(failure) => describe_failure(failure),
    }
}

/// Formats an error briefly.
pub(crate) fn describe_failure(failure: &Failure) -> String {
    if let Some(app) = failure.downcast_ref::<App>() {
        format!("{app:?}")
    } else if let Some(cancelled) = failure.downcast_ref::<Cancelled>() {
        match cancelled.reason() {
            Some(reason) => format!("Cancelled({reason})"),
            None => "Cancelled".into(),
        }
    } else if let Some(panicked) = failure.downcast_ref::<Panicked>() {
        format!("Panicked({})", panicked.message())
    } else if failure.check::<Abandoned>() {
        "Abandoned".into()
    } else if failure.check::<Cycle>() {
        "Cycle".into()
    } else {
        format!("another error: {failure}")
    }
}

/// Takes and formats the result of a Deferred; returns "pending" if it has none.
pub(crate) fn take_text<T: fmt::Debug + 'static>(deferred: Deferred<T>) -> String {
    match deferred.try_take() {
        Ok(result) => describe(result.as_ref()),
        Err(_) => "pending".into(),
    }
}

/// Like [`take_text`], but leaves the result in the Deferred.
pub(crate) fn peek_text<T: fmt::Debug + 'static>(deferred: &mut Deferred<T>) -> String {
    deferred.peek().map_or_else(|| "pending".into(), describe)
}

/// A log of events in the order in which they happened.
#[derive(Clone, Default)]
pub(crate) struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    pub(crate) fn new() -> Log {
        Log::default()
    }

    pub(crate) fn add(&self, line: impl Into<String>) {
        self.0.borrow_mut().push(line.into());
    }

    /// Returns a callback that adds `line`.
    pub(crate) fn adds(&self, line: impl Into<String>) -> impl FnOnce() + 'static {
        let (log, line) = (self.clone(), line.into());
        move || log.add(line)
    }

    /// Returns the lines so far, and clears the log.
    pub(crate) fn take(&self) -> Vec<String> {
        self.0.take()
    }

    /// Returns a value that adds `line` when it is dropped.
    pub(crate) fn probe(&self, line: impl Into<String>) -> Probe {
        Probe { log: self.clone(), line: line.into() }
    }

    /// Adds a stage that logs the result under `name` and returns it unchanged.
    pub(crate) fn watch<T: fmt::Debug + 'static>(&self, name: &str, deferred: Deferred<T>) -> Deferred<T> {
        let (log, name) = (self.clone(), name.to_owned());
        deferred.add_both(move |result| {
            log.add(format!("{name} {}", describe(result.as_ref())));
            result
        })
    }
}

pub(crate) struct Probe {
    log: Log,
    line: String,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.log.add(std::mem::take(&mut self.line));
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Probe({})", self.line)
    }
}

/// A value whose destructor panics.
#[derive(Debug)]
pub(crate) struct PanicOnDrop(pub(crate) &'static str);

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

/// The number that tests call "a million"; smaller without optimization.
pub(crate) const MANY: u64 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

/// Runs `work` on a thread with a stack of 256 KiB.
pub(crate) fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(256 * 1024).spawn(move || {
        let _quiet = ignore_unhandled();
        work();
    });
    if let Err(panic) = thread.expect("a thread").join() {
        std::panic::resume_unwind(panic);
    }
}

/// Returns a Deferred that fires only when it is cancelled: its canceller logs the cancel and fires
/// `decides`, or nothing if that is `None`.
pub(crate) fn cancellable(log: &Log, name: &'static str, decides: Option<u32>) -> Deferred<u32> {
    let log = log.clone();
    let (deferred, resolver) = Deferred::with_canceller(move || {
        log.add(format!("cancels {name}"));
        decides.map(Ok)
    });
    std::mem::forget(resolver);
    deferred
}

/// A cell that holds a Deferred, so that callbacks can access it.
pub(crate) type DeferredCell<T> = Rc<RefCell<Option<Deferred<T>>>>;

pub(crate) fn deferred_cell<T: 'static>() -> DeferredCell<T> {
    Rc::new(RefCell::new(None))
}

/// Ignores unhandled errors of this thread until the guard is dropped.
pub(crate) fn ignore_unhandled() -> HookGuard {
    on_unhandled(|_| ())
}

/// Logs the unhandled errors of this thread until the guard is dropped.
pub(crate) fn unhandled_into(log: &Log) -> HookGuard {
    let log = log.clone();
    on_unhandled(move |unhandled| {
        let line = match (unhandled.downcast_ref::<App>(), unhandled.builtin()) {
            (Some(app), _) => format!("unhandled {app:?}"),
            (None, Some(builtin)) => format!("unhandled {builtin:?}"),
            (None, None) => "unhandled, unknown".into(),
        };
        log.add(line.split(' ').take(2).collect::<Vec<_>>().join(" "));
    })
}

/// A waker that counts its wake-ups.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn new() -> (Arc<Wakes>, Waker) {
        let wakes = Arc::new(Wakes::default());
        (wakes.clone(), Waker::from(wakes))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn turn(reactor: &Reactor) -> Turn {
    reactor.turn(Waker::noop())
}

pub(crate) fn on_another_thread<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    thread::spawn(f).join().unwrap()
}

/// Logs the result of `deferred`.
pub(crate) fn record(log: &Log, deferred: Deferred<u32>) {
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
