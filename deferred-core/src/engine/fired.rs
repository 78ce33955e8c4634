//! `Fired`: a fired block that has not run yet.

#![forbid(unsafe_code)]

use super::raw::BlockRef;

/// A block that was fired and that the run loop has still to run, or none if a result was ignored.
///
/// The block is busy until then, because its canceller may still be its first record. Stages that
/// are added, looks and cancels behave as between two stages.
#[must_use = "a block that is not run never calls its callbacks"]
pub(crate) struct Fired(Option<BlockRef>);

impl Fired {
    /// Makes a block that was just fired busy, and returns it.
    pub(in crate::engine) fn claim(block: BlockRef) -> Fired {
        block.state.set_busy();
        Fired(Some(block))
    }

    pub(in crate::engine) fn none() -> Fired {
        Fired(None)
    }

    pub(in crate::engine) fn into_block(self) -> Option<BlockRef> {
        self.0
    }
}
