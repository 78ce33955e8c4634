//! `gather` and `deferred_list`: wait for all Deferreds.

use std::panic::Location;

use super::join::{Decided, Rule, join};
use crate::deferred::Deferred;
use crate::error::{CallSite, Cancelled, DeferredError, FirstError};

/// Waits for all Deferreds. The returned Deferred fires with their values, in their order, or with
/// the first error.
///
/// After an error the others continue; their results are dropped and count as handled.
/// [`gather_cancelling`] cancels them. Without any Deferreds the result is ready and empty.
///
/// Twisted's `gatherResults(consumeErrors=True)`, which is `DeferredList(fireOnOneErrback=True)`.
///
/// # Errors
///
/// The returned Deferred fails with [`FirstError`], which has the index of the Deferred that
/// failed.
///
/// # Cancellation
///
/// Cancelling the returned Deferred cancels all pending Deferreds, in order. Their results decide
/// how it fires.
///
/// # Examples
///
/// ```
/// use deferred_core::testing::success_result_of;
/// use deferred_core::{Deferred, gather};
///
/// let (second, resolver) = Deferred::new();
/// let all = gather([Deferred::succeed(1), second, Deferred::succeed(3)]);
/// resolver.callback(2);
/// assert_eq!(success_result_of(all), [1, 2, 3]);
/// ```
#[doc(alias = "gatherResults")]
#[doc(alias = "join_all")]
#[doc(alias = "try_join_all")]
#[track_caller]
pub fn gather<T: 'static, E: DeferredError>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
) -> Deferred<Vec<T>, FirstError<E>> {
    gather_at(deferreds, Location::caller())
}

pub(super) fn gather_at<T: 'static, E: DeferredError>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
    at: CallSite,
) -> Deferred<Vec<T>, FirstError<E>> {
    join(deferreds, |count| Gather { values: Values::new(count), cancels: false }, at)
}

/// Like [`gather`], but cancels the others after the first error, before the returned Deferred
/// fails. Errors and a cancel have the same effects as there.
///
/// # Examples
///
/// ```
/// use deferred_core::testing::failure_result_of;
/// use deferred_core::{Deferred, Failure, gather_cancelling};
///
/// let (slow, resolver) = Deferred::<u32>::new();
/// let both = gather_cancelling([slow, Deferred::fail(Failure::msg("no"))]);
/// assert!(resolver.is_cancelled());
/// assert_eq!(failure_result_of(both).index, Some(1));
/// ```
#[track_caller]
pub fn gather_cancelling<T: 'static, E: DeferredError>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
) -> Deferred<Vec<T>, FirstError<E>> {
    join(deferreds, |count| Gather { values: Values::new(count), cancels: true }, Location::caller())
}

/// Waits for all Deferreds. The returned Deferred fires with all results, values and errors, in the
/// order of the Deferreds.
///
/// Its error type is that of the Deferreds, so that it fits into the same chain. It fails only with
/// a [`BuiltinError`](crate::BuiltinError).
///
/// Twisted's `DeferredList(consumeErrors=True)`. With `fireOnOneErrback` that is [`gather`], with
/// `fireOnOneCallback` [`first_success`](crate::first_success), with both
/// [`first_completion`](crate::first_completion).
///
/// # Cancellation
///
/// Like [`gather`]. The returned Deferred then succeeds, with the errors of the cancelled
/// Deferreds.
///
/// # Examples
///
/// ```
/// use deferred_core::testing::success_result_of;
/// use deferred_core::{Deferred, Failure, deferred_list};
///
/// let all = deferred_list([Deferred::succeed(1), Deferred::fail(Failure::msg("no"))]);
/// let all = success_result_of(all);
/// assert!(all[0].is_ok() && all[1].is_err());
/// ```
#[doc(alias = "DeferredList")]
#[track_caller]
pub fn deferred_list<T: 'static, E: DeferredError>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
) -> Deferred<Vec<Result<T, E>>, E> {
    join(deferreds, |count| List { results: Values::new(count) }, Location::caller())
}

/// The values of all members, in order, until they are complete.
pub(super) struct Values<X> {
    values: Vec<Option<X>>,
    left: usize,
}

impl<X> Values<X> {
    pub(super) fn new(count: usize) -> Self {
        let mut values = Vec::new();
        values.resize_with(count, || None);
        Values { values, left: count }
    }

    /// Stores a value. Returns all of them if this is the last one.
    #[inline]
    pub(super) fn set(&mut self, index: usize, value: X) -> Option<Vec<X>> {
        self.values[index] = Some(value);
        self.left -= 1;
        if self.left == 0 { Some(self.take()) } else { None }
    }

    #[cold]
    fn take(&mut self) -> Vec<X> {
        std::mem::take(&mut self.values).into_iter().flatten().collect()
    }
}

struct Gather<T> {
    values: Values<T>,
    cancels: bool,
}

impl<T: 'static, E: DeferredError> Rule<T, E> for Gather<T> {
    type Value = Vec<T>;
    type Error = FirstError<E>;

    #[inline]
    fn arrived(&mut self, index: usize, result: Result<T, E>) -> Option<Decided<Vec<T>, FirstError<E>>> {
        match result {
            Ok(value) => self.values.set(index, value).map(|values| Ok(values).into()),
            Err(error) => {
                let cancel_others =
                    self.cancels.then(|| Cancelled::because("another Deferred of the same gather has failed"));
                Some(Decided { result: Err(FirstError::new(index, error)), cancel_others })
            }
        }
    }

    fn empty() -> Result<Vec<T>, FirstError<E>> {
        Ok(Vec::new())
    }
}

struct List<T, E> {
    results: Values<Result<T, E>>,
}

impl<T: 'static, E: DeferredError> Rule<T, E> for List<T, E> {
    type Value = Vec<Result<T, E>>;
    type Error = E;

    fn arrived(&mut self, index: usize, result: Result<T, E>) -> Option<Decided<Vec<Result<T, E>>, E>> {
        self.results.set(index, result).map(|results| Ok(results).into())
    }

    fn empty() -> Result<Vec<Result<T, E>>, E> {
        Ok(Vec::new())
    }
}
