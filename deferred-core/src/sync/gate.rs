//! `Gate`: admits work until it is closed, and then waits for the admitted work.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use super::waiters::Waiters;
use crate::deferred::{Deferred, IntoDeferred, maybe_deferred_at};
use crate::engine::{StageOutput, run_soon};
use crate::error::{BuiltinError, Cancelled, DeferredError, Failure};

/// A gate that admits work until it is closed. A closed gate refuses new work, and reports when the
/// admitted work is done, for an orderly end.
///
/// Clones refer to the same gate.
///
/// Seastar's `gate`. Twisted has no counterpart.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, Gate};
///
/// let gate = Gate::new();
/// let (answer, resolver) = Deferred::<u32>::new();
/// let request = gate.run(|| answer);
/// let drained = gate.close();
/// assert!(gate.enter().is_err());
/// assert!(!drained.is_ready());
/// resolver.callback(1);
/// assert!(drained.is_ready());
/// # drop(request);
/// ```
#[doc(alias = "TaskTracker")]
#[doc(alias = "WaitGroup")]
pub struct Gate<E: DeferredError = Failure> {
    gate: Rc<State<E>>,
}

struct State<E: DeferredError> {
    count: Cell<usize>,
    closed: Cell<bool>,
    /// The Deferreds of `close`.
    waiting: Waiters<(), (), E>,
}

impl<E: DeferredError> State<E> {
    fn describe(&self) -> String {
        format!("for a closed gate to empty, {} inside", self.count.get())
    }
}

impl Gate {
    /// Creates an open gate.
    #[must_use]
    pub fn new() -> Gate {
        Gate::typed()
    }
}

impl Default for Gate {
    fn default() -> Self {
        Gate::new()
    }
}

impl<E: DeferredError> Gate<E> {
    /// Like [`new`](Gate::new), but for an error type of your own.
    #[must_use]
    pub fn typed() -> Gate<E> {
        let gate = State { count: Cell::new(0), closed: Cell::new(false), waiting: Waiters::new() };
        Gate { gate: Rc::new(gate) }
    }

    /// Enters the gate until the returned guard is dropped.
    ///
    /// # Errors
    ///
    /// Returns [`GateClosed`] if the gate is closed.
    pub fn enter(&self) -> Result<GateGuard<E>, GateClosed> {
        if self.gate.closed.get() {
            return Err(GateClosed);
        }
        self.gate.count.set(self.gate.count.get() + 1);
        Ok(GateGuard { gate: self.gate.clone() })
    }

    /// Calls `f` inside the gate, and stays inside until its result is ready.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with the error or panic of `f`. If the gate is closed, `f` is
    /// dropped, and the Deferred fails with [`Cancelled`] with the reason [`GateClosed`].
    ///
    /// # Cancellation
    ///
    /// Cancelling the returned Deferred cancels the Deferred that `f` returned.
    #[track_caller]
    pub fn run<R: IntoDeferred<E>>(&self, f: impl FnOnce() -> R) -> Deferred<R::Value, E> {
        let at = Location::caller();
        let guard = match self.enter() {
            Ok(guard) => guard,
            Err(closed) => {
                return Deferred::with_result(Err(BuiltinError::from(Cancelled::because(closed)).into()), at, at);
            }
        };
        maybe_deferred_at(at, f).add_stage_at(at, move |result| {
            drop(guard);
            StageOutput::Ready(result)
        })
    }

    /// Closes the gate. The returned Deferred fires when all guards are dropped and all work of
    /// [`run`](Self::run) is done.
    ///
    /// A further call returns another such Deferred.
    ///
    /// # Cancellation
    ///
    /// A cancel ends only the wait. The gate stays closed.
    #[track_caller]
    pub fn close(&self) -> Deferred<(), E> {
        let at = Location::caller();
        self.gate.closed.set(true);
        if self.gate.count.get() == 0 {
            return Deferred::with_result(Ok(()), at, at);
        }
        self.gate.waiting.wait((), &self.gate, |gate| &gate.waiting, |_| (), State::describe, at)
    }

    /// Returns `true` if the gate is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.gate.closed.get()
    }

    /// Returns the number of guards and of running calls.
    #[must_use]
    pub fn count(&self) -> usize {
        self.gate.count.get()
    }
}

impl<E: DeferredError> Clone for Gate<E> {
    fn clone(&self) -> Self {
        Gate { gate: self.gate.clone() }
    }
}

impl<E: DeferredError> fmt::Debug for Gate<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("count", &self.count()).field("is_closed", &self.is_closed()).finish()
    }
}

/// A guard that counts as work inside a [`Gate`] until it is dropped. [`Gate::enter`] creates it.
#[must_use = "the gate is left at once if this is not bound to a variable"]
pub struct GateGuard<E: DeferredError = Failure> {
    gate: Rc<State<E>>,
}

impl<E: DeferredError> Drop for GateGuard<E> {
    fn drop(&mut self) {
        self.gate.count.set(self.gate.count.get() - 1);
        if self.gate.closed.get() && self.gate.count.get() == 0 {
            while let Some(((), resolver)) = self.gate.waiting.first() {
                run_soon(resolver.source.set_result(Ok(())));
            }
        }
    }
}

impl<E: DeferredError> fmt::Debug for GateGuard<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateGuard").finish_non_exhaustive()
    }
}

/// The error of entering a closed [`Gate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateClosed;

impl fmt::Display for GateClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the gate is closed: it admits no new work")
    }
}

impl Error for GateClosed {}
