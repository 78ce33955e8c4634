//! The typed ends of a block, which the rest of the crate uses.

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::block::{Block, Call, Canceller, Ran, Slot, Stage, Waiting, result_kind, unbox};
use super::run::{self, Job};
use crate::abort::never_unwinding;
use crate::error::{self, BuiltinError, CallSite, Cancelled, Cycle, DeferredError, Panicked};

/// The output of a stage.
pub(crate) enum StageOutput<T, E: DeferredError> {
    Ready(Result<T, E>),
    Pending(Chain<T, E>),
}

/// The consumer's end of a block, whose last stage returns a `Result<T, E>`.
///
/// The chain continues after it is dropped.
pub(crate) struct Chain<T, E: DeferredError> {
    /// `None` once the block was moved out.
    block: Option<Rc<Block>>,
    /// A result that `peek` unboxed. It is put back before any other operation on the block.
    seen: Option<Box<Result<T, E>>>,
    types: Invariant<T, E>,
}

/// Makes the types invariant in their parameters, since the block stores values of exactly the
/// types with which it was created.
type Invariant<T, E> = PhantomData<fn(Result<T, E>) -> Result<T, E>>;

/// The producer's end of a block, which fires it with a `Result<T, E>`.
///
/// Dropping it fires `Abandoned`.
pub(crate) struct Source<T, E: DeferredError> {
    block: Option<Rc<Block>>,
    types: Invariant<T, E>,
}

/// A handle that cancels and pauses a block, wherever its ends have moved.
#[derive(Clone)]
pub(crate) struct Handle(Rc<Block>);

/// A block and the result to fire it with.
pub(crate) struct Fired {
    pub(super) block: Rc<Block>,
    pub(super) slot: Slot,
}

/// Runs a stage on a ready result. A block is created only if the stage returns a pending chain.
pub(crate) fn settle<T, E, U, D, F>(result: Result<T, E>, made: CallSite, at: CallSite, f: F) -> StageOutput<U, D>
where
    U: 'static,
    D: DeferredError,
    F: FnOnce(Result<T, E>) -> StageOutput<U, D>,
{
    match run::enter_merged(|| invoke(f, result, at)) {
        StageOutput::Pending(inner) => inner.into_output(made, at),
        left => left,
    }
}

/// Runs a callback and converts its panic into an error.
pub(crate) fn catch<U, D: DeferredError>(f: impl FnOnce() -> StageOutput<U, D>) -> StageOutput<U, D> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(panicked)
}

/// Runs a stage. A panic of the function, or of a destructor of its captures or its argument, is
/// the stage's error.
fn invoke<T, E, U, D, F>(f: F, result: Result<T, E>, at: CallSite) -> StageOutput<U, D>
where
    D: DeferredError,
    F: FnOnce(Result<T, E>) -> StageOutput<U, D>,
{
    let mut left = catch(move || f(result));
    if let StageOutput::Ready(Err(error)) = &mut left {
        never_unwinding(|| error.add_location(at));
    }
    left
}

#[cold]
fn panicked<U, D: DeferredError>(payload: Box<dyn Any + Send>) -> StageOutput<U, D> {
    never_unwinding(|| StageOutput::Ready(Err(D::from(Panicked::new(payload).into()))))
}

impl<T: 'static, E: DeferredError> Chain<T, E> {
    fn of(block: Rc<Block>) -> Self {
        Chain { block: Some(block), seen: None, types: PhantomData }
    }

    /// Creates a block and returns both ends.
    pub(crate) fn pair(made: CallSite) -> (Self, Source<T, E>) {
        let block = Block::new(result_kind::<T, E>(), made, made);
        (Self::of(block.clone()), Source { block: Some(block), types: PhantomData })
    }

    /// Moves a ready result into a block, which handles and pauses need.
    pub(crate) fn from_ready(result: Result<T, E>, made: CallSite, last: CallSite) -> Self {
        let block = Block::new(result_kind::<T, E>(), made, last);
        block.fired.set(true);
        block.slot.replace(Some(Box::new(result)));
        Self::of(block)
    }

    /// Adds a stage, which runs at once if the result is ready.
    pub(crate) fn add_stage<U, D, F>(mut self, at: CallSite, f: F) -> StageOutput<U, D>
    where
        U: 'static,
        D: DeferredError,
        F: FnOnce(Result<T, E>) -> StageOutput<U, D> + 'static,
    {
        let (made, shared) = (self.made(), self.block().shared.get());
        if self.is_ready() && !shared {
            return settle(self.take(), made, at, f);
        }
        let call = move |slot| match invoke(f, unbox::<T, E>(slot), at) {
            StageOutput::Ready(result) => Ran::Result(Box::new(result) as Slot),
            StageOutput::Pending(chain) => Ran::Wait(chain.into_block()),
        };
        let block = self.into_block();
        block.result.set(result_kind::<U, D>());
        block.last.set(at);
        block.push(Stage::Call(Call { run: Box::new(call), kind: result_kind::<U, D>(), at }));
        run::run_block(&block);
        StageOutput::Pending(Chain::of(block))
    }

    /// Consumes the result when it is ready, and fires the source that `f` returns.
    pub(crate) fn consume(self, f: impl FnOnce(Result<T, E>) -> Option<Fired> + 'static) {
        let block = self.into_block();
        block.has_chain.set(false);
        block.push(Stage::End(Box::new(|slot| f(unbox(slot)))));
        run::run_block(&block);
    }

    /// Fires `source` with the result.
    pub(crate) fn forward_to(mut self, source: Source<T, E>) {
        if Rc::ptr_eq(self.block(), source.block()) {
            let fired = source.with_builtin_error(Cycle::new().into());
            drop(self);
            fired.run();
        } else {
            self.consume(|result| Some(source.set_result(result)));
        }
    }

    /// Returns a handle, which keeps this block in the chain.
    pub(crate) fn handle(&mut self) -> Handle {
        let block = self.block();
        block.shared.set(true);
        Handle(block.clone())
    }

    /// Returns `true` if the result is ready and not paused.
    pub(crate) fn is_ready(&self) -> bool {
        self.seen.is_some() || self.block.as_ref().is_some_and(|block| block.is_ready())
    }

    /// Returns a reference to the result if it is ready.
    pub(crate) fn peek(&mut self) -> Option<&Result<T, E>> {
        if self.seen.is_none() && self.is_ready() {
            self.seen = self.block().slot.take().map(|slot| Box::new(unbox(slot)));
        }
        self.seen.as_deref()
    }

    /// Takes the ready result.
    ///
    /// # Panics
    /// Panics if the result is not ready: see [`is_ready`](Self::is_ready).
    pub(crate) fn take(mut self) -> Result<T, E> {
        if let Some(seen) = self.seen.take() {
            return *seen;
        }
        assert!(self.is_ready(), "the result is not ready");
        unbox(self.block().slot.take().expect("it is done"))
    }

    pub(crate) fn made(&self) -> CallSite {
        self.block.as_ref().expect("a chain in use has its block").made
    }

    pub(crate) fn last(&self) -> CallSite {
        self.block.as_ref().expect("a chain in use has its block").last.get()
    }

    pub(crate) fn cancel(&self, why: &Cancelled) {
        if let Some(block) = &self.block {
            run::run_now(Job::Cancel(block.clone(), why.clone(), run::new_cancel()));
        }
    }

    /// Converts the output of a callback on a ready Deferred: its result, or a new block that waits
    /// for it. The block itself is not reused: its handles stay valid, and a pause of the new block
    /// must not delay the callbacks of this one.
    fn into_output(self, made: CallSite, at: CallSite) -> StageOutput<T, E> {
        if self.is_ready() {
            let mut result = self.take();
            if let Err(error) = &mut result {
                never_unwinding(|| error.add_location(at));
            }
            return StageOutput::Ready(result);
        }
        let inner = self.into_block();
        inner.has_chain.set(false);
        let block = Block::new(result_kind::<T, E>(), made, at);
        block.fired.set(true);
        block.wait.set(1);
        block.waiting.replace(Some(Waiting { inner: Rc::downgrade(&inner), kind: result_kind::<T, E>(), at }));
        run::wait_for(block.clone(), inner);
        StageOutput::Pending(Self::of(block))
    }

    /// Returns the block, after a peeked result was put back.
    fn block(&mut self) -> &Rc<Block> {
        let block = self.block.as_ref().expect("a chain in use has its block");
        if let Some(seen) = self.seen.take() {
            block.slot.replace(Some(seen));
        }
        block
    }

    /// Returns the block and detaches this end.
    fn into_block(mut self) -> Rc<Block> {
        self.block();
        self.block.take().expect("a chain in use has its block")
    }
}

impl<T, E: DeferredError> Drop for Chain<T, E> {
    fn drop(&mut self) {
        let Some(block) = self.block.take() else { return };
        block.has_chain.set(false);
        match self.seen.take() {
            Some(seen) => {
                if let Err(error) = &*seen {
                    crate::report::unhandled(error, block.made, block.last.get());
                }
            }
            None if block.is_ready() => block.end(),
            None => {}
        }
    }
}

impl<T: 'static, E: DeferredError> Source<T, E> {
    /// Sets a deciding canceller.
    pub(crate) fn set_canceller(&self, decide: impl FnOnce() -> Option<Result<T, E>> + 'static) {
        let decide = move || decide().map(|result| Box::new(result) as Slot);
        self.block().canceller.replace(Some(Canceller::Once(Box::new(decide))));
    }

    /// Sets a forwarding canceller.
    pub(crate) fn set_forwarding_canceller(&self, forward: impl Fn(&Cancelled) + 'static) {
        self.block().canceller.replace(Some(Canceller::Forward(Rc::new(forward))));
    }

    /// Fires the block and runs its stages. After a cancel the result is only dropped.
    pub(crate) fn fire(self, result: Result<T, E>) {
        self.set_result(result).run();
    }

    /// Returns the block and `result`, for the loop to fire.
    pub(crate) fn set_result(mut self, result: Result<T, E>) -> Fired {
        let block = self.block.take().expect("a source fires once");
        Fired { block, slot: Box::new(result) }
    }

    fn with_builtin_error(mut self, why: BuiltinError) -> Fired {
        let block = self.block.take().expect("a source fires once");
        let slot = block.source.builtin_error(why);
        Fired { block, slot }
    }

    fn block(&self) -> &Rc<Block> {
        self.block.as_ref().expect("a source that has not fired has its block")
    }
}

impl<T, E: DeferredError> Source<T, E> {
    /// Returns `true` if the block was cancelled before it fired.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.block.as_ref().is_some_and(|block| block.fired.get())
    }
}

impl<T, E: DeferredError> Drop for Source<T, E> {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            run::queue(Job::Abandon(block));
        }
    }
}

impl Fired {
    /// Fires now, outside of the loop.
    pub(crate) fn run(self) {
        run::run_now(Job::Fire(self));
    }
}

impl Handle {
    pub(crate) fn cancel(&self, why: &Cancelled) {
        run::run_now(Job::Cancel(self.0.clone(), why.clone(), run::new_cancel()));
    }

    pub(crate) fn pause(&self) {
        self.0.pauses.set(self.0.pauses.get().checked_add(1).expect("4,294,967,296 pauses of one Deferred"));
    }

    /// Ends a pause, and runs the stages that it held back.
    pub(crate) fn unpause(self) {
        run::run_now(Job::Unpause(self.0));
    }

    /// Ends a pause from a destructor: now, or after the callback that runs.
    pub(crate) fn unpause_soon(self) {
        run::queue(Job::Unpause(self.0));
    }
}
