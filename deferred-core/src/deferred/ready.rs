//! A result that is there, without a block.

use crate::error::{self, CallSite, DeferredError};

/// The result of a Deferred that needs no memory of its own, with the two places that a report
/// names.
pub(crate) struct Ready<T, E: DeferredError> {
    /// None once it was taken, and then only until this is dropped or replaced.
    result: Option<Result<T, E>>,
    pub(crate) made: CallSite,
    pub(crate) last: CallSite,
}

impl<T, E: DeferredError> Ready<T, E> {
    #[inline(always)]
    pub(crate) fn new(result: Result<T, E>, made: CallSite, last: CallSite) -> Self {
        Ready { result: Some(result), made, last }
    }

    pub(crate) fn get(&self) -> &Result<T, E> {
        self.result.as_ref().expect("not taken yet")
    }

    #[inline(always)]
    pub(crate) fn take(mut self) -> Result<T, E> {
        self.take_result()
    }

    /// Takes the result; nothing else may be asked of this afterwards.
    #[inline(always)]
    pub(crate) fn take_result(&mut self) -> Result<T, E> {
        self.result.take().expect("taken once")
    }
}

/// An error that nobody took was not handled.
impl<T, E: DeferredError> Drop for Ready<T, E> {
    fn drop(&mut self) {
        if let Some(Err(error)) = &self.result {
            error::report(error, self.made, self.last);
        }
    }
}
