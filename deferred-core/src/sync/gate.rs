//! What lets work in until it is closed, and then waits for what is inside.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use super::waiters::Waiters;
use crate::deferred::{Deferred, IntoDeferred, maybe_deferred_at};
use crate::engine::{StageOutput, run_soon};
use crate::error::{BuiltinError, Cancelled, DeferredError, Failure};

/// Lets work in until it is closed; then refuses new work, and says when the old is done. For
/// ending something in order.
///
/// Clones mean the same gate.
///
/// Seastar's `gate`; Twisted has none.
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
pub struct Gate<E: DeferredError = Failure> {
    gate: Rc<Inside<E>>,
}

struct Inside<E: DeferredError> {
    count: Cell<usize>,
    closed: Cell<bool>,
    /// Who waits until it is empty.
    waiting: Waiters<(), (), E>,
}

impl Gate {
    /// An open one.
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
    /// [`new`](Gate::new) for an error type of your own.
    #[must_use]
    pub fn typed() -> Gate<E> {
        let gate = Inside { count: Cell::new(0), closed: Cell::new(false), waiting: Waiters::new() };
        Gate { gate: Rc::new(gate) }
    }

    /// Goes in, until the pass is dropped.
    ///
    /// # Errors
    ///
    /// If it is closed.
    pub fn enter(&self) -> Result<GateGuard<E>, GateClosed> {
        if self.gate.closed.get() {
            return Err(GateClosed);
        }
        self.gate.count.set(self.gate.count.get() + 1);
        Ok(GateGuard { gate: self.gate.clone() })
    }

    /// Calls `f` inside, where it is until what it returns is there.
    ///
    /// # Errors
    ///
    /// Through the Deferred: [`Cancelled`] with the reason [`GateClosed`] if it is closed. `f` is
    /// dropped then.
    ///
    /// # Cancellation
    ///
    /// Cancels what `f` has returned.
    #[track_caller]
    pub fn run<R: IntoDeferred<E>>(&self, f: impl FnOnce() -> R) -> Deferred<R::Value, E> {
        let at = Location::caller();
        let pass = match self.enter() {
            Ok(pass) => pass,
            Err(closed) => {
                return Deferred::with_result(Err(BuiltinError::from(Cancelled::because(closed)).into()), at, at);
            }
        };
        maybe_deferred_at(at, f).add_stage_at(at, move |result| {
            drop(pass);
            StageOutput::Ready(result)
        })
    }

    /// Lets nobody in any more. The Deferred fires when nobody is inside.
    ///
    /// It may be called again, for another such Deferred.
    #[track_caller]
    pub fn close(&self) -> Deferred<(), E> {
        let at = Location::caller();
        self.gate.closed.set(true);
        if self.gate.count.get() == 0 {
            return Deferred::with_result(Ok(()), at, at);
        }
        self.gate.waiting.wait((), &self.gate, |gate| &gate.waiting, |_| (), at)
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.gate.closed.get()
    }

    /// How many are inside.
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

/// Somebody's being inside a [`Gate`]; [`Gate::enter`] gives it. Dropping it goes out.
#[must_use = "dropping a GateGuard goes out of the gate"]
pub struct GateGuard<E: DeferredError = Failure> {
    gate: Rc<Inside<E>>,
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

/// A [`Gate`] is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateClosed;

impl fmt::Display for GateClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the gate is closed: no new work is let in")
    }
}

impl Error for GateClosed {}
