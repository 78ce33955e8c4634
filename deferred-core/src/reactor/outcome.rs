//! A loop that runs until something is done.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::process::ExitCode;
use std::rc::Rc;

use super::Reactor;
#[cfg(doc)]
use super::driver;
use crate::deferred::Deferred;
use crate::error::{self, Abandoned, BuiltinError, CallSite, DeferredError, Failure};

impl Reactor {
    /// Stops the loop as soon as `deferred` has its result, and keeps that. For whoever embeds the
    /// reactor; [`driver::run_until`] is this call, made before the first turn.
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

/// The result that a loop was run for; [`Reactor::stop_after`] gives it.
#[must_use = "it holds the result, and perhaps an error"]
pub struct Outcome<T, E: DeferredError = Failure> {
    result: Rc<RefCell<Option<Result<T, E>>>>,
    /// The loop was stopped before the result was there.
    stopped: Rc<Cell<bool>>,
    at: CallSite,
}

impl<T, E: DeferredError> Outcome<T, E> {
    /// The result.
    ///
    /// # Errors
    ///
    /// The error that the Deferred has failed with. [`Abandoned`] if it has none, since the loop
    /// was stopped by somebody else.
    pub fn take(self) -> Result<T, E> {
        let result = self.result.take();
        result.unwrap_or_else(|| Err(BuiltinError::from(Abandoned::new()).into()))
    }

    /// 1 if the result is an error, which is reported as unhandled. Otherwise 0, also if the loop
    /// was stopped by somebody else and nothing went wrong but that.
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        match self.result.take() {
            Some(Err(error)) if !matches!(error.builtin(), Some(BuiltinError::Abandoned(_)) if self.stopped.get()) => {
                error::report_last(&error, self.at, self.at);
                ExitCode::FAILURE
            }
            _ => ExitCode::SUCCESS,
        }
    }
}

impl<T, E: DeferredError> fmt::Debug for Outcome<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").field("is_there", &self.result.borrow().is_some()).finish_non_exhaustive()
    }
}
