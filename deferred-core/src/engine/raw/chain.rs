//! `Chain` and `Source`, the typed ends of a block: the part that needs unsafe code.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr;

use super::block::BlockRef;
use super::result_vtable::result_vtable;
use super::stage::{DecidingCanceller, End, ForwardingCanceller, Stage};
use super::words::{borrow, words};
use crate::engine::{Fired, StageOutput};
use crate::error::{CallSite, Cancelled, DeferredError};

/// The consumer's end of a block, whose last stage puts out a `Result<T, E>`.
///
/// Dropping it lets the stages run on; an error at their end is reported.
pub(crate) struct Chain<T, E: DeferredError> {
    block: BlockRef,
    /// Makes the type invariant in both parameters, so that no lifetime in them can be changed: the
    /// block's vtables keep the original types.
    types: PhantomData<fn(*mut (T, E))>,
}

/// The producer's end of a block. While that is unfired, its input is a `Result<T, E>`.
///
/// Dropping it fires `Abandoned`.
pub(crate) struct Source<T, E: DeferredError> {
    block: BlockRef,
    types: PhantomData<fn(*mut (T, E))>,
}

impl<T: 'static, E: DeferredError> Chain<T, E> {
    /// Creates a block and returns both ends.
    // As `#[inline]`, three callbacks take 16 % more instructions (bench: engine/).
    #[inline(always)]
    pub(crate) fn pair(made: CallSite) -> (Self, Source<T, E>) {
        let block = BlockRef::new(result_vtable::<T, E>(), made, made);
        (Chain { block: block.clone(), types: PhantomData }, Source { block, types: PhantomData })
    }

    /// Creates a block that is fired and waits for the result of another block.
    pub(in crate::engine) fn waiting(made: CallSite, at: CallSite) -> Self {
        let block = BlockRef::new(result_vtable::<T, E>(), made, at);
        block.set_fired();
        block.begin_wait(at);
        Chain { block, types: PhantomData }
    }

    /// Creates a fired block for a result that needs one: for a handle or a pause.
    pub(crate) fn from_ready(result: Result<T, E>, made: CallSite, last: CallSite) -> Self {
        let block = BlockRef::new(result_vtable::<T, E>(), made, last);
        // SAFETY: the block is new, and of this type.
        unsafe { block.fire(result) };
        Chain { block, types: PhantomData }
    }

    /// Appends a stage.
    #[inline]
    pub(in crate::engine) fn push_stage<U, D, F>(self, at: CallSite, f: F) -> Chain<U, D>
    where
        U: 'static,
        D: DeferredError,
        F: FnOnce(Result<T, E>) -> StageOutput<U, D> + 'static,
    {
        let block = self.into_block();
        // SAFETY: the block's output is a `Result<T, E>`, and this was its only `Chain`. From now
        // on its output is the stage's, for which the slot is large enough.
        unsafe {
            // The slot is already large enough for the stage's input.
            let grown = words::<Result<U, D>>() > words::<Result<T, E>>();
            let slot = if grown { words::<Result<U, D>>() } else { 0 };
            block.push_record(&Stage::<T, E, U, D, F>::VTABLE, at, f, slot);
        }
        block.output.set(result_vtable::<U, D>());
        block.state.last.set(at);
        Chain { block, types: PhantomData }
    }

    /// Appends a stage that consumes the result.
    pub(in crate::engine) fn push_end<F>(self, f: F) -> BlockRef
    where
        F: FnOnce(Result<T, E>) -> Option<Fired> + 'static,
    {
        let block = self.into_block();
        // SAFETY: as for a stage. Nothing is appended after it, since this was the only `Chain`.
        unsafe { block.push_record(&End::<T, E, F>::VTABLE, block.state.last.get(), f, 0) };
        block.release_chain();
        block
    }

    /// Borrows the result, if it is ready.
    pub(crate) fn peek(&mut self) -> Option<&Result<T, E>> {
        // SAFETY: ready, so the slot holds the block's output. That belongs to this `Chain`, which
        // is borrowed.
        self.block.is_ready().then(|| unsafe { &*borrow(self.block.region.slot(words::<Result<T, E>>())) })
    }

    /// Takes the result. The chain must not be used afterwards.
    ///
    /// # Panics
    ///
    /// Panics if the result is not [ready](Self::is_ready).
    #[inline]
    pub(crate) fn take_result(&mut self) -> Result<T, E> {
        assert!(self.block.is_ready(), "there is no result to take");
        // SAFETY: ready, so the slot holds the block's output. That belongs to this `Chain`.
        unsafe { self.block.read_result::<Result<T, E>>() }
    }

    /// Returns the block, for which another block is going to wait.
    #[inline]
    pub(in crate::engine) fn into_awaited(self) -> BlockRef {
        let block = self.into_block();
        block.release_chain();
        block
    }

    #[inline]
    fn into_block(self) -> BlockRef {
        let chain = ManuallyDrop::new(self);
        // SAFETY: read once, from a value that is not dropped.
        unsafe { ptr::read(&raw const chain.block) }
    }

    #[inline]
    pub(in crate::engine) fn block(&self) -> &BlockRef {
        &self.block
    }
}

impl<T, E: DeferredError> Drop for Chain<T, E> {
    #[inline]
    fn drop(&mut self) {
        self.block.release_chain();
        if self.block.has_result() {
            self.block.finish();
        }
    }
}

impl<T: 'static, E: DeferredError> Source<T, E> {
    /// Sets the canceller that decides on a result. The block must be new.
    #[inline]
    pub(crate) fn set_canceller<C: FnOnce() -> Option<Result<T, E>> + 'static>(&self, decide: C) {
        // SAFETY: the vtable is that of `C`, which decides on the block's input.
        unsafe { self.block.push_canceller(&DecidingCanceller::<T, E, C>::VTABLE, decide) };
    }

    /// Sets the canceller that passes each cancel on. The block must be new.
    ///
    /// The canceller is cloned for each call, so its captures must not include user code.
    #[inline]
    pub(crate) fn set_forwarding_canceller<C: Fn(&Cancelled) + Clone + 'static>(&self, forward: C) {
        // SAFETY: the vtable is that of `C`.
        unsafe { self.block.push_canceller(&ForwardingCanceller::<T, E, C>::VTABLE, forward) };
    }

    /// Fires an unfired block without running it.
    ///
    /// # Panics
    ///
    /// Panics if the block is fired.
    #[inline]
    pub(in crate::engine) fn store(self, result: Result<T, E>) -> BlockRef {
        assert!(!self.block.is_fired(), "a Deferred is fired once");
        let block = self.into_block();
        // SAFETY: the block is unfired, and this is its source.
        unsafe { block.fire(result) };
        block
    }
}

impl<T, E: DeferredError> Source<T, E> {
    #[inline]
    pub(in crate::engine) fn block(&self) -> &BlockRef {
        &self.block
    }

    #[inline]
    pub(in crate::engine) fn into_block(self) -> BlockRef {
        let source = ManuallyDrop::new(self);
        // SAFETY: read once, from a value that is not dropped.
        unsafe { ptr::read(&raw const source.block) }
    }
}
