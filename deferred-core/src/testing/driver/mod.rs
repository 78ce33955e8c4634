//! A test of drivers: [`DriverTest`] runs a driver through everything that it must keep.
//!
//! - `order`: startup, posts, timers;
//! - `sleep`: wake-ups, idleness, floods, blocked loops;
//! - `end`: stop, shutdown, closing;
//! - `errors`: calls that fail or panic;
//! - `several`: nested turns, and two reactors on one thread;
//! - `futures`: coroutines that await the executor's own futures;
//! - `signals`: Ctrl-C.

mod end;
mod errors;
mod futures;
mod order;
mod several;
#[cfg(all(unix, feature = "signals"))]
mod signals;
mod sleep;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::Reports;
use crate::deferred::Deferred;
use crate::error::Failure;
use crate::reactor::{Reactor, ReactorOwner};

/// The default of [`DriverTest::limit`].
const LIMIT: Duration = Duration::from_secs(60);

type BoxedFuture = Pin<Box<dyn Future<Output = ()>>>;
type MakeFuture = Arc<dyn Fn() -> BoxedFuture + Send + Sync>;
type Check = (&'static str, fn(&DriverTest));

/// A test of a driver: of the promises of [`driver`](crate::driver), and of the behavior that
/// programs can rely on below every driver.
///
/// Use it in the tests of an adapter. On Unix, one check sends the process an interrupt signal; see
/// [`without_signals`](Self::without_signals).
///
/// # Examples
///
/// ```
/// use deferred_core::park;
/// use deferred_core::testing::driver::DriverTest;
///
/// DriverTest::new(|reactor| park::drive(&reactor).unwrap()).run();
/// ```
#[derive(Clone)]
#[must_use = "nothing is tested before `run`"]
pub struct DriverTest {
    drive: Arc<dyn Fn(ReactorOwner) + Send + Sync>,
    drive_both: Option<Arc<dyn Fn(ReactorOwner, ReactorOwner) + Send + Sync>>,
    futures: Vec<(&'static str, MakeFuture)>,
    limit: Duration,
    signals: bool,
    only: Option<&'static str>,
}

impl DriverTest {
    /// Creates a test of `drive`, which drives a reactor on the current thread until it is stopped,
    /// and closes it. It is called on many threads.
    pub fn new(drive: impl Fn(ReactorOwner) + Send + Sync + 'static) -> DriverTest {
        DriverTest {
            drive: Arc::new(drive),
            drive_both: None,
            futures: Vec::new(),
            limit: LIMIT,
            signals: true,
            only: None,
        }
    }

    /// Tests also that two reactors run on one thread. `drive_both` drives both until both are
    /// stopped.
    pub fn both(mut self, drive_both: impl Fn(ReactorOwner, ReactorOwner) + Send + Sync + 'static) -> DriverTest {
        self.drive_both = Some(Arc::new(drive_both));
        self
    }

    /// Tests also that coroutines can await the futures that `future` creates: the executor's
    /// timers, sockets or channels. `name` describes them in messages. Each must be complete soon
    /// without other help; it may panic if something is wrong.
    pub fn future<F>(mut self, name: &'static str, future: impl Fn() -> F + Send + Sync + 'static) -> DriverTest
    where
        F: Future<Output = ()> + 'static,
    {
        self.futures.push((name, Arc::new(move || Box::pin(future()))));
        self
    }

    /// Sets the time after which a check counts as hanging. Defaults to 60 seconds. The thread of a
    /// check that hangs goes on.
    pub fn limit(mut self, limit: Duration) -> DriverTest {
        self.limit = limit;
        self
    }

    /// Leaves out the check that sends an interrupt signal to the process. A check that hangs and
    /// has asked for the signal would end the process.
    pub fn without_signals(mut self) -> DriverTest {
        self.signals = false;
        self
    }

    /// Runs only the checks whose names contain `part`, for example one that has failed.
    pub fn only(mut self, part: &'static str) -> DriverTest {
        self.only = Some(part);
        self
    }

    /// Runs all checks, each on a thread of its own.
    ///
    /// # Panics
    ///
    /// Panics if a check fails or does not end, with the names of all of these. The message of a
    /// failed check is printed as that of its panic.
    pub fn run(self) {
        let mut failed = Vec::new();
        for (name, check) in self.checks() {
            if let Err(why) = self.run_check(name, check) {
                failed.push(format!("{name} ({why})"));
            }
        }
        assert!(failed.is_empty(), "the driver does not pass these checks: {}", failed.join(", "));
    }

    fn checks(&self) -> Vec<Check> {
        let mut checks = [order::CHECKS, sleep::CHECKS, end::CHECKS, errors::CHECKS, several::CHECKS].concat();
        if self.drive_both.is_some() {
            checks.extend_from_slice(several::CHECKS_OF_BOTH);
        }
        if !self.futures.is_empty() {
            checks.extend_from_slice(futures::CHECKS);
        }
        #[cfg(all(unix, feature = "signals"))]
        if self.signals {
            checks.extend_from_slice(signals::CHECKS);
        }
        checks.retain(|(name, _)| self.only.is_none_or(|part| name.contains(part)));
        checks
    }

    fn run_check(&self, name: &str, check: fn(&DriverTest)) -> Result<(), &'static str> {
        let test = self.clone();
        let (done, is_done) = mpsc::channel();
        let run = move || {
            // A call that panics is only reported.
            let reports = Reports::collect();
            check(&test);
            reports.assert_none();
            let _ = done.send(());
        };
        thread::Builder::new().name(name.to_owned()).spawn(run).expect("the system can create a thread");
        is_done.recv_timeout(self.limit).map_err(|error| match error {
            RecvTimeoutError::Timeout => "it hangs",
            RecvTimeoutError::Disconnected => "it has panicked",
        })
    }

    /// Drives a new reactor after a call of `main`, until it is stopped.
    fn drive<R>(&self, main: impl FnOnce(&Reactor) -> R) -> R {
        let owner = Reactor::new();
        let reactor = owner.clone();
        let entered = owner.enter();
        let value = main(&owner);
        drop(entered);
        (self.drive)(owner);
        assert!(reactor.is_closed(), "the driver has returned and has not closed its reactor");
        assert!(Reactor::current().is_none(), "the driver has returned and its reactor is still the current one");
        value
    }

    /// Drives a new reactor until the Deferred of `main` has its result.
    fn drive_until<T: 'static>(&self, main: impl FnOnce(&Reactor) -> Deferred<T>) -> Result<T, Failure> {
        self.drive(|reactor| reactor.stop_after(main(reactor))).take()
    }
}

impl fmt::Debug for DriverTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let futures: Vec<_> = self.futures.iter().map(|(name, _)| name).collect();
        f.debug_struct("DriverTest").field("futures", &futures).finish_non_exhaustive()
    }
}
