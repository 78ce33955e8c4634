//! Errors: what a Deferred may fail with, the trail they leave, and who hears of those that nobody
//! handled.
//!
//! - [`DeferredError`] is what every error type of a Deferred implements;
//! - [`BuiltinError`] is what the library itself says: cancelled, timed out, abandoned and so on,
//!   each a type of its own;
//! - [`Failure`] is the error type that a Deferred has unless it is told otherwise: any error, one
//!   word wide;
//! - [`FirstError`] and [`FailureGroup`] are what many Deferreds at once fail with;
//! - [`Trail`] is the list of places that an error passed;
//! - [`Unhandled`] is what a hook is told of an error that nobody handled. [`report`] is where the
//!   rest of the crate hands one in.

mod builtin;
mod failure;
mod group;
mod hook;
mod nested;
mod share;
mod trail;
mod unhandled;

use std::fmt::Debug;
use std::panic::Location;

pub use builtin::{Abandoned, BuiltinError, Cancelled, Cycle, NestedDeferred, NoReactor, Panicked, TimedOut};
pub(crate) use builtin::{drop_payload, from_panic};
pub use failure::{Failure, Trapped};
pub use group::{FailureGroup, FirstError};
pub use hook::{HookGuard, on_unhandled, set_unhandled_hook, take_unhandled_hook};
pub(crate) use hook::{closing, to_standard_error};
pub use share::ShareError;
pub(crate) use trail::CallSite;
pub use trail::Trail;
pub use unhandled::Unhandled;
pub(crate) use unhandled::{report, report_last};

/// What a Deferred may fail with.
///
/// [`Failure`] is the usual one, and takes any error. An error type of your own takes part with two
/// impls: a conversion from [`BuiltinError`], so that the library can tell of a cancel or a panic,
/// and this trait. All its methods have defaults, so the second impl may be empty. What the
/// defaults give up is said at each of them; [`builtin`](DeferredError::builtin) is worth its one
/// line.
///
/// There is no blanket implementation, since that one line would then be out of reach.
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
pub trait DeferredError: From<BuiltinError> + Debug + 'static {
    /// The [`BuiltinError`] that this error is, or holds, if any.
    ///
    /// The default says `None`. The library then cannot tell a cancelled Deferred of this type from
    /// one that failed: a timeout does not turn [`Cancelled`] into [`TimedOut`], and the report of
    /// an error that nobody handled, which is otherwise quiet about [`Cancelled`], is made for it
    /// too.
    fn builtin(&self) -> Option<&BuiltinError> {
        None
    }

    /// Is told each place that the error passes: where a stage of a chain was added that the error
    /// goes by, or into.
    ///
    /// It is called once for each stage, so it should be cheap; [`Trail::push`] is. The default
    /// forgets the place.
    fn add_location(&mut self, at: &'static Location<'static>) {
        let _ = at;
    }

    /// The places that the error passed, if it remembers them.
    ///
    /// The default says `None`, and the report of an error that nobody handled is then without
    /// them. An error that wraps another forwards this method and
    /// [`add_location`](DeferredError::add_location) together; one that holds a [`Trail`] of its
    /// own pushes to it in `passed` and lends it here.
    fn trail(&self) -> Option<&Trail> {
        None
    }
}
