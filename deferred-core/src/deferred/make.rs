//! How a Deferred is made.

use std::cell::Cell;
use std::convert::Infallible;
use std::panic::Location;
use std::rc::Rc;

use super::{Deferred, IntoDeferred, Resolver};
use crate::engine::{Chain, settle};
use crate::error::{CallSite, Cancelled, DeferredError, Failure};

/// With the error type that infers: [`Failure`]. The `typed` constructors are for errors of your
/// own.
impl<T: 'static> Deferred<T, Failure> {
    /// One that is not fired yet, and the half that fires it.
    #[track_caller]
    #[allow(clippy::new_ret_no_self)] // the pair is what is new
    pub fn new() -> (Deferred<T>, Resolver<T>) {
        Self::typed()
    }

    /// As [`new`](Deferred::new), with a canceller, which a [`cancel`](Deferred::cancel) calls
    /// while it is not fired.
    ///
    /// It is called at most once, and stops what would fire the Deferred. It may decide what the
    /// Deferred fires; `None` leaves it at [`Cancelled`]. It is dropped before the first callback
    /// runs.
    ///
    /// Twisted's `Deferred(canceller)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::Deferred;
    ///
    /// let (deferred, _resolver) = Deferred::with_canceller(|| Some(Ok("as far as it got")));
    /// deferred.cancel();
    /// assert_eq!(deferred.try_take().unwrap().unwrap(), "as far as it got");
    /// ```
    #[track_caller]
    pub fn with_canceller(
        canceller: impl FnOnce() -> Option<Result<T, Failure>> + 'static,
    ) -> (Deferred<T>, Resolver<T>) {
        Self::typed_with_canceller(canceller)
    }

    /// One that has a value. It needs no memory.
    #[track_caller]
    pub fn succeed(value: T) -> Deferred<T> {
        Self::from(Ok(value))
    }

    /// One that has an error. It needs no memory but that of the error.
    ///
    /// The place of this call begins the error's trail.
    #[track_caller]
    pub fn fail(error: impl Into<Failure>) -> Deferred<T> {
        let mut failure = error.into();
        failure.add_location(Location::caller());
        Self::from(Err(failure))
    }
}

/// With any error type.
impl<T: 'static, E: DeferredError> Deferred<T, E> {
    /// One that is not fired yet, and the half that fires it: [`new`](Deferred::new) for an error
    /// type of your own.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::{Deferred, DeferredError, BuiltinError};
    ///
    /// #[derive(Debug, PartialEq)]
    /// enum LoadError {
    ///     NotFound,
    ///     Interrupted,
    /// }
    /// impl From<BuiltinError> for LoadError {
    ///     fn from(_: BuiltinError) -> Self {
    ///         LoadError::Interrupted
    ///     }
    /// }
    /// impl DeferredError for LoadError {}
    ///
    /// let (deferred, resolver) = Deferred::<String, LoadError>::typed();
    /// let deferred = deferred.add_callback(|name| if name.is_empty() { Err(LoadError::NotFound) } else { Ok(name) });
    /// resolver.callback(String::new());
    /// assert_eq!(deferred.try_take().unwrap(), Err(LoadError::NotFound));
    /// ```
    #[track_caller]
    pub fn typed() -> (Deferred<T, E>, Resolver<T, E>) {
        Self::typed_at(Location::caller())
    }

    /// [`typed`](Deferred::typed) for one that is made at `at`.
    #[inline(always)]
    pub(crate) fn typed_at(at: CallSite) -> (Deferred<T, E>, Resolver<T, E>) {
        let (chain, source) = Chain::pair(at);
        (Self::pending(chain), Resolver { source })
    }

    /// As [`typed`](Deferred::typed), with a canceller:
    /// [`with_canceller`](Deferred::with_canceller) for an error type of your own.
    #[track_caller]
    pub fn typed_with_canceller(
        canceller: impl FnOnce() -> Option<Result<T, E>> + 'static,
    ) -> (Deferred<T, E>, Resolver<T, E>) {
        Self::typed_with_canceller_at(Location::caller(), canceller)
    }

    /// [`typed_with_canceller`](Deferred::typed_with_canceller) for one that is made at `at`.
    #[inline]
    pub(crate) fn typed_with_canceller_at(
        at: CallSite,
        canceller: impl FnOnce() -> Option<Result<T, E>> + 'static,
    ) -> (Deferred<T, E>, Resolver<T, E>) {
        let (deferred, resolver) = Self::typed_at(at);
        resolver.source.set_canceller(canceller);
        (deferred, resolver)
    }

    /// As [`typed`](Deferred::typed), with a canceller that passes each cancel on to others and
    /// forces nothing: the Deferred fires when its resolver does.
    ///
    /// This is for what combines Deferreds. It is called at each cancel while the Deferred is not
    /// fired, and may be called again from inside itself, since a Deferred that it cancels may have
    /// a callback that cancels this one. The cancels of many that wait for each other in this way
    /// call each other, and use stack; those of [`gather`](crate::gather), [`race`](crate::race)
    /// and the others of this crate do not.
    #[track_caller]
    pub fn with_forwarding_canceller(canceller: impl Fn(&Cancelled) + 'static) -> (Deferred<T, E>, Resolver<T, E>) {
        Self::forwarding_at(Location::caller(), canceller)
    }

    /// [`with_forwarding_canceller`](Deferred::with_forwarding_canceller) for one that is made at
    /// `at`.
    pub(crate) fn forwarding_at(
        at: CallSite,
        canceller: impl Fn(&Cancelled) + 'static,
    ) -> (Deferred<T, E>, Resolver<T, E>) {
        let (deferred, resolver) = Self::typed_at(at);
        let canceller = Rc::new(canceller);
        resolver.source.set_forwarding_canceller(move |why: &Cancelled| canceller(why));
        (deferred, resolver)
    }
}

impl Deferred<Infallible> {
    /// Creates a Deferred that fires only by a cancel. For programs that serve until they are
    /// stopped, and for tests.
    ///
    /// It keeps its memory until it is cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::{Cancelled, Deferred};
    ///
    /// let never = Deferred::never();
    /// never.cancel();
    /// assert!(never.try_take().unwrap().unwrap_err().check::<Cancelled>());
    /// ```
    #[doc(alias = "pending")]
    #[track_caller]
    pub fn never() -> Deferred<Infallible> {
        let held = Rc::new(Cell::new(None));
        let keeps = held.clone();
        let (never, resolver) = Self::typed_with_canceller_at(Location::caller(), move || {
            drop(keeps.take());
            None
        });
        held.set(Some(resolver));
        never
    }
}

/// One that has this result. It needs no memory.
impl<T: 'static, E: DeferredError> From<Result<T, E>> for Deferred<T, E> {
    #[inline(always)]
    #[track_caller]
    fn from(result: Result<T, E>) -> Self {
        let at = Location::caller();
        Self::ready(result, at, at)
    }
}

/// Calls a function that may give its result now or later, or panic, and makes a Deferred of all
/// three.
///
/// Twisted's `maybeDeferred`.
///
/// # Examples
///
/// ```
/// use deferred_core::{Failure, Panicked, maybe_deferred};
///
/// fn parse(text: &str) -> Result<u32, Failure> {
///     Ok(text.parse()?)
/// }
///
/// assert_eq!(maybe_deferred(|| parse("12")).try_take().unwrap().unwrap(), 12);
/// let panicked = maybe_deferred(|| -> Result<(), Failure> { panic!("no") });
/// assert!(panicked.try_take().unwrap().unwrap_err().check::<Panicked>());
/// ```
#[track_caller]
pub fn maybe_deferred<R: IntoDeferred<Failure>>(f: impl FnOnce() -> R) -> Deferred<R::Value> {
    maybe_deferred_at(Location::caller(), f)
}

/// Calls a function that fails by `?` before it has a Deferred, and makes one Deferred of both.
///
/// A panic is an error too. For what awaits more than one Deferred there is
/// [`inline_callbacks`](crate::inline_callbacks).
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, try_deferred};
///
/// fn load(id: u32) -> Deferred<String> {
///     Deferred::succeed(format!("page {id}"))
/// }
///
/// let page = Deferred::succeed("12").add_callback(|text| {
///     try_deferred(|| {
///         let id = text.parse()?;
///         Ok(load(id))
///     })
/// });
/// assert_eq!(page.try_take().unwrap().unwrap(), "page 12");
/// ```
#[doc(alias = "maybeDeferred")]
#[track_caller]
pub fn try_deferred<T: 'static, E: DeferredError>(f: impl FnOnce() -> Result<Deferred<T, E>, E>) -> Deferred<T, E> {
    let at = Location::caller();
    maybe_deferred_at(at, || f().unwrap_or_else(|error| Deferred::ready(Err(error), at, at)))
}

/// [`maybe_deferred`] for a function that was given at `at`, with any error type.
pub(crate) fn maybe_deferred_at<E: DeferredError, R: IntoDeferred<E>>(
    at: CallSite,
    f: impl FnOnce() -> R,
) -> Deferred<R::Value, E> {
    Deferred::from_output(settle(Ok::<_, E>(()), at, at, |_| f().into_deferred().into_output()), at, at)
}
