//! What is told of an error that nobody handled.

use std::any::Any;
use std::fmt::{self, Debug};
use std::panic::Location;

use super::failure::write_texts;
use super::{BuiltinError, CallSite, DeferredError, Failure, FailureGroup, FirstError, Trail, hook};

/// An error that nobody handled, as a hook sees it.
///
/// It is told when the Deferred that has the error is dropped, or when the chain of one that was
/// dropped before comes to its end. `Display` prints the whole report, which is what standard error
/// gets where no hook is set: the error with its causes, where the Deferred was made, where its
/// last callback was added, and the trail of the error.
///
/// See [`set_unhandled_hook`](crate::set_unhandled_hook) and [`on_unhandled`](crate::on_unhandled).
pub struct Unhandled<'a> {
    error: &'a dyn Told,
    made: CallSite,
    last: CallSite,
    /// The default tells of it, whatever it is.
    pub(super) aloud: bool,
}

impl<'a> Unhandled<'a> {
    /// Where the Deferred was made.
    ///
    /// One that had its result when callbacks were added to it keeps one place only, the one that
    /// [`last_added_at`](Unhandled::last_added_at) gives, and may give it here too. For a call of a
    /// reactor that panicked, which has no Deferred, both are the place where the call was handed
    /// in.
    #[must_use]
    pub fn made_at(&self) -> &'static Location<'static> {
        self.made
    }

    /// Where the last callback was added to the Deferred; where it was made if it has none.
    #[must_use]
    pub fn last_added_at(&self) -> &'static Location<'static> {
        self.last
    }

    /// The places that the error passed, if its type remembers them; [`Failure`] does.
    #[must_use]
    pub fn trail(&self) -> Option<&'a Trail> {
        self.error.trail()
    }

    /// The builtin that the error is, or holds, if any.
    #[must_use]
    pub fn builtin(&self) -> Option<&'a BuiltinError> {
        self.error.builtin()
    }

    /// The error, if it is an `X`.
    ///
    /// An `X` is found if it is the error type of the Deferred, if it is what a [`Failure`] holds,
    /// and if it is the [`BuiltinError`] that the error tells of, or the inner type of that. Causes
    /// are not looked at. A `Failure` that was made by [`Failure::from_boxed`] does not know the
    /// type of its error; ask for the `Failure` then, and use its own
    /// [`downcast_ref`](Failure::downcast_ref).
    #[must_use]
    pub fn downcast_ref<X: 'static>(&self) -> Option<&'a X> {
        let any = self.error.any();
        any.downcast_ref().or_else(|| any.downcast_ref::<Failure>()?.find()).or_else(|| self.error.builtin()?.get())
    }

    /// The error, of which no more is known than that it can be printed.
    #[must_use]
    pub fn error(&self) -> &'a dyn Debug {
        self.error.debug()
    }
}

/// The whole report, of several lines, without a line break at its end.
impl fmt::Display for Unhandled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deferred: an error was never handled: ")?;
        let any = self.error.any();
        if let Some(failure) = any.downcast_ref::<Failure>() {
            write!(f, "{failure:#}")?;
        } else if let Some(builtin) = any.downcast_ref::<BuiltinError>() {
            write_texts(builtin, f)?;
        } else if let Some(first) = any.downcast_ref::<FirstError>() {
            write_texts(first, f)?;
        } else if let Some(group) = any.downcast_ref::<FailureGroup>() {
            write_texts(group, f)?;
        } else {
            write!(f, "{:?}", self.error())?;
        }
        if self.made == self.last {
            // Either nothing was added, or this is the one place that is known.
            write!(f, "\n    it comes from {}", self.made)?;
        } else {
            write!(f, "\n    its Deferred was made at {}", self.made)?;
            write!(f, "\n    the last callback was added at {}", self.last)?;
        }
        match self.trail() {
            Some(trail) if !trail.is_empty() => {
                f.write_str("\n    it passed:")?;
                trail.lines().try_for_each(|line| write!(f, "\n        {line}"))
            }
            _ => Ok(()),
        }
    }
}

impl Debug for Unhandled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unhandled")
            .field("error", self.error())
            .field("made_at", &format_args!("{}", self.made))
            .field("last_added_at", &format_args!("{}", self.last))
            .finish_non_exhaustive()
    }
}

/// [`DeferredError`] without its constructor, so that an error of any type can be lent as a `dyn`.
trait Told {
    fn any(&self) -> &dyn Any;
    fn debug(&self) -> &dyn Debug;
    fn builtin(&self) -> Option<&BuiltinError>;
    fn trail(&self) -> Option<&Trail>;
}

impl<E: DeferredError> Told for E {
    fn any(&self) -> &dyn Any {
        self
    }

    fn debug(&self) -> &dyn Debug {
        self
    }

    fn builtin(&self) -> Option<&BuiltinError> {
        DeferredError::builtin(self)
    }

    fn trail(&self) -> Option<&Trail> {
        DeferredError::trail(self)
    }
}

/// Tells of an error that nobody handled: the hook of this thread, or else that of the process, or
/// else `tracing` or standard error.
///
/// A panic of the hook, or of what prints the error, ends here. So this may be called from a
/// destructor, also while the thread unwinds or ends.
#[cold]
pub(crate) fn report<E: DeferredError>(error: &E, made: CallSite, last: CallSite) {
    hook::tell(&Unhandled { error, made, last, aloud: false });
}

/// [`report`], for the error that a program ends with: the default is not quiet about a cancel
/// then.
#[cold]
pub(crate) fn report_last<E: DeferredError>(error: &E, made: CallSite, last: CallSite) {
    hook::tell(&Unhandled { error, made, last, aloud: true });
}
