//! Errors: the error types of Deferreds, and their trails.
//!
//! - [`DeferredError`]: the trait of every error type of a Deferred;
//! - [`BuiltinError`]: the errors of the library itself, such as cancelled and timed out, each with
//!   a type of its own;
//! - [`Failure`]: the default error type, which holds any error in one word, and [`SharedFailure`],
//!   which implements [`Error`](std::error::Error) and [`Clone`];
//! - [`FirstError`] and [`FailureGroup`]: the errors of functions that combine Deferreds;
//! - [`Trail`]: the locations that an error passed.

mod builtin;
mod failure;
mod group;
mod interop;
mod location;
mod nested;
mod origin;
mod panicked;
mod share;
mod trail;
mod trapped;
mod wrapped;

use std::fmt::Debug;
use std::panic::Location;

pub use builtin::{Abandoned, BuiltinError, Cancelled, Cycle, NestedDeferred, NoReactor, TimedOut};
pub use failure::Failure;
pub(crate) use failure::write_texts;
pub use group::{FailureGroup, FirstError};
pub use interop::find_error;
pub(crate) use location::of_user;
pub(crate) use origin::{adopt_context, context_of};
pub use panicked::Panicked;
pub(crate) use panicked::{drop_payload, from_panic};
pub use share::{ShareError, SharedFailure};
pub use trail::Trail;
pub(crate) use trail::{CallSite, write_trail};
pub use trapped::Trapped;
pub(crate) use wrapped::into_timed_out;

/// An error type of a Deferred.
///
/// [`Failure`] is the default, and holds any error. An error type of your own needs two impls: a
/// conversion from [`BuiltinError`], for cancels, panics and so on, and this trait. All its methods
/// have defaults, so the second impl can be empty. Each method documents the limits of its default;
/// it is worth implementing [`builtin`](DeferredError::builtin).
///
/// There is no blanket implementation, since that method could not be overridden then.
///
/// # Examples
///
/// ```
/// use deferred_core::{Cancelled, DeferredError, BuiltinError};
///
/// #[derive(Debug)]
/// enum LoadError {
///     NotFound,
///     Builtin(BuiltinError),
/// }
///
/// impl From<BuiltinError> for LoadError {
///     fn from(builtin: BuiltinError) -> Self {
///         LoadError::Builtin(builtin)
///     }
/// }
///
/// impl DeferredError for LoadError {
///     fn builtin(&self) -> Option<&BuiltinError> {
///         if let LoadError::Builtin(builtin) = self { Some(builtin) } else { None }
///     }
/// }
///
/// let error = LoadError::from(BuiltinError::from(Cancelled::new()));
/// assert!(matches!(error.builtin(), Some(BuiltinError::Cancelled(_))));
/// assert!(LoadError::NotFound.builtin().is_none());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the error type of a Deferred",
    note = "`Failure`, the default, holds any error: `map_err(Failure::from)`, or `map_err(Failure::from_report)` for \
            an error of `anyhow` or `eyre`",
    note = "to return an error of `anyhow` or `eyre` from a function, `map_err(Failure::into_error)?` on its result",
    note = "an error type of your own implements `DeferredError` and `From<BuiltinError>`"
)]
pub trait DeferredError: From<BuiltinError> + Debug + 'static {
    /// Returns the [`BuiltinError`] that this error is or holds, if any.
    ///
    /// Defaults to `None`. The library then cannot distinguish a cancelled Deferred of this type
    /// from one that failed otherwise: a timeout does not turn [`Cancelled`] into [`TimedOut`], and
    /// an unhandled [`Cancelled`] is reported, which it is not otherwise.
    fn builtin(&self) -> Option<&BuiltinError> {
        None
    }

    /// Adds a location to the trail of the error: the location where a stage was added that the
    /// error passes.
    ///
    /// It is called once for each stage, so it should be cheap, like [`Trail::push`]. The default
    /// ignores the location.
    fn add_location(&mut self, at: &'static Location<'static>) {
        let _ = at;
    }

    /// Returns the locations that the error passed, if it stores them.
    ///
    /// Defaults to `None`: the report of an unhandled error then shows no locations. An error that
    /// wraps another one forwards this method and [`add_location`](DeferredError::add_location);
    /// one with a [`Trail`] of its own pushes to it in `add_location` and returns it here.
    fn trail(&self) -> Option<&Trail> {
        None
    }

    /// Returns the location where the error was made, if it stores that, as [`Failure`] does.
    ///
    /// Defaults to `None`. An error that wraps another one forwards this method.
    fn made_at(&self) -> Option<&'static Location<'static>> {
        None
    }
}
