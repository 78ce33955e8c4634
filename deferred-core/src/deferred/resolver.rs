//! `Resolver`: the half of a Deferred that fires it.

use std::fmt;
use std::panic::Location;

use crate::engine::Source;
use crate::error::DeferredError;
use crate::error::Failure;

/// The half of a [`Deferred`](crate::Deferred) that fires it.
/// [`Deferred::new`](crate::Deferred::new) creates both.
///
/// In Twisted, `callback` and `errback` are methods of the Deferred.
///
/// Firing consumes the resolver, so no Deferred fires twice. The callbacks run inside the call, on
/// this thread: do not fire while you hold a `RefCell` borrow or a lock that they may need. A panic
/// of a callback does not propagate out of the call.
///
/// **Dropping it** unfired fires [`Abandoned`](crate::Abandoned): a producer that dies is an error,
/// never a hang. If a callback drops it, the Deferred fires right after that callback.
///
/// # Cancellation
///
/// After its Deferred was cancelled, firing is ignored and the value is dropped. A producer with
/// much work calls [`is_cancelled`](Resolver::is_cancelled) first.
///
/// # Examples
///
/// ```
/// use deferred_core::testing::success_result_of;
/// use deferred_core::Deferred;
///
/// let (deferred, resolver) = Deferred::<u32>::new();
/// let deferred = deferred.map(|rows| rows * 2);
/// resolver.callback(21);
/// assert_eq!(success_result_of(deferred), 42);
/// ```
#[must_use = "dropping a Resolver fires `Abandoned` in its Deferred; store it, or call `callback` or `errback`"]
pub struct Resolver<T, E: DeferredError = Failure> {
    pub(crate) source: Source<T, E>,
}

impl<T: 'static, E: DeferredError> Resolver<T, E> {
    /// Fires the Deferred with a value.
    pub fn callback(self, value: T) {
        self.source.fire(Ok(value));
    }

    /// Fires the Deferred with an error, or with a value that converts into one.
    ///
    /// The location of this call begins the error's trail.
    #[track_caller]
    pub fn errback(self, error: impl Into<E>) {
        let mut error = error.into();
        error.add_location(Location::caller());
        self.source.fire(Err(error));
    }

    /// Fires the Deferred with a result.
    pub fn fire(self, result: Result<T, E>) {
        self.source.fire(result);
    }
}

impl<T, E: DeferredError> Resolver<T, E> {
    /// Returns `true` if the Deferred was cancelled, so that firing would be ignored.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.source.is_cancelled()
    }
}

impl<T, E: DeferredError> fmt::Debug for Resolver<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("is_cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}
