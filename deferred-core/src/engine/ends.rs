//! What the rest of the crate does with the ends of a block.

#![forbid(unsafe_code)]

use super::raw::{BlockRef, Chain, Place, Source};
use super::{Handle, Left, call, never_unwinding, run, settle};
use crate::error::{Cancelled, Cycle, Fault};

/// A block that was fired, for the loop to run. None if it had been fired before.
///
/// The block is busy until then, since its canceller still is its first record. Adding to it, looking at it and
/// cancelling it work as between two stages.
#[must_use = "a block that is not run never fires"]
pub(crate) struct Firing(Option<BlockRef>);

impl<T: 'static, E: Fault> Chain<T, E> {
    /// What a callback on a ready Deferred has left: its result, or a block that waits for it. Not its own block:
    /// handles to that go on meaning what they did, and a pause of the new one must not hold up the callbacks of this.
    #[cold]
    pub(super) fn awaited(self, made: Place, at: Place) -> Left<T, E> {
        if self.is_done() {
            return Left::Result(self.take().map_err(|error| call::passed(error, at)));
        }
        let waiting = Self::waiting(made, at);
        run::wait_for(waiting.block().clone(), self.into_awaited());
        Left::Wait(waiting)
    }

    /// Adds a stage, which runs at once if the result is there.
    #[inline(always)]
    pub(crate) fn then<U, D, F>(self, at: Place, f: F) -> Left<U, D>
    where
        U: 'static,
        D: Fault,
        F: FnOnce(Result<T, E>) -> Left<U, D> + 'static,
    {
        if self.block().is_full() {
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
        if self.is_done() && !self.block().state.is_shared() {
            let made = self.made();
            return settle(self.take(), made, at, f);
        }
        let chain = self.push(at, f);
        run::start(chain.block());
        Left::Wait(chain)
    }

    /// Takes the result for good when it is there, and fires what `f` gives.
    pub(crate) fn end(self, f: impl FnOnce(Result<T, E>) -> Option<Firing> + 'static) {
        run::start(&self.push_end(f));
    }

    /// Leaves the result to this chain and has `told` called when it is there, which is not yet. Gives what cancels the
    /// one that is waited for.
    #[inline(always)]
    pub(crate) fn watch(&mut self, told: impl FnOnce() -> Option<Firing> + 'static) -> Handle {
        self.push_watch(told);
        Handle(self.block().clone())
    }

    /// As [`watch`](Self::watch) gives.
    pub(crate) fn awaited_handle(&self) -> Handle {
        Handle(self.block().clone())
    }

    /// Cancels it, after the callback that runs, and takes whatever comes as handled: nobody waits any more.
    pub(crate) fn forsake(self, why: &Cancelled) {
        let block = self.push_end(|_| None);
        run::start(&block);
        Handle(block).cancel_soon(why);
    }

    /// Fires `source` with the result.
    pub(crate) fn feed(self, source: Source<T, E>) {
        if self.block().is(source.block()) {
            let block = source.into_block();
            let fired = block.interrupt(Cycle::new().into());
            let firing = if fired { Firing::new(block) } else { Firing(None) };
            drop(self);
            firing.fire();
        } else {
            self.end(|result| Some(source.firing(result)));
        }
    }

    /// A handle, for which this block stays what it is.
    pub(crate) fn handle(&mut self) -> Handle {
        self.block().state.set_shared();
        Handle(self.block().clone())
    }

    /// The result is there, and nothing holds it back.
    #[inline(always)]
    pub(crate) fn is_done(&self) -> bool {
        self.block().is_done()
    }

    /// Takes the result, which is there.
    ///
    /// # Panics
    /// If it is not: see [`is_done`](Self::is_done).
    #[inline(always)]
    pub(crate) fn take(mut self) -> Result<T, E> {
        self.take_out()
    }

    /// Tells this block from all others, for as long as it lives.
    #[inline(always)]
    pub(crate) fn id(&self) -> usize {
        self.block().id()
    }

    pub(crate) fn made(&self) -> Place {
        self.block().state.made
    }

    pub(crate) fn last(&self) -> Place {
        self.block().state.last.get()
    }

    pub(crate) fn cancel(&self, why: &Cancelled) {
        run::cancel_now(self.block().clone(), why);
    }
}

impl<T: 'static, E: Fault> Source<T, E> {
    /// Fires, and runs what can run. After a cancel the result is only dropped.
    #[inline(always)]
    pub(crate) fn fire(self, result: Result<T, E>) {
        if self.is_cancelled() {
            let Firing(none) = run::inside(|| self.firing(result));
            debug_assert!(none.is_none());
            return;
        }
        run::start_fired(self.fill(result));
    }

    /// Fires, and leaves it to the loop to run what can run.
    pub(crate) fn firing(self, result: Result<T, E>) -> Firing {
        if self.is_cancelled() {
            never_unwinding(|| drop(result));
            return Firing(None);
        }
        Firing::new(self.fill(result))
    }
}

impl<T, E: Fault> Source<T, E> {
    /// That of its [`Chain`], as long as this lives.
    pub(crate) fn id(&self) -> usize {
        self.block().id()
    }

    /// It was cancelled before it was fired.
    #[inline(always)]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.block().is_fired()
    }
}

impl Firing {
    fn new(block: BlockRef) -> Firing {
        block.state.set_busy();
        Firing(Some(block))
    }

    /// Runs it inside this call, unless too many such calls are one inside the other: then after the callback that runs.
    pub(crate) fn fire(self) {
        if let Some(block) = self.0 {
            run::start_firing(block);
        }
    }

    pub(super) fn into_block(self) -> Option<BlockRef> {
        self.0
    }
}
