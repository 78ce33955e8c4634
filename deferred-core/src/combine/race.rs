//! `race`, `first_success` and `first_completion`: wait for the first of several Deferreds.

use std::panic::Location;

use super::gather::Values;
use super::join::{Decided, Rule, join};
use crate::deferred::Deferred;
use crate::error::{Abandoned, BuiltinError, Cancelled, DeferredError, FailureGroup, FirstError};

/// Waits for the first success, and cancels the other Deferreds. The returned Deferred fires with
/// the index and the value of the winner.
///
/// The others are cancelled, in order, before it fires; their results are dropped and count as
/// handled. Of several ready Deferreds the first one wins.
///
/// Twisted's `race`.
///
/// # Errors
///
/// The returned Deferred fails with [`FailureGroup`], which has all errors, if all Deferreds fail.
/// Without any Deferreds the group is empty.
///
/// # Cancellation
///
/// Cancelling the returned Deferred cancels all pending Deferreds, in order. If none of their
/// results decides, it fires [`Cancelled`](crate::Cancelled).
///
/// # Examples
///
/// ```
/// use deferred_core::testing::success_result_of;
/// use deferred_core::{Deferred, race};
///
/// let (slow, loser) = Deferred::new();
/// let (fast, winner) = Deferred::new();
/// let first = race([slow, fast]);
/// winner.callback("fast");
/// assert_eq!(success_result_of(first), (1, "fast"));
/// assert!(loser.is_cancelled());
/// ```
#[doc(alias = "select_ok")]
#[track_caller]
pub fn race<T: 'static, E: DeferredError>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
) -> Deferred<(usize, T), FailureGroup<E>> {
    join(deferreds, |count| Race { errors: Values::new(count) }, Location::caller())
}

/// Waits for the first success, and lets the other Deferreds continue. If all fail, the returned
/// Deferred fires with all errors.
///
/// Twisted's `DeferredList(fireOnOneCallback=True, consumeErrors=True)`, which also succeeds if all
/// fail. Most programs need [`race`] instead.
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
/// use deferred_core::{Deferred, Failure, FirstSuccess, first_success};
///
/// let first = first_success([Deferred::fail(Failure::msg("no")), Deferred::succeed(2)]);
/// assert!(matches!(success_result_of(first), FirstSuccess::Success { index: 1, value: 2 }));
/// ```
#[doc(alias = "select_ok")]
#[doc(alias = "fireOnOneCallback")]
#[doc(alias = "DeferredList")]
#[track_caller]
pub fn first_success<T: 'static, E: DeferredError>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
) -> Deferred<FirstSuccess<T, E>, E> {
    join(deferreds, |count| AnySuccess { errors: Values::new(count) }, Location::caller())
}

/// Waits for the first Deferred that has a result, and lets the others continue. The returned
/// Deferred fires with its index and value, or fails with its error.
///
/// Twisted's `DeferredList(fireOnOneCallback=True, fireOnOneErrback=True, consumeErrors=True)`.
///
/// # Errors
///
/// The returned Deferred fails with [`FirstError`], which has the index, if the first result is an
/// error. Without any Deferreds it fails with [`Abandoned`](crate::Abandoned). (Twisted's never
/// fires.)
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
/// use deferred_core::{Deferred, first_completion};
///
/// let (slow, _resolver) = Deferred::new();
/// let first = first_completion([slow, Deferred::succeed(2)]);
/// assert_eq!(success_result_of(first), (1, 2));
/// ```
#[doc(alias = "select_all")]
#[doc(alias = "fireOnOneErrback")]
#[doc(alias = "DeferredList")]
#[doc(alias = "select")]
#[track_caller]
pub fn first_completion<T: 'static, E: DeferredError>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
) -> Deferred<(usize, T), FirstError<E>> {
    join(deferreds, |_| Completion, Location::caller())
}

/// The result of [`first_success`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstSuccess<T, E> {
    /// The first success.
    Success {
        /// The index of the Deferred.
        index: usize,
        /// The value of the Deferred.
        value: T,
    },
    /// All Deferreds failed. Their errors, in order.
    AllFailed(Vec<E>),
}

struct Race<E> {
    errors: Values<E>,
}

impl<T: 'static, E: DeferredError> Rule<T, E> for Race<E> {
    type Value = (usize, T);
    type Error = FailureGroup<E>;

    fn arrived(&mut self, index: usize, result: Result<T, E>) -> Option<Decided<(usize, T), FailureGroup<E>>> {
        match result {
            Ok(value) => {
                let cancel_others = Some(Cancelled::because("another Deferred of the same race has won"));
                Some(Decided { result: Ok((index, value)), cancel_others })
            }
            Err(error) => self.errors.set(index, error).map(|errors| Err(FailureGroup::new(errors)).into()),
        }
    }

    fn empty() -> Result<(usize, T), FailureGroup<E>> {
        Err(FailureGroup::new(Vec::new()))
    }

    const CANCELS: bool = true;
}

struct AnySuccess<E> {
    errors: Values<E>,
}

impl<T: 'static, E: DeferredError> Rule<T, E> for AnySuccess<E> {
    type Value = FirstSuccess<T, E>;
    type Error = E;

    fn arrived(&mut self, index: usize, result: Result<T, E>) -> Option<Decided<FirstSuccess<T, E>, E>> {
        match result {
            Ok(value) => Some(Ok(FirstSuccess::Success { index, value }).into()),
            Err(error) => self.errors.set(index, error).map(|errors| Ok(FirstSuccess::AllFailed(errors)).into()),
        }
    }

    fn empty() -> Result<FirstSuccess<T, E>, E> {
        Ok(FirstSuccess::AllFailed(Vec::new()))
    }
}

struct Completion;

impl<T: 'static, E: DeferredError> Rule<T, E> for Completion {
    type Value = (usize, T);
    type Error = FirstError<E>;

    fn arrived(&mut self, index: usize, result: Result<T, E>) -> Option<Decided<(usize, T), FirstError<E>>> {
        Some(match result {
            Ok(value) => Ok((index, value)).into(),
            Err(error) => Err(FirstError::new(index, error)).into(),
        })
    }

    fn empty() -> Result<(usize, T), FirstError<E>> {
        Err(BuiltinError::from(Abandoned::because("a race without Deferreds has no winner")).into())
    }
}
