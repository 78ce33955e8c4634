//! `BuiltinError` and its variants: the errors of the library itself.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::DeferredError;
use super::nested::{Nested, drop_flat, within_reason};
use super::panicked::Panicked;

/// An error of the library itself.
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
    /// The Deferred was cancelled.
    Cancelled(Cancelled),
    /// A timeout elapsed.
    TimedOut(TimedOut),
    /// The resolver of the Deferred was dropped, or its reactor was closed.
    Abandoned(Abandoned),
    /// A callback, coroutine, canceller, job or destructor panicked.
    Panicked(Panicked),
    /// A callback returned its own Deferred, or a Deferred was chained to its own resolver.
    Cycle(Cycle),
    /// A callback or a coroutine returned a Deferred inside an `Ok`, so that nothing would wait for
    /// it.
    NestedDeferred(NestedDeferred),
    /// The operation needs a reactor, and this thread has none.
    NoReactor(NoReactor),
}

/// Evaluates an expression for the error that a [`BuiltinError`] holds.
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
    /// Converts `error` if it is a `BuiltinError` or one of the inner types. Otherwise returns it
    /// unchanged.
    pub(super) fn recognize<X: Any>(error: X) -> Result<BuiltinError, X> {
        let slot = &mut Some(error);
        moved::<_, BuiltinError>(slot)
            .or_else(|| moved::<_, Cancelled>(slot).map(BuiltinError::Cancelled))
            .or_else(|| moved::<_, TimedOut>(slot).map(BuiltinError::TimedOut))
            .or_else(|| moved::<_, Abandoned>(slot).map(BuiltinError::Abandoned))
            .or_else(|| moved::<_, Panicked>(slot).map(BuiltinError::Panicked))
            .or_else(|| moved::<_, Cycle>(slot).map(BuiltinError::Cycle))
            .or_else(|| moved::<_, NestedDeferred>(slot).map(BuiltinError::NestedDeferred))
            .or_else(|| moved::<_, NoReactor>(slot).map(BuiltinError::NoReactor))
            .ok_or_else(|| slot.take().expect("an unrecognized error was not moved"))
    }

    /// Like [`recognize`](BuiltinError::recognize), but for a boxed error.
    pub(super) fn recognize_boxed(
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

    /// Returns a copy of `error` if it is a `BuiltinError` or one of the inner types. The copy of a
    /// panic has its message, but not its payload.
    pub(super) fn copy_of(error: &(dyn Error + 'static)) -> Option<BuiltinError> {
        fn cloned<X: Error + Clone + Into<BuiltinError> + 'static>(
            error: &(dyn Error + 'static),
        ) -> Option<BuiltinError> {
            error.downcast_ref::<X>().cloned().map(Into::into)
        }
        let error = error.downcast_ref::<BuiltinError>().map_or(error, |builtin| builtin.inner());
        cloned::<Cancelled>(error)
            .or_else(|| cloned::<TimedOut>(error))
            .or_else(|| cloned::<Abandoned>(error))
            .or_else(|| cloned::<Cycle>(error))
            .or_else(|| cloned::<NestedDeferred>(error))
            .or_else(|| cloned::<NoReactor>(error))
            .or_else(|| {
                let panicked = error.downcast_ref::<Panicked>()?;
                Some(Panicked::new(Box::new(panicked.message().to_owned())).into())
            })
    }

    /// Borrows `self` or the inner error as an `X`, if one of them is one.
    pub(crate) fn get<X: Any>(&self) -> Option<&X> {
        let whole: &dyn Any = self;
        whole.downcast_ref().or_else(|| each!(self, error => (error as &dyn Any).downcast_ref()))
    }

    /// Like [`get`](BuiltinError::get), but borrows mutably.
    pub(super) fn get_mut<X: Any>(&mut self) -> Option<&mut X> {
        if (self as &dyn Any).is::<X>() {
            return (self as &mut dyn Any).downcast_mut();
        }
        each!(self, error => (error as &mut dyn Any).downcast_mut())
    }

    /// Like [`get`](BuiltinError::get), but by value.
    pub(super) fn narrow<X: Any>(self) -> Option<X> {
        let slot = &mut Some(self);
        moved(slot).or_else(|| each!(slot.take()?, error => moved(&mut Some(error))))
    }

    /// Returns the inner error.
    pub(super) fn inner(&self) -> &(dyn Error + Send + Sync + 'static) {
        each!(self, error => error)
    }

    /// Returns the inner error in a box.
    pub(super) fn into_inner(self) -> Box<dyn Error + Send + Sync> {
        each!(self, error => Box::new(error))
    }
}

/// Moves the value out of `slot` if it is a `B`. It is a cast from a type to itself that generic
/// code can write.
fn moved<A: Any, B: Any>(slot: &mut Option<A>) -> Option<B> {
    let slot: &mut dyn Any = slot;
    slot.downcast_mut::<Option<B>>()?.take()
}

impl DeferredError for BuiltinError {
    fn builtin(&self) -> Option<&BuiltinError> {
        Some(self)
    }
}

/// Prints the text of the inner error.
impl fmt::Display for BuiltinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.inner(), f)
    }
}

/// Prints the inner error, whose name is the name of the variant.
impl fmt::Debug for BuiltinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.inner(), f)
    }
}

/// The source is that of the inner error, since the two have the same text.
impl Error for BuiltinError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.inner().source()
    }
}

/// The error of a Deferred that was cancelled, perhaps with a reason.
///
/// The text includes the reason. Its causes are those of the reason: the reason itself is not its
/// [`source`](Error::source), so that no text is printed twice. Without a reason nothing is
/// allocated. Clones share the reason.
///
/// # Examples
///
/// ```
/// use deferred_core::Cancelled;
///
/// assert!(Cancelled::new().reason().is_none());
///
/// let cancelled = Cancelled::because("the window was closed");
/// assert_eq!(cancelled.reason().unwrap().to_string(), "the window was closed");
/// assert_eq!(cancelled.to_string(), "cancelled: the window was closed");
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Cancelled {
    reason: Option<Arc<dyn Error + Send + Sync>>,
}

impl Cancelled {
    /// Creates the error without a reason.
    #[must_use]
    pub const fn new() -> Cancelled {
        Cancelled { reason: None }
    }

    /// Creates the error with a reason: an error, or a text.
    ///
    /// An `Arc<dyn Error + Send + Sync>` becomes the reason itself. An `Arc` of a concrete type is
    /// stored as such, and [`reason`](Cancelled::reason) downcasts to that `Arc`.
    #[must_use]
    pub fn because(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Cancelled {
        let reason = reason.into().downcast::<Arc<dyn Error + Send + Sync>>().map_or_else(Arc::from, |shared| *shared);
        Cancelled { reason: Some(reason) }
    }

    /// Returns the reason, if there is one.
    #[must_use]
    pub fn reason(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.reason.as_deref()
    }

    /// Returns the reason. If that is a `Cancelled` with a reason, and so on, returns the innermost
    /// one.
    fn first_reason(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        let mut first = self.reason.as_ref()?;
        loop {
            let inner = match first.downcast_ref() {
                Some(BuiltinError::Cancelled(inner)) => Some(inner),
                _ => first.downcast_ref::<Cancelled>(),
            };
            match inner.and_then(|inner| inner.reason.as_ref()) {
                Some(inner) => first = inner,
                None => return Some(&**first),
            }
        }
    }
}

/// Drops the reason without recursion, since it may be a `Cancelled` with a reason, and so on.
impl Drop for Cancelled {
    #[inline]
    fn drop(&mut self) {
        if let Some(reason) = self.reason.take() {
            drop_flat(Nested::Reason(reason));
        }
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled")?;
        let Some(reason) = self.first_reason() else { return Ok(()) };
        within_reason(|| write!(f, ": {reason}")).unwrap_or(Ok(()))
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first_reason() {
            Some(reason) => {
                let debug = within_reason(|| f.debug_struct("Cancelled").field("reason", &reason).finish());
                debug.unwrap_or_else(|| f.write_str("Cancelled"))
            }
            None => f.write_str("Cancelled"),
        }
    }
}

impl Error for Cancelled {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let reason = self.first_reason()?;
        within_reason(|| reason.source())?
    }
}

/// The error of a timeout.
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
    by_deadline: bool,
}

impl TimedOut {
    /// Creates the error without a duration.
    #[must_use]
    pub const fn new() -> TimedOut {
        TimedOut { after: None, by_deadline: false }
    }

    /// Creates the error of a timeout after `time`.
    #[must_use]
    pub const fn after(time: Duration) -> TimedOut {
        TimedOut { after: Some(time), by_deadline: false }
    }

    /// Creates the error of a [deadline](crate::context#deadlines) that has passed: `time` after
    /// the begin of what it has ended, or before that began.
    #[must_use]
    pub const fn by_deadline(time: Option<Duration>) -> TimedOut {
        TimedOut { after: time, by_deadline: true }
    }

    /// Returns `true` if the deadline of a context has caused this, and not the timeout itself.
    #[must_use]
    pub const fn is_by_deadline(&self) -> bool {
        self.by_deadline
    }

    /// Returns the duration of the timeout, if it is known.
    #[must_use]
    pub const fn duration(&self) -> Option<Duration> {
        self.after
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.after, self.by_deadline) {
            (Some(time), false) => write!(f, "timed out after {time:?}"),
            (None, false) => f.write_str("timed out"),
            (Some(time), true) => write!(f, "timed out after {time:.1?}, at the deadline of its context"),
            (None, true) => f.write_str("timed out: the deadline of its context had passed before it began"),
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

/// The error of a Deferred that nothing can fire any more: its resolver was dropped unfired, or its
/// reactor was closed.
///
/// It makes the death of a producer an error instead of a hang. To avoid it, fire the resolver on
/// every path, with an error if there is no value.
#[derive(Clone, Default)]
pub struct Abandoned {
    cause: AbandonedCause,
}

#[derive(Clone, Copy, Default)]
enum AbandonedCause {
    #[default]
    ResolverDropped,
    ReactorClosed,
    Other(&'static str),
}

impl Abandoned {
    /// Creates the error of a resolver that was dropped.
    #[must_use]
    pub const fn new() -> Abandoned {
        Abandoned { cause: AbandonedCause::ResolverDropped }
    }

    /// Creates the error of a reactor that was closed.
    #[must_use]
    pub const fn reactor_closed() -> Abandoned {
        Abandoned { cause: AbandonedCause::ReactorClosed }
    }

    /// Returns `true` if the cause is a reactor that was closed: the resolver was dropped by that,
    /// or while that happened.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::testing::failure_result_of;
    /// use deferred_core::{Abandoned, Deferred, Reactor};
    ///
    /// let (dropped, resolver) = Deferred::<u32>::new();
    /// drop(resolver);
    /// assert!(!failure_result_of(dropped).trap::<Abandoned>().unwrap().is_reactor_closed());
    ///
    /// let reactor = Reactor::new();
    /// let (closed, _resolver) = reactor.remote::<u32>();
    /// drop(reactor);
    /// assert!(failure_result_of(closed).trap::<Abandoned>().unwrap().is_reactor_closed());
    /// ```
    #[must_use]
    pub const fn is_reactor_closed(&self) -> bool {
        matches!(self.cause, AbandonedCause::ReactorClosed)
    }

    /// Creates the error with another text, for libraries whose users do not use a resolver.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = deferred_core::Abandoned::because("the lookup ran on past its deadline");
    /// assert_eq!(error.to_string(), "abandoned: the lookup ran on past its deadline");
    /// ```
    #[must_use]
    pub const fn because(reason: &'static str) -> Abandoned {
        Abandoned { cause: AbandonedCause::Other(reason) }
    }
}

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.cause {
            AbandonedCause::ResolverDropped => {
                "the resolver was dropped without firing the Deferred; fire it on every path, with an error if there \
                 is no value"
            }
            AbandonedCause::ReactorClosed => "the reactor was closed before the Deferred was fired",
            AbandonedCause::Other(why) => why,
        };
        write!(f, "abandoned: {why}")
    }
}

impl fmt::Debug for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            AbandonedCause::ResolverDropped | AbandonedCause::ReactorClosed => f.write_str("Abandoned"),
            AbandonedCause::Other(why) => f.debug_struct("Abandoned").field("why", &why).finish(),
        }
    }
}

impl Error for Abandoned {}

/// The error of a Deferred that would have to wait for itself: its callback returned it, or it was
/// chained to its own resolver.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Cycle;

impl Cycle {
    /// Creates a `Cycle` error.
    #[must_use]
    pub const fn new() -> Cycle {
        Cycle
    }
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "cycle: a callback returned its own Deferred, which would wait for itself forever; \
             return a value, or another Deferred",
        )
    }
}

impl Error for Cycle {}

/// The error of a callback, a coroutine or the body of `react` that returned `Ok(deferred)`.
/// Nothing would wait for that Deferred, and its result would be lost silently.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NestedDeferred;

impl NestedDeferred {
    /// Creates a `NestedDeferred` error.
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

/// The error of an operation that needs a reactor on a thread that has none.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NoReactor;

impl NoReactor {
    /// Creates a `NoReactor` error.
    #[must_use]
    pub const fn new() -> NoReactor {
        NoReactor
    }
}

impl fmt::Display for NoReactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no reactor: this thread has no current one. Call this in a callback or coroutine of a loop, which `run` of \
             `park`, `deferred_smol` or `deferred_tokio` starts; or after `Reactor::enter`, on a reactor that the `drive` \
             of one of these runs on this thread. A task of a multi-thread runtime uses `ThreadPool::submit`, \
             `ReactorHandle::call` or `start_thread`, whose results are futures for any runtime",
        )
    }
}

impl Error for NoReactor {}

macro_rules! into_builtin {
    ($($error:ident)*) => {$(
        impl From<$error> for BuiltinError {
            fn from(error: $error) -> BuiltinError {
                BuiltinError::$error(error)
            }
        }
    )*};
}

into_builtin!(Cancelled TimedOut Abandoned Panicked Cycle NestedDeferred NoReactor);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builtin_error_is_small() {
        let words = |bytes: usize| bytes / size_of::<usize>();
        assert!(words(size_of::<BuiltinError>()) <= 4, "{}", size_of::<BuiltinError>());
        assert_eq!(words(size_of::<Cancelled>()), 2);
        assert_eq!(words(size_of::<Panicked>()), 1);
    }
}
