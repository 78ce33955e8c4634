//! A result that is there, without a block.

use std::panic::Location;

use crate::error::{self, Fault};

/// The result of a Deferred that needs no memory of its own, with the two places that a report names.
pub(crate) struct Ready<T, E: Fault> {
    /// None once it was taken, and then only until this is dropped or replaced.
    result: Option<Result<T, E>>,
    pub(crate) made: &'static Location<'static>,
    pub(crate) last: &'static Location<'static>,
}

impl<T, E: Fault> Ready<T, E> {
    #[inline(always)]
    pub(crate) fn new(
        result: Result<T, E>,
        made: &'static Location<'static>,
        last: &'static Location<'static>,
    ) -> Self {
        Ready { result: Some(result), made, last }
    }

    pub(crate) fn get(&self) -> &Result<T, E> {
        self.result.as_ref().expect("not taken yet")
    }

    #[inline(always)]
    pub(crate) fn take(mut self) -> Result<T, E> {
        self.take_out()
    }

    /// Takes the result; nothing else may be asked of this afterwards.
    #[inline(always)]
    pub(crate) fn take_out(&mut self) -> Result<T, E> {
        self.result.take().expect("taken once")
    }
}

/// An error that nobody took was not handled.
impl<T, E: Fault> Drop for Ready<T, E> {
    fn drop(&mut self) {
        if let Some(Err(error)) = &self.result {
            error::report(error, self.made, self.last);
        }
    }
}
