//! What callbacks may return.

use super::Deferred;
use crate::error::Fault;

/// What a callback may return: a [`Result`], a [`Deferred`] that is waited for, or `()` for success without a value.
///
/// A callback that decides between them at run time returns a Deferred; `Deferred::from(result)` costs nothing. For a
/// plain value there is [`map`](Deferred::map).
///
/// A Deferred inside an `Ok` is a value like any other, for which nobody waits. So a callback that begins with `?` and
/// ends with a Deferred is a coroutine: [`inline_callbacks`](crate::inline_callbacks), with `Ok(deferred.await?)`.
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
    note = "an error of another type is converted with `?`, or the whole chain with `map_err`"
)]
pub trait IntoDeferred<E: Fault> {
    /// What it succeeds with.
    type Value: 'static;

    /// The Deferred that it is, or one that has it as its result.
    fn into_deferred(self) -> Deferred<Self::Value, E>;
}

impl<T: 'static, E: Fault> IntoDeferred<E> for Result<T, E> {
    type Value = T;

    #[inline(always)]
    #[track_caller]
    fn into_deferred(self) -> Deferred<T, E> {
        Deferred::from(self)
    }
}

impl<T: 'static, E: Fault> IntoDeferred<E> for Deferred<T, E> {
    type Value = T;

    #[inline(always)]
    fn into_deferred(self) -> Deferred<T, E> {
        self
    }
}

impl<E: Fault> IntoDeferred<E> for () {
    type Value = ();

    #[inline(always)]
    #[track_caller]
    fn into_deferred(self) -> Deferred<(), E> {
        Deferred::from(Ok(()))
    }
}
