//! Functions that create a Deferred.

use std::cell::Cell;
use std::convert::Infallible;
use std::panic::Location;
use std::rc::Rc;

use super::{Deferred, IntoDeferred, Resolver};
#[cfg(feature = "context")]
use crate::context::Context;
use crate::engine::{Chain, settle};
use crate::error::{CallSite, Cancelled, DeferredError, Failure};

/// Constructors with the error type [`Failure`], which the compiler infers. The `typed`
/// constructors are for error types of your own.
impl<T: 'static> Deferred<T, Failure> {
    /// Creates a pending Deferred and the [`Resolver`] that fires it.
    #[doc(alias = "oneshot")]
    #[doc(alias = "channel")]
    #[track_caller]
    #[allow(clippy::new_ret_no_self)] // it returns the pair
    pub fn new() -> (Deferred<T>, Resolver<T>) {
        Self::typed()
    }

    /// Like [`new`](Deferred::new), but with a canceller, which a [`cancel`](Deferred::cancel)
    /// calls while the Deferred is not fired.
    ///
    /// The canceller is called at most once. It should stop the operation that would fire the
    /// Deferred. It can return the result to fire; `None` fires [`Cancelled`]. It is dropped before
    /// the first callback runs.
    ///
    /// Twisted's `Deferred(canceller)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::testing::success_result_of;
    /// use deferred_core::Deferred;
    ///
    /// let (deferred, _resolver) = Deferred::with_canceller(|| Some(Ok("as far as it got")));
    /// deferred.cancel();
    /// assert_eq!(success_result_of(deferred), "as far as it got");
    /// ```
    #[track_caller]
    pub fn with_canceller(
        canceller: impl FnOnce() -> Option<Result<T, Failure>> + 'static,
    ) -> (Deferred<T>, Resolver<T>) {
        Self::typed_with_canceller(canceller)
    }

    /// Creates a Deferred that is ready with a value. It allocates nothing.
    #[track_caller]
    pub fn succeed(value: T) -> Deferred<T> {
        Self::from(Ok(value))
    }

    /// Creates a Deferred that is ready with an error. It allocates nothing but the error.
    ///
    /// The location of this call begins the error's trail.
    #[track_caller]
    pub fn fail(error: impl Into<Failure>) -> Deferred<T> {
        let mut failure = error.into();
        failure.add_location(Location::caller());
        Self::from(Err(failure))
    }
}

/// Constructors with any error type.
impl<T: 'static, E: DeferredError> Deferred<T, E> {
    /// Creates a pending Deferred and its [`Resolver`], like [`new`](Deferred::new), but for an
    /// error type of your own.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::{Deferred, DeferredError, BuiltinError};
    ///
    /// #[derive(Debug, PartialEq)]
    /// enum LoadError {
    ///     NotFound,
    ///     Internal,
    /// }
    /// impl From<BuiltinError> for LoadError {
    ///     fn from(_: BuiltinError) -> Self {
    ///         LoadError::Internal
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

    /// Like [`typed`](Deferred::typed), but with the location of the creation.
    #[inline]
    pub(crate) fn typed_at(at: CallSite) -> (Deferred<T, E>, Resolver<T, E>) {
        let (chain, source) = Chain::pair(at);
        (Self::with_chain(chain), Resolver { source })
    }

    /// Like [`with_canceller`](Deferred::with_canceller), but for an error type of your own.
    #[track_caller]
    pub fn typed_with_canceller(
        canceller: impl FnOnce() -> Option<Result<T, E>> + 'static,
    ) -> (Deferred<T, E>, Resolver<T, E>) {
        Self::typed_with_canceller_at(Location::caller(), canceller)
    }

    /// Like [`typed_with_canceller`](Deferred::typed_with_canceller), but with the location of the
    /// creation.
    #[inline]
    pub(crate) fn typed_with_canceller_at(
        at: CallSite,
        canceller: impl FnOnce() -> Option<Result<T, E>> + 'static,
    ) -> (Deferred<T, E>, Resolver<T, E>) {
        let (deferred, resolver) = Self::typed_at(at);
        #[cfg(feature = "context")]
        if !Context::is_current_empty() {
            let context = Context::current();
            resolver.source.set_canceller(move || context.run(canceller));
            return (deferred, resolver);
        }
        resolver.source.set_canceller(canceller);
        (deferred, resolver)
    }

    /// Like [`typed`](Deferred::typed), but with a canceller that passes each cancel on to other
    /// Deferreds. A cancel does not fire this Deferred; its resolver does.
    ///
    /// This is for functions that combine Deferreds. The canceller is called at each cancel while
    /// the Deferred is not fired. It can be called from inside itself, since a Deferred that it
    /// cancels may have a callback that cancels this one. Such cancellers of Deferreds that wait
    /// for each other call each other, and use stack; those of [`gather`](crate::gather),
    /// [`race`](crate::race) and the other functions of this crate do not.
    #[track_caller]
    pub fn with_forwarding_canceller(canceller: impl Fn(&Cancelled) + 'static) -> (Deferred<T, E>, Resolver<T, E>) {
        Self::forwarding_at(Location::caller(), canceller)
    }

    /// Like [`with_forwarding_canceller`](Deferred::with_forwarding_canceller), but with the
    /// location of the creation.
    pub(crate) fn forwarding_at(
        at: CallSite,
        canceller: impl Fn(&Cancelled) + 'static,
    ) -> (Deferred<T, E>, Resolver<T, E>) {
        let (deferred, resolver) = Self::typed_at(at);
        #[cfg(feature = "context")]
        let (context, unbound) = (Context::current(), canceller);
        #[cfg(feature = "context")]
        let canceller = move |why: &Cancelled| context.run(|| unbound(why));
        let canceller = Rc::new(canceller);
        resolver.source.set_forwarding_canceller(move |why: &Cancelled| canceller(why));
        (deferred, resolver)
    }
}

impl Deferred<Infallible> {
    /// Creates a Deferred that only a cancel fires. It is for programs that serve until they are
    /// stopped, and for tests.
    ///
    /// Its memory is freed only by a cancel.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::testing::failure_result_of;
    /// use deferred_core::{Cancelled, Deferred};
    ///
    /// let never = Deferred::never();
    /// never.cancel();
    /// assert!(failure_result_of(never).check::<Cancelled>());
    /// ```
    #[doc(alias = "pending")]
    #[track_caller]
    pub fn never() -> Deferred<Infallible> {
        let resolver_cell = Rc::new(Cell::new(None));
        let owner = resolver_cell.clone();
        let (never, resolver) = Self::typed_with_canceller_at(Location::caller(), move || {
            drop(owner.take());
            None
        });
        resolver_cell.set(Some(resolver));
        never
    }
}

/// Creates a Deferred that is ready with this result. It allocates nothing.
impl<T: 'static, E: DeferredError> From<Result<T, E>> for Deferred<T, E> {
    #[inline]
    #[track_caller]
    fn from(result: Result<T, E>) -> Self {
        let at = Location::caller();
        Self::with_result(result, at, at)
    }
}

/// Calls a function that returns its result now or later, or panics, and returns a Deferred in each
/// case.
///
/// Twisted's `maybeDeferred`.
///
/// # Examples
///
/// ```
/// use deferred_core::testing::{failure_result_of, success_result_of};
/// use deferred_core::{Failure, Panicked, maybe_deferred};
///
/// fn parse(text: &str) -> Result<u32, Failure> {
///     Ok(text.parse()?)
/// }
///
/// assert_eq!(success_result_of(maybe_deferred(|| parse("12"))), 12);
/// let panicked = maybe_deferred(|| -> Result<(), Failure> { panic!("no") });
/// assert!(failure_result_of(panicked).check::<Panicked>());
/// ```
#[doc(alias = "maybeDeferred")]
#[track_caller]
pub fn maybe_deferred<R: IntoDeferred<Failure>>(f: impl FnOnce() -> R) -> Deferred<R::Value> {
    maybe_deferred_at(Location::caller(), f)
}

/// Calls a function that may fail with `?` before it returns a Deferred. Returns that Deferred, or
/// one that is ready with the error.
///
/// A panic becomes an error too. A function that awaits several Deferreds is better written as a
/// coroutine: [`inline_callbacks`](crate::inline_callbacks).
///
/// # Examples
///
/// ```
/// use deferred_core::testing::success_result_of;
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
/// assert_eq!(success_result_of(page), "page 12");
/// ```
#[track_caller]
pub fn try_deferred<T: 'static, E: DeferredError>(f: impl FnOnce() -> Result<Deferred<T, E>, E>) -> Deferred<T, E> {
    let at = Location::caller();
    maybe_deferred_at(at, || f().unwrap_or_else(|error| Deferred::with_result(Err(error), at, at)))
}

/// Like [`maybe_deferred`], but with the location where the user passed the function, and for any
/// error type.
pub(crate) fn maybe_deferred_at<E: DeferredError, R: IntoDeferred<E>>(
    at: CallSite,
    f: impl FnOnce() -> R,
) -> Deferred<R::Value, E> {
    Deferred::from_output(settle(Ok::<_, E>(()), at, at, |_| f().into_deferred().into_output()), at, at)
}
