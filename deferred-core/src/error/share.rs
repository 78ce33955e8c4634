//! `ShareError`: errors that several observers can have.

use std::sync::Arc;

use super::failure::SharedFailure;
use super::{DeferredError, Failure, FailureGroup, FirstError};

/// An error that several observers of one Deferred can have: any error that can be cloned,
/// [`Failure`], and a [`FirstError`] or [`FailureGroup`] of such errors.
///
/// Each observer of a `Failure` gets one that holds the original error and its trail so far. From then on
/// each has a trail of its own. Only the last observer gets the error by value from
/// [`Trapped::into_inner`](crate::Trapped::into_inner).
///
/// See [`Deferred::share`](crate::Deferred::share).
pub trait ShareError: DeferredError {
    /// The type that is stored for the observers.
    type Shared: 'static;

    /// Converts the error into the stored type.
    fn into_shared(self) -> Self::Shared;

    /// Creates the error of one observer.
    fn from_shared(shared: &Self::Shared) -> Self;
}

impl<E: DeferredError + Clone> ShareError for E {
    type Shared = E;

    fn into_shared(self) -> E {
        self
    }

    fn from_shared(shared: &E) -> E {
        shared.clone()
    }
}

impl<E: ShareError> ShareError for FirstError<E> {
    type Shared = (Option<usize>, E::Shared);

    fn into_shared(self) -> Self::Shared {
        (self.index, self.error.into_shared())
    }

    fn from_shared((index, error): &Self::Shared) -> FirstError<E> {
        FirstError { index: *index, error: E::from_shared(error) }
    }
}

impl<E: ShareError> ShareError for FailureGroup<E> {
    type Shared = FailureGroup<E::Shared>;

    fn into_shared(self) -> Self::Shared {
        self.map(E::into_shared)
    }

    fn from_shared(shared: &Self::Shared) -> FailureGroup<E> {
        shared.as_ref().map(E::from_shared)
    }
}

impl ShareError for Failure {
    type Shared = Arc<SharedFailure>;

    fn into_shared(self) -> Self::Shared {
        self.into_arc()
    }

    fn from_shared(shared: &Self::Shared) -> Failure {
        Failure::from_arc(shared)
    }
}
