//! Errors that several observers have.

use std::sync::Arc;

use super::failure::SharedFailure;
use super::{DeferredError, Failure};

/// An error that several observers of one Deferred can have: any that can be cloned, and
/// [`Failure`].
///
/// Each observer of a `Failure` gets one that holds the original error, with the trail up to there;
/// from there on each has a trail of its own. [`Trapped::into_inner`](crate::Trapped::into_inner)
/// gives the error by value only to the last who has it.
///
/// See [`Deferred::share`](crate::Deferred::share).
pub trait ShareError: DeferredError {
    /// What is kept of it for the observers.
    type Shared: 'static;

    /// What is to be kept of it.
    fn into_shared(self) -> Self::Shared;

    /// One for an observer.
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

impl ShareError for Failure {
    type Shared = Arc<SharedFailure>;

    fn into_shared(self) -> Self::Shared {
        self.into_arc()
    }

    fn from_shared(shared: &Self::Shared) -> Failure {
        Failure::from_arc(shared)
    }
}
