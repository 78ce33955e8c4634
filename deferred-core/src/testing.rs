//! What tests of Deferreds want: their results at once, and that nothing is left behind.
//!
//! Nothing in here runs a loop. A [`Clock`] stands for the reactor, and time is moved by hand.
//!
//! Twisted's `SynchronousTestCase`, and what its `TestCase` checks at the end of a test.

use std::cell::RefCell;
use std::fmt::Debug;
use std::rc::Rc;
use std::thread;

use crate::deferred::Deferred;
use crate::error::{DeferredError, HookGuard, on_unhandled};
use crate::time::Clock;

/// The value of a Deferred that has succeeded.
///
/// Twisted's `successResultOf`.
///
/// # Panics
///
/// If it has failed, or has no result.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, testing::success_result_of};
///
/// assert_eq!(success_result_of(Deferred::succeed(1)), 1);
/// ```
#[track_caller]
pub fn success_result_of<T: 'static, E: DeferredError>(deferred: Deferred<T, E>) -> T {
    match deferred.try_take() {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => panic!("a success was expected, and it has failed: {error:?}"),
        Err(pending) => panic!("a success was expected, and there is no result yet: {pending:?}"),
    }
}

/// The error of a Deferred that has failed.
///
/// Twisted's `failureResultOf`.
///
/// # Panics
///
/// If it has succeeded, or has no result.
///
/// # Examples
///
/// ```
/// use deferred_core::{Cancelled, Deferred, testing::failure_result_of};
///
/// let failure = failure_result_of(Deferred::<u32>::fail(Cancelled::new()));
/// assert!(failure.check::<Cancelled>());
/// ```
#[track_caller]
pub fn failure_result_of<T: Debug + 'static, E: DeferredError>(deferred: Deferred<T, E>) -> E {
    match deferred.try_take() {
        Ok(Err(error)) => error,
        Ok(Ok(value)) => panic!("a failure was expected, and it has succeeded: {value:?}"),
        Err(pending) => panic!("a failure was expected, and there is no result yet: {pending:?}"),
    }
}

/// Checks that a Deferred has no result yet.
///
/// Twisted's `assertNoResult`.
///
/// # Panics
///
/// If it has one.
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
#[track_caller]
pub fn assert_no_result<T: Debug + 'static, E: DeferredError>(deferred: &mut Deferred<T, E>) {
    if let Some(result) = deferred.peek() {
        panic!("no result was expected, and there is one: {result:?}");
    }
}

/// Runs a test with a clock, and checks that it leaves nothing behind: no timed call on that clock,
/// and no error that nobody handled.
///
/// # Panics
///
/// If it does, with what that is and where it comes from. A panic of the test is passed on as it
/// is.
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
    assert!(left.is_empty(), "timed calls were left behind, registered at {}", left.join(", "));
    drop(clock);
    errors.assert_none();
    value
}

/// Collects the errors that nobody handles on this thread, instead of their being told elsewhere.
///
/// Dropping it with errors that were not [taken](Self::take) panics, unless the thread panics
/// already.
///
/// Twisted's `flushLoggedErrors`.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, Failure, testing::UnhandledErrors};
///
/// let errors = UnhandledErrors::collect();
/// drop(Deferred::<u32>::fail(Failure::msg("nobody looked")));
/// assert!(errors.take()[0].contains("nobody looked"));
/// ```
#[derive(Debug)]
#[must_use = "it collects only as long as it lives"]
pub struct UnhandledErrors {
    reports: Rc<RefCell<Vec<String>>>,
    _hook: HookGuard,
}

impl UnhandledErrors {
    /// Begins to collect.
    pub fn collect() -> UnhandledErrors {
        let reports = Rc::new(RefCell::new(Vec::new()));
        let adds = reports.clone();
        let hook = on_unhandled(move |error| adds.borrow_mut().push(error.to_string()));
        UnhandledErrors { reports, _hook: hook }
    }

    /// The reports so far, which it forgets.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        self.reports.take()
    }

    /// Checks that there are none.
    ///
    /// # Panics
    ///
    /// If there are.
    #[track_caller]
    pub fn assert_none(&self) {
        let reports = self.take();
        assert!(reports.is_empty(), "errors that nobody handled:\n{}", reports.join("\n"));
    }
}

impl Drop for UnhandledErrors {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.assert_none();
        }
    }
}
