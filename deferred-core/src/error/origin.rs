//! `Origin`: where an error was made, and in which context.

use std::any::Any;
use std::panic::Location;

use super::{CallSite, DeferredError, Failure};
use crate::context::Context;

/// The location where an error became a `Failure`, and the context that was current there.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) at: CallSite,
    pub(super) context: Context,
}

impl Origin {
    #[inline]
    pub(super) fn here(at: CallSite) -> Origin {
        Origin { at, context: Context::current() }
    }
}

impl Failure {
    /// Returns the location where the error became a `Failure`: the line of the `?`, of
    /// [`msg`](Failure::msg), of `into()`, or of another conversion.
    ///
    /// A conversion that is passed as a function, as in `map_err(Failure::from)`, has no location
    /// in the program; this is then one in this crate. So is that of an error that this crate has
    /// made itself, such as a cancel.
    #[must_use]
    pub fn made_at(&self) -> &'static Location<'static> {
        self.origin().at
    }

    /// Returns the context in which the error was made: that of the coroutine, timer or job with
    /// the `?`, for example. If there was none, it is the context of the first coroutine that ended
    /// with the error. The report of an unhandled error is made in this context.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::{Failure, with_context};
    ///
    /// let failure = with_context(7_u32, || Failure::msg("no such row"));
    /// assert_eq!(*failure.context().get::<u32>().unwrap(), 7);
    /// ```
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.origin().context
    }
}

/// Returns the context of the error, if its type stores it.
pub(crate) fn context_of<E: DeferredError>(error: &E) -> Option<&Context> {
    Some((error as &dyn Any).downcast_ref::<Failure>()?.context())
}

/// Makes this the context of an error that was made without one.
pub(crate) fn adopt_context<E: DeferredError>(error: &mut E, context: &Context) {
    let failure = (error as &mut dyn Any).downcast_mut::<Failure>();
    if let Some(failure) = failure.filter(|failure| failure.context().is_empty()) {
        failure.origin_mut().context = context.clone();
    }
}
