//! Helpers for tests of code with Deferreds.
//!
//! None of them runs a loop. A [`Clock`] replaces the reactor, and the test advances its time.
//!
//! They correspond to Twisted's `SynchronousTestCase`, and to the checks of its `TestCase` at the
//! end of a test.

use std::cell::RefCell;
use std::fmt::Debug;
use std::rc::Rc;
use std::thread;

use crate::deferred::Deferred;
use crate::error::{DeferredError, HookGuard, on_unhandled};
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
/// clock, and no unhandled error.
///
/// # Panics
///
/// Panics if it leaves something behind, with the locations of the calls or the reports of the
/// errors. A panic of the test is passed on.
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
#[track_caller]
pub fn checked<R>(test: impl FnOnce(&Clock) -> R) -> R {
    let errors = UnhandledErrors::collect();
    let clock = Clock::new();
    let value = test(&clock);
    let left: Vec<_> = clock.delayed_calls().iter().map(|call| call.registered_at().to_string()).collect();
    assert!(left.is_empty(), "timed calls are still pending, registered at {}", left.join(", "));
    drop(clock);
    errors.assert_none();
    value
}

/// A collector of this thread's unhandled errors, which are then not reported.
///
/// Dropping it with errors that were not [taken](Self::take) panics, unless the thread is already
/// panicking.
///
/// Twisted's `flushLoggedErrors`.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, Failure, testing::UnhandledErrors};
///
/// let errors = UnhandledErrors::collect();
/// drop(Deferred::<u32>::fail(Failure::msg("unhandled")));
/// assert!(errors.take()[0].contains("unhandled"));
/// ```
#[derive(Debug)]
#[must_use = "errors are collected until this is dropped"]
pub struct UnhandledErrors {
    reports: Rc<RefCell<Vec<String>>>,
    _hook: HookGuard,
}

impl UnhandledErrors {
    /// Starts collecting.
    pub fn collect() -> UnhandledErrors {
        let reports = Rc::new(RefCell::new(Vec::new()));
        let adds = reports.clone();
        let hook = on_unhandled(move |error| adds.borrow_mut().push(error.to_string()));
        UnhandledErrors { reports, _hook: hook }
    }

    /// Returns the reports collected so far, and removes them.
    #[doc(alias = "flushLoggedErrors")]
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        self.reports.take()
    }

    /// Checks that there are no reports.
    ///
    /// # Panics
    ///
    /// Panics if there are reports.
    #[track_caller]
    pub fn assert_none(&self) {
        let reports = self.take();
        assert!(reports.is_empty(), "unhandled errors:\n{}", reports.join("\n"));
    }
}

impl Drop for UnhandledErrors {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.assert_none();
        }
    }
}
