//! The block of a pending Deferred, and what its stages are.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::panic::Location;
use std::rc::{Rc, Weak};

use super::chain::Fired;
use crate::abort::never_unwinding;
use crate::error::{self, BuiltinError, CallSite, Cancelled, DeferredError};

/// A `Result<T, E>` whose types the loop need not know.
pub(super) type Slot = Box<dyn Any>;

/// What the loop can do with a result of an unknown type.
pub(super) trait Kind {
    /// The error that the library fires.
    fn interrupt(&self, why: BuiltinError) -> Slot;
    /// Tells an error that it passed a place.
    fn add_location(&self, slot: &mut Slot, at: CallSite);
    /// Whether it is an error that nobody has handled, in which case it is reported.
    fn report(&self, slot: &Slot, made: CallSite, last: CallSite);
}

struct Of<T, E>(PhantomData<fn() -> (T, E)>);

/// The kind of `Result<T, E>`.
pub(super) fn kind<T: 'static, E: DeferredError>() -> &'static dyn Kind {
    &Of::<T, E>(PhantomData)
}

/// The result in a slot of its kind.
pub(super) fn open<T: 'static, E: DeferredError>(slot: Slot) -> Result<T, E> {
    *slot.downcast().expect("a stage takes what the one before it gives")
}

impl<T: 'static, E: DeferredError> Kind for Of<T, E> {
    fn interrupt(&self, why: BuiltinError) -> Slot {
        never_unwinding(|| Box::new(Err::<T, E>(why.into())))
    }

    fn add_location(&self, slot: &mut Slot, at: CallSite) {
        if let Some(Err(error)) = slot.downcast_mut::<Result<T, E>>() {
            never_unwinding(|| error.add_location(at));
        }
    }

    fn report(&self, slot: &Slot, made: CallSite, last: CallSite) {
        if let Some(Err(error)) = slot.downcast_ref::<Result<T, E>>() {
            error::report(error, made, last);
        }
    }
}

/// What a callback brought.
pub(super) enum Ran {
    Result(Slot),
    Wait(Rc<Block>),
}

/// What a block does with its result, one after the other. `Give` and `End` are always the last.
pub(super) enum Stage {
    /// Runs a callback.
    Call(Call),
    /// Gives it to the block that waits for this one.
    Deliver(Rc<Block>),
    /// Hands it to whoever takes it for good, and who may have something to fire with it.
    End(Box<dyn FnOnce(Slot) -> Option<Fired>>),
}

pub(super) struct Call {
    pub(super) run: Box<dyn FnOnce(Slot) -> Ran>,
    /// Of what it brings.
    pub(super) kind: &'static dyn Kind,
    pub(super) at: CallSite,
}

/// Who is told when an unfired block is cancelled.
pub(super) enum Canceller {
    /// Called once, and decides.
    Once(Box<dyn FnOnce() -> Option<Slot>>),
    /// Called at each cancel, and forces nothing. Counted, since it may be called again from inside
    /// itself.
    Forward(Rc<dyn Fn(&Cancelled)>),
}

/// The block that a stage waits for. Weak: that one holds this one, and whoever can fire it holds
/// it.
pub(super) struct Waiting {
    pub(super) inner: Weak<Block>,
    /// Of the result that will come.
    pub(super) kind: &'static dyn Kind,
    /// Where the stage that waits was added.
    pub(super) at: CallSite,
}

/// Who took the place of a block: `block`, in its wait number `wait`.
#[derive(Clone)]
pub(super) struct Successor {
    pub(super) block: Weak<Block>,
    pub(super) wait: u64,
}

/// The state of one pending Deferred.
pub(super) struct Block {
    /// The source has spoken: it was fired or cancelled, and what comes from it now is ignored.
    pub(super) fired: Cell<bool>,
    /// Its canceller of the deciding kind runs.
    pub(super) cancelling: Cell<bool>,
    /// A loop is in this block.
    pub(super) busy: Cell<bool>,
    /// A `Chain` exists: somebody may still add stages or take the result.
    pub(super) has_chain: Cell<bool>,
    /// A `Handle` was taken, so this block must stay what the handle means.
    pub(super) shared: Cell<bool>,
    pub(super) pauses: Cell<u32>,
    /// The last cancel that came by. See `run::cancel`.
    pub(super) passed_cancel: Cell<u64>,
    /// How many waits have begun: tells an successor's wait that goes on from one that is over.
    pub(super) wait: Cell<u64>,
    pub(super) slot: RefCell<Option<Slot>>,
    pub(super) stages: RefCell<VecDeque<Stage>>,
    pub(super) waiting: RefCell<Option<Waiting>>,
    pub(super) successor: RefCell<Option<Successor>>,
    pub(super) canceller: RefCell<Option<Canceller>>,
    /// Of what it is fired with.
    pub(super) source: &'static dyn Kind,
    /// Of what its last stage gives.
    pub(super) result: Cell<&'static dyn Kind>,
    pub(super) made: CallSite,
    pub(super) last: Cell<CallSite>,
}

impl Block {
    pub(super) fn new(kind: &'static dyn Kind, made: CallSite, last: CallSite) -> Rc<Block> {
        Rc::new(Block {
            fired: Cell::new(false),
            cancelling: Cell::new(false),
            busy: Cell::new(false),
            has_chain: Cell::new(true),
            shared: Cell::new(false),
            pauses: Cell::new(0),
            passed_cancel: Cell::new(0),
            wait: Cell::new(0),
            slot: RefCell::new(None),
            stages: RefCell::new(VecDeque::new()),
            waiting: RefCell::new(None),
            successor: RefCell::new(None),
            canceller: RefCell::new(None),
            source: kind,
            result: Cell::new(kind),
            made,
            last: Cell::new(last),
        })
    }

    pub(super) fn is_paused(&self) -> bool {
        self.pauses.get() > 0
    }

    /// Its result is there, and a loop may take it through the stages.
    pub(super) fn can_run(&self) -> bool {
        !self.busy.get() && !self.is_paused() && self.slot.borrow().is_some()
    }

    /// Its result is there, and nothing is left that would change it.
    pub(super) fn is_ready(&self) -> bool {
        self.can_run() && self.stages.borrow().is_empty()
    }

    /// All that is left to do is to pass on what it waits for.
    pub(super) fn only_passes_on(&self) -> bool {
        !self.is_paused() && self.waiting.borrow().is_some() && self.stages.borrow().is_empty()
    }

    pub(super) fn push(&self, stage: Stage) {
        let mut stages = self.stages.borrow_mut();
        debug_assert!(!matches!(stages.back(), Some(Stage::Deliver(_) | Stage::End(_))), "added behind the end");
        stages.push_back(stage);
    }

    /// Takes what waits at the end: `Give` or `End` is the only stage left.
    pub(super) fn take_waiter(&self) -> Option<Rc<Block>> {
        let mut stages = self.stages.borrow_mut();
        if stages.len() != 1 || self.is_paused() || !matches!(stages.front(), Some(Stage::Deliver(_))) {
            return None;
        }
        match stages.pop_front() {
            Some(Stage::Deliver(to)) => Some(to),
            _ => unreachable!("looked at above"),
        }
    }

    /// The result, which is at its end: an error that nobody has handled is reported.
    pub(super) fn end(&self) {
        let Some(slot) = self.slot.take() else { return };
        self.result.get().report(&slot, self.made, self.last.get());
        never_unwinding(|| drop(slot));
    }
}
