//! The first of them.

use std::panic::Location;

use super::gather::Values;
use super::join::{Decided, Rule, join};
use crate::deferred::Deferred;
use crate::error::{Abandoned, BuiltinError, Cancelled, DeferredError, FailureGroup, FirstError};

/// Waits for the first success, and cancels the others: gives the index and the value of the
/// winner.
///
/// The losers are cancelled, in order, before it fires; what they bring is dropped and counts as
/// handled. Of several that are ready the first one wins.
///
/// Twisted's `race`.
///
/// # Errors
///
/// [`FailureGroup`], with all errors, if all of them fail. Of none, the group is empty.
///
/// # Cancellation
///
/// Cancels all of them, in order. If nothing has fired it then, it fires
/// [`Cancelled`](crate::Cancelled).
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, race};
///
/// let (slow, loser) = Deferred::new();
/// let (fast, winner) = Deferred::new();
/// let first = race([slow, fast]);
/// winner.callback("fast");
/// assert_eq!(first.try_take().unwrap().unwrap(), (1, "fast"));
/// assert!(loser.is_cancelled());
/// ```
#[track_caller]
pub fn race<T: 'static, E: DeferredError>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
) -> Deferred<(usize, T), FailureGroup<E>> {
    join(deferreds, |count| Race { errors: Values::new(count) }, Location::caller())
}

/// Waits for the first success and lets the others run on; if there is none, gives all errors.
///
/// Twisted's `DeferredList(fireOnOneCallback=True, consumeErrors=True)`, of which the failure of
/// all is a success too. [`race`] is what most want.
///
/// # Cancellation
///
/// Each cancel is passed on to all that have no result yet, in order. What they bring decides.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, Failure, FirstSuccess, first_success};
///
/// let first = first_success([Deferred::fail(Failure::msg("no")), Deferred::succeed(2)]);
/// assert!(matches!(first.try_take().unwrap().unwrap(), FirstSuccess::Success { index: 1, value: 2 }));
/// ```
#[doc(alias = "DeferredList")]
#[track_caller]
pub fn first_success<T: 'static, E: DeferredError>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
) -> Deferred<FirstSuccess<T, E>, E> {
    join(deferreds, |count| AnySuccess { errors: Values::new(count) }, Location::caller())
}

/// Waits for the first that is done, whichever way, and lets the others run on: gives its index and
/// its value, or its error.
///
/// Twisted's `DeferredList(fireOnOneCallback=True, fireOnOneErrback=True, consumeErrors=True)`.
///
/// # Errors
///
/// [`FirstError`], with the index, if it is an error that comes first. Of none,
/// [`Abandoned`](crate::Abandoned): there is nobody to wait for. (Twisted's never fires.)
///
/// # Cancellation
///
/// Each cancel is passed on to all that have no result yet, in order. What they bring decides.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, first_completion};
///
/// let (slow, _resolver) = Deferred::new();
/// let first = first_completion([slow, Deferred::succeed(2)]);
/// assert_eq!(first.try_take().unwrap().unwrap(), (1, 2));
/// ```
#[doc(alias = "DeferredList")]
#[doc(alias = "select")]
#[track_caller]
pub fn first_completion<T: 'static, E: DeferredError>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
) -> Deferred<(usize, T), FirstError<E>> {
    join(deferreds, |_| Completion, Location::caller())
}

/// What [`first_success`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstSuccess<T, E> {
    /// The first that succeeded.
    Success {
        /// Which one it is.
        index: usize,
        /// Its value.
        value: T,
    },
    /// None has succeeded: their errors, in the order of the Deferreds.
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
                let others = Some(Cancelled::because("another one that it raced with has won"));
                Some(Decided { result: Ok((index, value)), others })
            }
            Err(error) => self.errors.set(index, error).map(|errors| Err(FailureGroup::new(errors)).into()),
        }
    }

    fn of_none() -> Result<(usize, T), FailureGroup<E>> {
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

    fn of_none() -> Result<FirstSuccess<T, E>, E> {
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

    fn of_none() -> Result<(usize, T), FirstError<E>> {
        Err(BuiltinError::from(Abandoned::new()).into())
    }
}
