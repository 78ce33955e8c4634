//! The operations of `Chain`, `Source` and `Fired` that the rest of the crate calls.

#![forbid(unsafe_code)]

use super::raw::{Chain, Source};
use super::{Fired, Handle, StageOutput, call, run, settle, wait};
use crate::abort::never_unwinding;
use crate::error::{CallSite, Cancelled, Cycle, DeferredError};

impl<T: 'static, E: DeferredError> Chain<T, E> {
    /// Returns the output of a callback on a ready Deferred: the result, or a new block that waits
    /// for it.
    ///
    /// The block is a new one because handles to this one must keep their meaning, and because a
    /// pause of the new one must not hold up the callbacks of this one.
    #[cold]
    pub(super) fn into_output(self, made: CallSite, at: CallSite) -> StageOutput<T, E> {
        if self.is_ready() {
            return StageOutput::Ready(self.take().map_err(|error| call::with_location(error, at)));
        }
        let waiting = Self::waiting(made, at);
        wait::wait_for(waiting.block().clone(), self.into_awaited());
        StageOutput::Pending(waiting)
    }

    /// Adds a stage. It runs inside this call if the result is ready.
    #[inline]
    pub(crate) fn add_stage<U, D, F>(self, at: CallSite, f: F) -> StageOutput<U, D>
    where
        U: 'static,
        D: DeferredError,
        F: FnOnce(Result<T, E>) -> StageOutput<U, D> + 'static,
    {
        if self.block().has_result() {
            return self.add_stage_to_result(at, f);
        }
        StageOutput::Pending(self.push_stage(at, f))
    }

    #[cold]
    #[inline(never)]
    fn add_stage_to_result<U, D, F>(self, at: CallSite, f: F) -> StageOutput<U, D>
    where
        U: 'static,
        D: DeferredError,
        F: FnOnce(Result<T, E>) -> StageOutput<U, D> + 'static,
    {
        if self.is_ready() && !self.block().state.is_shared() {
            let made = self.made();
            return settle(self.take(), made, at, f);
        }
        let chain = self.push_stage(at, f);
        run::run_if_ready(chain.block());
        StageOutput::Pending(chain)
    }

    /// Has `f` take the result once it is ready, and runs the block that `f` returns.
    pub(crate) fn consume(self, f: impl FnOnce(Result<T, E>) -> Option<Fired> + 'static) {
        run::run_if_ready(&self.push_end(f));
    }

    /// Returns a handle for code that waits for this chain. Unlike [`handle`](Self::handle), it
    /// does not keep later callbacks from moving the result to another block.
    pub(crate) fn handle_for_waiter(&self) -> Handle {
        self.block().clone()
    }

    /// Borrows the handle for code that waits for this chain.
    #[inline]
    pub(crate) fn as_handle(&self) -> &Handle {
        self.block()
    }

    /// Cancels the block, after the callback that runs now, and treats its result as handled.
    pub(crate) fn cancel_and_ignore(self, why: &Cancelled) {
        let block = self.push_end(|_| None);
        run::run_if_ready(&block);
        block.cancel_soon(why);
    }

    /// Fires `source` with the result. Fires it with [`Cycle`] if it is the source of this chain.
    pub(crate) fn forward_to(self, source: Source<T, E>) {
        if self.block().is_same(source.block()) {
            let block = source.into_block();
            let has_fired = block.fire_error(Cycle::new().into());
            let fired = if has_fired { Fired::claim(block) } else { Fired::none() };
            drop(self);
            fired.run();
        } else {
            source.block().note_forward(self.block());
            self.consume(|result| Some(source.set_result(result)));
        }
    }

    /// Returns a handle to this block, which keeps its meaning when callbacks are added.
    pub(crate) fn handle(&mut self) -> Handle {
        self.block().state.set_shared();
        self.block().clone()
    }

    /// Returns `true` if the result exists, all stages have run, and no pause holds it back.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.block().is_ready()
    }

    /// Takes the result out of the block.
    ///
    /// # Panics
    ///
    /// Panics if the result is not [ready](Self::is_ready).
    #[inline]
    pub(crate) fn take(mut self) -> Result<T, E> {
        self.take_result()
    }

    /// Returns the location where the Deferred was created.
    pub(crate) fn made(&self) -> CallSite {
        self.block().state.made
    }

    /// Returns the location where the last stage was added.
    pub(crate) fn last(&self) -> CallSite {
        self.block().state.last.get()
    }

    /// Cancels the block inside this call.
    pub(crate) fn cancel(&self, why: &Cancelled) {
        run::cancel_now(self.block().clone(), why);
    }
}

impl<T: 'static, E: DeferredError> Source<T, E> {
    /// Fires the block and runs its callbacks inside this call. After a cancel the result is only
    /// dropped.
    // As `#[inline]`, new, fire, take is 5 % more instructions (bench: engine/).
    #[inline(always)]
    pub(crate) fn fire(self, result: Result<T, E>) {
        if self.is_cancelled() {
            run::enter(|| drop(self.set_result(result)));
            return;
        }
        run::run_fired(self.store(result));
    }

    /// Fires the block. Its callbacks run when the returned [`Fired`] is run.
    #[inline]
    pub(crate) fn set_result(self, result: Result<T, E>) -> Fired {
        if self.is_cancelled() {
            drop_ignored(result);
            return Fired::none();
        }
        Fired::claim(self.store(result))
    }
}

impl<T, E: DeferredError> Drop for Source<T, E> {
    fn drop(&mut self) {
        run::abandon_soon(self.block());
    }
}

/// Drops the result of a source whose block was cancelled.
#[cold]
fn drop_ignored<T, E: DeferredError>(result: Result<T, E>) {
    never_unwinding(|| drop(result));
}

impl<T, E: DeferredError> Source<T, E> {
    /// Returns a number that no other live block has.
    pub(crate) fn id(&self) -> usize {
        self.block().id()
    }

    /// Returns the location where the Deferred was created.
    #[inline]
    pub(crate) fn made(&self) -> CallSite {
        self.block().state.made
    }

    /// Returns `true` if the block was cancelled, so that a result would be dropped.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.block().is_fired()
    }
}

impl Fired {
    /// Runs the callbacks of the block inside this call. If too many such calls are nested, they
    /// run after the callback that runs now.
    pub(crate) fn run(self) {
        if let Some(block) = self.into_block() {
            run::run_claimed(block);
        }
    }
}
