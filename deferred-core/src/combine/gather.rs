//! All of them.

use std::panic::Location;

use super::join::{Decided, Rule, join};
use crate::deferred::Deferred;
use crate::error::{CallSite, Cancelled, DeferredError, FirstError};

/// Waits for all Deferreds: gives their values in the order of the Deferreds, or the first error.
///
/// The others run on after an error, and what they bring then is dropped and counts as handled;
/// [`gather_cancelling`] cancels them. Of none, the result is there and empty.
///
/// Twisted's `gatherResults(consumeErrors=True)`, which is `DeferredList(fireOnOneErrback=True)`.
///
/// # Errors
///
/// [`FirstError`], with the index of the one that failed.
///
/// # Cancellation
///
/// Each cancel is passed on to all that have no result yet, in order. What they bring decides.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, gather};
///
/// let (second, resolver) = Deferred::new();
/// let all = gather([Deferred::succeed(1), second, Deferred::succeed(3)]);
/// resolver.callback(2);
/// assert_eq!(all.try_take().unwrap().unwrap(), [1, 2, 3]);
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

/// [`gather`] that cancels the others after the first error, before it fires with that.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, Failure, gather_cancelling};
///
/// let (slow, resolver) = Deferred::<u32>::new();
/// let both = gather_cancelling([slow, Deferred::fail(Failure::msg("no"))]);
/// assert!(resolver.is_cancelled());
/// assert_eq!(both.try_take().unwrap().unwrap_err().index, Some(1));
/// ```
#[track_caller]
pub fn gather_cancelling<T: 'static, E: DeferredError>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
) -> Deferred<Vec<T>, FirstError<E>> {
    join(deferreds, |count| Gather { values: Values::new(count), cancels: true }, Location::caller())
}

/// Waits for all Deferreds and gives all their results, values and errors, in the order of the
/// Deferreds.
///
/// Its own error type is that of the Deferreds, so that it may stand in the same chain; it fails
/// with an [`BuiltinError`](crate::BuiltinError) of the library's at most.
///
/// Twisted's `DeferredList(consumeErrors=True)`. With `fireOnOneErrback` that is [`gather`], with
/// `fireOnOneCallback` it is [`first_success`](crate::first_success), with both
/// [`first_completion`](crate::first_completion).
///
/// # Cancellation
///
/// As [`gather`]: it succeeds, with the errors of those that were cancelled.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, Failure, deferred_list};
///
/// let all = deferred_list([Deferred::succeed(1), Deferred::fail(Failure::msg("no"))]);
/// let all = all.try_take().unwrap().unwrap();
/// assert!(all[0].is_ok() && all[1].is_err());
/// ```
#[doc(alias = "DeferredList")]
#[track_caller]
pub fn deferred_list<T: 'static, E: DeferredError>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
) -> Deferred<Vec<Result<T, E>>, E> {
    join(deferreds, |count| List { results: Values::new(count) }, Location::caller())
}

/// One for each, in order, until all are there.
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

    /// All of them, if this is the last one.
    pub(super) fn set(&mut self, index: usize, value: X) -> Option<Vec<X>> {
        self.values[index] = Some(value);
        self.left -= 1;
        (self.left == 0).then(|| std::mem::take(&mut self.values).into_iter().flatten().collect())
    }
}

struct Gather<T> {
    values: Values<T>,
    cancels: bool,
}

impl<T: 'static, E: DeferredError> Rule<T, E> for Gather<T> {
    type Value = Vec<T>;
    type Error = FirstError<E>;

    fn arrived(&mut self, index: usize, result: Result<T, E>) -> Option<Decided<Vec<T>, FirstError<E>>> {
        match result {
            Ok(value) => self.values.set(index, value).map(|values| Ok(values).into()),
            Err(error) => {
                let others =
                    self.cancels.then(|| Cancelled::because("another one that was gathered with it has failed"));
                Some(Decided { result: Err(FirstError::new(index, error)), others })
            }
        }
    }

    fn of_none() -> Result<Vec<T>, FirstError<E>> {
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

    fn of_none() -> Result<Vec<Result<T, E>>, E> {
        Ok(Vec::new())
    }
}
