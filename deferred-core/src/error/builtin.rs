//! What the library itself says about a Deferred that fails.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::DeferredError;
use super::nested::{Nested, drop_flat};
use crate::abort::never_unwinding;

/// What the library itself fails a Deferred with.
///
/// Each kind is a type of its own and an [`Error`]. A [`Failure`](crate::Failure) made from a
/// `BuiltinError` holds the inner type, so `failure.trap::<Cancelled>()` and
/// `failure.trap::<BuiltinError>()` both find it.
///
/// # Examples
///
/// ```
/// use deferred_core::{Cancelled, Failure, DeferredError, BuiltinError, TimedOut};
///
/// fn is_worth_a_retry(failure: &Failure) -> bool {
///     matches!(failure.builtin(), Some(BuiltinError::TimedOut(_) | BuiltinError::Abandoned(_)))
/// }
///
/// assert!(is_worth_a_retry(&TimedOut::new().into()));
/// assert!(!is_worth_a_retry(&BuiltinError::from(Cancelled::new()).into()));
/// ```
#[non_exhaustive]
pub enum BuiltinError {
    /// Somebody cancelled the Deferred.
    Cancelled(Cancelled),
    /// It took too long.
    TimedOut(TimedOut),
    /// Whoever was to fire the Deferred is gone.
    Abandoned(Abandoned),
    /// A callback panicked.
    Panicked(Panicked),
    /// A callback returned the Deferred that it belongs to.
    Cycle(Cycle),
    /// A callback or a coroutine returned a Deferred inside an `Ok`, for which nobody waits.
    NestedDeferred(NestedDeferred),
    /// What was asked for needs a reactor, and there is none.
    NoReactor(NoReactor),
}

/// Does the same with whichever error an [`BuiltinError`] holds.
macro_rules! each {
    ($builtin:expr, $error:ident => $result:expr) => {
        match $builtin {
            BuiltinError::Cancelled($error) => $result,
            BuiltinError::TimedOut($error) => $result,
            BuiltinError::Abandoned($error) => $result,
            BuiltinError::Panicked($error) => $result,
            BuiltinError::Cycle($error) => $result,
            BuiltinError::NestedDeferred($error) => $result,
            BuiltinError::NoReactor($error) => $result,
        }
    };
}

impl BuiltinError {
    /// The builtin that `error` is, whether it comes as a `BuiltinError` or as one of the inner
    /// types; else `error`.
    pub(super) fn recognise<X: Any>(error: X) -> Result<BuiltinError, X> {
        let slot = &mut Some(error);
        moved::<_, BuiltinError>(slot)
            .or_else(|| moved::<_, Cancelled>(slot).map(BuiltinError::Cancelled))
            .or_else(|| moved::<_, TimedOut>(slot).map(BuiltinError::TimedOut))
            .or_else(|| moved::<_, Abandoned>(slot).map(BuiltinError::Abandoned))
            .or_else(|| moved::<_, Panicked>(slot).map(BuiltinError::Panicked))
            .or_else(|| moved::<_, Cycle>(slot).map(BuiltinError::Cycle))
            .or_else(|| moved::<_, NestedDeferred>(slot).map(BuiltinError::NestedDeferred))
            .or_else(|| moved::<_, NoReactor>(slot).map(BuiltinError::NoReactor))
            .ok_or_else(|| slot.take().expect("what was not recognised was not moved"))
    }

    /// As [`recognise`](BuiltinError::recognise), for an error that is in a box.
    pub(super) fn recognise_boxed(
        error: Box<dyn Error + Send + Sync>,
    ) -> Result<BuiltinError, Box<dyn Error + Send + Sync>> {
        error
            .downcast::<BuiltinError>()
            .map(|error| *error)
            .or_else(|error| error.downcast().map(|error| BuiltinError::Cancelled(*error)))
            .or_else(|error| error.downcast().map(|error| BuiltinError::TimedOut(*error)))
            .or_else(|error| error.downcast().map(|error| BuiltinError::Abandoned(*error)))
            .or_else(|error| error.downcast().map(|error| BuiltinError::Panicked(*error)))
            .or_else(|error| error.downcast().map(|error| BuiltinError::Cycle(*error)))
            .or_else(|error| error.downcast().map(|error| BuiltinError::NestedDeferred(*error)))
            .or_else(|error| error.downcast().map(|error| BuiltinError::NoReactor(*error)))
    }

    /// This one or the error it holds, whichever is an `X`.
    pub(super) fn get<X: Any>(&self) -> Option<&X> {
        let whole: &dyn Any = self;
        whole.downcast_ref().or_else(|| each!(self, error => (error as &dyn Any).downcast_ref()))
    }

    /// As [`get`](BuiltinError::get), to change it.
    pub(super) fn get_mut<X: Any>(&mut self) -> Option<&mut X> {
        if (self as &dyn Any).is::<X>() {
            return (self as &mut dyn Any).downcast_mut();
        }
        each!(self, error => (error as &mut dyn Any).downcast_mut())
    }

    /// As [`get`](BuiltinError::get), by value.
    pub(super) fn narrow<X: Any>(self) -> Option<X> {
        let slot = &mut Some(self);
        moved(slot).or_else(|| each!(slot.take()?, error => moved(&mut Some(error))))
    }

    /// The error it holds.
    pub(super) fn inner(&self) -> &(dyn Error + Send + Sync + 'static) {
        each!(self, error => error)
    }

    /// The error it holds, in a box.
    pub(super) fn into_inner(self) -> Box<dyn Error + Send + Sync> {
        each!(self, error => Box::new(error))
    }
}

/// Moves the value out of `slot` if it is a `B`. This is a cast from one type to itself that
/// generic code can write.
fn moved<A: Any, B: Any>(slot: &mut Option<A>) -> Option<B> {
    let slot: &mut dyn Any = slot;
    slot.downcast_mut::<Option<B>>()?.take()
}

impl DeferredError for BuiltinError {
    fn builtin(&self) -> Option<&BuiltinError> {
        Some(self)
    }
}

/// The text of the error that it holds.
impl fmt::Display for BuiltinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.inner(), f)
    }
}

/// That of the error that it holds, whose name is the name of the variant.
impl fmt::Debug for BuiltinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.inner(), f)
    }
}

/// The source is that of the error that it holds, since the two have one text.
impl Error for BuiltinError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.inner().source()
    }
}

/// Somebody cancelled the Deferred, and may have said why.
///
/// The reason is the [`source`](Error::source) of this error, so `{:#}` of a
/// [`Failure`](crate::Failure) prints it behind a colon. Without a reason nothing is allocated, and
/// a clone shares the reason.
///
/// # Examples
///
/// ```
/// use deferred_core::{Cancelled, Failure};
///
/// assert!(Cancelled::new().reason().is_none());
///
/// let cancelled = Cancelled::because("the window was closed");
/// assert_eq!(cancelled.reason().unwrap().to_string(), "the window was closed");
/// assert_eq!(format!("{:#}", Failure::from(cancelled)), "cancelled: the window was closed");
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Cancelled {
    reason: Option<Arc<dyn Error + Send + Sync>>,
}

impl Cancelled {
    /// Cancelled, without a reason.
    #[must_use]
    pub const fn new() -> Cancelled {
        Cancelled { reason: None }
    }

    /// Cancelled for a reason: an error, or a text.
    ///
    /// An `Arc<dyn Error + Send + Sync>` becomes the reason itself. Of an `Arc` of a type that is
    /// known, the reason is the `Arc`, and [`reason`](Cancelled::reason) downcasts to that.
    #[must_use]
    pub fn because(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Cancelled {
        let reason = reason.into().downcast::<Arc<dyn Error + Send + Sync>>().map_or_else(Arc::from, |shared| *shared);
        Cancelled { reason: Some(reason) }
    }

    /// Why, if whoever cancelled it said so.
    #[must_use]
    pub fn reason(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.reason.as_deref()
    }
}

/// Without recursion, since a reason may be a cancel for a reason, and so on.
impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(reason) = self.reason.take() {
            drop_flat(Nested::Reason(reason));
        }
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            // That of a cancel for the reason of another cancel, and so on, is the first.
            Some(reason) => {
                let mut first = reason;
                while let Some(inner) = first.downcast_ref::<Cancelled>().and_then(|inner| inner.reason.as_ref()) {
                    first = inner;
                }
                f.debug_struct("Cancelled").field("reason", first).finish()
            }
            None => f.write_str("Cancelled"),
        }
    }
}

impl Error for Cancelled {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.reason.as_ref().map(|reason| &**reason as _)
    }
}

/// It took too long.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use deferred_core::TimedOut;
///
/// assert_eq!(TimedOut::new().to_string(), "timed out");
/// assert_eq!(TimedOut::after(Duration::from_secs(10)).to_string(), "timed out after 10s");
/// ```
#[derive(Clone, Default)]
pub struct TimedOut {
    after: Option<Duration>,
}

impl TimedOut {
    /// Timed out; after which time is not said.
    #[must_use]
    pub const fn new() -> TimedOut {
        TimedOut { after: None }
    }

    /// Timed out after that time.
    #[must_use]
    pub const fn after(time: Duration) -> TimedOut {
        TimedOut { after: Some(time) }
    }

    /// How long was waited, if it is known.
    #[must_use]
    pub const fn duration(&self) -> Option<Duration> {
        self.after
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.after {
            Some(time) => write!(f, "timed out after {time:?}"),
            None => f.write_str("timed out"),
        }
    }
}

impl fmt::Debug for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.after {
            Some(time) => f.debug_struct("TimedOut").field("after", &time).finish(),
            None => f.write_str("TimedOut"),
        }
    }
}

impl Error for TimedOut {}

/// Whoever was to fire the Deferred is gone: its resolver was dropped unfired, or what would have
/// fired it has ended.
///
/// It is made so that a producer that dies is an error and never a hang. To be rid of it, fire the
/// resolver on every path, with an error where there is no value.
#[derive(Clone, Default)]
pub struct Abandoned {
    why: Option<&'static str>,
}

impl Abandoned {
    /// Creates the error of a resolver that was dropped, or of a reactor that was closed.
    #[must_use]
    pub const fn new() -> Abandoned {
        Abandoned { why: None }
    }

    /// Creates the error of something else that was given up, and says what: for libraries whose
    /// users write no resolver.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = deferred_core::Abandoned::because("the lookup ran on past its deadline");
    /// assert_eq!(error.to_string(), "abandoned: the lookup ran on past its deadline");
    /// ```
    #[must_use]
    pub const fn because(why: &'static str) -> Abandoned {
        Abandoned { why: Some(why) }
    }
}

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = self.why {
            return write!(f, "abandoned: {why}");
        }
        f.write_str(
            "abandoned: the resolver of this Deferred was dropped without firing it, or its reactor has ended; \
             fire it on every path, with an error where there is no value",
        )
    }
}

impl fmt::Debug for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            Some(why) => f.debug_struct("Abandoned").field("why", &why).finish(),
            None => f.write_str("Abandoned"),
        }
    }
}

impl Error for Abandoned {}

/// A callback returned the Deferred that it belongs to, which would have to wait for itself.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Cycle;

impl Cycle {
    /// A cycle.
    #[must_use]
    pub const fn new() -> Cycle {
        Cycle
    }
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "cycle: a callback returned the Deferred that it belongs to, which would wait for itself for ever; \
             return a value, or another Deferred",
        )
    }
}

impl Error for Cycle {}

/// A callback, a coroutine or the body of `react` returned `Ok(deferred)`: a value for which nobody
/// waits, so that what it stands for would be lost without a word.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NestedDeferred;

impl NestedDeferred {
    /// The error itself.
    #[must_use]
    pub const fn new() -> NestedDeferred {
        NestedDeferred
    }
}

impl fmt::Display for NestedDeferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "nested deferred: `Ok(deferred)` was returned, and nothing waits for that Deferred; return the Deferred \
             itself, after `?` by `try_deferred`, or end a coroutine with `Ok(deferred.await?)`",
        )
    }
}

impl Error for NestedDeferred {}

/// What was asked for needs a reactor, and this thread has none.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NoReactor;

impl NoReactor {
    /// No reactor.
    #[must_use]
    pub const fn new() -> NoReactor {
        NoReactor
    }
}

impl fmt::Display for NoReactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no reactor: this needs one, and its thread has no current reactor; \
             start it from inside a reactor's loop, or after `Reactor::enter`",
        )
    }
}

impl Error for NoReactor {}

/// A callback, a job or a coroutine panicked; this holds what it panicked with.
///
/// # Examples
///
/// ```
/// use std::panic;
///
/// use deferred_core::Panicked;
///
/// let payload = panic::catch_unwind(|| panic!("no such row")).unwrap_err();
/// let panicked = Panicked::new(payload);
/// assert_eq!(panicked.message(), "no such row");
///
/// // Lets the panic go on, on the thread that calls it.
/// fn go_on(panicked: Panicked) -> ! {
///     panic::resume_unwind(panicked.into_payload())
/// }
/// ```
// In a box, so that a `BuiltinError` stays small.
pub struct Panicked(Box<Panic>);

struct Panic {
    message: Cow<'static, str>,
    /// A payload is Send only; the lock makes it Sync.
    payload: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Panicked {
    /// From what [`catch_unwind`](std::panic::catch_unwind) or
    /// [`join`](std::thread::JoinHandle::join) gave.
    #[must_use]
    pub fn new(payload: Box<dyn Any + Send>) -> Panicked {
        let message = if let Some(text) = payload.downcast_ref::<&'static str>() {
            Cow::Borrowed(*text)
        } else if let Some(text) = payload.downcast_ref::<String>() {
            Cow::Owned(text.clone())
        } else {
            Cow::Borrowed("Box<dyn Any>")
        };
        Panicked(Box::new(Panic { message, payload: Mutex::new(Some(payload)) }))
    }

    /// What was said: the text of `panic!`, or `Box<dyn Any>` where the payload is neither a `&str`
    /// nor a `String`.
    ///
    /// It stays when the payload is taken.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Takes the payload out; `None` if somebody has already taken it.
    #[must_use]
    pub fn take_payload(&self) -> Option<Box<dyn Any + Send>> {
        self.0.payload.lock().take()
    }

    /// The payload, for [`resume_unwind`](std::panic::resume_unwind). If somebody has already taken
    /// it, the message as a `String`.
    #[must_use]
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.take_payload().unwrap_or_else(|| Box::new(self.message().to_owned()))
    }
}

impl Drop for Panic {
    fn drop(&mut self) {
        if let Some(payload) = self.payload.get_mut().take() {
            drop_payload(payload);
        }
    }
}

/// Turns the payload of a panic into an error.
#[cold]
pub(crate) fn from_panic<E: DeferredError>(payload: Box<dyn Any + Send>) -> E {
    never_unwinding(|| E::from(Panicked::new(payload).into()))
}

/// Drops the payload of a panic, which may be an error that holds one. A panic of its destructor
/// ends here.
pub(crate) fn drop_payload(payload: Box<dyn Any + Send>) {
    drop_flat(Nested::Payload(payload));
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.message())
    }
}

impl fmt::Debug for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panicked").field("message", &self.message()).finish_non_exhaustive()
    }
}

impl Error for Panicked {}

macro_rules! into_interrupt {
    ($($error:ident)*) => {$(
        impl From<$error> for BuiltinError {
            fn from(error: $error) -> BuiltinError {
                BuiltinError::$error(error)
            }
        }
    )*};
}

into_interrupt!(Cancelled TimedOut Abandoned Panicked Cycle NestedDeferred NoReactor);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_is_small() {
        let words = |bytes: usize| bytes / size_of::<usize>();
        assert!(words(size_of::<BuiltinError>()) <= 4, "{}", size_of::<BuiltinError>());
        assert_eq!(words(size_of::<Cancelled>()), 2);
        assert_eq!(words(size_of::<Panicked>()), 1);
    }
}
