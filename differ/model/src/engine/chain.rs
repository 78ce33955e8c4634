//! The typed ends of a block: what the rest of the crate holds.

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::block::{Block, Call, Canceller, Ran, Slot, Stage, Waiting, kind, open};
use super::run::{self, Job};
use crate::abort::never_unwinding;
use crate::error::{self, BuiltinError, CallSite, Cancelled, Cycle, DeferredError, Panicked};

/// What a stage leaves behind.
pub(crate) enum StageOutput<T, E: DeferredError> {
    Ready(Result<T, E>),
    Pending(Chain<T, E>),
}

/// The consumer's end of a block, whose last stage gives a `Result<T, E>`.
///
/// Dropping it lets the chain run on.
pub(crate) struct Chain<T, E: DeferredError> {
    /// None once the block has gone elsewhere.
    block: Option<Rc<Block>>,
    /// A result that somebody has looked at. It is put back before anything else happens to the
    /// block.
    seen: Option<Box<Result<T, E>>>,
    types: Both<T, E>,
}

/// Says that a type uses its parameters both ways, so that no lifetime in them can be changed: the
/// block knows them as they were when it was made.
type Both<T, E> = PhantomData<fn(Result<T, E>) -> Result<T, E>>;

/// The producer's end of a block, which while unfired wants a `Result<T, E>`.
///
/// Dropping it fires `Abandoned`.
pub(crate) struct Source<T, E: DeferredError> {
    block: Option<Rc<Block>>,
    types: Both<T, E>,
}

/// What cancels and pauses a block, wherever its ends have gone.
#[derive(Clone)]
pub(crate) struct Handle(Rc<Block>);

/// A block to be fired, and with what.
pub(crate) struct Fired {
    pub(super) block: Rc<Block>,
    pub(super) slot: Slot,
}

/// Runs a stage on a result that is there: a block is needed only if it leaves one to wait for.
pub(crate) fn settle<T, E, U, D, F>(result: Result<T, E>, made: CallSite, at: CallSite, f: F) -> StageOutput<U, D>
where
    U: 'static,
    D: DeferredError,
    F: FnOnce(Result<T, E>) -> StageOutput<U, D>,
{
    match run::within(|| invoke(f, result, at)) {
        StageOutput::Pending(inner) => inner.into_output(made, at),
        left => left,
    }
}

/// Runs a callback, whose panic becomes an error.
pub(crate) fn catch<U, D: DeferredError>(f: impl FnOnce() -> StageOutput<U, D>) -> StageOutput<U, D> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(panicked)
}

/// Runs a stage. A panic, also that of a destructor of what it captured or was given, is its error.
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

    /// Both ends of a new block.
    pub(crate) fn pair(made: CallSite) -> (Self, Source<T, E>) {
        let block = Block::new(kind::<T, E>(), made, made);
        (Self::of(block.clone()), Source { block: Some(block), types: PhantomData })
    }

    /// Gives a result that is there a block, for what needs one: handles, pauses.
    pub(crate) fn from_ready(result: Result<T, E>, made: CallSite, last: CallSite) -> Self {
        let block = Block::new(kind::<T, E>(), made, last);
        block.fired.set(true);
        block.slot.replace(Some(Box::new(result)));
        Self::of(block)
    }

    /// Adds a stage, which runs at once if the result is there.
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
        let call = move |slot| match invoke(f, open::<T, E>(slot), at) {
            StageOutput::Ready(result) => Ran::Result(Box::new(result) as Slot),
            StageOutput::Pending(chain) => Ran::Wait(chain.into_block()),
        };
        let block = self.into_block();
        block.result.set(kind::<U, D>());
        block.last.set(at);
        block.push(Stage::Call(Call { run: Box::new(call), kind: kind::<U, D>(), at }));
        run::start(&block);
        StageOutput::Pending(Chain::of(block))
    }

    /// Takes the result for good when it is there, and fires what `f` gives.
    pub(crate) fn consume(self, f: impl FnOnce(Result<T, E>) -> Option<Fired> + 'static) {
        let block = self.into_block();
        block.has_chain.set(false);
        block.push(Stage::End(Box::new(|slot| f(open(slot)))));
        run::start(&block);
    }

    /// Fires `source` with the result.
    pub(crate) fn forward_to(mut self, source: Source<T, E>) {
        if Rc::ptr_eq(self.block(), source.block()) {
            let fired = source.interrupted(Cycle::new().into());
            drop(self);
            fired.run();
        } else {
            self.consume(|result| Some(source.set_result(result)));
        }
    }

    /// A handle, for which this block stays what it is.
    pub(crate) fn handle(&mut self) -> Handle {
        let block = self.block();
        block.shared.set(true);
        Handle(block.clone())
    }

    /// The result is there, and nothing holds it back.
    pub(crate) fn is_ready(&self) -> bool {
        self.seen.is_some() || self.block.as_ref().is_some_and(|block| block.is_ready())
    }

    /// Looks at the result, if it is there.
    pub(crate) fn peek(&mut self) -> Option<&Result<T, E>> {
        if self.seen.is_none() && self.is_ready() {
            self.seen = self.block().slot.take().map(|slot| Box::new(open(slot)));
        }
        self.seen.as_deref()
    }

    /// Takes the result, which is there.
    ///
    /// # Panics
    /// If it is not: see [`is_ready`](Self::is_ready).
    pub(crate) fn take(mut self) -> Result<T, E> {
        if let Some(seen) = self.seen.take() {
            return *seen;
        }
        assert!(self.is_ready(), "there is no result to take");
        open(self.block().slot.take().expect("it is done"))
    }

    pub(crate) fn made(&self) -> CallSite {
        self.block.as_ref().expect("a chain in use has its block").made
    }

    pub(crate) fn last(&self) -> CallSite {
        self.block.as_ref().expect("a chain in use has its block").last.get()
    }

    pub(crate) fn cancel(&self, why: &Cancelled) {
        if let Some(block) = &self.block {
            run::now(Job::Cancel(block.clone(), why.clone(), run::new_cancel()));
        }
    }

    /// What a callback on a ready Deferred has left: its result, or a block that waits for it. Not
    /// its own block: handles to that go on meaning what they did, and a pause of the new one must
    /// not hold up the callbacks of this.
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
        let block = Block::new(kind::<T, E>(), made, at);
        block.fired.set(true);
        block.wait.set(1);
        block.waiting.replace(Some(Waiting { inner: Rc::downgrade(&inner), kind: kind::<T, E>(), at }));
        run::wait_for(block.clone(), inner);
        StageOutput::Pending(Self::of(block))
    }

    /// The block, with whatever was looked at put back.
    fn block(&mut self) -> &Rc<Block> {
        let block = self.block.as_ref().expect("a chain in use has its block");
        if let Some(seen) = self.seen.take() {
            block.slot.replace(Some(seen));
        }
        block
    }

    /// The block, of which this is no longer an end.
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
                    error::report(error, block.made, block.last.get());
                }
            }
            None if block.is_ready() => block.end(),
            None => {}
        }
    }
}

impl<T: 'static, E: DeferredError> Source<T, E> {
    /// Sets the canceller that decides.
    pub(crate) fn set_canceller(&self, decide: impl FnOnce() -> Option<Result<T, E>> + 'static) {
        let decide = move || decide().map(|result| Box::new(result) as Slot);
        self.block().canceller.replace(Some(Canceller::Once(Box::new(decide))));
    }

    /// Sets the canceller that passes each cancel on.
    pub(crate) fn set_forwarding_canceller(&self, forward: impl Fn(&Cancelled) + 'static) {
        self.block().canceller.replace(Some(Canceller::Forward(Rc::new(forward))));
    }

    /// Fires, and runs what can run. After a cancel the result is only dropped.
    pub(crate) fn fire(self, result: Result<T, E>) {
        self.set_result(result).run();
    }

    /// What the loop is to fire.
    pub(crate) fn set_result(mut self, result: Result<T, E>) -> Fired {
        let block = self.block.take().expect("a source fires once");
        Fired { block, slot: Box::new(result) }
    }

    fn interrupted(mut self, why: BuiltinError) -> Fired {
        let block = self.block.take().expect("a source fires once");
        let slot = block.source.interrupt(why);
        Fired { block, slot }
    }

    fn block(&self) -> &Rc<Block> {
        self.block.as_ref().expect("a source that has not fired has its block")
    }
}

impl<T, E: DeferredError> Source<T, E> {
    /// It was cancelled before it was fired.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.block.as_ref().is_some_and(|block| block.fired.get())
    }
}

impl<T, E: DeferredError> Drop for Source<T, E> {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            run::soon(Job::Abandon(block));
        }
    }
}

impl Fired {
    /// Fires now, outside the loop.
    pub(crate) fn run(self) {
        run::now(Job::Fire(self));
    }
}

impl Handle {
    pub(crate) fn cancel(&self, why: &Cancelled) {
        run::now(Job::Cancel(self.0.clone(), why.clone(), run::new_cancel()));
    }

    pub(crate) fn pause(&self) {
        self.0.pauses.set(self.0.pauses.get().checked_add(1).expect("4,294,967,296 pauses of one Deferred"));
    }

    /// Ends a pause, and runs what it has_chain back.
    pub(crate) fn unpause(self) {
        run::now(Job::Unpause(self.0));
    }

    /// Ends a pause for a drop: now, or after the callback that runs.
    pub(crate) fn unpause_soon(self) {
        run::soon(Job::Unpause(self.0));
    }
}
