//! Callbacks that need no block, since their result is there.

#![forbid(unsafe_code)]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::raw::{Chain, Place};
use super::{never_unwinding, run};
use crate::error::{Fault, Panicked};

/// What a stage leaves behind.
pub(crate) enum Left<T, E: Fault> {
    Result(Result<T, E>),
    Wait(Chain<T, E>),
}

/// Runs a stage on a result that is there: a block is needed only if it leaves one to wait for.
///
/// What it leaves is taken apart and put together again, here and in [`catch`]: each part then stays in a register,
/// where the whole would go through memory at each step.
#[inline(always)]
pub(crate) fn settle<T, E, U, D, F>(result: Result<T, E>, made: Place, at: Place, f: F) -> Left<U, D>
where
    U: 'static,
    D: Fault,
    F: FnOnce(Result<T, E>) -> Left<U, D>,
{
    // A panic, also that of a destructor of what the stage captured or was given, is its error.
    let left = run::within(|| match catch(move || f(result)) {
        Left::Result(Ok(value)) => Left::Result(Ok(value)),
        Left::Result(Err(error)) => Left::Result(Err(passed(error, at))),
        Left::Wait(inner) => Left::Wait(inner),
    });
    match left {
        Left::Result(Ok(value)) => Left::Result(Ok(value)),
        Left::Result(Err(error)) => Left::Result(Err(error)),
        Left::Wait(inner) => inner.awaited(made, at),
    }
}

/// Runs a callback, whose panic becomes an error.
#[inline(always)]
pub(crate) fn catch<U, D: Fault>(f: impl FnOnce() -> Left<U, D>) -> Left<U, D> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Left::Result(Ok(value))) => Left::Result(Ok(value)),
        Ok(Left::Result(Err(error))) => Left::Result(Err(error)),
        Ok(Left::Wait(inner)) => Left::Wait(inner),
        Err(payload) => Left::Result(Err(panicked(payload))),
    }
}

/// An error, once it has been told that it passed this place. Not inline, so that a value needs no registers for it.
#[inline(never)]
pub(super) fn passed<D: Fault>(mut error: D, at: Place) -> D {
    never_unwinding(|| error.passed(at));
    error
}

/// Drops it. A panic of a destructor is an error.
pub(crate) fn drop_or_panicked<X>(dropped: X) -> Result<(), Panicked> {
    catch_unwind(AssertUnwindSafe(|| drop(dropped))).map_err(Panicked::new)
}

#[cold]
pub(super) fn panicked<D: Fault>(payload: Box<dyn Any + Send>) -> D {
    never_unwinding(|| D::from(Panicked::new(payload).into()))
}
