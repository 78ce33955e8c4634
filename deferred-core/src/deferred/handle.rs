//! What reaches a Deferred that has gone elsewhere.

use std::fmt;

use crate::engine::Handle;
use crate::error::Cancelled;

/// Cancels a [`Deferred`](crate::Deferred) wherever it has gone: returned from a callback, awaited,
/// gathered.
///
/// It comes from [`Deferred::cancel_handle`](crate::Deferred::cancel_handle) and may be cloned. It
/// does not keep the Deferred from ending; after that, cancelling does nothing. Dropping it changes
/// nothing.
///
/// # Examples
///
/// ```
/// use deferred_core::{Cancelled, Deferred};
///
/// let (mut inner, _resolver) = Deferred::<u32>::new();
/// let handle = inner.cancel_handle();
/// let outer = Deferred::succeed(()).add_callback(|()| inner);
/// handle.cancel();
/// assert!(outer.try_take().unwrap().unwrap_err().check::<Cancelled>());
/// ```
#[derive(Clone)]
pub struct CancelHandle(pub(super) Handle);

impl CancelHandle {
    /// As [`Deferred::cancel`](crate::Deferred::cancel).
    pub fn cancel(&self) {
        self.cancel_with(&Cancelled::new());
    }

    /// As [`Deferred::cancel_with`](crate::Deferred::cancel_with).
    pub fn cancel_with(&self, why: &Cancelled) {
        self.0.cancel(why);
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHandle").finish_non_exhaustive()
    }
}

/// Holds a [`Deferred`](crate::Deferred) back: none of its callbacks begins while this lives.
///
/// It comes from [`Deferred::pause`](crate::Deferred::pause) and outlives the moves of its
/// Deferred. Pauses are counted: the last one to end lets the callbacks run. Whoever ends it inside
/// a callback of another Deferred has the choice: [`unpause`](Pause::unpause) runs what was held
/// back inside the call; a drop runs it right after that callback. Where no callback runs, the two
/// are the same.
///
/// Twisted's `pause` and `unpause`.
#[must_use = "dropping a Pause ends it"]
pub struct Pause(Option<Handle>);

impl Pause {
    pub(super) fn new(handle: Handle) -> Pause {
        handle.pause();
        Pause(Some(handle))
    }

    /// Ends the pause, and runs the callbacks that it held back, if no other holds them back too.
    pub fn unpause(mut self) {
        if let Some(handle) = self.0.take() {
            handle.unpause();
        }
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            handle.unpause_soon();
        }
    }
}

impl fmt::Debug for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pause").finish_non_exhaustive()
    }
}
