//! The operations of a [`Handle`](super::Handle), which the rest of the crate calls: cancels and
//! pauses.

#![forbid(unsafe_code)]

use super::raw::BlockRef;
use super::run;
use crate::error::Cancelled;

/// A reference to a block that has no type and owns neither end. Outside of the engine its name is
/// `Handle`.
impl BlockRef {
    /// Cancels inside this call.
    pub(crate) fn cancel(&self, why: &Cancelled) {
        run::cancel_now(self.clone(), why);
    }

    /// Cancels after the callback that runs now, or inside this call if none runs.
    pub(crate) fn cancel_soon(&self, why: &Cancelled) {
        run::cancel_soon(self.clone(), why);
    }

    /// Passes on the cancel whose canceller is running, after that canceller. Each block passes the
    /// same cancel on only once. Outside of a canceller this is [`cancel_soon`](Self::cancel_soon).
    pub(crate) fn pass_cancel(&self, why: &Cancelled) {
        run::pass_cancel(self.clone(), why);
    }

    /// Begins a pause.
    pub(crate) fn pause(&self) {
        self.state.pause();
    }

    /// Ends a pause, and runs inside this call what it held back.
    pub(crate) fn unpause(self) {
        run::unpause_now(self);
    }

    /// Ends a pause after the callback that runs now, or inside this call if none runs.
    pub(crate) fn unpause_soon(self) {
        run::unpause_soon(self);
    }
}
