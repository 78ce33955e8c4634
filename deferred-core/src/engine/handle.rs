//! What cancels and pauses a block, wherever its ends have gone.

#![forbid(unsafe_code)]

use super::raw::BlockRef;
use super::run;
use crate::error::Cancelled;

/// A handle to a block, with no type and no right to either end.
#[derive(Clone)]
pub(crate) struct Handle(pub(super) BlockRef);

impl Handle {
    pub(crate) fn cancel(&self, why: &Cancelled) {
        run::cancel_now(self.0.clone(), why);
    }

    /// Cancels after the callback that runs: now, where none does.
    pub(crate) fn cancel_soon(&self, why: &Cancelled) {
        run::cancel_soon(self.0.clone(), why);
    }

    /// What a canceller does that passes a cancel on: the same cancel, which each block passes on once, after that
    /// canceller. Elsewhere, [`cancel_soon`](Self::cancel_soon).
    pub(crate) fn pass_cancel(&self, why: &Cancelled) {
        run::pass_cancel(self.0.clone(), why);
    }

    pub(crate) fn pause(&self) {
        self.0.state.pause();
    }

    /// Ends a pause, and runs what it held back.
    pub(crate) fn unpause(self) {
        run::unpause_now(self.0);
    }

    /// Ends a pause for a drop: now, or after the callback that runs.
    pub(crate) fn unpause_soon(self) {
        run::unpause_soon(self.0);
    }
}
