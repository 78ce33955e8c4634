//! The typed ends of a block: what the rest of the crate holds. Rule 3.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr;
use std::rc::Rc;

use super::block::{Block, Place};
use super::kind::kind;
use super::record::{End, Forward, Once, Stage};
use super::words::{lend, put, take, words};
use crate::engine::handle::Handle;
use crate::engine::{Left, never_unwinding, run, settle};
use crate::error::{Cancelled, Cycle, Fault};

/// Says that a type uses its parameters both ways, so that no lifetime in them can be changed: the block knows them as
/// they were when it was made.
type Both<T, E> = PhantomData<fn(Result<T, E>) -> Result<T, E>>;

/// The consumer's end of a block, whose last stage gives a `Result<T, E>`.
///
/// Dropping it lets the chain run on.
pub(crate) struct Chain<T, E: Fault> {
    block: Rc<Block>,
    types: Both<T, E>,
}

/// The producer's end of a block, which while unfired wants a `Result<T, E>`.
///
/// Dropping it fires `Abandoned`.
pub(crate) struct Source<T, E: Fault> {
    block: Rc<Block>,
    types: Both<T, E>,
}

/// A block that has just been fired, for the loop to run. None if it had been fired before.
pub(crate) struct Firing(Option<Rc<Block>>);

impl<T: 'static, E: Fault> Chain<T, E> {
    /// Both ends of a new block.
    #[inline(always)]
    pub(crate) fn pair(made: Place) -> (Self, Source<T, E>) {
        let block = Block::new(kind::<T, E>(), made, made);
        (Chain { block: block.clone(), types: PhantomData }, Source { block, types: PhantomData })
    }

    /// Gives a result that is there a block, for what needs one: handles, pauses.
    pub(crate) fn from_ready(result: Result<T, E>, made: Place, last: Place) -> Self {
        let block = Block::new(kind::<T, E>(), made, last);
        // SAFETY: new, of this kind and without a canceller.
        unsafe { block.fire(|region| put(region.slot(words::<Result<T, E>>()), result)) };
        Chain { block, types: PhantomData }
    }

    /// What a callback on a ready Deferred has left: its result, or a block that waits for it. Not its own block:
    /// handles to that go on meaning what they did, and a pause of the new one must not hold up the callbacks of this.
    #[cold]
    pub(in crate::engine) fn awaited(self, made: Place, at: Place) -> Left<T, E> {
        if self.is_done() {
            let mut result = self.take();
            if let Err(error) = &mut result {
                never_unwinding(|| error.passed(at));
            }
            return Left::Result(result);
        }
        let block = Block::new(kind::<T, E>(), made, at);
        block.set_fired();
        block.begin_wait(at);
        run::wait_for(block.clone(), self.into_awaited());
        Left::Wait(Chain { block, types: PhantomData })
    }

    /// Adds a stage, which runs at once if the result is there.
    #[inline(always)]
    pub(crate) fn then<U, D, F>(self, at: Place, f: F) -> Left<U, D>
    where
        U: 'static,
        D: Fault,
        F: FnOnce(Result<T, E>) -> Left<U, D> + 'static,
    {
        if self.block.is_full() {
            return self.then_full(at, f);
        }
        Left::Wait(self.push(at, f))
    }

    #[cold]
    #[inline(never)]
    fn then_full<U, D, F>(self, at: Place, f: F) -> Left<U, D>
    where
        U: 'static,
        D: Fault,
        F: FnOnce(Result<T, E>) -> Left<U, D> + 'static,
    {
        if self.is_done() && !self.block.is_shared() {
            let made = self.made();
            return settle(self.take(), made, at, f);
        }
        let chain = self.push(at, f);
        run::start(&chain.block);
        Left::Wait(chain)
    }

    #[inline(always)]
    fn push<U, D, F>(self, at: Place, f: F) -> Chain<U, D>
    where
        U: 'static,
        D: Fault,
        F: FnOnce(Result<T, E>) -> Left<U, D> + 'static,
    {
        let block = self.into_block();
        // SAFETY: what the block gives is a `Result<T, E>`, of which this is the only `Chain`; what it gives from now on is
        // what the stage leaves, for which there is room.
        unsafe {
            // The slot is large enough for what the stage takes.
            let grown = words::<Result<U, D>>() > words::<Result<T, E>>();
            let slot = if grown { words::<Result<U, D>>() } else { 0 };
            block.push_record(&Stage::<T, E, U, D, F>::TABLE, at, f, slot);
        }
        block.result.set(kind::<U, D>());
        block.last.set(at);
        Chain { block, types: PhantomData }
    }

    /// Takes the result for good when it is there, and fires what `f` gives.
    pub(crate) fn end(self, f: impl FnOnce(Result<T, E>) -> Option<Firing> + 'static) {
        let at = self.last();
        let block = self.into_block();
        // SAFETY: as for a stage; nothing is added behind it, since this was the only `Chain`.
        unsafe { push_end::<T, E, _>(&block, at, f) };
        block.let_go();
        run::start(&block);
    }

    /// Fires `source` with the result.
    pub(crate) fn feed(self, source: Source<T, E>) {
        if Rc::ptr_eq(&self.block, &source.block) {
            let block = source.into_block();
            let fired = block.interrupt(Cycle::new().into());
            drop(self);
            Firing(fired.then_some(block)).fire();
        } else {
            self.end(|result| Some(source.firing(result)));
        }
    }

    /// A handle, for which this block stays what it is.
    pub(crate) fn handle(&mut self) -> Handle {
        self.block.set_shared();
        Handle(self.block.clone())
    }

    /// The result is there, and nothing holds it back.
    #[inline(always)]
    pub(crate) fn is_done(&self) -> bool {
        self.block.is_done()
    }

    /// Looks at the result, if it is there.
    pub(crate) fn peek(&mut self) -> Option<&Result<T, E>> {
        // SAFETY: done, so the slot holds what the block gives; that belongs to this `Chain`, which is borrowed.
        self.is_done().then(|| unsafe { &*lend(self.block.region.slot(words::<Result<T, E>>())) })
    }

    /// Takes the result, which is there.
    ///
    /// # Panics
    /// If it is not: see [`is_done`](Self::is_done).
    #[inline(always)]
    pub(crate) fn take(self) -> Result<T, E> {
        assert!(self.is_done(), "there is no result to take");
        // SAFETY: done, so the slot holds what the block gives; that belongs to this `Chain`.
        unsafe { self.block.empty(|region| take(region.slot(words::<Result<T, E>>()))) }
    }

    pub(crate) fn made(&self) -> Place {
        self.block.made
    }

    pub(crate) fn last(&self) -> Place {
        self.block.last.get()
    }

    pub(crate) fn cancel(&self, why: &Cancelled) {
        run::cancel_now(self.block.clone(), why);
    }

    /// The block, for which another one is to wait.
    #[inline(always)]
    pub(super) fn into_awaited(self) -> Rc<Block> {
        let block = self.into_block();
        block.let_go();
        block
    }

    #[inline(always)]
    fn into_block(self) -> Rc<Block> {
        let chain = ManuallyDrop::new(self);
        // SAFETY: read once, from what is not dropped.
        unsafe { ptr::read(&raw const chain.block) }
    }
}

unsafe fn push_end<T: 'static, E: Fault, F>(block: &Block, at: Place, f: F)
where
    F: FnOnce(Result<T, E>) -> Option<Firing> + 'static,
{
    // SAFETY: the caller's promise.
    unsafe { block.push_record(&End::<T, E, F>::TABLE, at, f, 0) };
}

impl<T, E: Fault> Drop for Chain<T, E> {
    #[inline]
    fn drop(&mut self) {
        self.block.let_go();
        if self.block.is_full() {
            self.block.end();
        }
    }
}

impl<T: 'static, E: Fault> Source<T, E> {
    /// Sets the canceller that decides. The block is new.
    pub(crate) fn set_canceller(&self, decide: impl FnOnce() -> Option<Result<T, E>> + 'static) {
        fn table<T: 'static, E: Fault, C: FnOnce() -> Option<Result<T, E>>>(_: &C) -> &'static super::record::Table {
            &Once::<T, E, C>::TABLE
        }
        assert!(self.block.is_new(), "a canceller comes first");
        // SAFETY: the first record, as is noted; what it decides on is what the block wants.
        unsafe { self.block.push_record(table::<T, E, _>(&decide), self.block.made, decide, 0) };
        self.block.set_canceller();
    }

    /// Sets the canceller that passes each cancel on. The block is new.
    pub(crate) fn set_forwarding(&self, forward: impl Fn(&Cancelled) + 'static) {
        fn table<T: 'static, E: Fault, C: Fn(&Cancelled)>(_: &Rc<C>) -> &'static super::record::Table {
            &Forward::<T, E, C>::TABLE
        }
        let forward = Rc::new(forward);
        assert!(self.block.is_new(), "a canceller comes first");
        // SAFETY: the first record, as is noted.
        unsafe { self.block.push_record(table::<T, E, _>(&forward), self.block.made, forward, 0) };
        self.block.set_canceller();
    }

    /// Fires, and runs what can run. After a cancel the result is only dropped.
    #[inline(always)]
    pub(crate) fn fire(self, result: Result<T, E>) {
        if self.block.is_fired() {
            return run::inside(|| drop(self.firing(result)));
        }
        self.firing(result).fire();
    }

    /// Fires, and leaves it to the loop to run what can run.
    #[inline(always)]
    pub(crate) fn firing(self, result: Result<T, E>) -> Firing {
        let block = self.into_block();
        if block.is_fired() {
            never_unwinding(|| drop(result));
            return Firing(None);
        }
        // SAFETY: unfired, and this is its source.
        unsafe { block.fire(|region| put(region.slot(words::<Result<T, E>>()), result)) };
        Firing(Some(block))
    }
}

impl<T, E: Fault> Source<T, E> {
    /// It was cancelled before it was fired.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.block.is_fired()
    }

    #[inline(always)]
    fn into_block(self) -> Rc<Block> {
        let source = ManuallyDrop::new(self);
        // SAFETY: read once, from what is not dropped.
        unsafe { ptr::read(&raw const source.block) }
    }
}

impl<T, E: Fault> Drop for Source<T, E> {
    fn drop(&mut self) {
        if !self.block.is_fired() {
            run::abandon_soon(self.block.clone());
        }
    }
}

impl Firing {
    /// Runs it now, outside the loop.
    #[inline(always)]
    pub(crate) fn fire(self) {
        if let Some(block) = self.0 {
            run::start_fired(block);
        }
    }

    pub(super) fn into_block(self) -> Option<Rc<Block>> {
        self.0
    }
}
