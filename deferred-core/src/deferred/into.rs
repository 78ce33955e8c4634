//! What callbacks may return.

use std::any::type_name;

use super::Deferred;
use crate::error::{BuiltinError, DeferredError, NestedDeferred};

/// What a callback may return: a [`Result`], a [`Deferred`] that is waited for, or `()` for success
/// without a value.
///
/// A callback that decides between them at run time returns a Deferred; `Deferred::from(result)`
/// costs nothing. For a plain value there is [`map`](Deferred::map).
///
/// `Ok(deferred)` is refused with [`NestedDeferred`](crate::NestedDeferred), since nothing would
/// wait for that Deferred. A callback that begins with `?` and ends with a Deferred does it inside
/// of [`try_deferred`](crate::try_deferred), or is a coroutine:
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
///     .add_callback(|n| println!("{n}")); // nothing
/// assert!(deferred.is_ready());
/// ```
#[diagnostic::on_unimplemented(
    message = "a callback cannot return `{Self}` here",
    label = "return a `Result<_, {E}>`, a `Deferred<_, {E}>` or `()`",
    note = "for a plain value wrap it in `Ok(..)`, or use `map`, which takes plain values",
    note = "a Deferred is returned as it is, without `Ok(..)`; after `?` use `try_deferred`",
    note = "an error of another type is converted with `?`, or the whole chain with `map_err`"
)]
pub trait IntoDeferred<E: DeferredError> {
    /// What it succeeds with.
    type Value: 'static;

    /// The Deferred that it is, or one that has it as its result.
    fn into_deferred(self) -> Deferred<Self::Value, E>;
}

impl<T: 'static, E: DeferredError> IntoDeferred<E> for Result<T, E> {
    type Value = T;

    #[inline(always)]
    #[track_caller]
    fn into_deferred(self) -> Deferred<T, E> {
        Deferred::from(refuse_nested(self))
    }
}

impl<T: 'static, E: DeferredError> IntoDeferred<E> for Deferred<T, E> {
    type Value = T;

    #[inline(always)]
    fn into_deferred(self) -> Deferred<T, E> {
        self
    }
}

impl<E: DeferredError> IntoDeferred<E> for () {
    type Value = ();

    #[inline(always)]
    #[track_caller]
    fn into_deferred(self) -> Deferred<(), E> {
        Deferred::from(Ok(()))
    }
}

/// Whether `T` is a Deferred. Its name is a constant, so nothing is left of this in a program.
#[inline(always)]
fn is_deferred<T>() -> bool {
    type_name::<T>().starts_with("deferred_core::deferred::Deferred<")
}

/// The error of a Deferred inside an `Ok`.
#[inline(always)]
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
    fn a_deferred_is_known_by_its_name() {
        assert!(is_deferred::<Deferred<u32>>() && is_deferred::<Deferred<(), BuiltinError>>());
        assert!(!is_deferred::<Option<Deferred<u32>>>() && !is_deferred::<(Deferred<u32>,)>());
        assert!(!is_deferred::<u32>() && !is_deferred::<Failure>());
    }
}
