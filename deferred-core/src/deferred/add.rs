//! The methods of `Deferred` that add callbacks.

use std::panic::Location;

use super::{Deferred, IntoDeferred, Resolver, State};
#[cfg(feature = "context")]
use crate::context::Context;
#[cfg(feature = "context")]
use crate::engine::Chain;
use crate::engine::{StageOutput, catch, settle};
use crate::error::{CallSite, DeferredError};
use crate::report;

/// Returns a result that `callback` does not handle, and drops the callback.
///
/// The callback is dropped first: after the result is on its way out, a panic in a destructor of
/// its captures would leak the result.
#[inline]
fn pass<T, E: DeferredError>(result: Result<T, E>, callback: impl Sized) -> StageOutput<T, E> {
    drop(callback);
    StageOutput::Ready(result)
}

impl<T: 'static, E: DeferredError> Deferred<T, E> {
    /// Adds a stage. It runs inside this call if the Deferred is ready.
    #[inline]
    #[track_caller]
    fn add_stage<U, D, F>(self, stage: F) -> Deferred<U, D>
    where
        U: 'static,
        D: DeferredError,
        F: FnOnce(Result<T, E>) -> StageOutput<U, D> + 'static,
    {
        self.add_stage_at(Location::caller(), stage)
    }

    /// Like [`add_stage`](Self::add_stage), but with the location where the user added the stage.
    // As `#[inline]`, an error that passes a callback takes 4 % more instructions (bench: engine/).
    #[inline(always)]
    pub(crate) fn add_stage_at<U, D, F>(self, at: CallSite, stage: F) -> Deferred<U, D>
    where
        U: 'static,
        D: DeferredError,
        F: FnOnce(Result<T, E>) -> StageOutput<U, D> + 'static,
    {
        match self.state {
            State::Ready(ready) => {
                let made = ready.made;
                Deferred::from_output(settle(ready.take(), made, at, stage), made, at)
            }
            State::Pending(chain) => {
                let made = chain.made();
                #[cfg(feature = "context")]
                if !Context::is_current_empty() {
                    return add_in_context(chain, at, stage);
                }
                Deferred::from_output(chain.add_stage(at, stage), made, at)
            }
        }
    }

    /// Drops the value. This is for a call that the user gave at `at` and whose value is not
    /// needed.
    pub(crate) fn without_value(self, at: CallSite) -> Deferred<(), E> {
        self.add_stage_at(at, |result| StageOutput::Ready(result.map(drop)))
    }

    /// Adds a callback for a value. It is skipped for an error.
    ///
    /// The callback runs after the callbacks before it: inside this call if the Deferred is ready.
    /// Its return value (see [`IntoDeferred`]) goes to the next callback; if it returns a Deferred,
    /// the next callback waits for that. If it panics, the next errback gets
    /// [`Panicked`](crate::Panicked). Its captures are dropped before the next callback runs.
    ///
    /// A callback that returns the Deferred to which it was added makes that fail with
    /// [`Cycle`](crate::Cycle).
    ///
    /// Twisted's `addCallback`.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::testing::success_result_of;
    /// use deferred_core::Deferred;
    ///
    /// let length = Deferred::succeed("text").add_callback(|text| Ok(text.len()));
    /// assert_eq!(success_result_of(length), 4);
    /// ```
    #[doc(alias = "then")]
    #[doc(alias = "and_then")]
    #[doc(alias = "addCallback")]
    #[track_caller]
    pub fn add_callback<R, F>(self, callback: F) -> Deferred<R::Value, E>
    where
        R: IntoDeferred<E>,
        F: FnOnce(T) -> R + 'static,
    {
        self.add_stage(move |result| match result {
            Ok(value) => callback(value).into_deferred().into_output(),
            Err(error) => pass(Err(error), callback),
        })
    }

    /// Adds a callback for an error. It is skipped for a value.
    ///
    /// If it returns `Ok`, the error counts as handled. In all other respects this is like
    /// [`add_callback`](Deferred::add_callback).
    ///
    /// Twisted's `addErrback`.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::testing::success_result_of;
    /// use deferred_core::{Abandoned, Deferred, Failure};
    ///
    /// let deferred = Deferred::<u32>::fail(Abandoned::new()).add_errback(|failure| {
    ///     failure.trap::<Abandoned>()?;
    ///     Ok(0)
    /// });
    /// assert_eq!(success_result_of(deferred), 0);
    /// ```
    #[doc(alias = "or_else")]
    #[doc(alias = "catch")]
    #[doc(alias = "addErrback")]
    #[track_caller]
    pub fn add_errback<R, F>(self, errback: F) -> Deferred<T, E>
    where
        R: IntoDeferred<E, Value = T>,
        F: FnOnce(E) -> R + 'static,
    {
        self.add_stage(move |result| match result {
            Ok(value) => pass(Ok(value), errback),
            Err(error) => errback(error).into_deferred().into_output(),
        })
    }

    /// Adds a callback and an errback side by side: the errback does not see an error of the
    /// callback.
    ///
    /// Exactly one of the two runs, and both are dropped then.
    ///
    /// Twisted's `addCallbacks`.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::{Deferred, Failure};
    ///
    /// let deferred = Deferred::succeed(1)
    ///     .add_callbacks(|_| Err(Failure::msg("from the callback")), |_| Ok("handled"));
    /// assert!(deferred.try_take().unwrap().is_err());
    /// ```
    #[doc(alias = "addCallbacks")]
    #[track_caller]
    pub fn add_callbacks<R, S, F, G>(self, callback: F, errback: G) -> Deferred<R::Value, E>
    where
        R: IntoDeferred<E>,
        S: IntoDeferred<E, Value = R::Value>,
        F: FnOnce(T) -> R + 'static,
        G: FnOnce(E) -> S + 'static,
    {
        self.add_stage(move |result| match result {
            Ok(value) => {
                drop(errback);
                callback(value).into_deferred().into_output()
            }
            Err(error) => {
                drop(callback);
                errback(error).into_deferred().into_output()
            }
        })
    }

    /// Adds a callback for the result, be it a value or an error.
    ///
    /// Twisted's `addBoth`.
    ///
    /// For an action at the end that leaves the result as it is, see
    /// [`add_finally`](Deferred::add_finally).
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::testing::success_result_of;
    /// use deferred_core::{Deferred, Failure};
    ///
    /// let deferred = Deferred::<u32>::fail(Failure::msg("none")).add_both(|result| Ok(result.is_ok()));
    /// assert_eq!(success_result_of(deferred), false);
    /// ```
    #[doc(alias = "addBoth")]
    #[track_caller]
    pub fn add_both<R, F>(self, callback: F) -> Deferred<R::Value, E>
    where
        R: IntoDeferred<E>,
        F: FnOnce(Result<T, E>) -> R + 'static,
    {
        self.add_stage(move |result| callback(result).into_deferred().into_output())
    }

    /// Converts the value with a function that cannot fail.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::testing::success_result_of;
    /// use deferred_core::Deferred;
    ///
    /// assert_eq!(success_result_of(Deferred::succeed(1).map(|n| n + 1)), 2);
    /// ```
    #[track_caller]
    pub fn map<U: 'static>(self, f: impl FnOnce(T) -> U + 'static) -> Deferred<U, E> {
        self.add_stage(move |result| match result {
            Ok(value) => StageOutput::Ready(Ok(f(value))),
            Err(error) => pass(Err(error), f),
        })
    }

    /// Converts the error, also to another error type. This is the only way to change the error
    /// type of a Deferred.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::num::ParseIntError;
    ///
    /// use deferred_core::testing::failure_result_of;
    /// use deferred_core::{Deferred, Failure, BuiltinError};
    ///
    /// let (deferred, resolver) = Deferred::<u32, BuiltinError>::typed();
    /// let deferred = deferred.map_err(Failure::from);
    /// drop(resolver);
    /// assert!(failure_result_of(deferred).check::<BuiltinError>());
    /// ```
    #[track_caller]
    pub fn map_err<D: DeferredError>(self, f: impl FnOnce(E) -> D + 'static) -> Deferred<T, D> {
        self.add_stage(move |result| match result {
            Ok(value) => pass(Ok(value), f),
            Err(error) => StageOutput::Ready(Err(f(error))),
        })
    }

    /// Adds an action at the end that runs for a value and for an error, and leaves the result as
    /// it is.
    ///
    /// If `finally` returns a Deferred (see [`IntoDeferred`]), the result waits for that Deferred,
    /// and its value is dropped. If `finally` fails or panics, its error replaces a value; if the
    /// result is already an error, the result stays, and the error of `finally` is reported as
    /// unhandled.
    ///
    /// A chain that calls itself in its last callback runs in constant memory, also after a
    /// `finally` that waits. If `finally` itself makes the recursive call, each round keeps its
    /// result until the recursion has ended.
    ///
    /// This replaces an `addBoth` in Twisted that returns its argument.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::Deferred;
    ///
    /// let (closed, close) = Deferred::<()>::new();
    /// let mut deferred = Deferred::succeed("page").add_finally(|| closed);
    /// assert!(deferred.peek().is_none());
    /// close.callback(());
    /// assert_eq!(deferred.peek().unwrap().unwrap(), &"page");
    /// ```
    #[doc(alias = "finally")]
    #[track_caller]
    pub fn add_finally<R, F>(self, finally: F) -> Deferred<T, E>
    where
        R: IntoDeferred<E>,
        F: FnOnce() -> R + 'static,
    {
        let at = Location::caller();
        self.add_stage(move |outcome| {
            let done = catch(|| finally().into_deferred().into_output());
            let end = move |done: Result<R::Value, E>| match (outcome, done) {
                (Ok(_), Err(error)) => Err(error),
                (Err(first), Err(second)) => {
                    report::unhandled(&second, at, at);
                    Err(first)
                }
                (outcome, Ok(_)) => outcome,
            };
            match done {
                StageOutput::Ready(done) => StageOutput::Ready(end(done)),
                StageOutput::Pending(chain) => chain.add_stage(at, move |done| StageOutput::Ready(end(done))),
            }
        })
    }

    /// Fires `resolver` with the result of this Deferred, now or when it is ready.
    ///
    /// Twisted's `chainDeferred`.
    ///
    /// If the Deferred of `resolver` was cancelled meanwhile, the result is dropped and counts as
    /// handled. A Deferred that is chained to its own resolver fires [`Cycle`](crate::Cycle).
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::testing::success_result_of;
    /// use deferred_core::Deferred;
    ///
    /// let (deferred, resolver) = Deferred::new();
    /// Deferred::succeed(1).chain_deferred(resolver);
    /// assert_eq!(success_result_of(deferred), 1);
    /// ```
    #[doc(alias = "chainDeferred")]
    pub fn chain_deferred(self, resolver: Resolver<T, E>) {
        match self.state {
            State::Ready(ready) => resolver.fire(ready.take()),
            State::Pending(chain) => chain.forward_to(resolver.source),
        }
    }
}

/// Adds a stage that runs in the current context. Others have no context, and need no room for one.
#[cfg(feature = "context")]
#[cold]
fn add_in_context<T, E, U, D, F>(chain: Chain<T, E>, at: CallSite, stage: F) -> Deferred<U, D>
where
    T: 'static,
    E: DeferredError,
    U: 'static,
    D: DeferredError,
    F: FnOnce(Result<T, E>) -> StageOutput<U, D> + 'static,
{
    let (made, context) = (chain.made(), Context::current());
    Deferred::from_output(chain.add_stage(at, move |result| context.run(|| stage(result))), made, at)
}
