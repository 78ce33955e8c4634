//! `CancelHandle` and `Pause`, which still work after their Deferred has been moved.

use std::fmt;

use crate::engine::Handle;
use crate::error::Cancelled;

/// A handle that cancels a [`Deferred`](crate::Deferred), even after the Deferred was moved:
/// returned from a callback, awaited, gathered.
///
/// [`Deferred::cancel_handle`](crate::Deferred::cancel_handle) creates it. It can be cloned. It
/// does not keep the Deferred alive; after the end of the Deferred, cancelling does nothing.
/// Dropping it has no effect.
///
/// # Examples
///
/// ```
/// use deferred_core::testing::failure_result_of;
/// use deferred_core::{Cancelled, Deferred};
///
/// let (mut inner, _resolver) = Deferred::<u32>::new();
/// let handle = inner.cancel_handle();
/// let outer = Deferred::succeed(()).add_callback(|()| inner);
/// handle.cancel();
/// assert!(failure_result_of(outer).check::<Cancelled>());
/// ```
#[derive(Clone)]
pub struct CancelHandle(pub(super) Handle);

impl CancelHandle {
    /// Returns the engine's handle.
    pub(crate) fn as_handle(&self) -> &Handle {
        &self.0
    }

    /// Cancels the Deferred like [`Deferred::cancel`](crate::Deferred::cancel).
    pub fn cancel(&self) {
        self.cancel_with(&Cancelled::new());
    }

    /// Cancels the Deferred with a reason, like
    /// [`Deferred::cancel_with`](crate::Deferred::cancel_with).
    pub fn cancel_with(&self, reason: &Cancelled) {
        self.0.cancel(reason);
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHandle").finish_non_exhaustive()
    }
}

/// A guard that holds back the callbacks of a [`Deferred`](crate::Deferred): none begins while it
/// exists.
///
/// [`Deferred::pause`](crate::Deferred::pause) creates it, and it stays valid when the Deferred is
/// moved. Pauses are counted: the end of the last one lets the callbacks run. Inside a callback of
/// another Deferred there are two ways to end a pause: [`unpause`](Pause::unpause) runs the
/// held-back callbacks inside the call; a drop runs them right after that callback. Outside of
/// callbacks the two are the same.
///
/// Twisted's `pause` and `unpause`.
#[must_use = "the pause ends at once if this is not bound to a variable"]
pub struct Pause(Option<Handle>);

impl Pause {
    pub(super) fn new(handle: Handle) -> Pause {
        handle.pause();
        Pause(Some(handle))
    }

    /// Ends the pause and, unless another pause remains, runs the held-back callbacks inside this
    /// call.
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
