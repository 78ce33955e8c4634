//! The state of a pending Deferred, and the result in its slot.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::panic::Location;
use std::rc::{Rc, Weak};

use super::kind::Kind;
use super::record::{self, GIVE};
use super::region::{IN_PLACE, Region};
use crate::engine::never_unwinding;
use crate::error::{Cancelled, Interrupt};

/// A place in the source.
pub(in crate::engine) type Place = &'static Location<'static>;

/// The bits of a block's status. A byte, since a larger word that is changed by the byte and then read whole stalls.
mod bit {
    /// The source has spoken: it was fired or cancelled, and what comes from it now is ignored.
    pub(super) const FIRED: u8 = 1;
    /// A loop is in this block.
    pub(super) const BUSY: u8 = 1 << 1;
    /// There are pauses.
    pub(super) const PAUSED: u8 = 1 << 2;
    /// A `Chain` exists. Rule 3.
    pub(super) const HELD: u8 = 1 << 3;
    /// A `Handle` was taken, so this block must stay what the handle means.
    pub(super) const SHARED: u8 = 1 << 4;
    /// The last stage has left another block, whose result is waited for: `toward`.
    pub(super) const WAITING: u8 = 1 << 5;
    /// The first record is a canceller. Rule 6.
    pub(super) const CANCELLER: u8 = 1 << 6;
    /// The last record is a `Give`. Rule 6.
    pub(super) const GIVES: u8 = 1 << 7;
}

/// What became of a block's next stage.
pub(in crate::engine) enum Step {
    /// There is a result, and the loop goes on with it.
    Result,
    /// It left another block, whose result this one is to wait for.
    Wait(Rc<Block>),
    /// The result was given to a block that waited for it, which has it now.
    Gave(Rc<Block>),
    /// The result was taken for good; perhaps a block was fired with it.
    Ended(Option<Rc<Block>>),
    /// There is no stage left.
    Finished,
    /// It is paused, or has no result.
    Stopped,
}

/// The memory of one pending Deferred.
pub(in crate::engine) struct Block {
    status: Cell<u8>,
    /// The slot holds a result. Rule 2. Not in the status: it changes twice at every stage.
    full: Cell<bool>,
    /// `toward` has taken the place of this block, in its wait `heir_wait`.
    handed_over: Cell<bool>,
    /// Its canceller of the deciding kind runs.
    cancelling: Cell<bool>,
    pauses: Cell<u32>,
    /// How many waits have begun: tells one that goes on from one that is over. See `hand_over`.
    wait: Cell<u32>,
    heir_wait: Cell<u32>,
    /// The last cancel that came by.
    passed_cancel: Cell<u64>,
    /// The block that this one waits for, or that has taken its place. Weak: who can fire it holds it.
    toward: Cell<Option<Weak<Block>>>,
    /// Where the stage that waits was added.
    wait_at: Cell<Place>,
    /// Of what the last stage gives.
    pub(super) result: Cell<&'static Kind>,
    pub(in crate::engine) made: Place,
    pub(in crate::engine) last: Cell<Place>,
    pub(super) region: Region,
}

impl Block {
    /// One that is not fired, and whose `Chain` exists.
    #[inline(always)]
    pub(super) fn new(kind: &'static Kind, made: Place, last: Place) -> Rc<Block> {
        let mut block = Rc::new(MaybeUninit::<Block>::uninit());
        let place = Rc::get_mut(&mut block).expect("nobody else knows it yet").as_mut_ptr();
        // Field by field where it lies, so that no block is made on the stack and copied. (`new_uninit` looks for the
        // layout in two calls.)
        // SAFETY: every field is written, once. The words of the region may be anything.
        let block = unsafe {
            (&raw mut (*place).status).write(Cell::new(bit::HELD));
            (&raw mut (*place).full).write(Cell::new(false));
            (&raw mut (*place).handed_over).write(Cell::new(false));
            (&raw mut (*place).cancelling).write(Cell::new(false));
            (&raw mut (*place).pauses).write(Cell::new(0));
            (&raw mut (*place).wait).write(Cell::new(0));
            (&raw mut (*place).heir_wait).write(Cell::new(0));
            (&raw mut (*place).passed_cancel).write(Cell::new(0));
            (&raw mut (*place).toward).write(Cell::new(None));
            (&raw mut (*place).wait_at).write(Cell::new(made));
            (&raw mut (*place).result).write(Cell::new(kind));
            (&raw mut (*place).made).write(made);
            (&raw mut (*place).last).write(Cell::new(last));
            Region::begin(&raw mut (*place).region, kind.words);
            block.assume_init()
        };
        if kind.words > IN_PLACE {
            block.region.widen(kind.words);
        }
        block
    }

    #[inline(always)]
    fn has(&self, bits: u8) -> bool {
        self.status.get() & bits != 0
    }

    #[inline(always)]
    fn change(&self, off: u8, on: u8) {
        self.status.set(self.status.get() & !off | on);
    }

    pub(in crate::engine) fn is_fired(&self) -> bool {
        self.has(bit::FIRED)
    }

    pub(in crate::engine) fn is_cancelling(&self) -> bool {
        self.cancelling.get()
    }

    /// Nothing has happened to it.
    pub(super) fn is_new(&self) -> bool {
        self.status.get() == bit::HELD && self.region.is_empty()
    }

    #[inline(always)]
    pub(in crate::engine) fn is_full(&self) -> bool {
        self.full.get()
    }

    #[inline(always)]
    pub(in crate::engine) fn is_shared(&self) -> bool {
        self.has(bit::SHARED)
    }

    #[inline(always)]
    pub(in crate::engine) fn is_held(&self) -> bool {
        self.has(bit::HELD)
    }

    /// Its result is there, and a loop may take it through the stages.
    #[inline(always)]
    pub(in crate::engine) fn can_run(&self) -> bool {
        self.full.get() && !self.has(bit::BUSY | bit::PAUSED)
    }

    /// Its result is there, and nothing is left that would change it.
    #[inline(always)]
    pub(in crate::engine) fn is_done(&self) -> bool {
        self.can_run() && self.region.is_empty()
    }

    #[inline(always)]
    pub(in crate::engine) fn set_busy(&self) {
        self.change(0, bit::BUSY);
    }

    #[inline(always)]
    pub(in crate::engine) fn clear_busy(&self) {
        self.change(bit::BUSY, 0);
    }

    pub(super) fn set_shared(&self) {
        self.change(0, bit::SHARED);
    }

    /// The `Chain` is gone.
    #[inline(always)]
    pub(super) fn let_go(&self) {
        self.change(bit::HELD, 0);
    }

    /// A new block of a `Chain` whose source has spoken.
    pub(super) fn set_fired(&self) {
        self.change(0, bit::FIRED);
    }

    /// # Panics
    /// At the 4,294,967,296th pause of one Deferred.
    pub(in crate::engine) fn pause(&self) {
        self.pauses.set(self.pauses.get().checked_add(1).expect("4,294,967,296 pauses of one Deferred"));
        self.change(0, bit::PAUSED);
    }

    pub(in crate::engine) fn unpause(&self) {
        self.pauses.set(self.pauses.get() - 1);
        if self.pauses.get() == 0 {
            self.change(bit::PAUSED, 0);
        }
    }

    /// Notes that a cancel has come by. Says whether it had already.
    pub(in crate::engine) fn pass_cancel(&self, number: u64) -> bool {
        self.passed_cancel.replace(number) == number
    }
}

/// The result.
impl Block {
    /// Of what the first stage takes: what the slot holds, or waits for. A canceller decides on the same.
    fn wants(&self) -> &'static Kind {
        self.region.first().and_then(|record| record.head().table.wants).unwrap_or(self.result.get())
    }

    /// Fills the slot.
    ///
    /// # Safety
    /// `write` moves the result into the slot that the block wants, or that its stage has just given.
    #[inline(always)]
    pub(super) unsafe fn fill(&self, write: impl FnOnce(&Region)) {
        debug_assert!(!self.is_full(), "the slot holds a result");
        write(&self.region);
        self.full.set(true);
    }

    /// Empties the slot, whose result `read` moves out.
    ///
    /// # Safety
    /// The slot is full, and holds what `read` takes.
    #[inline(always)]
    pub(super) unsafe fn empty<R>(&self, read: impl FnOnce(&Region) -> R) -> R {
        debug_assert!(self.is_full(), "the slot holds no result");
        self.full.set(false);
        read(&self.region)
    }

    /// Fires an unfired block, with what `write` moves into its slot. The canceller is for the loop to drop.
    ///
    /// # Safety
    /// The block is unfired, and `write` moves in a result of the type that it wants.
    #[inline(always)]
    pub(super) unsafe fn fire(&self, write: impl FnOnce(&Region)) {
        debug_assert!(!self.is_fired());
        // SAFETY: the caller's promise; the slot of an unfired block is empty.
        unsafe { self.fill(write) };
        self.change(0, bit::FIRED);
    }

    /// Fires the block with an error of the library's, unless it is fired. Says whether it was not.
    #[cold]
    pub(in crate::engine) fn interrupt(&self, why: Interrupt) -> bool {
        if self.is_fired() {
            return false;
        }
        let kind = self.wants();
        // SAFETY: the kind is that of what the unfired block wants.
        unsafe { (kind.fire)(self, why) }
    }

    /// Gives an error of the library's to a block whose stage has just left something to wait for.
    #[cold]
    pub(in crate::engine) fn refuse(&self, why: Interrupt) {
        assert!(self.has(bit::WAITING), "it waits for a result");
        self.end_wait();
        let kind = self.wants();
        // SAFETY: the kind is that of what the block wants. It has waited, so it is empty.
        unsafe { (kind.refuse)(self, why, self.wait_at.get()) };
    }

    /// Moves the result to `to`, which waits for it. An error is told where the stage that waited was added.
    pub(in crate::engine) fn move_result(&self, to: &Block) {
        let kind = self.result.get();
        assert!(self.is_done() && !self.is_held() && to.has(bit::WAITING) && kind.is(to.wants()), "of another type");
        to.end_wait();
        // SAFETY: both slots are of this kind (rules 2 and 4), this one is full, and `to`, which has waited, is empty.
        unsafe { (kind.give)(self, to, to.wait_at.get()) };
    }

    /// What was waited for is there: the block no longer waits, and is empty until that is moved in.
    fn end_wait(&self) {
        self.change(bit::WAITING, 0);
        drop(self.toward.take());
    }

    /// Drops the result of a block that has come to its end and that nobody holds: an error that nobody has handled is
    /// reported.
    pub(in crate::engine) fn end(&self) {
        if self.is_done() && !self.is_held() {
            // SAFETY: behind the last stage the slot holds what that has given.
            unsafe { (self.result.get().end)(self) };
        }
    }
}

/// What is done with the result.
impl Block {
    /// Takes the result, if it is there, through one stage, and as long as there is a result and `go_on` says so through
    /// the next ones.
    #[inline(always)]
    pub(in crate::engine) fn step(&self, go_on: impl Fn() -> bool) -> Step {
        if !self.is_full() {
            return Step::Stopped;
        }
        loop {
            debug_assert!(self.is_full());
            if self.has(bit::PAUSED) {
                return Step::Stopped;
            }
            let Some(record) = self.region.first() else { return Step::Finished };
            // SAFETY: the slot is full, at first as was seen and later since the stage before has left a result. It
            // holds what the first stage takes; a canceller's `run` only panics.
            let step = unsafe { (record.head().table.run)(self, record) };
            if !matches!(step, Step::Result) || !go_on() {
                return step;
            }
        }
    }

    /// Notes that the stage which was added at `at` has left something to wait for.
    #[inline(always)]
    pub(super) fn begin_wait(&self, at: Place) {
        debug_assert!(!self.is_full());
        self.wait_at.set(at);
        self.wait.set(self.wait.get().wrapping_add(1));
        self.change(0, bit::WAITING);
    }

    /// Notes what a waiting block waits for.
    pub(in crate::engine) fn set_awaited(&self, inner: &Rc<Block>) {
        self.toward.set(Some(Rc::downgrade(inner)));
    }

    /// The block that this one waits for, if it waits for one that still is there.
    pub(in crate::engine) fn awaited(&self) -> Option<Rc<Block>> {
        if self.has(bit::WAITING) { self.toward() } else { None }
    }

    /// The block to which this one has handed over, if it is still in the same wait.
    pub(in crate::engine) fn heir(&self) -> Option<Rc<Block>> {
        let heir = if self.handed_over.get() { self.toward()? } else { return None };
        (heir.wait.get() == self.heir_wait.get()).then_some(heir)
    }

    fn toward(&self) -> Option<Rc<Block>> {
        let weak = self.toward.take();
        let toward = weak.as_ref().and_then(Weak::upgrade);
        self.toward.set(weak);
        toward
    }

    /// Hands the place of this block, which only waits, over to `heir`: cancels go there, while its present wait goes on.
    pub(in crate::engine) fn hand_over(&self, heir: &Rc<Block>) {
        debug_assert!(self.has(bit::WAITING) && self.region.is_empty());
        self.change(bit::WAITING, 0);
        self.handed_over.set(true);
        self.heir_wait.set(heir.wait.get());
        self.toward.set(Some(Rc::downgrade(heir)));
    }

    /// All that is left to do is to pass on what it waits for.
    pub(in crate::engine) fn only_passes_on(&self) -> bool {
        self.status.get() & (bit::WAITING | bit::PAUSED) == bit::WAITING && self.region.is_empty()
    }

    /// Adds the last stage: it gives the result to `to`, which waits for it.
    pub(in crate::engine) fn push_give(&self, to: Rc<Block>) {
        assert!(self.status.get() & (bit::HELD | bit::GIVES) == 0, "somebody else may take the result");
        // SAFETY: the captures of a `Give` are the block, and `GIVES` is set.
        unsafe { self.push_record(&record::GIVES, self.last.get(), to, 0) };
        self.change(0, bit::GIVES);
    }

    /// Takes back the last stage, if it gives the result.
    pub(in crate::engine) fn take_give(&self) -> Option<Rc<Block>> {
        if !self.has(bit::GIVES) {
            return None;
        }
        self.change(bit::GIVES, 0);
        // SAFETY: the last record is a `Give`, and it is taken away.
        let to = unsafe { super::words::take(self.region.last_captures(GIVE)) };
        self.region.pop_last(GIVE);
        Some(to)
    }

    /// It is not paused, and all that is left to do with the result is to give it.
    pub(in crate::engine) fn only_gives(&self) -> bool {
        self.status.get() & (bit::GIVES | bit::PAUSED) == bit::GIVES && self.region.has_only(GIVE)
    }

    /// What the `Give` does: see `record`.
    pub(super) fn give(&self) -> Step {
        let to = self.take_give().expect("the stage that runs");
        self.clear_busy();
        self.move_result(&to);
        Step::Gave(to)
    }
}

/// The canceller.
impl Block {
    /// Notes that the first record is one now.
    pub(super) fn set_canceller(&self) {
        self.change(0, bit::CANCELLER);
    }

    #[inline(always)]
    pub(in crate::engine) fn has_canceller(&self) -> bool {
        self.has(bit::CANCELLER)
    }

    /// Notes that the first record is none any more.
    pub(super) fn clear_canceller(&self) {
        self.change(bit::CANCELLER, 0);
    }

    pub(super) fn set_cancelling(&self, on: bool) {
        self.cancelling.set(on);
    }

    /// Asks the canceller of an unfired block, if there is one, and fires with what it decides. Says whether this fired it.
    #[cold]
    pub(in crate::engine) fn ask_canceller(&self, why: &Cancelled) -> bool {
        debug_assert!(!self.is_fired());
        match self.region.first().filter(|_| self.has_canceller()) {
            None => self.interrupt(why.clone().into()),
            // SAFETY: the first record is a canceller.
            Some(record) => unsafe { (record.head().table.run_canceller)(self, record, why) },
        }
    }

    /// Drops the canceller, if there is one.
    #[cold]
    pub(in crate::engine) fn drop_canceller(&self) {
        if let Some(record) = self.region.first().filter(|_| self.has_canceller()) {
            self.clear_canceller();
            // SAFETY: it is the first record, and `drop` takes it away.
            never_unwinding(|| unsafe { (record.head().table.drop)(self, record) });
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // Nothing is left in the life of a Deferred: its source fires it, and the loop empties it. What is dropped here
        // was left undone at the end of a thread.
        if self.is_full() || !self.region.is_empty() {
            self.drop_contents();
        }
    }
}

impl Block {
    #[cold]
    fn drop_contents(&self) {
        if self.is_full() {
            let kind = self.wants();
            // SAFETY: the slot holds what the block wants.
            never_unwinding(|| unsafe { (kind.drop)(self) });
        }
        self.clear_canceller();
        while let Some(record) = self.region.first() {
            // SAFETY: it is the first record, and `drop` takes it away.
            never_unwinding(|| unsafe { (record.head().table.drop)(self, record) });
        }
    }
}
