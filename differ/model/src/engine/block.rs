//! The block of a pending Deferred, and its stages.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::panic::Location;
use std::rc::{Rc, Weak};

use super::chain::Fired;
use crate::abort::never_unwinding;
use crate::error::{self, BuiltinError, CallSite, Cancelled, DeferredError};

/// A boxed `Result<T, E>`, whose types the loop does not know.
pub(super) type Slot = Box<dyn Any>;

/// Operations on a result whose type is unknown.
pub(super) trait ResultKind {
    /// Creates an error from a builtin error.
    fn builtin_error(&self, why: BuiltinError) -> Slot;
    /// Adds a location to the result if it is an error.
    fn add_location(&self, slot: &mut Slot, at: CallSite);
    /// Reports the result if it is an unhandled error.
    fn report(&self, slot: &Slot, made: CallSite, last: CallSite);
}

struct Typed<T, E>(PhantomData<fn() -> (T, E)>);

/// Returns the operations for `Result<T, E>`.
pub(super) fn result_kind<T: 'static, E: DeferredError>() -> &'static dyn ResultKind {
    &Typed::<T, E>(PhantomData)
}

/// Unboxes the result in a slot.
pub(super) fn unbox<T: 'static, E: DeferredError>(slot: Slot) -> Result<T, E> {
    *slot.downcast().expect("a stage takes the type of the previous stage")
}

impl<T: 'static, E: DeferredError> ResultKind for Typed<T, E> {
    fn builtin_error(&self, why: BuiltinError) -> Slot {
        never_unwinding(|| Box::new(Err::<T, E>(why.into())))
    }

    fn add_location(&self, slot: &mut Slot, at: CallSite) {
        if let Some(Err(error)) = slot.downcast_mut::<Result<T, E>>() {
            never_unwinding(|| error.add_location(at));
        }
    }

    fn report(&self, slot: &Slot, made: CallSite, last: CallSite) {
        if let Some(Err(error)) = slot.downcast_ref::<Result<T, E>>() {
            crate::report::unhandled(error, made, last);
        }
    }
}

/// The output of a callback.
pub(super) enum Ran {
    Result(Slot),
    Wait(Rc<Block>),
}

/// A stage of a block. `Deliver` and `End` are always last.
pub(super) enum Stage {
    /// Runs a callback.
    Call(Call),
    /// Delivers the result to the block that waits for this one.
    Deliver(Rc<Block>),
    /// Passes the result to its consumer, which may return a source to fire.
    End(Box<dyn FnOnce(Slot) -> Option<Fired>>),
}

pub(super) struct Call {
    pub(super) run: Box<dyn FnOnce(Slot) -> Ran>,
    /// The type of the output.
    pub(super) kind: &'static dyn ResultKind,
    pub(super) at: CallSite,
}

/// The canceller of an unfired block.
pub(super) enum Canceller {
    /// A canceller that is called once and decides the result.
    Once(Box<dyn FnOnce() -> Option<Slot>>),
    /// A forwarding canceller, which is called at each cancel and fires nothing. Reference-counted,
    /// since a call may be re-entrant.
    Forward(Rc<dyn Fn(&Cancelled)>),
}

/// The block that a stage waits for. The reference is weak: the inner block owns this one, and the
/// producer owns the inner block.
pub(super) struct Waiting {
    pub(super) inner: Weak<Block>,
    /// The type of the awaited result.
    pub(super) kind: &'static dyn ResultKind,
    /// The location where the waiting stage was added.
    pub(super) at: CallSite,
}

/// The block that replaced another one in a tail call: `block`, in its wait number `wait`.
#[derive(Clone)]
pub(super) struct Successor {
    pub(super) block: Weak<Block>,
    pub(super) wait: u64,
}

/// The state of one pending Deferred.
pub(super) struct Block {
    /// Set once the block was fired or cancelled; later results of the source are ignored.
    pub(super) fired: Cell<bool>,
    /// Set while a deciding canceller runs.
    pub(super) cancelling: Cell<bool>,
    /// Set while a loop runs the stages of this block.
    pub(super) busy: Cell<bool>,
    /// Set while a `Chain` exists, which may add stages or take the result.
    pub(super) has_chain: Cell<bool>,
    /// Set once a `Handle` was created, so that this block must stay in the chain.
    pub(super) shared: Cell<bool>,
    pub(super) pauses: Cell<u32>,
    /// The number of the last cancel that reached this block. See `run::cancel`.
    pub(super) passed_cancel: Cell<u64>,
    /// The number of waits that have begun. It distinguishes the wait of a successor from earlier
    /// ones.
    pub(super) wait: Cell<u64>,
    pub(super) slot: RefCell<Option<Slot>>,
    pub(super) stages: RefCell<VecDeque<Stage>>,
    pub(super) waiting: RefCell<Option<Waiting>>,
    pub(super) successor: RefCell<Option<Successor>>,
    pub(super) canceller: RefCell<Option<Canceller>>,
    /// The type of the result that fires it.
    pub(super) source: &'static dyn ResultKind,
    /// The type of the output of the last stage.
    pub(super) result: Cell<&'static dyn ResultKind>,
    pub(super) made: CallSite,
    pub(super) last: Cell<CallSite>,
}

impl Block {
    pub(super) fn new(kind: &'static dyn ResultKind, made: CallSite, last: CallSite) -> Rc<Block> {
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

    /// Returns `true` if the block has a result and a loop may run its stages.
    pub(super) fn can_run(&self) -> bool {
        !self.busy.get() && !self.is_paused() && self.slot.borrow().is_some()
    }

    /// Returns `true` if the block has its final result.
    pub(super) fn is_ready(&self) -> bool {
        self.can_run() && self.stages.borrow().is_empty()
    }

    /// Returns `true` if nothing is left but to deliver the awaited result.
    pub(super) fn only_passes_on(&self) -> bool {
        !self.is_paused() && self.waiting.borrow().is_some() && self.stages.borrow().is_empty()
    }

    pub(super) fn push(&self, stage: Stage) {
        let mut stages = self.stages.borrow_mut();
        debug_assert!(
            !matches!(stages.back(), Some(Stage::Deliver(_) | Stage::End(_))),
            "a stage was added after the end"
        );
        stages.push_back(stage);
    }

    /// Takes the waiting block if `Deliver` is the only stage left.
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

    /// Ends the chain: reports the result if it is an unhandled error.
    pub(super) fn end(&self) {
        let Some(slot) = self.slot.take() else { return };
        self.result.get().report(&slot, self.made, self.last.get());
        never_unwinding(|| drop(slot));
    }
}
