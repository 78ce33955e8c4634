//! `Ready`: a result without a block.

use crate::error::{CallSite, DeferredError};
use crate::report;

/// The result of a Deferred that allocates nothing, with the two locations that a report names.
pub(crate) struct Ready<T, E: DeferredError> {
    /// `None` after it was taken, until this is dropped or replaced.
    result: Option<Result<T, E>>,
    pub(crate) made: CallSite,
    pub(crate) last: CallSite,
}

impl<T, E: DeferredError> Ready<T, E> {
    #[inline]
    pub(crate) fn new(result: Result<T, E>, made: CallSite, last: CallSite) -> Self {
        Ready { result: Some(result), made, last }
    }

    pub(crate) fn get(&self) -> &Result<T, E> {
        self.result.as_ref().expect("the result was not taken")
    }

    #[inline]
    pub(crate) fn take(mut self) -> Result<T, E> {
        self.take_result()
    }

    /// Takes the result out of the Deferred. No other method may be called afterwards.
    #[inline]
    pub(crate) fn take_result(&mut self) -> Result<T, E> {
        self.result.take().expect("the result is taken once")
    }
}

/// Reports an error that was not taken as unhandled.
impl<T, E: DeferredError> Drop for Ready<T, E> {
    fn drop(&mut self) {
        if let Some(Err(error)) = &self.result {
            report::unhandled(error, self.made, self.last);
        }
    }
}
