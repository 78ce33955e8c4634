//! The part of a block's state that no unsafe code relies on: pauses, waits, cancels and locations.

#![forbid(unsafe_code)]

use std::cell::Cell;

use crate::error::CallSite;

/// The bits of the status.
///
/// They are one byte: a larger word that is written by the byte and then read whole would stall.
mod bit {
    /// A run loop is in this block.
    ///
    /// Set before the first stage of a run, cleared after the last one, at a pause, and before the
    /// block begins to wait. A block that was fired and whose `Fired` has not been run is `BUSY`
    /// too. No second loop enters a `BUSY` block (rule 3 of the engine).
    pub(super) const BUSY: u8 = 1;

    /// At least one pause exists, so `pauses` is not 0.
    ///
    /// Set by the first pause, cleared when the last one ends. It can stand beside every other bit:
    /// a pause in the block's own callback finds it `BUSY`, and stops the loop before the next
    /// stage.
    pub(super) const PAUSED: u8 = 1 << 1;

    /// A `Handle` of the user exists or existed, so later callbacks must use this block.
    ///
    /// Set by `Chain::handle`, and never cleared: the user may keep a clone of the handle.
    pub(super) const SHARED: u8 = 1 << 2;

    /// `link` is the block that has taken this one's place, and `successor_wait` the wait that it
    /// took over.
    ///
    /// Set when a block that only passes a result on is left out of a chain of waits. It never
    /// stands beside the raw bit `WAITING`: the wait is the successor's now.
    pub(super) const SUCCEEDED: u8 = 1 << 3;

    /// The canceller that decides on a result runs.
    ///
    /// Set and cleared around that one call. Meanwhile another cancel, and a drop of the source,
    /// are ignored: the canceller's decision fires the block. It never stands beside `BUSY`, since
    /// the block is unfired.
    pub(super) const CANCELLING: u8 = 1 << 4;

    /// A coroutine waits for this block: the last stage resumes it.
    ///
    /// Set when the wait begins; cleared when the coroutine is resumed, or gives the wait up. It
    /// stands beside `BUSY` while earlier stages run.
    pub(super) const AWAITED: u8 = 1 << 5;
}

/// The state of a block. `F` is the part that only `raw` changes and that fits into the same word;
/// `L` is a weak reference to a block.
pub(super) struct State<F, L> {
    /// The flags on which the unsafe code relies.
    pub(super) flags: F,
    status: Cell<u8>,
    pauses: Cell<u32>,
    /// The number of waits that have begun, by which a wait that goes on differs from one that has
    /// ended.
    waits: Cell<u32>,
    /// The successor's `waits` at the time when it took over.
    successor_wait: Cell<u32>,
    /// The number of the last cancel that was passed on.
    passed_cancel: Cell<u64>,
    /// The block that this one waits for, or its successor. Weak, since the source of that block
    /// owns it.
    link: Cell<Option<L>>,
    /// The location where the Deferred was created.
    pub(super) made: CallSite,
    /// The location where the last stage was added.
    pub(super) last: Cell<CallSite>,
}

impl<F, L> State<F, L> {
    #[inline]
    pub(super) fn new(flags: F, made: CallSite, last: CallSite) -> Self {
        State {
            flags,
            status: Cell::new(0),
            pauses: Cell::new(0),
            waits: Cell::new(0),
            successor_wait: Cell::new(0),
            passed_cancel: Cell::new(0),
            link: Cell::new(None),
            made,
            last: Cell::new(last),
        }
    }

    #[inline]
    fn has(&self, bits: u8) -> bool {
        self.status.get() & bits != 0
    }

    #[inline]
    fn change(&self, off: u8, on: u8) {
        self.status.set(self.status.get() & !off | on);
    }

    /// Returns `true` if no loop is in the block and no pause holds its result back.
    #[inline]
    pub(super) fn is_free(&self) -> bool {
        !self.has(bit::BUSY | bit::PAUSED)
    }

    #[inline]
    pub(super) fn set_busy(&self) {
        self.change(0, bit::BUSY);
    }

    #[inline]
    pub(super) fn clear_busy(&self) {
        self.change(bit::BUSY, 0);
    }

    #[inline]
    pub(super) fn is_paused(&self) -> bool {
        self.has(bit::PAUSED)
    }

    /// Begins a pause.
    ///
    /// # Panics
    ///
    /// Panics at the 4,294,967,296th simultaneous pause of one Deferred.
    pub(super) fn pause(&self) {
        self.pauses.set(self.pauses.get().checked_add(1).expect("4,294,967,296 pauses of one Deferred"));
        self.change(0, bit::PAUSED);
    }

    /// Ends a pause.
    pub(super) fn unpause(&self) {
        self.pauses.set(self.pauses.get() - 1);
        if self.pauses.get() == 0 {
            self.change(bit::PAUSED, 0);
        }
    }

    #[inline]
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

    /// Returns `true` if a coroutine waits for this block.
    #[inline]
    pub(super) fn is_awaited(&self) -> bool {
        self.has(bit::AWAITED)
    }

    #[inline]
    pub(super) fn set_awaited(&self, on: bool) {
        self.change(bit::AWAITED, if on { bit::AWAITED } else { 0 });
    }

    /// Records that a cancel is passed on. Returns `true` if the same cancel was passed on before.
    pub(super) fn pass_cancel(&self, number: u64) -> bool {
        self.passed_cancel.replace(number) == number
    }

    /// Counts a wait that begins.
    #[inline]
    pub(super) fn count_wait(&self) {
        self.waits.set(self.waits.get().wrapping_add(1));
    }

    /// Sets the link to the block that this one waits for.
    pub(super) fn set_link(&self, link: L) {
        self.link.set(Some(link));
    }

    #[inline]
    pub(super) fn has_link(&self) -> bool {
        self.with_link(|_| ()).is_some()
    }

    /// Drops the link.
    pub(super) fn clear_link(&self) {
        drop(self.link.take());
    }

    /// Calls `f` with the link, if one is set.
    #[inline]
    pub(super) fn with_link<R>(&self, f: impl FnOnce(&L) -> R) -> Option<R> {
        let link = self.link.take();
        let returned = link.as_ref().map(f);
        self.link.set(link);
        returned
    }

    /// Makes the block with this link and this state the successor: cancels go there for as long as
    /// its present wait lasts.
    pub(super) fn set_successor(&self, link: L, successor: &Self) {
        self.change(0, bit::SUCCEEDED);
        self.successor_wait.set(successor.waits.get());
        self.set_link(link);
    }

    pub(super) fn has_successor(&self) -> bool {
        self.has(bit::SUCCEEDED)
    }

    /// Returns `true` if `successor` is still in the wait that it took over from this block.
    pub(super) fn is_in_wait_of(&self, successor: &Self) -> bool {
        successor.waits.get() == self.successor_wait.get()
    }
}
