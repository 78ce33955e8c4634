//! `IntoDeferred`: the return types of callbacks.

use std::any::type_name;

use super::Deferred;
use crate::error::{BuiltinError, DeferredError, NestedDeferred};

/// The return type of a callback: a [`Result`], a [`Deferred`] to wait for, or `()` for success
/// without a value.
///
/// A callback that decides between these at run time returns a Deferred; `Deferred::from(result)`
/// allocates nothing. For a plain value, use [`map`](Deferred::map).
///
/// `Ok(deferred)` fails with [`NestedDeferred`](crate::NestedDeferred), since nothing would wait
/// for that Deferred. A callback that uses `?` first and returns a Deferred at its end can be
/// wrapped in [`try_deferred`](crate::try_deferred), or be a coroutine:
/// [`inline_callbacks`](crate::inline_callbacks), with `Ok(deferred.await?)`.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, Failure};
///
/// fn look_up(name: &str) -> Deferred<u32> {
///     match name {
///         "here" => Deferred::succeed(1),
///         _ => Deferred::fail(Failure::msg("no such name")),
///     }
/// }
///
/// let deferred = Deferred::succeed("here")
///     .add_callback(|name| look_up(name)) // a Deferred
///     .add_callback(|n| if n > 0 { Ok(n + 1) } else { Err(Failure::msg("too small")) }) // a Result
///     .add_callback(|n| println!("{n}")); // `()`
/// assert!(deferred.is_ready());
/// ```
#[diagnostic::on_unimplemented(
    message = "a callback cannot return `{Self}` here",
    label = "return a `Result<_, {E}>`, a `Deferred<_, {E}>` or `()`",
    note = "for a plain value wrap it in `Ok(..)`, or use `map`, which takes plain values",
    note = "an `async` block becomes a Deferred if it is passed to `inline_callbacks`",
    note = "a Deferred is returned as it is, without `Ok(..)`; after `?` use `try_deferred`",
    note = "an error of another type is converted with `?`, or the whole chain with `map_err`"
)]
pub trait IntoDeferred<E: DeferredError> {
    /// The type of the value.
    type Value: 'static;

    /// Converts `self` into a Deferred.
    fn into_deferred(self) -> Deferred<Self::Value, E>;
}

impl<T: 'static, E: DeferredError> IntoDeferred<E> for Result<T, E> {
    type Value = T;

    #[inline]
    #[track_caller]
    fn into_deferred(self) -> Deferred<T, E> {
        Deferred::from(refuse_nested(self))
    }
}

impl<T: 'static, E: DeferredError> IntoDeferred<E> for Deferred<T, E> {
    type Value = T;

    #[inline]
    fn into_deferred(self) -> Deferred<T, E> {
        self
    }
}

impl<E: DeferredError> IntoDeferred<E> for () {
    type Value = ();

    #[inline]
    #[track_caller]
    fn into_deferred(self) -> Deferred<(), E> {
        Deferred::from(Ok(()))
    }
}

/// Returns `true` if `T` is a Deferred. The name of a type is a constant, so the check costs
/// nothing at run time.
#[inline]
fn is_deferred<T>() -> bool {
    type_name::<T>().starts_with("deferred_core::deferred::Deferred<")
}

/// Turns a Deferred inside an `Ok` into an error.
#[inline]
pub(crate) fn refuse_nested<T, E: DeferredError>(result: Result<T, E>) -> Result<T, E> {
    if is_deferred::<T>() { result.and_then(refused) } else { result }
}

#[cold]
fn refused<T, E: DeferredError>(nested: T) -> Result<T, E> {
    drop(nested);
    Err(BuiltinError::from(NestedDeferred::new()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    #[test]
    fn a_deferred_is_recognized_by_its_type_name() {
        assert!(is_deferred::<Deferred<u32>>() && is_deferred::<Deferred<(), BuiltinError>>());
        assert!(!is_deferred::<Option<Deferred<u32>>>() && !is_deferred::<(Deferred<u32>,)>());
        assert!(!is_deferred::<u32>() && !is_deferred::<Failure>());
    }
}
