//! The block, who holds it, and the result in its slot.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::Location;
use std::ptr;
use std::rc::Rc;

use super::kind::Kind;
use super::record::{self, GIVE, Table};
use super::region::Region;
use super::words::{put, take, words};
use crate::engine::{never_unwinding, spare, state::State};
use crate::error::{Cancelled, Interrupt};

/// A place in the source.
pub(in crate::engine) type Place = &'static Location<'static>;

/// What became of a block's next stage.
pub(in crate::engine) enum Step {
    /// There is a result, and the loop goes on with it.
    Result,
    /// It left another block, whose result this one is to wait for.
    Wait(BlockRef),
    /// The result was given to a block that waited for it, which has it now.
    Gave(BlockRef),
    /// The result was taken for good; perhaps a block was fired with it.
    Ended(Option<BlockRef>),
    /// The block's `Chain` was told that the result is there; perhaps a block was fired by that.
    Told(Option<BlockRef>),
    /// There is no stage left.
    Finished,
    /// It is paused, or has no result.
    Stopped,
}

/// What the rules rely on. Yes or no.
pub(in crate::engine) struct Marks {
    /// The slot holds a result. Rule 2.
    full: Cell<bool>,
    bits: Cell<u8>,
}

/// The bits of [`Marks`].
mod bit {
    /// The source has spoken: it was fired or cancelled, and what comes from it now is ignored.
    pub(super) const FIRED: u8 = 1;
    /// A `Chain` exists. Rule 3.
    pub(super) const HELD: u8 = 1 << 1;
    /// The first record is a canceller. Rule 6.
    pub(super) const CANCELLER: u8 = 1 << 2;
    /// The last record is a `Give`. Rule 6.
    pub(super) const GIVES: u8 = 1 << 3;
    /// The last stage has left another block, whose result is waited for. Rule 2.
    pub(super) const WAITING: u8 = 1 << 4;
}

/// The memory of one pending Deferred.
pub(in crate::engine) struct Block {
    pub(in crate::engine) state: State<Marks>,
    /// Of what the last stage gives.
    pub(super) result: Cell<&'static Kind>,
    pub(in crate::engine) region: Region,
}

/// A block, for as long as somebody holds it. The memory of one that nobody knows any more is kept for another.
#[derive(Clone)]
pub(in crate::engine) struct BlockRef(pub(in crate::engine) ManuallyDrop<Rc<Block>>);

impl BlockRef {
    /// One that is not fired, and whose `Chain` exists.
    #[inline(always)]
    pub(super) fn new(kind: &'static Kind, made: Place, last: Place) -> BlockRef {
        let marks = Marks { full: Cell::new(false), bits: Cell::new(bit::HELD) };
        let mut block = spare::take();
        let place = Rc::get_mut(&mut block).expect("nobody else knows it yet").as_mut_ptr();
        // Field by field where it lies, so that no block is made on the stack and copied. (`new_uninit` looks for the
        // layout in two calls.)
        // SAFETY: every field is written, once.
        let block = unsafe {
            (&raw mut (*place).state).write(State::new(marks, made, last));
            (&raw mut (*place).result).write(Cell::new(kind));
            (&raw mut (*place).region).write(Region::new(kind.words));
            BlockRef(ManuallyDrop::new(block.assume_init()))
        };
        block.region.place(kind.words);
        block
    }
}

impl Deref for BlockRef {
    type Target = Block;

    #[inline(always)]
    fn deref(&self) -> &Block {
        &self.0
    }
}

impl Drop for BlockRef {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: taken once, here at the end.
        let block = unsafe { ManuallyDrop::take(&mut self.0) };
        if Rc::strong_count(&block) == 1 {
            forget(block);
        }
    }
}

/// Drops a block of which this is the last `BlockRef`, and keeps its memory, unless somebody still has a `Weak`.
#[inline(never)]
fn forget(block: Rc<Block>) {
    if block.is_full() || !block.region.is_empty() {
        block.drop_leftovers();
    }
    // Not by `get_mut`: a `&mut Block` would end what the region's pointers are derived from. And asked after foreign code.
    if Rc::strong_count(&block) == 1 && Rc::weak_count(&block) == 0 {
        let place = Rc::into_raw(block);
        // SAFETY: nobody else knows it, so it is dropped once. What is left is memory of the same layout.
        unsafe {
            ptr::drop_in_place(place.cast_mut());
            spare::keep(Rc::from_raw(place.cast()));
        }
    }
}

impl Block {
    #[inline(always)]
    fn has(&self, bits: u8) -> bool {
        self.state.marks.bits.get() & bits != 0
    }

    #[inline(always)]
    fn set(&self, bits: u8) {
        self.state.marks.bits.set(self.state.marks.bits.get() | bits);
    }

    #[inline(always)]
    fn clear(&self, bits: u8) {
        self.state.marks.bits.set(self.state.marks.bits.get() & !bits);
    }

    #[inline(always)]
    pub(in crate::engine) fn is_fired(&self) -> bool {
        self.has(bit::FIRED)
    }

    #[inline(always)]
    pub(in crate::engine) fn is_full(&self) -> bool {
        self.state.marks.full.get()
    }

    #[inline(always)]
    pub(in crate::engine) fn is_held(&self) -> bool {
        self.has(bit::HELD)
    }

    /// The last stage has left another block, whose result is waited for.
    pub(in crate::engine) fn is_waiting(&self) -> bool {
        self.has(bit::WAITING)
    }

    /// The `Chain` is gone.
    #[inline(always)]
    pub(super) fn let_go(&self) {
        self.clear(bit::HELD);
    }

    /// It is the new block of a `Chain` whose source has spoken.
    pub(super) fn set_fired(&self) {
        self.set(bit::FIRED);
    }

    /// It is not paused, and all that is left to do with the result is to give it.
    pub(in crate::engine) fn only_gives(&self) -> bool {
        self.has(bit::GIVES) && !self.state.is_paused() && self.region.has_only(GIVE)
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
    /// It is empty, and `R` is what the block wants, or what its stage has just given.
    #[inline(always)]
    pub(super) unsafe fn fill<R>(&self, result: R) {
        debug_assert!(!self.is_full(), "the slot holds a result");
        // SAFETY: the caller's promise; the slot is large enough for every result of its chain.
        unsafe { put(self.region.slot(words::<R>()), result) };
        self.state.marks.full.set(true);
    }

    /// Empties the slot.
    ///
    /// # Safety
    /// It holds an `R`.
    #[inline(always)]
    pub(super) unsafe fn empty<R>(&self) -> R {
        debug_assert!(self.is_full(), "the slot holds no result");
        self.state.marks.full.set(false);
        // SAFETY: the caller's promise.
        unsafe { take(self.region.slot(words::<R>())) }
    }

    /// Fires an unfired block. The canceller is for the loop to drop.
    ///
    /// # Safety
    /// The block is unfired, and wants an `R`.
    #[inline(always)]
    pub(super) unsafe fn fire<R>(&self, result: R) {
        debug_assert!(!self.is_fired());
        // SAFETY: the caller's promise; the slot of an unfired block is empty.
        unsafe { self.fill(result) };
        self.set_fired();
    }

    /// Fires the block with an error of the library's, unless it is fired. Says whether it was not.
    #[cold]
    pub(in crate::engine) fn interrupt(&self, why: Interrupt) -> bool {
        // SAFETY: the kind is that of what an unfired block wants.
        !self.is_fired() && unsafe { (self.wants().interrupt)(self, why, None) }
    }

    /// Gives an error of the library's to a block whose stage has just left something to wait for.
    #[cold]
    pub(in crate::engine) fn refuse(&self, why: Interrupt) {
        let at = Some(self.end_wait());
        // SAFETY: the kind is that of what the block wants. It is empty.
        unsafe { (self.wants().interrupt)(self, why, at) };
    }

    /// Moves the result to `to`, which waits for it. An error is told where the stage that waited was added.
    pub(in crate::engine) fn move_result(&self, to: &Block) {
        let kind = self.result.get();
        assert!(self.is_done() && !self.is_held(), "somebody else may take the result");
        assert!(kind.is(to.wants()), "it waits for another result");
        let at = to.end_wait();
        // SAFETY: both slots are of this kind (rules 2 and 4). This one is full, and `to` is empty.
        unsafe { (kind.give)(self, to, at) };
    }

    /// Drops the result of a block that has come to its end and that nobody holds: an error that nobody has handled is
    /// reported.
    #[inline]
    pub(in crate::engine) fn end(&self) {
        if !self.is_held() && self.is_done() {
            // SAFETY: behind the last stage the slot holds what that has given.
            unsafe { (self.result.get().end)(self) };
        }
    }

    /// Takes the result, if it is there, through one stage, and as long as there is a result and `go_on` says so through
    /// the next ones.
    #[inline(always)]
    pub(in crate::engine) fn step(&self, go_on: impl Fn() -> bool) -> Step {
        if !self.is_full() {
            return Step::Stopped;
        }
        loop {
            debug_assert!(self.is_full());
            if self.state.is_paused() {
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
}

/// The wait for the result of another block.
impl Block {
    /// Notes that the stage which was added at `at` has left something to wait for.
    #[inline(always)]
    pub(super) fn begin_wait(&self, at: Place) {
        debug_assert!(!self.is_full() && !self.has(bit::WAITING));
        self.state.count_wait();
        // SAFETY: the slot is empty, and has a word. `WAITING` says that this one is in it.
        unsafe { put(self.region.slot(1), at) };
        self.set(bit::WAITING);
    }

    /// What was waited for is there. Gives the place of the stage that waited.
    fn end_wait(&self) -> Place {
        assert!(self.has(bit::WAITING), "it waits for a result");
        self.clear(bit::WAITING);
        self.state.forget_toward();
        // SAFETY: it was waiting, so the slot held a place.
        unsafe { take(self.region.slot(1)) }
    }

    /// Hands the place of this block, which only waits, over to `heir`.
    pub(in crate::engine) fn hand_over(&self, heir: &BlockRef) {
        debug_assert!(self.region.is_empty());
        self.clear(bit::WAITING);
        self.state.set_heir(heir);
    }
}

/// The last stage of a block for which another one waits.
impl Block {
    /// Adds it: it gives the result to `to`.
    pub(in crate::engine) fn push_give(&self, to: BlockRef) {
        assert!(!self.has(bit::HELD | bit::GIVES), "somebody else may take the result");
        // SAFETY: the captures of a `Give` are the block, and `GIVES` is set.
        unsafe { self.push_record(&record::GIVES, self.state.last.get(), to, 0) };
        self.set(bit::GIVES);
    }

    /// Takes it back, if there is one.
    pub(in crate::engine) fn take_give(&self) -> Option<BlockRef> {
        if !self.has(bit::GIVES) {
            return None;
        }
        self.clear(bit::GIVES);
        // SAFETY: the last record is a `Give`, and it is taken away.
        let to = unsafe { take(self.region.last_captures(GIVE)) };
        self.region.pop_last(GIVE);
        Some(to)
    }
}

/// The canceller.
impl Block {
    /// Gives one to a new block.
    ///
    /// # Safety
    /// The table is of a canceller `C`, which decides on what the block wants.
    pub(super) unsafe fn push_canceller<C>(&self, table: &'static Table, captures: C) {
        assert!(!self.is_fired() && self.region.is_empty(), "a canceller comes first");
        // SAFETY: the caller's promise; it is the first record, and `CANCELLER` is set.
        unsafe { self.push_record(table, self.state.made, captures, 0) };
        self.set(bit::CANCELLER);
    }

    #[inline(always)]
    pub(in crate::engine) fn has_canceller(&self) -> bool {
        self.has(bit::CANCELLER)
    }

    /// Notes that the first record is none any more.
    pub(super) fn clear_canceller(&self) {
        self.clear(bit::CANCELLER);
    }

    /// Asks the canceller of an unfired block, if there is one, and fires with what it decides. Says whether this fired it.
    #[cold]
    pub(in crate::engine) fn ask_canceller(&self, why: &Cancelled) -> bool {
        match self.region.first().filter(|_| self.has_canceller()) {
            None => self.interrupt(why.clone().into()),
            // SAFETY: the first record is a canceller.
            Some(record) => unsafe { (record.head().table.run_canceller)(self, record, why) },
        }
    }

    /// Drops the canceller, if there is one.
    #[cold]
    pub(in crate::engine) fn drop_canceller(&self) {
        if self.has_canceller() {
            self.clear_canceller();
            self.drop_first_record();
        }
    }

    /// Drops the first record, if there is one. Says whether there was.
    fn drop_first_record(&self) -> bool {
        let Some(record) = self.region.first() else { return false };
        // SAFETY: it is the first record, and `drop` takes it away.
        never_unwinding(|| unsafe { (record.head().table.drop)(self, record) });
        true
    }
}

/// The end.
impl Block {
    /// Drops what is in it. Nothing is left in the life of a Deferred: its source fires it, and the loop empties it. What is
    /// dropped here was left undone at the end of a thread.
    ///
    /// Not in `Drop for Block`, which has a `&mut Block`: see [`forget`].
    #[cold]
    fn drop_leftovers(&self) {
        if self.is_full() {
            // SAFETY: the slot holds what the block wants.
            never_unwinding(|| unsafe { (self.wants().drop)(self) });
        }
        while self.drop_first_record() {}
    }
}
