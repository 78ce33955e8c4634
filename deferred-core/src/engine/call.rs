//! Callbacks on a result that is ready, which need no block.

#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::raw::Chain;
use super::run;
use crate::abort::never_unwinding;
use crate::error::{CallSite, DeferredError, Panicked, from_panic};

/// The output of a stage.
pub(crate) enum StageOutput<T, E: DeferredError> {
    /// A result.
    Ready(Result<T, E>),
    /// The chain of another Deferred, whose result is the output.
    Pending(Chain<T, E>),
}

/// Runs a stage on a ready result. The output gets a block only if the stage returns one to wait
/// for.
///
/// The output is taken apart and built anew, here and in [`catch`]: each part then stays in a
/// register, where the whole would go through memory at each step.
#[inline]
pub(crate) fn settle<T, E, U, D, F>(result: Result<T, E>, made: CallSite, at: CallSite, f: F) -> StageOutput<U, D>
where
    U: 'static,
    D: DeferredError,
    F: FnOnce(Result<T, E>) -> StageOutput<U, D>,
{
    // A panic is the stage's error, also one in a destructor of its captures or of its argument.
    let output = run::enter_merged(|| match catch(move || f(result)) {
        StageOutput::Ready(Ok(value)) => StageOutput::Ready(Ok(value)),
        StageOutput::Ready(Err(error)) => StageOutput::Ready(Err(with_location(error, at))),
        StageOutput::Pending(inner) => StageOutput::Pending(inner),
    });
    match output {
        StageOutput::Ready(Ok(value)) => StageOutput::Ready(Ok(value)),
        StageOutput::Ready(Err(error)) => StageOutput::Ready(Err(error)),
        StageOutput::Pending(inner) => inner.into_output(made, at),
    }
}

/// Calls `f` and turns its panic into an error.
#[inline]
pub(crate) fn catch<U, D: DeferredError>(f: impl FnOnce() -> StageOutput<U, D>) -> StageOutput<U, D> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(StageOutput::Ready(Ok(value))) => StageOutput::Ready(Ok(value)),
        Ok(StageOutput::Ready(Err(error))) => StageOutput::Ready(Err(error)),
        Ok(StageOutput::Pending(inner)) => StageOutput::Pending(inner),
        Err(payload) => StageOutput::Ready(Err(from_panic(payload))),
    }
}

/// Adds `at` to the trail of `error`. Not inline, so that the path of a value reserves no registers
/// for it.
#[inline(never)]
pub(super) fn with_location<D: DeferredError>(mut error: D, at: CallSite) -> D {
    never_unwinding(|| error.add_location(at));
    error
}

/// Drops `value`. Returns [`Panicked`] if its destructor panics.
pub(crate) fn drop_or_panicked<X>(value: X) -> Result<(), Panicked> {
    catch_unwind(AssertUnwindSafe(|| drop(value))).map_err(Panicked::new)
}
