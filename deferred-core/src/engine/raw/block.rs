//! The block: its flags, the references to it, and the result in its slot.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr;
use std::rc::{Rc, Weak};

use super::free_list::{self, Memory};
use super::region::Region;
use super::result_vtable::ResultVtable;
use super::stage::{DELIVER, RESUME, StageVtable};
use super::words::{put, take, words};
use crate::abort::never_unwinding;
use crate::engine::{Waiting, block::release, run::Step, state::State};
use crate::error::{BuiltinError, CallSite, Cancelled};

/// The flags on which the rules rely.
pub(in crate::engine) struct Flags {
    /// Set while the slot holds a result: rule 2. A byte of its own, since each stage changes it
    /// twice.
    ///
    /// It never stands beside `WAITING`: a block that waits has no result. Without `FIRED` it is
    /// not set: only firing fills the slot for the first time.
    full: Cell<bool>,
    bits: Cell<u8>,
}

/// The bits of [`Flags`].
mod bit {
    /// The block was fired or cancelled. A result that its source brings now is ignored.
    ///
    /// Set once, together with the first result, or at the creation of a block that begins with a
    /// wait. Never cleared.
    pub(super) const FIRED: u8 = 1;

    /// A `Chain` of the block exists, which owns the output: rule 3.
    ///
    /// Set at the creation, cleared when the `Chain` is dropped or consumed. It never stands beside
    /// `HAS_WAITER`: a block gets a waiter when its `Chain` is consumed.
    pub(super) const HAS_CHAIN: u8 = 1 << 1;

    /// The first record is a canceller: rule 6.
    ///
    /// Set on a new block, before any stage is added. Cleared when the canceller is called, if it
    /// decides, or dropped. A block that was fired keeps it until the run loop runs the block: the
    /// destructor is user code, which must not run inside of the firing.
    pub(super) const CANCELLER: u8 = 1 << 2;

    /// The last record is the `DELIVER` stage: rule 6.
    ///
    /// Set when another block begins to wait for this one; cleared when the result is delivered, or
    /// when the waiter waits for another block instead.
    pub(super) const HAS_WAITER: u8 = 1 << 3;

    /// The last stage returned another block, for whose result this one waits: rule 2.
    ///
    /// Set when that stage returns. Cleared when the result is moved here, when the wait ends with
    /// an error, or when the waiter of this block takes the wait over. Meanwhile the slot holds the
    /// location of the stage that waits.
    pub(super) const WAITING: u8 = 1 << 4;
}

/// The memory of one pending Deferred.
pub(crate) struct Block {
    pub(in crate::engine) state: State<Flags, Weak<Block>>,
    /// The type of the last stage's output.
    pub(super) output: Cell<&'static ResultVtable>,
    pub(in crate::engine) region: Region,
}

/// A counted reference to a block. Dropping the last one drops the block's contents and returns its
/// memory to a per-thread free list.
#[derive(Clone)]
pub(crate) struct BlockRef(pub(in crate::engine) ManuallyDrop<Rc<Block>>);

impl BlockRef {
    /// Creates an unfired block whose `Chain` exists.
    // `inline(always)` in this file: as `#[inline]`, this function costs three callbacks 21 % more
    // instructions, `advance` 1.6 %; `append_waiting` costs an await 5 %, and `append_waiter` a round
    // of a tail-recursive loop 3 % (bench: engine/, coroutine/).
    #[inline(always)]
    pub(super) fn new(result: &'static ResultVtable, made: CallSite, last: CallSite) -> BlockRef {
        let flags = Flags { full: Cell::new(false), bits: Cell::new(bit::HAS_CHAIN) };
        let block = free_list::allocate();
        let place = Rc::as_ptr(&block).cast_mut().cast::<Block>();
        // Field by field and in place, so that no block is built on the stack and copied.
        // (`new_uninit` computes the layout in two calls.)
        // SAFETY: every field is written, once. No reference to the memory exists.
        let block = unsafe {
            (&raw mut (*place).state).write(State::new(flags, made, last));
            (&raw mut (*place).output).write(Cell::new(result));
            (&raw mut (*place).region).write(Region::new(result.words));
            BlockRef(ManuallyDrop::new(block.assume_init()))
        };
        block.region.place(result.words);
        block
    }

    /// Returns a reference to the block in memory that has a strong reference.
    pub(in crate::engine) fn in_memory(memory: Memory) -> BlockRef {
        // SAFETY: `new` initializes memory before any other code runs, and a block whose memory goes
        // to the free list has no weak reference.
        BlockRef(ManuallyDrop::new(unsafe { memory.assume_init() }))
    }
}

impl Drop for BlockRef {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: taken once, here at the end.
        let block = unsafe { ManuallyDrop::take(&mut self.0) };
        if Rc::strong_count(&block) == 1 {
            release(ManuallyDrop::new(block));
        }
    }
}

/// Keeps the memory of a block if nothing else refers to it. Contents that it still has leak.
#[inline]
pub(in crate::engine) fn recycle(block: Rc<Block>) {
    // Not `Rc::get_mut`: a `&mut Block` would invalidate the pointers of the region.
    if Rc::strong_count(&block) == 1 && Rc::weak_count(&block) == 0 {
        let place = Rc::into_raw(block);
        // SAFETY: nothing else refers to the block, so it is dropped once. The rest is memory of
        // the same layout.
        unsafe {
            ptr::drop_in_place(place.cast_mut());
            free_list::release(place.cast());
        }
    }
}

impl Block {
    fn has(&self, bits: u8) -> bool {
        self.state.flags.bits.get() & bits != 0
    }

    fn set(&self, bits: u8) {
        self.state.flags.bits.set(self.state.flags.bits.get() | bits);
    }

    fn clear(&self, bits: u8) {
        self.state.flags.bits.set(self.state.flags.bits.get() & !bits);
    }

    #[inline]
    pub(in crate::engine) fn is_fired(&self) -> bool {
        self.has(bit::FIRED)
    }

    /// Returns `true` if the slot holds a result.
    #[inline]
    pub(in crate::engine) fn has_result(&self) -> bool {
        self.state.flags.full.get()
    }

    #[inline]
    pub(in crate::engine) fn has_chain(&self) -> bool {
        self.has(bit::HAS_CHAIN)
    }

    /// Returns `true` if the last stage returned another block whose result is still to come.
    pub(in crate::engine) fn is_waiting(&self) -> bool {
        self.has(bit::WAITING)
    }

    /// Notes that the `Chain` does not exist any more.
    #[inline]
    pub(super) fn release_chain(&self) {
        self.clear(bit::HAS_CHAIN);
    }

    /// Marks a new block as fired that begins with a wait.
    pub(super) fn set_fired(&self) {
        self.set(bit::FIRED);
    }
}

/// The result.
impl Block {
    /// Returns the type of the result that the slot holds, or that the block waits for: the input
    /// of the first record.
    fn input(&self) -> &'static ResultVtable {
        self.region.first().and_then(|record| record.head().vtable.input).unwrap_or(self.output.get())
    }

    /// Moves a result into the slot.
    ///
    /// # Safety
    ///
    /// The slot is empty, and `R` is the block's input, or the output of the stage that has just
    /// run.
    #[inline]
    pub(super) unsafe fn write_result<R>(&self, result: R) {
        debug_assert!(!self.has_result(), "the slot holds a result");
        // SAFETY: the caller's promise; the slot is large enough for every result of its chain.
        unsafe { put(self.region.slot(words::<R>()), result) };
        self.state.flags.full.set(true);
    }

    /// Moves the result out of the slot.
    ///
    /// # Safety
    ///
    /// The slot holds an `R`.
    #[inline]
    pub(super) unsafe fn read_result<R>(&self) -> R {
        debug_assert!(self.has_result(), "the slot holds no result");
        self.state.flags.full.set(false);
        // SAFETY: the caller's promise.
        unsafe { take(self.region.slot(words::<R>())) }
    }

    /// Fires an unfired block. The run loop drops the canceller later.
    ///
    /// # Safety
    ///
    /// The block is unfired, and its input is an `R`.
    #[inline]
    pub(super) unsafe fn fire<R>(&self, result: R) {
        debug_assert!(!self.is_fired());
        // SAFETY: the caller's promise; the slot of an unfired block is empty.
        unsafe { self.write_result(result) };
        self.set_fired();
    }

    /// Fires the block with a built-in error if it has not fired yet. Returns `true` if this call
    /// fired it.
    #[cold]
    pub(in crate::engine) fn fire_error(&self, why: BuiltinError) -> bool {
        // SAFETY: the vtable is that of the block's input, and the block is unfired.
        !self.is_fired() && unsafe { (self.input().write_error)(self, why, None) }
    }

    /// Ends the wait that a stage has just begun with a built-in error.
    #[cold]
    pub(in crate::engine) fn end_wait_with_error(&self, why: BuiltinError) {
        let at = Some(self.end_wait());
        // SAFETY: the vtable is that of the block's input. The slot is empty.
        unsafe { (self.input().write_error)(self, why, at) };
    }

    /// Moves the result to `waiter`, which waits for it. Adds the location of the stage that waited
    /// to the trail of an error.
    pub(in crate::engine) fn move_result(&self, waiter: &Block) {
        let vtable = self.output.get();
        assert!(self.is_ready() && !self.has_chain(), "a chain owns the result");
        assert!(vtable.is_same_type(waiter.input()), "the waiter waits for a result of another type");
        let at = waiter.end_wait();
        // SAFETY: both slots are of this type (rules 2 and 4). This one is full, and the waiter's
        // is empty.
        unsafe { (vtable.move_to)(self, waiter, at) };
    }

    /// Drops the result of a block without stages and without a `Chain`, and reports an error as
    /// unhandled.
    #[inline]
    pub(in crate::engine) fn finish(&self) {
        if !self.has_chain() && self.is_ready() {
            // SAFETY: after the last stage the slot holds the block's output.
            unsafe { (self.output.get().report_and_drop)(self) };
        }
    }

    /// Passes the result through the next stage, and through further ones while there is a result
    /// and `go_on` returns `true`.
    #[inline(always)]
    pub(in crate::engine) fn advance(&self, go_on: impl Fn() -> bool) -> Step {
        if !self.has_result() {
            return Step::Stopped;
        }
        loop {
            debug_assert!(self.has_result());
            if self.state.is_paused() {
                return Step::Stopped;
            }
            let Some(record) = self.region.first() else { return Step::Finished };
            // SAFETY: the slot is full: at first by the check above, later because the stage before
            // has put out a result. It holds the first stage's input. The `run` of a canceller only
            // panics.
            let step = unsafe { (record.head().vtable.run)(self, record) };
            if !matches!(step, Step::Ready) || !go_on() {
                return step;
            }
        }
    }
}

/// The wait for the result of another block.
impl Block {
    /// Begins a wait for the output of the stage that was added at `at`.
    #[inline]
    pub(super) fn begin_wait(&self, at: CallSite) {
        debug_assert!(!self.has_result() && !self.has(bit::WAITING));
        self.state.count_wait();
        // SAFETY: the slot is empty, and has a word. `WAITING` says that it holds a location.
        unsafe { put(self.region.slot(1), at) };
        self.set(bit::WAITING);
    }

    /// Ends the wait. Returns the location of the stage that waited.
    fn end_wait(&self) -> CallSite {
        assert!(self.has(bit::WAITING), "the block does not wait for a result");
        self.clear(bit::WAITING);
        self.state.clear_link();
        // SAFETY: the block was waiting, so the slot held a location.
        unsafe { take(self.region.slot(1)) }
    }

    /// Lets `successor` take the place of this block, which only passes on a result.
    pub(in crate::engine) fn set_successor(&self, successor: &BlockRef) {
        debug_assert!(self.region.is_empty());
        self.clear(bit::WAITING);
        self.state.set_successor(Rc::downgrade(&successor.0), &successor.state);
    }
}

/// The waiter: the block that waits for this one.
impl Block {
    #[inline]
    pub(in crate::engine) fn has_waiter(&self) -> bool {
        self.has(bit::HAS_WAITER)
    }

    /// Appends the stage that delivers the result to `waiter`.
    #[inline(always)]
    pub(in crate::engine) fn append_waiter(&self, waiter: BlockRef) {
        assert!(!self.has_chain() && !self.has_waiter(), "the result has another owner");
        // SAFETY: the captures of a `DELIVER` stage are the waiter, and `HAS_WAITER` is set.
        unsafe { self.push_record(&DELIVER, self.state.last.get(), waiter, 0) };
        self.set(bit::HAS_WAITER);
    }

    /// Removes the `DELIVER` stage and returns the waiter, if there is one.
    pub(in crate::engine) fn take_waiter(&self) -> Option<BlockRef> {
        if !self.has_waiter() {
            return None;
        }
        self.clear(bit::HAS_WAITER);
        // SAFETY: the last record is a `DELIVER` stage.
        Some(unsafe { self.pop_last() })
    }
}

/// The coroutine that waits for this block.
impl Block {
    /// Appends the stage that resumes a coroutine.
    #[inline(always)]
    pub(in crate::engine) fn append_waiting(&self, waiting: Waiting) {
        assert!(self.has_chain(), "the result has another owner");
        // SAFETY: the captures are those of a `RESUME` stage.
        unsafe { self.push_record(&RESUME, self.state.last.get(), waiting, 0) };
        self.state.set_awaited(true);
    }

    /// Removes the `RESUME` stage and returns its captures, if there is one.
    pub(crate) fn take_waiting(&self) -> Option<Waiting> {
        if !self.region.last_is(&RESUME) {
            return None;
        }
        self.state.set_awaited(false);
        // SAFETY: the last record is a `RESUME` stage.
        Some(unsafe { self.pop_last() })
    }
}

impl Block {
    /// Removes the last record and returns its captures.
    ///
    /// # Safety
    ///
    /// The last record captures a `C`.
    #[inline]
    unsafe fn pop_last<C>(&self) -> C {
        // SAFETY: the caller's promise.
        let captures = unsafe { take(self.region.last_captures(words::<C>())) };
        self.region.pop_last(words::<C>());
        captures
    }
}

/// The canceller.
impl Block {
    /// Sets the canceller of a new block.
    ///
    /// # Safety
    ///
    /// The vtable is that of a canceller `C`, which decides on the block's input.
    #[inline]
    pub(super) unsafe fn push_canceller<C>(&self, vtable: &'static StageVtable, captures: C) {
        assert!(!self.is_fired() && self.region.is_empty(), "a canceller is set before the first stage");
        // SAFETY: the caller's promise. It is the first record, and `CANCELLER` is set.
        unsafe { self.push_record(vtable, self.state.made, captures, 0) };
        self.set(bit::CANCELLER);
    }

    #[inline]
    pub(in crate::engine) fn has_canceller(&self) -> bool {
        self.has(bit::CANCELLER)
    }

    /// Notes that the first record is no canceller any more.
    pub(super) fn clear_canceller(&self) {
        self.clear(bit::CANCELLER);
    }

    /// Calls the canceller of an unfired block, and fires the block with its decision. Without a
    /// canceller, fires it with `why`. Returns `true` if this call fired it.
    #[cold]
    pub(in crate::engine) fn run_canceller(&self, why: &Cancelled) -> bool {
        match self.region.first().filter(|_| self.has_canceller()) {
            None => self.fire_error(why.clone().into()),
            // SAFETY: the first record is a canceller.
            Some(record) => unsafe { (record.head().vtable.run_canceller)(self, record, why) },
        }
    }

    /// Drops the canceller, if there is one.
    #[inline]
    pub(in crate::engine) fn drop_canceller(&self) {
        if self.has_canceller() {
            self.clear_canceller();
            self.drop_first_record();
        }
    }

    /// Drops the first record. Returns `false` if there is none.
    fn drop_first_record(&self) -> bool {
        let Some(record) = self.region.first() else { return false };
        // SAFETY: it is the first record, and `drop` removes it.
        never_unwinding(|| unsafe { (record.head().vtable.drop)(self, record) });
        true
    }
}

/// The end.
impl Block {
    /// Drops the result and the records, unless another `BlockRef` exists. In the normal life of a
    /// Deferred nothing is left: its source fires it, and the run loop empties it. Only at the end
    /// of a thread a block is dropped that the loop has not run.
    ///
    /// Not in `Drop for Block`, which has a `&mut Block`: see [`recycle`].
    pub(in crate::engine) fn drop_contents(self: &Rc<Self>) {
        if Rc::strong_count(self) == 1 && self.has_result() {
            // SAFETY: the slot holds the block's input.
            never_unwinding(|| unsafe { (self.input().drop)(self) });
        }
        while Rc::strong_count(self) == 1 && self.drop_first_record() {}
    }
}
