//! The half that fires.

use std::fmt;
use std::panic::Location;

use crate::engine::Source;
use crate::error::DeferredError;
use crate::error::Failure;

/// Fires one [`Deferred`](crate::Deferred): the other half of
/// [`Deferred::new`](crate::Deferred::new).
///
/// Fired consumes it, so nothing is fired twice. It runs the callbacks inside the call, on this
/// thread; do not fire while you hold a `RefCell` borrow or a lock that they may want. No panic of
/// a callback comes out of it.
///
/// **Dropping it** unfired fires [`Abandoned`](crate::Abandoned): a producer that dies is an error,
/// never a hang. While a callback runs, what it drops is fired right after it.
///
/// # Cancellation
///
/// Once its Deferred was cancelled, firing is ignored: the value is dropped. A producer with much
/// to do asks [`is_cancelled`](Resolver::is_cancelled) first.
///
/// Twisted has no such half: there, `callback` and `errback` are methods of the Deferred.
///
/// # Examples
///
/// ```
/// use deferred_core::Deferred;
///
/// let (deferred, resolver) = Deferred::<u32>::new();
/// let deferred = deferred.map(|rows| rows * 2);
/// resolver.callback(21);
/// assert_eq!(deferred.try_take().unwrap().unwrap(), 42);
/// ```
#[must_use = "dropping a Resolver fires `Abandoned` in its Deferred"]
pub struct Resolver<T, E: DeferredError = Failure> {
    pub(crate) source: Source<T, E>,
}

impl<T: 'static, E: DeferredError> Resolver<T, E> {
    /// Fires with a value.
    pub fn callback(self, value: T) {
        self.source.fire(Ok(value));
    }

    /// Fires with an error, or with what becomes one.
    ///
    /// The place of this call begins the error's trail.
    #[track_caller]
    pub fn errback(self, error: impl Into<E>) {
        let mut error = error.into();
        error.add_location(Location::caller());
        self.source.fire(Err(error));
    }

    /// Fires with a result as it is.
    pub fn fire(self, result: Result<T, E>) {
        self.source.fire(result);
    }
}

impl<T, E: DeferredError> Resolver<T, E> {
    /// Whether the Deferred was cancelled, so that nobody waits any more and firing would be
    /// ignored.
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
