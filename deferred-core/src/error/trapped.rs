//! `Trapped`: an error that `Failure::trap` has caught.

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use super::Failure;

/// An error that [`Failure::trap`] has caught. It derefs to the error.
///
/// It keeps the failure with its trail: an errback can examine the error and then pass
/// [`into_failure`](Trapped::into_failure) on.
///
/// # Examples
///
/// ```
/// use std::io::{Error, ErrorKind};
///
/// use deferred_core::Failure;
///
/// /// Treats a missing file as an empty one, and passes on any other error.
/// fn missing_is_empty(failure: Failure) -> Result<String, Failure> {
///     let error = failure.trap::<Error>()?;
///     if error.kind() == ErrorKind::NotFound { Ok(String::new()) } else { Err(error.into_failure()) }
/// }
///
/// assert_eq!(missing_is_empty(Error::from(ErrorKind::NotFound).into()).unwrap(), "");
/// assert!(missing_is_empty(Error::from(ErrorKind::PermissionDenied).into()).is_err());
/// ```
pub struct Trapped<X> {
    failure: Failure,
    /// Invariant: the failure holds exactly this type.
    error: PhantomData<fn(X) -> X>,
}

impl<X: Error + 'static> Trapped<X> {
    /// Creates the guard of a failure that holds an `X`.
    pub(super) fn new(failure: Failure) -> Trapped<X> {
        Trapped { failure, error: PhantomData }
    }

    /// Returns the error by value.
    ///
    /// # Errors
    ///
    /// Returns the unchanged guard if several observers share the error, or if it is inside the
    /// report of another crate ([`from_report`](Failure::from_report)).
    pub fn into_inner(self) -> Result<X, Trapped<X>> {
        self.failure.downcast().map_err(Trapped::new)
    }

    /// Returns the failure, as it was before it was trapped.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        self.failure
    }
}

impl<X: Error + 'static> Deref for Trapped<X> {
    type Target = X;

    fn deref(&self) -> &X {
        self.failure.downcast_ref().expect("a trapped failure holds the type that was trapped")
    }
}

impl<X> fmt::Debug for Trapped<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.failure, f)
    }
}

impl<X: Error + 'static> fmt::Display for Trapped<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.failure, f)
    }
}
