//! The state of a block beside its result: what it waits for, and who holds it back.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::rc::{Rc, Weak};

use super::raw::{Block, BlockRef, Place};

/// The bits of the status. A byte, since a larger word that is changed by the byte and then read whole stalls.
mod bit {
    /// A loop is in this block.
    pub(super) const BUSY: u8 = 1;
    /// There are pauses.
    pub(super) const PAUSED: u8 = 1 << 1;
    /// A `Handle` was taken, so this block must stay what the handle means.
    pub(super) const SHARED: u8 = 1 << 2;
    /// `toward` has taken the place of this block, in its wait `heir_wait`.
    pub(super) const HANDED_OVER: u8 = 1 << 3;
    /// The canceller of the deciding kind runs.
    pub(super) const CANCELLING: u8 = 1 << 4;
}

/// Nothing of this but `marks`, which only `raw` can change, is relied on by unsafe code.
pub(super) struct State<M> {
    /// What `raw` notes, which fits into the same word.
    pub(super) marks: M,
    status: Cell<u8>,
    pauses: Cell<u32>,
    /// How many waits have begun: tells one that goes on from one that is over. See `hand_over`.
    wait: Cell<u32>,
    heir_wait: Cell<u32>,
    /// The last cancel that came by.
    passed_cancel: Cell<u64>,
    /// The block that this one waits for, or that has taken its place. Weak: who can fire it holds it.
    toward: Cell<Option<Weak<Block>>>,
    pub(super) made: Place,
    pub(super) last: Cell<Place>,
}

impl<M> State<M> {
    #[inline(always)]
    pub(super) fn new(marks: M, made: Place, last: Place) -> Self {
        State {
            marks,
            status: Cell::new(0),
            pauses: Cell::new(0),
            wait: Cell::new(0),
            heir_wait: Cell::new(0),
            passed_cancel: Cell::new(0),
            toward: Cell::new(None),
            made,
            last: Cell::new(last),
        }
    }

    #[inline(always)]
    fn has(&self, bits: u8) -> bool {
        self.status.get() & bits != 0
    }

    #[inline(always)]
    fn change(&self, off: u8, on: u8) {
        self.status.set(self.status.get() & !off | on);
    }

    /// No loop is in the block, and nothing holds its result back.
    #[inline(always)]
    pub(super) fn is_free(&self) -> bool {
        !self.has(bit::BUSY | bit::PAUSED)
    }

    #[inline(always)]
    pub(super) fn set_busy(&self) {
        self.change(0, bit::BUSY);
    }

    #[inline(always)]
    pub(super) fn clear_busy(&self) {
        self.change(bit::BUSY, 0);
    }

    #[inline(always)]
    pub(super) fn is_paused(&self) -> bool {
        self.has(bit::PAUSED)
    }

    /// # Panics
    /// At the 4,294,967,296th pause of one Deferred.
    pub(super) fn pause(&self) {
        self.pauses.set(self.pauses.get().checked_add(1).expect("4,294,967,296 pauses of one Deferred"));
        self.change(0, bit::PAUSED);
    }

    pub(super) fn unpause(&self) {
        self.pauses.set(self.pauses.get() - 1);
        if self.pauses.get() == 0 {
            self.change(bit::PAUSED, 0);
        }
    }

    #[inline(always)]
    pub(super) fn is_shared(&self) -> bool {
        self.has(bit::SHARED)
    }

    pub(super) fn set_shared(&self) {
        self.change(0, bit::SHARED);
    }

    pub(super) fn is_cancelling(&self) -> bool {
        self.has(bit::CANCELLING)
    }

    pub(super) fn set_cancelling(&self, on: bool) {
        self.change(bit::CANCELLING, if on { bit::CANCELLING } else { 0 });
    }

    /// Notes that a cancel has come by. Says whether it had already.
    pub(super) fn pass_cancel(&self, number: u64) -> bool {
        self.passed_cancel.replace(number) == number
    }

    /// A wait begins.
    #[inline(always)]
    pub(super) fn count_wait(&self) {
        self.wait.set(self.wait.get().wrapping_add(1));
    }

    /// Notes what it waits for.
    pub(super) fn set_toward(&self, inner: &BlockRef) {
        self.toward.set(Some(Rc::downgrade(&inner.0)));
    }

    /// What it waits for, if that still is there, or its heir.
    pub(super) fn toward(&self) -> Option<BlockRef> {
        let weak = self.toward.take();
        let toward = weak.as_ref().and_then(Weak::upgrade);
        self.toward.set(weak);
        toward.map(|block| BlockRef(ManuallyDrop::new(block)))
    }

    /// It waits for nothing any more.
    pub(super) fn forget_toward(&self) {
        drop(self.toward.take());
    }

    /// Notes that `heir` has taken the place of this block: cancels go there, while its present wait goes on.
    pub(super) fn set_heir(&self, heir: &BlockRef) {
        self.change(0, bit::HANDED_OVER);
        self.heir_wait.set(heir.state.wait.get());
        self.set_toward(heir);
    }

    /// The block to which this one has handed over, if it is still in the same wait.
    pub(super) fn heir(&self) -> Option<BlockRef> {
        let heir = if self.has(bit::HANDED_OVER) { self.toward()? } else { return None };
        (heir.state.wait.get() == self.heir_wait.get()).then_some(heir)
    }
}
