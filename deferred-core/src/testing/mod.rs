//! Helpers for tests of code with Deferreds.
//!
//! None of them runs a loop. A [`Clock`] replaces the reactor, and the test advances its time.
//!
//! They correspond to Twisted's `SynchronousTestCase`, and to the checks of its `TestCase` at the
//! end of a test.

pub mod driver;

use std::cell::RefCell;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::thread;

use crate::deferred::Deferred;
use crate::error::DeferredError;
use crate::report::{HookGuard, on_report};
use crate::time::Clock;

/// Returns the value of a Deferred that has succeeded.
///
/// Twisted's `successResultOf`.
///
/// # Panics
///
/// Panics if the Deferred has failed or is not ready.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, testing::success_result_of};
///
/// assert_eq!(success_result_of(Deferred::succeed(1)), 1);
/// ```
#[doc(alias = "successResultOf")]
#[track_caller]
pub fn success_result_of<T: 'static, E: DeferredError>(deferred: Deferred<T, E>) -> T {
    match deferred.try_take() {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => panic!("expected a success, but the Deferred failed: {error:?}"),
        Err(pending) => panic!("expected a success, but the Deferred is not ready: {pending:?}"),
    }
}

/// Returns the error of a Deferred that has failed.
///
/// Twisted's `failureResultOf`.
///
/// # Panics
///
/// Panics if the Deferred has succeeded or is not ready.
///
/// # Examples
///
/// ```
/// use deferred_core::{Cancelled, Deferred, testing::failure_result_of};
///
/// let failure = failure_result_of(Deferred::<u32>::fail(Cancelled::new()));
/// assert!(failure.check::<Cancelled>());
/// ```
#[doc(alias = "failureResultOf")]
#[track_caller]
pub fn failure_result_of<T: Debug + 'static, E: DeferredError>(deferred: Deferred<T, E>) -> E {
    match deferred.try_take() {
        Ok(Err(error)) => error,
        Ok(Ok(value)) => panic!("expected a failure, but the Deferred succeeded: {value:?}"),
        Err(pending) => panic!("expected a failure, but the Deferred is not ready: {pending:?}"),
    }
}

/// Checks that a Deferred is not ready.
///
/// Twisted's `assertNoResult`.
///
/// # Panics
///
/// Panics if the Deferred is ready.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, testing::{assert_no_result, success_result_of}};
///
/// let (mut deferred, resolver) = Deferred::<u32>::new();
/// assert_no_result(&mut deferred);
/// resolver.callback(1);
/// assert_eq!(success_result_of(deferred), 1);
/// ```
#[doc(alias = "assertNoResult")]
#[track_caller]
pub fn assert_no_result<T: Debug + 'static, E: DeferredError>(deferred: &mut Deferred<T, E>) {
    if let Some(result) = deferred.peek() {
        panic!("expected no result, but the Deferred is ready: {result:?}");
    }
}

/// Runs a test with a clock, and checks that it leaves nothing behind: no pending call on that
/// clock, and no [report](crate::report), such as that of an unhandled error.
///
/// # Panics
///
/// Panics if it leaves something behind, with the locations of the calls or the texts of the
/// reports. A panic of the test is passed on. A test that expects a report takes it by
/// [`Reports::collect`] of its own, inside.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use deferred_core::testing::{checked, success_result_of};
///
/// checked(|clock| {
///     let answer = clock.defer_later(Duration::from_secs(1), || Ok(42));
///     clock.advance(Duration::from_secs(1));
///     assert_eq!(success_result_of(answer), 42);
/// });
/// ```
///
/// A `'static` closure captures a handle, `Reactor::clone(clock)`:
///
/// ```
/// use std::time::Duration;
/// use deferred_core::testing::{Reports, checked};
/// use deferred_core::{Deferred, Failure, Reactor};
///
/// checked(|clock| {
///     let reports = Reports::collect();
///     let reactor = Reactor::clone(clock);
///     clock.call_later(Duration::from_secs(1), move || {
///         drop(Deferred::<u32>::fail(Failure::msg(format!("{} calls", reactor.delayed_calls().len()))));
///     });
///     clock.advance(Duration::from_secs(1));
///     assert!(reports.take()[0].contains("0 calls"));
/// });
/// ```
#[track_caller]
pub fn checked<R>(test: impl FnOnce(&Clock) -> R) -> R {
    let reports = Reports::collect();
    let clock = Clock::new();
    let value = test(&clock);
    let left: Vec<_> = clock.delayed_calls().iter().map(|call| call.registered_at().to_string()).collect();
    assert!(left.is_empty(), "timed calls are still pending at the end of the test, registered at {}", left.join(", "));
    drop(clock);
    reports.assert_none();
    value
}

/// A collector of this thread's [reports](crate::report), such as those of unhandled errors, which
/// are then not printed.
///
/// Dropping it with reports that were not [taken](Self::take) panics, unless the thread is already
/// panicking. So a test fails at its end, also if the error was dropped where a panic would be
/// caught. An unhandled [`Cancelled`](crate::Cancelled) is not collected, as it is not printed.
///
/// Reports of other threads, such as those of a [`Watchdog`](crate::Watchdog) or of a stuck pool,
/// go to [their hooks](crate::report).
///
/// Twisted's `flushLoggedErrors`.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, Failure, testing::Reports};
///
/// let reports = Reports::collect();
/// drop(Deferred::<u32>::fail(Failure::msg("unhandled")));
/// assert!(reports.take()[0].contains("unhandled"));
/// ```
#[derive(Debug)]
#[must_use = "reports are collected only until this is dropped: bind it to a variable"]
pub struct Reports {
    texts: Rc<RefCell<Vec<String>>>,
    since: &'static Location<'static>,
    _hook: HookGuard,
}

impl Reports {
    /// Starts collecting.
    #[track_caller]
    pub fn collect() -> Reports {
        let texts = Rc::new(RefCell::new(Vec::new()));
        let adds = texts.clone();
        let hook = on_report(move |report| {
            if !report.is_cancelled() {
                // Before the borrow, and caught: it is user code.
                let text = catch_unwind(AssertUnwindSafe(|| report.to_string()));
                let text = text.unwrap_or_else(|_| format!("{}, whose printing has panicked", report.kind()));
                adds.borrow_mut().push(text);
            }
        });
        Reports { texts, since: Location::caller(), _hook: hook }
    }

    /// Returns the texts of the reports so far, and removes them.
    #[doc(alias = "flushLoggedErrors")]
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        self.texts.take()
    }

    /// Checks that there are no reports.
    ///
    /// # Panics
    ///
    /// Panics if there are reports.
    #[track_caller]
    pub fn assert_none(&self) {
        let texts = self.take();
        let (count, since) = (texts.len(), self.since);
        assert!(count == 0, "{count} reports since {since} that the test did not expect:\n{}", texts.join("\n"));
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.assert_none();
        }
    }
}
