//! `Failure::from_report`: the reports of other crates, such as `anyhow::Error` and `eyre::Report`.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::iter;
use std::ops::Deref;

use super::failure::Held;
use super::{BuiltinError, DeferredError, Failure, FailureGroup, FirstError, SharedFailure};

/// A report of another crate, whose type is only known where it was converted.
trait Report: Send + Sync {
    fn error(&self) -> &(dyn Error + Send + Sync + 'static);
}

impl<R: Deref<Target = dyn Error + Send + Sync> + Send + Sync> Report for R {
    fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &**self
    }
}

/// The error of a report. It has the text and the causes of the report's outermost error.
pub(super) struct ReportError {
    report: Box<dyn Report>,
    /// A copy of the outermost built-in error of the report.
    builtin: Option<BuiltinError>,
}

impl ReportError {
    pub(super) fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.report.error()
    }

    pub(super) fn builtin(&self) -> Option<&BuiltinError> {
        self.builtin.as_ref()
    }

    /// Returns the texts of the errors before the built-in one, and the [`SharedFailure`] after them,
    /// if it is in one.
    pub(super) fn contexts(&self) -> (Vec<String>, Option<&SharedFailure>) {
        let mut contexts = Vec::new();
        let found = search(self.error(), |error| {
            if builtin_of(error).is_some() {
                return Some(());
            }
            if !error.is::<SharedFailure>() {
                contexts.push(error.to_string());
            }
            None
        });
        (contexts, found.err())
    }

    /// Returns the outermost error of the report that is an `X`, or the [`SharedFailure`] in which
    /// it can be. The copy of the built-in error is not examined.
    pub(super) fn find<X: Error + 'static>(&self) -> Result<Option<&X>, &SharedFailure> {
        search(self.error(), one)
    }
}

/// Returns the error, or the first of its causes, that is an `X`: for an `anyhow::Error`, an
/// `eyre::Report` or a box in which a [`Failure`] is.
///
/// It also finds the error of a [`SharedFailure`], which a downcast of the other crate does not, and
/// that of a [`FirstError`].
///
/// # Examples
///
/// ```
/// use anyhow::Context;
/// use deferred_core::{Deferred, Failure, TimedOut, find_error};
///
/// async fn load() -> anyhow::Result<u32> {
///     let answer = Deferred::<u32>::fail(TimedOut::new());
///     answer.await.map_err(Failure::into_error).context("loading")
/// }
///
/// # futures::executor::block_on(async {
/// let error = load().await.unwrap_err();
/// assert_eq!(format!("{error:#}"), "loading: timed out");
/// assert!(find_error::<TimedOut>(&*error).is_some());
/// # });
/// ```
#[must_use]
pub fn find_error<'a, X: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a X> {
    iter::successors(Some(error), |&error| next(error)).find_map(one)
}

/// Returns the error inside an error of this crate that stands for another one, or the cause of any
/// other error.
fn next<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(shared) = error.downcast_ref::<SharedFailure>() {
        Some(shared.held().error())
    } else if let Some(first) = error.downcast_ref::<FirstError>() {
        Some(first.error.error())
    } else if let Some(report) = error.downcast_ref::<ReportError>() {
        Some(report.error())
    } else {
        error.source()
    }
}

/// Returns the error, if it is an `X` or holds a [`BuiltinError`] that is or holds one.
fn one<'a, X: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a X> {
    let held = || {
        let shared = error.downcast_ref().map(SharedFailure::held);
        match shared.or_else(|| Some(error.downcast_ref::<FirstError>()?.error.held()))? {
            Held::Builtin(builtin) => Some(builtin),
            _ => None,
        }
    };
    let group = || error.downcast_ref::<FailureGroup>()?.builtin();
    error.downcast_ref().or_else(|| error.downcast_ref().or_else(held).or_else(group)?.get())
}

/// Calls `f` with the error and each of its causes until it returns a value. Stops at a
/// [`SharedFailure`], which has errors and causes of its own.
fn search<'a, R>(
    error: &'a (dyn Error + 'static),
    mut f: impl FnMut(&'a (dyn Error + 'static)) -> Option<R>,
) -> Result<Option<R>, &'a SharedFailure> {
    for error in iter::successors(Some(error), |&error| error.source()) {
        if let Some(found) = f(error) {
            return Ok(Some(found));
        }
        if let Some(shared) = error.downcast_ref() {
            return Err(shared);
        }
    }
    Ok(None)
}

/// Returns a copy of the built-in error that an error of a report is or holds.
fn builtin_of(error: &(dyn Error + 'static)) -> Option<BuiltinError> {
    let first = || error.downcast_ref::<FirstError>()?.builtin();
    let group = || error.downcast_ref::<FailureGroup>()?.builtin();
    BuiltinError::copy_of(error).or_else(|| BuiltinError::copy_of(first().or_else(group)?))
}

impl Failure {
    /// Converts a report: an `anyhow::Error`, an `eyre::Report`, or any other type that derefs to
    /// `dyn Error + Send + Sync`, such as a box.
    ///
    /// A report cannot distinguish the contexts that were added to an error from its causes. So
    /// [`trap`](Failure::trap), [`check`](Failure::check) and
    /// [`downcast_ref`](Failure::downcast_ref) examine every error of the report, and a
    /// [`BuiltinError`] is recognized below any number of contexts: a cancel stays a cancel.
    ///
    /// The errors cannot be taken out of the report by value, or borrowed mutably, and one that
    /// `anyhow::Error::from_boxed` has put there is not found. Other contents of the report, such as
    /// a backtrace, are not printed.
    ///
    /// A [`SharedFailure`] without contexts is converted back into the failure with its trail. A
    /// box is converted as by [`from_boxed`](Failure::from_boxed).
    ///
    /// # Examples
    ///
    /// ```
    /// use anyhow::Context;
    /// use deferred_core::{Failure, TimedOut};
    ///
    /// fn of_anyhow() -> anyhow::Result<u32> {
    ///     Err(TimedOut::new()).context("loading the settings")
    /// }
    ///
    /// let failure = of_anyhow().map_err(Failure::from_report).unwrap_err();
    /// assert_eq!(format!("{failure:#}"), "loading the settings: timed out");
    /// assert!(failure.check::<TimedOut>());
    /// ```
    #[must_use]
    #[track_caller]
    pub fn from_report<R>(report: R) -> Failure
    where
        R: Deref<Target = dyn Error + Send + Sync> + Send + Sync + 'static,
    {
        let slot = &mut Some(report);
        let any: &mut dyn Any = slot;
        if let Some(boxed) = any.downcast_mut::<Option<Box<dyn Error + Send + Sync>>>().and_then(Option::take) {
            return Failure::from_boxed(boxed);
        }
        let report: Box<dyn Report> = Box::new(slot.take().expect("it is not a box, which was taken"));
        if let Some(shared) = report.error().downcast_ref::<SharedFailure>() {
            return shared.to_failure();
        }
        let builtin = search(report.error(), builtin_of)
            .unwrap_or_else(|shared| shared.to_failure().builtin().and_then(|builtin| BuiltinError::copy_of(builtin)));
        Failure::from(ReportError { report, builtin })
    }
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.error(), f)
    }
}

impl fmt::Debug for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.error(), f)
    }
}

impl Error for ReportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error().source()
    }
}
