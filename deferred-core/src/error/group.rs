//! `FirstError` and `FailureGroup`: the errors of functions that combine Deferreds.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::Location;

use super::nested::{is_too_deep, reason_depth, write_inside};
use super::origin::Origin;
use super::{BuiltinError, DeferredError, Failure, SharedFailure, Trail};

/// The first error among several Deferreds: the error type of [`gather`](crate::gather).
///
/// `?` converts it into a [`Failure`] if `E` is `Send` and `Sync`, as `Failure` is. A `Failure`
/// that holds a `FirstError<Failure>` returns the [`builtin`](DeferredError::builtin) of the inner
/// error, so a timeout around a gather becomes [`TimedOut`](crate::TimedOut).
///
/// Twisted's `FirstError`.
///
/// # Examples
///
/// ```
/// use deferred_core::testing::failure_result_of;
/// use deferred_core::{Deferred, Failure, gather};
///
/// let both = gather([Deferred::succeed(1), Deferred::fail(Failure::msg("no"))]);
/// let first = failure_result_of(both);
/// assert_eq!((first.index, first.error.to_string()), (Some(1), "no".to_owned()));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct FirstError<E = Failure> {
    /// The index of the Deferred that failed. `None` if the group itself failed, for example
    /// because it was cancelled and could not pass that on.
    pub index: Option<usize>,
    /// The error of the Deferred at `index`, or of the group itself.
    pub error: E,
}

impl<E> FirstError<E> {
    /// Creates the error of the Deferred with this index.
    #[must_use]
    pub fn new(index: usize, error: E) -> Self {
        FirstError { index: Some(index), error }
    }
}

impl<E: DeferredError> From<BuiltinError> for FirstError<E> {
    fn from(why: BuiltinError) -> Self {
        FirstError { index: None, error: why.into() }
    }
}

impl<E: DeferredError> DeferredError for FirstError<E> {
    fn builtin(&self) -> Option<&BuiltinError> {
        self.error.builtin()
    }

    fn add_location(&mut self, at: &'static Location<'static>) {
        self.error.add_location(at);
    }

    fn trail(&self) -> Option<&Trail> {
        self.error.trail()
    }

    fn made_at(&self) -> Option<&'static Location<'static>> {
        self.error.made_at()
    }
}

impl<E: DeferredError> fmt::Display for FirstError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(index) = self.index {
            write!(f, "Deferred {index} failed: ")?;
        }
        write_member(&self.error, reason_depth() + 1, false, f)
    }
}

impl<E: DeferredError> Error for FirstError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        (&self.error as &dyn Any).downcast_ref::<Failure>().and_then(Failure::source)
    }
}

/// The errors of several Deferreds that all failed: the error type of [`race`](crate::race).
///
/// The text has each error with its causes, since a group has no cause of its own.
///
/// If all of them are the same kind of [`BuiltinError`], [`builtin`](DeferredError::builtin)
/// returns the first.
///
/// Twisted's `FailureGroup`.
#[derive(Debug)]
pub struct FailureGroup<E = Failure> {
    /// The errors, in the order of the Deferreds.
    errors: Vec<E>,
    /// Whether the group itself failed, with the only error.
    is_whole: bool,
    trail: Trail,
}

impl<E> FailureGroup<E> {
    /// Creates a group of errors.
    #[must_use]
    pub fn new(errors: Vec<E>) -> Self {
        FailureGroup { errors, is_whole: false, trail: Trail::new() }
    }

    /// Returns the errors, in the order of the Deferreds.
    #[must_use]
    pub fn errors(&self) -> &[E] {
        &self.errors
    }

    /// Returns the errors by value.
    #[must_use]
    pub fn into_errors(self) -> Vec<E> {
        self.errors
    }

    /// Converts each error.
    pub(super) fn map<F>(self, f: impl FnMut(E) -> F) -> FailureGroup<F> {
        FailureGroup { errors: self.errors.into_iter().map(f).collect(), is_whole: self.is_whole, trail: self.trail }
    }

    pub(super) fn as_ref(&self) -> FailureGroup<&E> {
        FailureGroup { errors: self.errors.iter().collect(), is_whole: self.is_whole, trail: self.trail.clone() }
    }

    /// Returns `true` if the group itself failed. It then holds one error, which came from none of
    /// the Deferreds.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }
}

impl<E: DeferredError> From<BuiltinError> for FailureGroup<E> {
    fn from(why: BuiltinError) -> Self {
        FailureGroup { errors: vec![why.into()], is_whole: true, trail: Trail::new() }
    }
}

impl<E: DeferredError> DeferredError for FailureGroup<E> {
    fn builtin(&self) -> Option<&BuiltinError> {
        let first = self.errors.first()?.builtin()?;
        let kind = std::mem::discriminant(first);
        let alike = |error: &E| error.builtin().is_some_and(|other| std::mem::discriminant(other) == kind);
        self.errors.iter().all(alike).then_some(first)
    }

    fn add_location(&mut self, at: &'static Location<'static>) {
        self.trail.push(at);
    }

    fn trail(&self) -> Option<&Trail> {
        Some(&self.trail)
    }
}

/// The number of members that are printed of a group inside another error.
const MAX_NESTED: usize = 3;

impl<E: DeferredError> FailureGroup<E> {
    /// Prints a group that is nested `depth` levels deep.
    pub(super) fn write(&self, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_whole {
            return write_member(&self.errors[0], depth, true, f);
        }
        write!(f, "all {} failed", self.errors.len())?;
        if is_too_deep(depth) {
            return Ok(());
        }
        // Else the text of nested groups would grow exponentially.
        let shown = if depth == 0 { self.errors.len() } else { self.errors.len().min(MAX_NESTED) };
        for (n, error) in self.errors[..shown].iter().enumerate() {
            f.write_str(if n > 0 { "; " } else { ": " })?;
            write_member(error, depth + 1, true, f)?;
        }
        let others = self.errors.len() - shown;
        if others > 0 { write!(f, "; {others} more") } else { Ok(()) }
    }
}

impl<E: DeferredError> fmt::Display for FailureGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(reason_depth(), f)
    }
}

impl<E: DeferredError> Error for FailureGroup<E> {}

/// Prints an error in one line, nested `depth` levels deep. Of a [`Failure`], prints the message, and
/// perhaps the causes.
fn write_member<E: DeferredError>(error: &E, depth: usize, causes: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match (error as &dyn Any).downcast_ref::<Failure>() {
        Some(failure) => write_inside(failure, depth, causes, f),
        None => write!(f, "{error:?}"),
    }
}

/// Returns the location where the error of a member was made, if the error is of a member.
#[inline]
pub(super) fn origin_of_member<X: Any>(error: &X) -> Option<Origin> {
    (error as &dyn Any).downcast_ref::<FirstError<Failure>>().map(|first| first.error.origin().clone())
}

/// Unpacks a shared failure, and a group error that stands for the group itself, into the failure.
/// Returns any other error unchanged.
pub(super) fn unwrap_whole<X: Any>(error: X) -> Result<Failure, X> {
    let slot = &mut Some(error);
    let any: &mut dyn Any = slot;
    if let Some(first) = any.downcast_mut::<Option<FirstError<Failure>>>() {
        if let Some(FirstError { error, .. }) = first.take_if(|first| first.index.is_none()) {
            return Ok(error);
        }
    } else if let Some(shared) = any.downcast_mut::<Option<SharedFailure>>() {
        if let Some(shared) = shared.take() {
            return Ok(shared.into_failure());
        }
    } else if let Some(group) = any.downcast_mut::<Option<FailureGroup<Failure>>>() {
        if let Some(failure) = group.take_if(|group| group.is_whole).and_then(|group| group.errors.into_iter().next()) {
            return Ok(failure);
        }
    }
    Err(slot.take().expect("only a recognized error was taken"))
}
