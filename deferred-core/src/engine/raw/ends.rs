//! The typed ends of a block: what of them is unsafe. The rest is in `ends` outside this folder.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr;

use super::block::{BlockRef, Place};
use super::kind::kind;
use super::record::{End, Forward, Once, Stage, Watch};
use super::words::{lend, words};
use crate::engine::{Firing, Left, run};
use crate::error::{Cancelled, Fault};

/// The consumer's end of a block, whose last stage gives a `Result<T, E>`.
///
/// Dropping it lets the chain run on.
pub(crate) struct Chain<T, E: Fault> {
    block: BlockRef,
    /// It uses them both ways, so that no lifetime in them can be changed: the block knows them as they were.
    types: PhantomData<*mut (T, E)>,
}

/// The producer's end of a block, which while unfired wants a `Result<T, E>`.
///
/// Dropping it fires `Abandoned`.
pub(crate) struct Source<T, E: Fault> {
    block: BlockRef,
    types: PhantomData<*mut (T, E)>,
}

impl<T: 'static, E: Fault> Chain<T, E> {
    /// Both ends of a new block.
    #[inline(always)]
    pub(crate) fn pair(made: Place) -> (Self, Source<T, E>) {
        let block = BlockRef::new(kind::<T, E>(), made, made);
        (Chain { block: block.clone(), types: PhantomData }, Source { block, types: PhantomData })
    }

    /// One whose source has spoken, and that waits for what the loop is to tell it.
    pub(in crate::engine) fn waiting(made: Place, at: Place) -> Self {
        let block = BlockRef::new(kind::<T, E>(), made, at);
        block.set_fired();
        block.begin_wait(at);
        Chain { block, types: PhantomData }
    }

    /// Gives a result that is there a block, for what needs one: handles, pauses.
    pub(crate) fn from_ready(result: Result<T, E>, made: Place, last: Place) -> Self {
        let block = BlockRef::new(kind::<T, E>(), made, last);
        // SAFETY: new, and of this kind.
        unsafe { block.fire(result) };
        Chain { block, types: PhantomData }
    }

    /// Adds a stage.
    #[inline(always)]
    pub(in crate::engine) fn push<U, D, F>(self, at: Place, f: F) -> Chain<U, D>
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
        block.state.last.set(at);
        Chain { block, types: PhantomData }
    }

    /// Adds a stage that takes the result for good.
    pub(in crate::engine) fn push_end<F>(self, f: F) -> BlockRef
    where
        F: FnOnce(Result<T, E>) -> Option<Firing> + 'static,
    {
        let block = self.into_block();
        // SAFETY: as for a stage; nothing is added behind it, since this was the only `Chain`.
        unsafe { block.push_record(&End::<T, E, F>::TABLE, block.state.last.get(), f, 0) };
        block.let_go();
        block
    }

    /// Adds a record that leaves the result, and calls `told` when it is there. Nothing but another one, or the end, may
    /// be added behind it.
    #[inline(always)]
    pub(in crate::engine) fn push_watch<F: FnOnce() -> Option<Firing> + 'static>(&mut self, told: F) {
        // SAFETY: the captures are of this table.
        unsafe { self.block.push_record(&Watch::<F>::TABLE, self.block.state.last.get(), told, 0) };
    }

    /// Looks at the result, if it is there.
    pub(crate) fn peek(&mut self) -> Option<&Result<T, E>> {
        // SAFETY: done, so the slot holds what the block gives; that belongs to this `Chain`, which is borrowed.
        self.block.is_done().then(|| unsafe { &*lend(self.block.region.slot(words::<Result<T, E>>())) })
    }

    /// Takes the result, which is there. Nothing else may be asked of it afterwards.
    ///
    /// # Panics
    /// If it is not: see [`is_done`](Self::is_done).
    #[inline(always)]
    pub(crate) fn take_out(&mut self) -> Result<T, E> {
        assert!(self.block.is_done(), "there is no result to take");
        // SAFETY: done, so the slot holds what the block gives; that belongs to this `Chain`.
        unsafe { self.block.empty::<Result<T, E>>() }
    }

    /// The block, for which another one is to wait.
    #[inline(always)]
    pub(in crate::engine) fn into_awaited(self) -> BlockRef {
        let block = self.into_block();
        block.let_go();
        block
    }

    #[inline(always)]
    fn into_block(self) -> BlockRef {
        let chain = ManuallyDrop::new(self);
        // SAFETY: read once, from what is not dropped.
        unsafe { ptr::read(&raw const chain.block) }
    }

    #[inline(always)]
    pub(in crate::engine) fn block(&self) -> &BlockRef {
        &self.block
    }
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
    pub(crate) fn set_canceller<C: FnOnce() -> Option<Result<T, E>> + 'static>(&self, decide: C) {
        // SAFETY: the table is of `C`; what it decides on is what the block wants.
        unsafe { self.block.push_canceller(&Once::<T, E, C>::TABLE, decide) };
    }

    /// Sets the canceller that passes each cancel on. The block is new.
    ///
    /// It is cloned for each call, with what must not be code of the user.
    pub(crate) fn set_forwarding<C: Fn(&Cancelled) + Clone + 'static>(&self, forward: C) {
        // SAFETY: the table is of `C`.
        unsafe { self.block.push_canceller(&Forward::<T, E, C>::TABLE, forward) };
    }

    /// Fires an unfired block.
    ///
    /// # Panics
    /// If it is fired.
    #[inline(always)]
    pub(in crate::engine) fn fill(self, result: Result<T, E>) -> BlockRef {
        assert!(!self.block.is_fired(), "a Deferred is fired once");
        let block = self.into_block();
        // SAFETY: unfired, and this is its source.
        unsafe { block.fire(result) };
        block
    }
}

impl<T, E: Fault> Source<T, E> {
    #[inline(always)]
    pub(in crate::engine) fn block(&self) -> &BlockRef {
        &self.block
    }

    #[inline(always)]
    pub(in crate::engine) fn into_block(self) -> BlockRef {
        let source = ManuallyDrop::new(self);
        // SAFETY: read once, from what is not dropped.
        unsafe { ptr::read(&raw const source.block) }
    }
}

impl<T, E: Fault> Drop for Source<T, E> {
    fn drop(&mut self) {
        run::abandon_soon(&self.block);
    }
}
