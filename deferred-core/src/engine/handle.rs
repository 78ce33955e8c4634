//! `Handle`: cancels and pauses a block.

#![forbid(unsafe_code)]

use super::raw::BlockRef;
use super::run;
use crate::error::Cancelled;

/// A reference to a block that has no type and owns neither end.
#[derive(Clone)]
pub(crate) struct Handle(pub(super) BlockRef);

impl Handle {
    /// Returns a number that no other live block has.
    #[inline]
    pub(crate) fn id(&self) -> usize {
        self.0.id()
    }

    /// Cancels inside this call.
    pub(crate) fn cancel(&self, why: &Cancelled) {
        run::cancel_now(self.0.clone(), why);
    }

    /// Cancels after the callback that runs now, or inside this call if none runs.
    pub(crate) fn cancel_soon(&self, why: &Cancelled) {
        run::cancel_soon(self.0.clone(), why);
    }

    /// Passes on the cancel whose canceller is running, after that canceller. Each block passes the
    /// same cancel on only once. Outside of a canceller this is [`cancel_soon`](Self::cancel_soon).
    pub(crate) fn pass_cancel(&self, why: &Cancelled) {
        run::pass_cancel(self.0.clone(), why);
    }

    /// Begins a pause.
    pub(crate) fn pause(&self) {
        self.0.state.pause();
    }

    /// Ends a pause, and runs inside this call what it held back.
    pub(crate) fn unpause(self) {
        run::unpause_now(self.0);
    }

    /// Ends a pause after the callback that runs now, or inside this call if none runs.
    pub(crate) fn unpause_soon(self) {
        run::unpause_soon(self.0);
    }
}
