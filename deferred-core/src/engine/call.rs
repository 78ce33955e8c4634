//! Callbacks that need no block, since their result is there.

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
#[inline(always)]
pub(crate) fn settle<T, E, U, D, F>(result: Result<T, E>, made: Place, at: Place, f: F) -> Left<U, D>
where
    U: 'static,
    D: Fault,
    F: FnOnce(Result<T, E>) -> Left<U, D>,
{
    match run::inside(|| invoke(f, result, at)) {
        Left::Wait(inner) => inner.awaited(made, at),
        left => left,
    }
}

/// Runs a callback, whose panic becomes an error.
#[inline(always)]
pub(crate) fn catch<U, D: Fault>(f: impl FnOnce() -> Left<U, D>) -> Left<U, D> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(panicked)
}

/// Runs a stage. A panic, also that of a destructor of what it captured or was given, is its error.
#[inline(always)]
fn invoke<T, E, U, D, F>(f: F, result: Result<T, E>, at: Place) -> Left<U, D>
where
    D: Fault,
    F: FnOnce(Result<T, E>) -> Left<U, D>,
{
    let mut left = catch(move || f(result));
    if let Left::Result(Err(error)) = &mut left {
        never_unwinding(|| error.passed(at));
    }
    left
}

#[cold]
fn panicked<U, D: Fault>(payload: Box<dyn Any + Send>) -> Left<U, D> {
    never_unwinding(|| Left::Result(Err(D::from(Panicked::new(payload).into()))))
}
