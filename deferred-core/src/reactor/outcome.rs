//! `Outcome`: a loop that runs until a Deferred has its result.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::process::ExitCode;
use std::rc::Rc;

use super::Reactor;
#[cfg(doc)]
use super::driver;
use crate::deferred::Deferred;
use crate::error::{Abandoned, BuiltinError, CallSite, DeferredError, Failure};
use crate::report;

impl Reactor {
    /// Stops the loop as soon as `deferred` has its result, which the returned [`Outcome`] keeps.
    /// This is for programs that embed the reactor; [`driver::run_until`] makes this call before
    /// the first turn.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::{Deferred, Failure, Reactor, park};
    ///
    /// let reactor = Reactor::new();
    /// let (deferred, resolver) = Deferred::<u32>::new();
    /// reactor.call_when_running(move || resolver.callback(1));
    /// let outcome = reactor.stop_after(deferred);
    /// park::drive(&reactor).unwrap();
    /// assert_eq!(outcome.take().unwrap(), 1);
    /// ```
    #[track_caller]
    pub fn stop_after<T: 'static, E: DeferredError>(&self, deferred: Deferred<T, E>) -> Outcome<T, E> {
        let result = Rc::new(RefCell::new(None));
        let stopped = Rc::new(Cell::new(false));
        let (slot, before, stopper) = (result.clone(), stopped.clone(), self.clone());
        drop(deferred.add_both(move |result| -> Result<(), E> {
            slot.replace(Some(result));
            before.set(stopper.core.stopping.get());
            stopper.stop();
            Ok(())
        }));
        Outcome { result, stopped, at: Location::caller() }
    }
}

/// The result for which a loop ran. [`Reactor::stop_after`] creates it.
#[must_use = "it holds the result, and perhaps an error"]
pub struct Outcome<T, E: DeferredError = Failure> {
    result: Rc<RefCell<Option<Result<T, E>>>>,
    /// Whether the loop was stopped before the result was ready.
    stopped: Rc<Cell<bool>>,
    at: CallSite,
}

impl<T, E: DeferredError> Outcome<T, E> {
    /// Returns the result.
    ///
    /// # Errors
    ///
    /// Returns the error of the Deferred, or [`Abandoned`] if the loop was stopped by other code
    /// before the Deferred had a result.
    pub fn take(self) -> Result<T, E> {
        let result = self.result.take();
        result.unwrap_or_else(|| {
            Err(BuiltinError::from(Abandoned::because("the loop was stopped before this had a result")).into())
        })
    }

    /// Returns exit code 1 if the result is an error, and reports the error as unhandled. Returns 0
    /// otherwise, also if other code stopped the loop and the Deferred failed only because of that.
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        match self.result.take() {
            Some(Err(error)) if !matches!(error.builtin(), Some(BuiltinError::Abandoned(_)) if self.stopped.get()) => {
                report::last_unhandled(&error, self.at, self.at);
                ExitCode::FAILURE
            }
            _ => ExitCode::SUCCESS,
        }
    }
}

impl<T, E: DeferredError> fmt::Debug for Outcome<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").field("has_result", &self.result.borrow().is_some()).finish_non_exhaustive()
    }
}
