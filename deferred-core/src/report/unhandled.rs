//! `Unhandled`: the report of an unhandled error.

use std::any::Any;
use std::cell::Cell;
use std::fmt::{self, Debug};
use std::panic::Location;

use super::{Report, Subject, hook};
use crate::context::Context;
use crate::error::{
    BuiltinError, CallSite, DeferredError, Failure, FailureGroup, FirstError, Trail, context_of, of_user, write_texts,
    write_trail,
};

/// An unhandled error, as a hook gets it.
///
/// The hook is called when a Deferred with an error is dropped, or when the callbacks of a Deferred
/// that was dropped before end with an error. `Display` prints the whole report, which goes to
/// standard error by default: the error with its causes, the locations where it was made, where the
/// Deferred was created and where its last callback was added, and the trail of the error. Locations
/// in the standard library and in these crates are left out of it.
///
/// See [`on_unhandled`](crate::on_unhandled) and [`report::set_hook`](super::set_hook).
pub struct Unhandled<'a> {
    error: &'a dyn AnyError,
    made: CallSite,
    last: CallSite,
    /// Whether the default report also prints a `Cancelled`.
    pub(super) reports_cancelled: bool,
}

impl<'a> Unhandled<'a> {
    /// Returns the location where the Deferred was created.
    ///
    /// If the Deferred was ready when callbacks were added, only the last location may be known;
    /// this method then returns [`last_added_at`](Unhandled::last_added_at). For a call of a
    /// reactor that failed or panicked, which has no Deferred, both are the location where the call
    /// was registered.
    #[must_use]
    pub fn made_at(&self) -> &'static Location<'static> {
        self.made
    }

    /// Returns the location where the last callback was added to the Deferred, or where it was
    /// created if it has none.
    #[must_use]
    pub fn last_added_at(&self) -> &'static Location<'static> {
        self.last
    }

    /// Returns the location where the error was made, if its type stores it, as [`Failure`] does:
    /// see [`Failure::made_at`].
    #[must_use]
    pub fn error_made_at(&self) -> Option<&'static Location<'static>> {
        self.error.made_at()
    }

    /// Returns the locations that the error passed, if its type stores them, as [`Failure`] does.
    #[must_use]
    pub fn trail(&self) -> Option<&'a Trail> {
        self.error.trail()
    }

    /// Returns the [`BuiltinError`] that the error is or holds, if any.
    #[must_use]
    pub fn builtin(&self) -> Option<&'a BuiltinError> {
        self.error.builtin()
    }

    /// Returns the error, if it is an `X`.
    ///
    /// An `X` is found if it is the error type of the Deferred, the contents of a [`Failure`], or
    /// the [`BuiltinError`] of the error or its inner type. Causes are not examined. A `Failure`
    /// that was created with [`Failure::from_boxed`] or [`Failure::from_report`] does not know the
    /// type of its error; downcast to the `Failure` then, and use its own
    /// [`downcast_ref`](Failure::downcast_ref).
    #[must_use]
    pub fn downcast_ref<X: 'static>(&self) -> Option<&'a X> {
        let any = self.error.any();
        any.downcast_ref().or_else(|| any.downcast_ref::<Failure>()?.find()).or_else(|| self.error.builtin()?.get())
    }

    /// Returns the error as a value that can be printed.
    #[must_use]
    pub fn error(&self) -> &'a dyn Debug {
        self.error.debug()
    }
}

/// Prints the whole report, of several lines, without a final line break.
impl fmt::Display for Unhandled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unhandled error: ")?;
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
        // If the two are equal, either no callback was added, or only one location is known.
        let last = (self.made != self.last).then_some(self.last);
        let lines = [
            ("error made at", self.error_made_at()),
            (if last.is_some() { "Deferred made at" } else { "Deferred at" }, Some(self.made)),
            ("last callback added at", last),
        ];
        for (what, at) in lines {
            if let Some(at) = at.and_then(of_user) {
                write!(f, "\n    {what} {at}")?;
            }
        }
        self.error.write_trail(f)
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

/// [`DeferredError`] without its constructor, so that a `dyn` can refer to an error of any type.
trait AnyError {
    fn any(&self) -> &dyn Any;
    fn debug(&self) -> &dyn Debug;
    fn builtin(&self) -> Option<&BuiltinError>;
    fn trail(&self) -> Option<&Trail>;
    fn made_at(&self) -> Option<CallSite>;
    fn context(&self) -> Option<&Context>;
    fn write_trail(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl<E: DeferredError> AnyError for E {
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

    fn made_at(&self) -> Option<CallSite> {
        DeferredError::made_at(self)
    }

    fn context(&self) -> Option<&Context> {
        context_of(self)
    }

    fn write_trail(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_trail(self, f)
    }
}

/// Reports an unhandled error: to the hook of this thread, else to that of the process, else to
/// `tracing` or standard error.
///
/// Catches a panic of the hook, or of the printing of the error. So this can be called in a
/// destructor, also while the thread unwinds or ends.
#[cold]
pub(crate) fn unhandled<E: DeferredError>(error: &E, made: CallSite, last: CallSite) {
    report(&Unhandled { error, made, last, reports_cancelled: false });
}

/// Like [`unhandled`], but for the error with which a program ends: by default a cancel is printed
/// too.
#[cold]
pub(crate) fn last_unhandled<E: DeferredError>(error: &E, made: CallSite, last: CallSite) {
    report(&Unhandled { error, made, last, reports_cancelled: true });
}

thread_local!(static COUNT: Cell<u64> = const { Cell::new(0) });

/// Returns the number of unhandled errors of this thread, without cancels.
pub(crate) fn unhandled_count() -> u64 {
    COUNT.get()
}

fn report(unhandled: &Unhandled<'_>) {
    let report = Report(Subject::Unhandled(unhandled));
    if !report.is_cancelled() {
        COUNT.set(COUNT.get() + 1);
    }
    match unhandled.error.context() {
        Some(context) => context.run(|| hook::call(&report)),
        None => hook::call(&report),
    }
}
