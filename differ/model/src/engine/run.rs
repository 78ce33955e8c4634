//! The loop: it runs stages, makes blocks wait for each other, hands results on, and cancels.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};

use super::block::{Block, Call, Canceller, Kind, Ran, Slot, Stage, Successor, Waiting};
use super::chain::Fired;
use crate::abort::never_unwinding;
use crate::error::{Abandoned, BuiltinError, CallSite, Cancelled, Cycle, Panicked};

/// One thing for the loop to do.
pub(super) enum Job {
    /// Takes a busy block through its next stage.
    Step(Rc<Block>),
    /// Fires a block with a result.
    Fire(Fired),
    /// The resolver of the block was dropped.
    Abandon(Rc<Block>),
    /// Ends one pause.
    Unpause(Rc<Block>),
    /// Passes a cancel on; the number is that of the cancel.
    Cancel(Rc<Block>, Cancelled, u64),
}

thread_local! {
    /// The jobs that drops have queued with the level that runs; none while no level runs. See rule
    /// 2.
    static QUEUED: RefCell<Option<Vec<Job>>> = const { RefCell::new(None) };
    static CANCELS: Cell<u64> = const { Cell::new(0) };
}

/// A cancel that nobody has seen yet.
pub(super) fn new_cancel() -> u64 {
    CANCELS.set(CANCELS.get() + 1);
    CANCELS.get()
}

/// Does a job now, with all that follows from it.
pub(super) fn now(job: Job) {
    level(Some(job), || ());
}

/// Does a job right after the callback that runs; now, where none does. What destructors call.
pub(super) fn soon(job: Job) {
    let mut job = Some(job);
    // At the end of a thread its queue is gone: what is dropped then fires at once.
    let _ = QUEUED.try_with(|queued| {
        if let Some(queue) = &mut *queued.borrow_mut() {
            queue.extend(job.take());
        }
    });
    if let Some(job) = job {
        now(job);
    }
}

/// Runs `f`, which belongs to the callback that calls this, and leaves what its drops set off to
/// come after that one. Where no callback runs, it comes after `f`.
pub(super) fn within<R>(f: impl FnOnce() -> R) -> R {
    if QUEUED.try_with(|queued| queued.borrow().is_some()) == Ok(true) { f() } else { level(None, f) }
}

/// Takes the block, if it has a result that its stages may have, through them.
pub(super) fn start(block: &Rc<Block>) {
    if let Some(block) = begin(block) {
        now(Job::Step(block));
    }
}

/// A level: `f`, what it dropped, then `first`, and all that follows.
fn level<R>(first: Option<Job>, f: impl FnOnce() -> R) -> R {
    let outer = QUEUED.try_with(|queued| queued.replace(Some(Vec::new()))).unwrap_or_default();
    let value = f();
    work(first);
    let _ = QUEUED.try_with(|queued| queued.replace(outer));
    value
}

fn work(first: Option<Job>) {
    let mut stack = Vec::from_iter(first);
    loop {
        // What the last job has dropped comes before what else is left, the first drop first.
        let _ = QUEUED.try_with(|queued| {
            if let Some(queue) = &mut *queued.borrow_mut() {
                stack.extend(queue.drain(..).rev());
            }
        });
        let Some(job) = stack.pop() else { return };
        let next = match job {
            Job::Step(block) => step(block),
            Job::Fire(fired) => fire(&fired.block, fired.slot),
            Job::Abandon(block) => abandon(&block),
            Job::Unpause(block) => unpause(&block),
            Job::Cancel(block, why, number) => cancel(&block, &why, number),
        };
        stack.extend(next.map(Job::Step));
    }
}

/// Makes a block that can run busy.
fn begin(block: &Rc<Block>) -> Option<Rc<Block>> {
    if !block.can_run() {
        return None;
    }
    block.busy.set(true);
    Some(block.clone())
}

/// Takes a busy block through one stage. Gives the busy block whose step is next.
fn step(block: Rc<Block>) -> Option<Rc<Block>> {
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
            give(&to, slot)
        }
        Stage::End(take) => {
            block.busy.set(false);
            let fired = never_unwinding(|| take(slot))?;
            fire(&fired.block, fired.slot)
        }
    }
}

/// The end of a wait: `to` gets what it waited for.
fn give(to: &Rc<Block>, mut slot: Slot) -> Option<Rc<Block>> {
    let Some(Waiting { kind, at, .. }) = to.waiting.take() else { unreachable!("it waits for this result") };
    kind.add_location(&mut slot, at);
    to.slot.replace(Some(slot));
    begin(to)
}

/// A stage of the busy `block` has left `inner`, of which it takes the result, or which it waits
/// for.
fn join(block: Rc<Block>, inner: Rc<Block>, kind: &'static dyn Kind, at: CallSite) -> Option<Rc<Block>> {
    inner.has_chain.set(false);
    if Rc::ptr_eq(&block, &inner) {
        let mut slot = kind.interrupt(Cycle::new().into());
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
    // Whatever handle is kept to this block, what it meant until now is over.
    block.wait.set(block.wait.get() + 1);
    block.busy.set(false);
    match block.take_waiter() {
        // A tail call: all that is left is to pass the result on. The one that waits for it waits
        // for `inner` instead, and this block is out of the chain, which so stays as long as it
        // was.
        Some(to) if !Rc::ptr_eq(&to, &inner) => {
            block.successor.replace(Some(Successor { block: Rc::downgrade(&to), wait: to.wait.get() }));
            wait_for(to, inner);
        }
        give => {
            // `inner` is who waits for this block: a circle, that waits for ever.
            if let Some(to) = give {
                block.push(Stage::Deliver(to));
            }
            block.waiting.replace(Some(Waiting { inner: Weak::new(), kind, at }));
            wait_for(block, inner);
        }
    }
    None
}

/// Has `block`, which waits, wait for `inner`.
pub(super) fn wait_for(block: Rc<Block>, mut inner: Rc<Block>) {
    // One that would only pass on what it waits for itself is left out as well.
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

/// Fires a block, unless that has happened.
fn fire(block: &Rc<Block>, slot: Slot) -> Option<Rc<Block>> {
    if block.fired.replace(true) {
        never_unwinding(|| drop(slot));
        return None;
    }
    block.slot.replace(Some(slot));
    let canceller = block.canceller.take();
    never_unwinding(|| drop(canceller));
    begin(block)
}

fn interrupt(block: &Rc<Block>, why: BuiltinError) -> Option<Rc<Block>> {
    if block.fired.get() { None } else { fire(block, block.source.interrupt(why)) }
}

fn abandon(block: &Rc<Block>) -> Option<Rc<Block>> {
    // A canceller that decides fires it in a moment, whatever it has dropped.
    if block.cancelling.get() { None } else { interrupt(block, Abandoned::new().into()) }
}

fn unpause(block: &Rc<Block>) -> Option<Rc<Block>> {
    block.pauses.set(block.pauses.get() - 1);
    begin(block)
}

/// Cancels what `block` stands for now: itself while unfired, else what it waits for.
///
/// Each block passes one cancel on once, so that it ends where Deferreds wait for each other in a
/// circle.
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
                    return None; // that wait is over
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
        None => interrupt(block, why.clone().into()),
        Some(Canceller::Forward(forward)) => {
            block.canceller.replace(Some(Canceller::Forward(forward.clone())));
            let called = catch_unwind(AssertUnwindSafe(move || forward(why)));
            called.err().and_then(|payload| interrupt(block, Panicked::new(payload).into()))
        }
        Some(Canceller::Once(decide)) => {
            block.cancelling.set(true);
            let decided = catch_unwind(AssertUnwindSafe(decide));
            block.cancelling.set(false);
            match decided {
                Ok(Some(slot)) => fire(block, slot),
                Ok(None) => interrupt(block, why.clone().into()),
                Err(payload) => interrupt(block, Panicked::new(payload).into()),
            }
        }
    }
}
