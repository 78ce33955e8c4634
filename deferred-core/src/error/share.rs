//! Errors that several observers can have: `ShareError` and `SharedFailure`.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::failure::{Held, Inner};
use super::{DeferredError, Failure, FailureGroup, FirstError};

/// An error that several observers of one Deferred can have: any error that can be cloned,
/// [`Failure`], and a [`FirstError`] or [`FailureGroup`] of such errors.
///
/// Each observer of a `Failure` gets one that holds the original error and its trail so far. From
/// then on each has a trail of its own. Only the last observer gets the error by value from
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
    type Shared = SharedFailure;

    fn into_shared(self) -> Self::Shared {
        self.into_error()
    }

    fn from_shared(shared: &Self::Shared) -> Failure {
        shared.to_failure()
    }
}

/// A [`Failure`] that implements [`Error`] and [`Clone`]: for `?` in functions that return another
/// crate's error, and for an error that several need.
///
/// [`Failure::into_error`] creates it. `Failure::from`, and so `?`, converts it back, also after it
/// was in a box or at the top of an `anyhow::Error` or `eyre::Report`. Clones share the original
/// error. Like a `Failure`, it prints the message of the error, with `{:#}` its causes too, and with
/// `{:?}` its trail.
///
/// # Examples
///
/// ```
/// use deferred_core::{Failure, SharedFailure, TimedOut};
///
/// let error: SharedFailure = Failure::from(TimedOut::new()).into_error();
/// let copy = error.clone();
/// assert!(copy.to_failure().check::<TimedOut>());
/// assert_eq!(error.to_string(), "timed out");
/// ```
#[derive(Clone)]
pub struct SharedFailure(pub(super) Arc<Inner>);

impl SharedFailure {
    /// Returns a failure that holds the same error, with the trail so far.
    #[must_use]
    pub fn to_failure(&self) -> Failure {
        self.clone().into_failure()
    }

    /// Returns the failure.
    pub(super) fn into_failure(self) -> Failure {
        let (trail, origin) = (self.0.trail.clone(), self.0.origin.clone());
        Failure::from_inner(Held::Shared(self), trail, origin)
    }

    /// Returns the held error.
    pub(super) fn held(&self) -> &Held {
        self.0.held.get().original()
    }
}

impl Failure {
    /// Converts the failure into an [`Error`], for `?` in a function that returns an
    /// `anyhow::Error`, an `eyre::Report`, or any other type that is made of errors.
    ///
    /// `Failure::from` and [`Failure::from_report`] convert it back, with its trail. The other crate
    /// prints the message and the causes, but not the trail. [`find_error`](crate::find_error) finds
    /// the error, such as a [`TimedOut`](crate::TimedOut), in the other crate's one.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::{Cancelled, Failure};
    ///
    /// fn of_deferred() -> Result<u32, Failure> {
    ///     Err(Cancelled::new().into())
    /// }
    ///
    /// fn of_anyhow() -> anyhow::Result<u32> {
    ///     Ok(of_deferred().map_err(Failure::into_error)?)
    /// }
    ///
    /// let error = of_anyhow().unwrap_err();
    /// assert_eq!(error.to_string(), "cancelled");
    /// assert!(Failure::from_report(error).check::<Cancelled>());
    /// ```
    #[must_use]
    pub fn into_error(self) -> SharedFailure {
        let Inner { held, trail, origin } = self.into_inner();
        let held = match held.into_held() {
            Held::Shared(shared) if trail.total() == shared.0.trail.total() => return shared,
            // If it is shared again, it refers to the original itself, so that references do not
            // nest.
            Held::Shared(shared) => match shared.0.held.get() {
                Held::Shared(original) => Held::Shared(original.clone()),
                _ => Held::Shared(shared),
            },
            held => held,
        };
        SharedFailure(Arc::new(Inner::new(held, trail, origin)))
    }
}

impl From<Failure> for SharedFailure {
    fn from(failure: Failure) -> SharedFailure {
        failure.into_error()
    }
}

impl fmt::Display for SharedFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_failure(), f)
    }
}

impl fmt::Debug for SharedFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_failure(), f)
    }
}

/// The source is that of the error itself, since the two have the same text.
impl Error for SharedFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.held().error().source()
    }
}
