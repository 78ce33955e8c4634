//! A result that is there, without a block.

use std::mem::ManuallyDrop;

use super::block::Place;
use crate::error::{self, Fault};

/// The result of a Deferred that needs no memory of its own, with the two places that a report names.
pub(crate) struct Ready<T, E: Fault> {
    /// Not there any more when `made` is `None`, which it is only until this is dropped or replaced.
    result: ManuallyDrop<Result<T, E>>,
    made: Option<Place>,
    last: Place,
}

impl<T, E: Fault> Ready<T, E> {
    #[inline(always)]
    pub(crate) fn new(result: Result<T, E>, made: Place, last: Place) -> Self {
        Ready { result: ManuallyDrop::new(result), made: Some(made), last }
    }

    pub(crate) fn get(&self) -> &Result<T, E> {
        self.made();
        &self.result
    }

    #[inline(always)]
    pub(crate) fn take(mut self) -> Result<T, E> {
        self.take_out()
    }

    /// Takes the result; nothing else may be asked of this afterwards.
    #[inline(always)]
    pub(crate) fn take_out(&mut self) -> Result<T, E> {
        assert!(self.made.take().is_some(), "taken once");
        // SAFETY: `made` was there, so the result is; and now it is not.
        unsafe { ManuallyDrop::take(&mut self.result) }
    }

    #[inline(always)]
    pub(crate) fn made(&self) -> Place {
        self.made.expect("not taken yet")
    }

    pub(crate) fn last(&self) -> Place {
        self.last
    }
}

/// An error that nobody took was not handled.
impl<T, E: Fault> Drop for Ready<T, E> {
    #[inline(always)]
    fn drop(&mut self) {
        let Some(made) = self.made else { return };
        if let Err(error) = &*self.result {
            error::report(error, made, self.last);
        }
        // SAFETY: `made` is there, so the result is.
        unsafe { ManuallyDrop::drop(&mut self.result) };
    }
}
