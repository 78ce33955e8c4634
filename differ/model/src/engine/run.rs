//! The loop: runs stages, makes blocks wait for each other, delivers results, and cancels.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};

use super::block::{Block, Call, Canceller, Ran, ResultKind, Slot, Stage, Successor, Waiting};
use super::chain::Fired;
use crate::abort::never_unwinding;
use crate::error::{Abandoned, BuiltinError, CallSite, Cancelled, Cycle, Panicked};

/// A job of the loop.
pub(super) enum Job {
    /// Runs the next stage of a busy block.
    Step(Rc<Block>),
    /// Fires a block with a result.
    Fire(Fired),
    /// Abandons a block whose resolver was dropped.
    Abandon(Rc<Block>),
    /// Ends one pause.
    Unpause(Rc<Block>),
    /// Forwards a cancel with its number.
    Cancel(Rc<Block>, Cancelled, u64),
}

thread_local! {
    /// The jobs that drops have queued with the current level; `None` outside of levels. See rule
    /// 2.
    static QUEUED: RefCell<Option<Vec<Job>>> = const { RefCell::new(None) };
    static CANCELS: Cell<u64> = const { Cell::new(0) };
}

/// Returns the number of a new cancel.
pub(super) fn new_cancel() -> u64 {
    CANCELS.set(CANCELS.get() + 1);
    CANCELS.get()
}

/// Runs a job now, and all jobs that follow from it.
pub(super) fn run_now(job: Job) {
    enter(Some(job), || ());
}

/// Runs a job right after the current callback, or now if none runs. Called by destructors.
pub(super) fn queue(job: Job) {
    let mut job = Some(job);
    // At the end of a thread the queue has been destroyed: resolvers dropped then fire at once.
    let _ = QUEUED.try_with(|queued| {
        if let Some(queue) = &mut *queued.borrow_mut() {
            queue.extend(job.take());
        }
    });
    if let Some(job) = job {
        run_now(job);
    }
}

/// Runs `f` as a part of the callback that calls this: the effects of its drops run after that
/// callback. Outside of callbacks they run after `f`.
pub(super) fn enter_merged<R>(f: impl FnOnce() -> R) -> R {
    if QUEUED.try_with(|queued| queued.borrow().is_some()) == Ok(true) { f() } else { enter(None, f) }
}

/// Runs the stages of the block if it has a result and can run.
pub(super) fn run_block(block: &Rc<Block>) {
    if let Some(block) = claim(block) {
        run_now(Job::Step(block));
    }
}

/// Runs a level: `f`, the effects of its drops, then `first`, and all that follows.
fn enter<R>(first: Option<Job>, f: impl FnOnce() -> R) -> R {
    let outer = QUEUED.try_with(|queued| queued.replace(Some(Vec::new()))).unwrap_or_default();
    let value = f();
    run_queue(first);
    let _ = QUEUED.try_with(|queued| queued.replace(outer));
    value
}

fn run_queue(first: Option<Job>) {
    let mut stack = Vec::from_iter(first);
    loop {
        // The effects of the last job's drops run before the remaining jobs, in the order of the
        // drops.
        let _ = QUEUED.try_with(|queued| {
            if let Some(queue) = &mut *queued.borrow_mut() {
                stack.extend(queue.drain(..).rev());
            }
        });
        let Some(job) = stack.pop() else { return };
        let next = match job {
            Job::Step(block) => advance(block),
            Job::Fire(fired) => fire(&fired.block, fired.slot),
            Job::Abandon(block) => abandon(&block),
            Job::Unpause(block) => unpause(&block),
            Job::Cancel(block, why, number) => cancel(&block, &why, number),
        };
        stack.extend(next.map(Job::Step));
    }
}

/// Marks a block as busy if it can run.
fn claim(block: &Rc<Block>) -> Option<Rc<Block>> {
    if !block.can_run() {
        return None;
    }
    block.busy.set(true);
    Some(block.clone())
}

/// Runs one stage of a busy block. Returns the busy block to continue with.
fn advance(block: Rc<Block>) -> Option<Rc<Block>> {
    debug_assert!(block.busy.get() && block.slot.borrow().is_some());
    if block.is_paused() {
        block.busy.set(false);
        return None;
    }
    let stage = block.stages.borrow_mut().pop_front();
    let Some(stage) = stage else {
        block.busy.set(false);
        if !block.has_chain.get() {
            block.end();
        }
        return None;
    };
    let slot = block.slot.take().expect("a busy block between two stages has its result");
    match stage {
        Stage::Call(Call { run, kind, at }) => match run(slot) {
            Ran::Result(slot) => {
                block.slot.replace(Some(slot));
                Some(block)
            }
            Ran::Wait(inner) => join(block, inner, kind, at),
        },
        Stage::Deliver(to) => {
            block.busy.set(false);
            deliver(&to, slot)
        }
        Stage::End(take) => {
            block.busy.set(false);
            let fired = never_unwinding(|| take(slot))?;
            fire(&fired.block, fired.slot)
        }
    }
}

/// Ends a wait: `to` receives the awaited result.
fn deliver(to: &Rc<Block>, mut slot: Slot) -> Option<Rc<Block>> {
    let Some(Waiting { kind, at, .. }) = to.waiting.take() else { unreachable!("it waits for this result") };
    kind.add_location(&mut slot, at);
    to.slot.replace(Some(slot));
    claim(to)
}

/// Handles a stage of the busy `block` that returned `inner`: takes the result of `inner`, or waits
/// for it.
fn join(block: Rc<Block>, inner: Rc<Block>, kind: &'static dyn ResultKind, at: CallSite) -> Option<Rc<Block>> {
    inner.has_chain.set(false);
    if Rc::ptr_eq(&block, &inner) {
        let mut slot = kind.builtin_error(Cycle::new().into());
        kind.add_location(&mut slot, at);
        block.slot.replace(Some(slot));
        return Some(block);
    }
    if inner.is_ready() {
        let mut slot = inner.slot.take().expect("it is done");
        kind.add_location(&mut slot, at);
        block.slot.replace(Some(slot));
        return Some(block);
    }
    // The earlier wait of this block is over for all its handles.
    block.wait.set(block.wait.get() + 1);
    block.busy.set(false);
    match block.take_waiter() {
        // A tail call: nothing is left but to deliver the result. The block that waits for this one
        // waits for `inner` instead, and this block leaves the chain, so the chain does not grow.
        Some(to) if !Rc::ptr_eq(&to, &inner) => {
            block.successor.replace(Some(Successor { block: Rc::downgrade(&to), wait: to.wait.get() }));
            wait_for(to, inner);
        }
        give => {
            // `inner` waits for this block: a cycle, which waits forever.
            if let Some(to) = give {
                block.push(Stage::Deliver(to));
            }
            block.waiting.replace(Some(Waiting { inner: Weak::new(), kind, at }));
            wait_for(block, inner);
        }
    }
    None
}

/// Makes `block` wait for `inner`.
pub(super) fn wait_for(block: Rc<Block>, mut inner: Rc<Block>) {
    // An inner block that would only deliver the result it waits for is left out as well.
    while inner.only_passes_on() {
        let next = inner.waiting.borrow().as_ref().and_then(|waiting| waiting.inner.upgrade());
        let Some(next) = next.filter(|next| !Rc::ptr_eq(next, &block)) else { break };
        let give = next.stages.borrow_mut().pop_back();
        debug_assert!(matches!(&give, Some(Stage::Deliver(to)) if Rc::ptr_eq(to, &inner)));
        inner.waiting.take();
        inner.successor.replace(Some(Successor { block: Rc::downgrade(&block), wait: block.wait.get() }));
        inner = next;
    }
    if let Some(waiting) = &mut *block.waiting.borrow_mut() {
        waiting.inner = Rc::downgrade(&inner);
    }
    inner.push(Stage::Deliver(block));
}

/// Fires a block if it has not fired yet.
fn fire(block: &Rc<Block>, slot: Slot) -> Option<Rc<Block>> {
    if block.fired.replace(true) {
        never_unwinding(|| drop(slot));
        return None;
    }
    block.slot.replace(Some(slot));
    let canceller = block.canceller.take();
    never_unwinding(|| drop(canceller));
    claim(block)
}

fn fire_builtin_error(block: &Rc<Block>, why: BuiltinError) -> Option<Rc<Block>> {
    if block.fired.get() { None } else { fire(block, block.source.builtin_error(why)) }
}

fn abandon(block: &Rc<Block>) -> Option<Rc<Block>> {
    // A deciding canceller that runs now fires it afterwards, whatever it dropped.
    if block.cancelling.get() { None } else { fire_builtin_error(block, Abandoned::new().into()) }
}

fn unpause(block: &Rc<Block>) -> Option<Rc<Block>> {
    block.pauses.set(block.pauses.get() - 1);
    claim(block)
}

/// Cancels `block` if it has not fired, else the block that it waits for.
///
/// Each block forwards a cancel only once, so that a cancel ends in a cycle of Deferreds.
fn cancel(block: &Rc<Block>, why: &Cancelled, number: u64) -> Option<Rc<Block>> {
    let mut block = block.clone();
    while block.fired.get() {
        if block.passed_cancel.replace(number) == number {
            return None;
        }
        let next = block.waiting.borrow().as_ref().map(|waiting| waiting.inner.upgrade());
        block = match next {
            Some(inner) => inner?,
            None => {
                let successor = block.successor.borrow().clone()?;
                let to = successor.block.upgrade()?;
                if to.wait.get() != successor.wait {
                    return None; // the wait has ended
                }
                to
            }
        };
    }
    if block.passed_cancel.replace(number) == number || block.cancelling.get() {
        return None;
    }
    cancel_unfired(&block, why)
}

fn cancel_unfired(block: &Rc<Block>, why: &Cancelled) -> Option<Rc<Block>> {
    let canceller = block.canceller.take();
    match canceller {
        None => fire_builtin_error(block, why.clone().into()),
        Some(Canceller::Forward(forward)) => {
            block.canceller.replace(Some(Canceller::Forward(forward.clone())));
            let called = catch_unwind(AssertUnwindSafe(move || forward(why)));
            called.err().and_then(|payload| fire_builtin_error(block, Panicked::new(payload).into()))
        }
        Some(Canceller::Once(decide)) => {
            block.cancelling.set(true);
            let decided = catch_unwind(AssertUnwindSafe(decide));
            block.cancelling.set(false);
            match decided {
                Ok(Some(slot)) => fire(block, slot),
                Ok(None) => fire_builtin_error(block, why.clone().into()),
                Err(payload) => fire_builtin_error(block, Panicked::new(payload).into()),
            }
        }
    }
}
