//! `Failure`: any error in one word, with its trail.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::iter;
use std::mem;
use std::panic::Location;
use std::sync::Arc;

use super::group::{origin_of_member, unwrap_whole};
use super::interop::ReportError;
use super::location::of_user;
use super::nested::{Nested, builtin_inside, drop_flat, reason_depth, source_inside, write_inside};
use super::origin::Origin;
use super::trail::write_trail;
use super::wrapped::Wrapped;
use super::{BuiltinError, DeferredError, SharedFailure, Trail, Trapped};

/// Any error, with the location where it was made and the trail of those that it passed. It is the
/// default error type of a Deferred.
///
/// `?` converts every error that is `Send + Sync + 'static`; [`Failure::msg`] converts a text. A
/// `Failure` is one word wide. A [`BuiltinError`] is unpacked to the inner type, so
/// `trap::<Cancelled>()` finds a cancel in every form: as a [`Cancelled`](crate::Cancelled), as a
/// `BuiltinError`, or in a box.
///
/// `Failure` itself does not implement [`Error`], which allows the conversion from every error. It
/// converts into a `Box<dyn Error + Send + Sync>` with `into()` or `?`, and
/// [`error`](Failure::error) borrows the error.
///
/// # `anyhow` and `eyre`
///
/// `map_err(Failure::from_report)` converts an `anyhow::Error` or an `eyre::Report`, and
/// `map_err(Failure::into_error)` converts a `Failure` into an error that `?` accepts in a function
/// that returns one of these:
///
/// ```
/// use anyhow::Context;
/// use deferred_core::{Deferred, Failure, inline_callbacks};
///
/// fn settings() -> anyhow::Result<String> {
///     std::fs::read_to_string("/no/such/file").context("reading the settings")
/// }
///
/// fn setup() -> Deferred<String> {
///     inline_callbacks(async {
///         let settings = settings().map_err(Failure::from_report)?;
///         Ok(settings)
///     })
/// }
///
/// async fn start() -> anyhow::Result<()> {
///     setup().await.map_err(Failure::into_error).context("starting")?;
///     Ok(())
/// }
/// ```
///
/// # Formatting
///
/// `{}` prints the message of the error, and `{:#}` also its causes, in one line:
/// `reading the settings: no such file`. `{:?}`, which `unwrap()` and a `main` that returns an
/// error use, prints each cause, the location where the error was made, and each location of the
/// trail on a line of its own. A cause is omitted if the text before already ends with the text of
/// the cause, as the text of many errors does. Locations in the standard library and in these
/// crates are omitted.
///
/// # Examples
///
/// ```
/// use std::num::ParseIntError;
///
/// use deferred_core::Failure;
///
/// fn parse(text: &str) -> Result<u32, Failure> {
///     Ok(text.trim().parse()?)
/// }
///
/// // An errback that returns zero for text that is not a number, and passes on other errors.
/// let errback = |failure: Failure| {
///     failure.trap::<ParseIntError>()?;
///     Ok::<u32, Failure>(0)
/// };
/// assert_eq!(parse(" 12 ").or_else(errback).unwrap(), 12);
/// assert_eq!(parse("twelve").or_else(errback).unwrap(), 0);
/// assert!(Err(Failure::msg("another")).or_else(errback).is_err());
/// ```
pub struct Failure(Box<Inner>);

pub(super) struct Inner {
    pub(super) held: Flat,
    pub(super) trail: Trail,
    pub(super) origin: Origin,
}

impl Inner {
    pub(super) fn new(held: Held, trail: Trail, origin: Origin) -> Inner {
        Inner { held: Flat(Some(held)), trail, origin }
    }
}

/// A held error, which is dropped without recursion because errors can be nested deeply.
pub(super) struct Flat(Option<Held>);

impl Flat {
    pub(super) fn get(&self) -> &Held {
        self.0.as_ref().expect("the value is taken only by `into_held` and on drop")
    }

    pub(super) fn into_held(mut self) -> Held {
        self.0.take().expect("the value is taken only by `into_held` and on drop")
    }
}

impl Drop for Flat {
    #[inline]
    fn drop(&mut self) {
        // A built-in error drops its contents without recursion itself.
        if let Some(Held::Other { .. } | Held::Shared(_)) = &self.0 {
            if let Some(held) = self.0.take() {
                drop_flat(Nested::Held(held));
            }
        }
    }
}

pub(super) enum Held {
    /// A built-in error, which is not boxed, so that it costs one allocation.
    Builtin(BuiltinError),
    Other {
        error: Box<dyn Error + Send + Sync>,
        as_any: AsAny,
    },
    /// The error is shared with other failures.
    Shared(SharedFailure),
}

/// Casts the error to an `Any`, which allows a downcast to a type that is not known to be an error.
/// Returns `None` for an error that came in a box, since a `dyn Error` does not reveal its type.
type AsAny = for<'a> fn(&'a (dyn Error + 'static)) -> Option<&'a dyn Any>;

impl Held {
    /// Returns the error.
    pub(super) fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        match self.original() {
            Held::Builtin(builtin) => builtin.inner(),
            Held::Other { error, .. } => match error.downcast_ref::<ReportError>() {
                Some(report) => report.error(),
                None => &**error,
            },
            Held::Shared(shared) => shared,
        }
    }

    pub(super) fn original(&self) -> &Held {
        let mut held = self;
        while let Held::Shared(shared) = held {
            held = shared.0.held.get();
        }
        held
    }

    /// Returns the held error below the texts of `wrap_msg`.
    fn unwrapped(&self) -> &Held {
        let mut held = self.original();
        while let Held::Other { error, .. } = held {
            let Some(wrapped) = error.downcast_ref::<Wrapped>() else { break };
            held = wrapped.failure.held();
        }
        held
    }

    /// Borrows the error, if it is an `X`.
    pub(super) fn find<X: Error + 'static>(&self) -> Option<&X> {
        let (mut held, mut builtin) = (self, None);
        let found = loop {
            let error = match held.unwrapped() {
                Held::Builtin(builtin) => break builtin.get(),
                Held::Other { error, .. } => error,
                Held::Shared(_) => break None,
            };
            let Some(report) = error.downcast_ref::<ReportError>() else { break error.downcast_ref() };
            builtin = builtin.or(report.builtin());
            match report.find() {
                Ok(found) => break found,
                Err(shared) => held = shared.held(),
            }
        };
        found.or_else(|| builtin?.get())
    }

    /// Borrows the original error mutably, unless it is shared.
    fn original_mut(&mut self) -> Option<&mut Held> {
        match self {
            Held::Shared(shared) => Arc::get_mut(&mut shared.0)?.held.0.as_mut()?.original_mut(),
            held => Some(held),
        }
    }

    /// Returns the original error by value, unless it is shared.
    fn into_original(self) -> Result<Held, Held> {
        match self {
            Held::Shared(shared) => match Arc::try_unwrap(shared.0) {
                Ok(inner) => inner.held.into_held().into_original(),
                Err(inner) => Err(Held::Shared(SharedFailure(inner))),
            },
            held => Ok(held),
        }
    }
}

impl Failure {
    /// Creates an error that is only a text.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::Failure;
    ///
    /// let failure = Failure::msg(format!("{} is too large", 300));
    /// assert_eq!(failure.to_string(), "300 is too large");
    /// ```
    #[must_use]
    #[track_caller]
    pub fn msg(text: impl Into<String>) -> Failure {
        Failure::from_boxed(text.into().into())
    }

    /// Converts a boxed error.
    ///
    /// A [`BuiltinError`], and each of its inner types, is recognized and unboxed. Any other error
    /// stays in its box, where [`trap`](Failure::trap) and the downcasts find it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::error::Error;
    ///
    /// use deferred_core::{Cancelled, Failure, DeferredError};
    ///
    /// fn of_a_library() -> Result<u32, Box<dyn Error + Send + Sync>> {
    ///     Err(Cancelled::new().into())
    /// }
    ///
    /// let failure = of_a_library().map_err(Failure::from_boxed).unwrap_err();
    /// assert!(failure.builtin().is_some());
    /// ```
    #[must_use]
    #[track_caller]
    pub fn from_boxed(error: Box<dyn Error + Send + Sync>) -> Failure {
        let error = match error.downcast::<SharedFailure>() {
            Ok(shared) => return shared.into_failure(),
            Err(error) => error,
        };
        Failure::holding(
            BuiltinError::recognize_boxed(error)
                .map_or_else(|error| Held::Other { error, as_any: |_| None }, Held::Builtin),
            Origin::here(Location::caller()),
        )
    }

    fn holding(held: Held, origin: Origin) -> Failure {
        Failure::from_inner(held, Trail::new(), origin)
    }

    /// Wraps the failure in an error of another type, which keeps it as its source, for example.
    /// The new failure continues the old one: it was made at the same location, and it takes over
    /// its trail.
    ///
    /// The new error hides the old one from [`trap`](Failure::trap), also a cancel or a timeout. Use
    /// [`wrap_msg`](Failure::wrap_msg) to only add a text.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::error::Error;
    /// use std::fmt;
    ///
    /// use deferred_core::Failure;
    ///
    /// #[derive(Debug)]
    /// struct SetupFailed(Failure);
    ///
    /// impl fmt::Display for SetupFailed {
    ///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    ///         f.write_str("the setup has failed")
    ///     }
    /// }
    ///
    /// impl Error for SetupFailed {
    ///     fn source(&self) -> Option<&(dyn Error + 'static)> {
    ///         Some(self.0.error())
    ///     }
    /// }
    ///
    /// let failure = Failure::msg("no such file");
    /// let made_at = failure.made_at();
    /// let failure = failure.wrap(SetupFailed);
    /// assert_eq!(format!("{failure:#}"), "the setup has failed: no such file");
    /// assert_eq!(failure.made_at(), made_at);
    /// ```
    #[must_use]
    pub fn wrap<X: Error + Send + Sync + 'static>(mut self, wrapper: impl FnOnce(Failure) -> X) -> Failure {
        let (trail, origin) = (mem::take(&mut self.0.trail), self.0.origin.clone());
        let mut wrapped = Failure::from(wrapper(self));
        (wrapped.0.trail, wrapped.0.origin) = (trail, origin);
        wrapped
    }

    /// Replaces the error by that of another failure. The trail and the origin stay.
    pub(super) fn replace_error(&mut self, other: Failure) {
        self.0.held = other.0.held;
    }

    /// Returns the held error, shared or not.
    pub(super) fn held(&self) -> &Held {
        self.0.held.get().original()
    }

    pub(super) fn into_inner(self) -> Inner {
        *self.0
    }

    pub(super) fn from_inner(held: Held, trail: Trail, origin: Origin) -> Failure {
        Failure(Box::new(Inner::new(held, trail, origin)))
    }

    /// Returns the error if it is an `X`. Otherwise returns the failure, so that `?` in an errback
    /// passes it on.
    ///
    /// The returned guard derefs to the `X`; [`Trapped::into_inner`] returns the error by value.
    /// Only the error itself is examined, not its causes. Texts that [`wrap_msg`](Failure::wrap_msg)
    /// has added do not hide it. `trap::<BuiltinError>()` accepts any built-in error.
    ///
    /// Twisted's `Failure.trap`, for one type. Use [`check`](Failure::check) for several types.
    ///
    /// # Errors
    ///
    /// Returns the unchanged failure, with its trail, if its error is not an `X`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use deferred_core::{Failure, TimedOut};
    ///
    /// fn patient(failure: Failure) -> Result<String, Failure> {
    ///     let timed_out = failure.trap::<TimedOut>()?;
    ///     Ok(format!("gave up after {:?}", timed_out.duration()))
    /// }
    ///
    /// let failure = Failure::from(TimedOut::after(Duration::from_secs(1)));
    /// assert_eq!(patient(failure).unwrap(), "gave up after Some(1s)");
    /// assert_eq!(patient(Failure::msg("broken")).unwrap_err().to_string(), "broken");
    /// ```
    pub fn trap<X: Error + 'static>(self) -> Result<Trapped<X>, Failure> {
        if self.check::<X>() { Ok(Trapped::new(self)) } else { Err(self) }
    }

    /// Returns `true` if the error is an `X`, perhaps below texts of [`wrap_msg`](Failure::wrap_msg).
    /// Its causes are not examined.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::{Abandoned, Cancelled, Failure, BuiltinError};
    ///
    /// let failure = Failure::from(Cancelled::new());
    /// assert!(failure.check::<Cancelled>() || failure.check::<Abandoned>());
    /// assert!(failure.check::<BuiltinError>());
    /// assert!(!failure.check::<std::io::Error>());
    /// ```
    #[must_use]
    pub fn check<X: Error + 'static>(&self) -> bool {
        self.downcast_ref::<X>().is_some()
    }

    /// Returns the error by value, if it is an `X`. The trail is dropped, and the texts of
    /// [`wrap_msg`](Failure::wrap_msg).
    ///
    /// # Errors
    ///
    /// Returns the unchanged failure, with its trail, if its error is not an `X`, if several
    /// observers share it, or if it is inside the report of another crate
    /// ([`from_report`](Failure::from_report)).
    pub fn downcast<X: Error + 'static>(self) -> Result<X, Failure> {
        // Checking first keeps a failure that is returned in its allocation.
        if !self.check::<X>() {
            return Err(self);
        }
        let mut texts = Vec::new();
        let mut failure = self;
        loop {
            let Inner { held, trail, origin } = *failure.0;
            let held = match held.into_held().into_original() {
                Ok(Held::Builtin(builtin)) => return Ok(builtin.narrow().expect("the type was checked above")),
                Ok(Held::Other { error, as_any }) => match error.downcast::<X>().map_err(|error| error.downcast()) {
                    Ok(error) => return Ok(*error),
                    Err(Ok(wrapped)) => {
                        let Wrapped { text, failure: inner } = *wrapped;
                        texts.push((text, trail, origin));
                        failure = inner;
                        continue;
                    }
                    Err(Err(error)) => Held::Other { error, as_any },
                },
                Ok(held @ Held::Shared(_)) | Err(held) => held,
            };
            failure = Failure::from_inner(held, trail, origin);
            break;
        }
        Err(texts.into_iter().rev().fold(failure, |failure, (text, trail, origin)| {
            let mut wrapped = failure.wrap_msg(text);
            (wrapped.0.trail, wrapped.0.origin) = (trail, origin);
            wrapped
        }))
    }

    /// Borrows the error, if it is an `X`.
    #[must_use]
    pub fn downcast_ref<X: Error + 'static>(&self) -> Option<&X> {
        self.held().find()
    }

    /// Borrows the error mutably, if it is an `X` that no other observer shares.
    #[must_use]
    pub fn downcast_mut<X: Error + 'static>(&mut self) -> Option<&mut X> {
        let mut failure = self;
        loop {
            match failure.0.held.0.as_mut()?.original_mut()? {
                Held::Builtin(builtin) => return builtin.get_mut(),
                Held::Other { error, .. } => {
                    if !error.is::<Wrapped>() {
                        return error.downcast_mut();
                    }
                    failure = &mut error.downcast_mut::<Wrapped>()?.failure;
                }
                Held::Shared(_) => return None,
            }
        }
    }

    /// Like [`downcast_ref`](Failure::downcast_ref), but for a type that is not known to be an
    /// error.
    pub(crate) fn find<X: Any>(&self) -> Option<&X> {
        match self.held().unwrapped() {
            Held::Builtin(builtin) => builtin.get(),
            Held::Other { error, as_any } => as_any(&**error)?.downcast_ref(),
            Held::Shared(_) => None,
        }
    }

    /// Returns the error. For a built-in error, this is the inner type, such as
    /// [`Cancelled`](crate::Cancelled). For a report of another crate, it is the outermost error of
    /// the report.
    #[must_use]
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.held().error()
    }

    /// Returns the cause of the error, if it has one.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        source_inside(self)
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.0.origin
    }

    pub(super) fn origin_mut(&mut self) -> &mut Origin {
        &mut self.0.origin
    }

    /// Returns the locations that the error passed since it became a `Failure`.
    #[must_use]
    pub fn trail(&self) -> &Trail {
        &self.0.trail
    }
}

impl DeferredError for Failure {
    fn builtin(&self) -> Option<&BuiltinError> {
        builtin_inside(self)
    }

    #[inline]
    fn add_location(&mut self, at: &'static Location<'static>) {
        self.0.trail.push(at);
    }

    fn trail(&self) -> Option<&Trail> {
        Some(&self.0.trail)
    }

    fn made_at(&self) -> Option<&'static Location<'static>> {
        Some(self.0.origin.at)
    }
}

/// Converts any error. A [`BuiltinError`] is unpacked to its inner type. A
/// [`FirstError`](crate::FirstError) or [`FailureGroup`](crate::FailureGroup) that stands for the
/// group itself becomes the failure that it holds.
impl<X: Error + Send + Sync + 'static> From<X> for Failure {
    #[track_caller]
    fn from(error: X) -> Failure {
        let error = match unwrap_whole(error) {
            Ok(failure) => return failure,
            Err(error) => error,
        };
        match BuiltinError::recognize(error) {
            Ok(builtin) => Failure::holding(Held::Builtin(builtin), Origin::here(Location::caller())),
            Err(error) => {
                let at = Location::caller(); // in a closure it would be this line
                let origin = origin_of_member(&error).unwrap_or_else(|| Origin::here(at));
                let as_any: AsAny = |error| error.downcast_ref::<X>().map(|error| error as &dyn Any);
                Failure::holding(Held::Other { error: Box::new(error), as_any }, origin)
            }
        }
    }
}

/// Returns the error itself, without the trail.
impl From<Failure> for Box<dyn Error + Send + Sync> {
    fn from(failure: Failure) -> Self {
        match failure.0.held.into_held().into_original() {
            Ok(Held::Builtin(builtin)) => builtin.into_inner(),
            Ok(Held::Other { error, .. }) => error,
            Ok(Held::Shared(shared)) | Err(Held::Shared(shared)) => Box::new(shared),
            Err(_) => unreachable!("only a shared error is returned as `Err`"),
        }
    }
}

/// Returns the error itself, without the trail.
impl From<Failure> for Box<dyn Error + Send> {
    fn from(failure: Failure) -> Self {
        Box::<dyn Error + Send + Sync>::from(failure)
    }
}

/// Returns the error itself, without the trail.
impl From<Failure> for Box<dyn Error> {
    fn from(failure: Failure) -> Self {
        Box::<dyn Error + Send + Sync>::from(failure)
    }
}

/// Prints the message of the error; with `{:#}` its causes too, as in
/// `reading the settings: no such file`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() { write_texts(self.error(), f) } else { write_inside(self, reason_depth(), false, f) }
    }
}

/// Prints the error, its causes, where it was made, and its trail, each on a line of its own.
/// Locations in the standard library and in these crates are left out.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, text) in texts(self.error()).enumerate() {
            write!(f, "{}{text}", if n > 0 { "\n    caused by: " } else { "" })?;
        }
        if let Some(made_at) = of_user(self.made_at()) {
            write!(f, "\n    made at {made_at}")?;
        }
        write_trail(self, f)
    }
}

/// Writes an error and its causes as one line.
pub(crate) fn write_texts(error: &(dyn Error + 'static), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    texts(error).enumerate().try_for_each(|(n, text)| write!(f, "{}{text}", if n > 0 { ": " } else { "" }))
}

/// Returns the text of an error and of each of its causes, without those with which the text before
/// already ends.
fn texts<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = String> + use<'a> {
    let mut before = None::<String>;
    iter::successors(Some(error), |&error| error.source()).filter_map(move |error| {
        let text = error.to_string();
        let repeated = before.as_ref().is_some_and(|before| before.ends_with(&text));
        before = Some(text.clone());
        (!repeated).then_some(text)
    })
}
