//! The records of a block: its stages and its canceller.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::block::{Block, BlockRef};
use super::region::{Head, Record};
use super::result_vtable::{ResultVtable, result_vtable};
use super::words::{borrow, put, take, words};
use crate::abort::never_unwinding;
use crate::engine::{Fired, StageOutput, Waiting, run::Step};
use crate::error::{BuiltinError, CallSite, Cancelled, DeferredError, Panicked, from_panic};

/// The vtable of a record. Each function needs the record to be the first one of the block.
pub(super) struct StageVtable {
    /// The number of words that the record captures.
    pub(super) words: u32,
    /// The type of the result that the stage takes, or that the canceller decides on. `None` for a
    /// stage that takes the block's output, of whatever type.
    pub(super) input: Option<&'static ResultVtable>,
    /// Passes the result through the stage. The slot is full, and of the type `input`.
    pub(super) run: Run,
    /// Calls the canceller of an unfired block. Returns `true` if this fired the block.
    pub(super) run_canceller: RunCanceller,
    /// Removes the record and drops its captures.
    pub(super) drop: unsafe fn(&Block, Record),
}

type Run = unsafe fn(&Block, Record) -> Step;
type RunCanceller = unsafe fn(&Block, Record, &Cancelled) -> bool;

impl StageVtable {
    /// Returns the vtable of a stage that captures a `C`.
    const fn stage<C>(input: Option<&'static ResultVtable>, run: Run) -> StageVtable {
        StageVtable { words: words::<C>(), input, run, run_canceller: not_a_canceller, drop: drop_record::<C> }
    }

    /// Returns the vtable of a canceller that captures a `C`.
    const fn canceller<C>(input: &'static ResultVtable, run_canceller: RunCanceller) -> StageVtable {
        StageVtable { run_canceller, ..StageVtable::stage::<C>(Some(input), not_a_stage) }
    }
}

impl Block {
    /// Appends a record, and makes the slot at least `slot` words large.
    ///
    /// # Safety
    ///
    /// The vtable is that of a record that captures `C`, and the flags say what the record is: rule
    /// 6.
    #[inline]
    pub(super) unsafe fn push_record<C>(&self, vtable: &'static StageVtable, at: CallSite, captures: C, slot: u32) {
        debug_assert!(vtable.words == words::<C>());
        // SAFETY: the captures are written at once.
        unsafe { put(self.region.push(Head { vtable, at }, words::<C>(), slot), captures) };
    }

    /// Removes the first record and returns its captures.
    ///
    /// # Safety
    ///
    /// `record` is the first record, and it captures a `C`.
    #[inline]
    unsafe fn pop_record<C>(&self, record: Record) -> C {
        // SAFETY: the caller's promise.
        let captures = unsafe { take(record.captures()) };
        self.region.pop_first(words::<C>());
        captures
    }
}

unsafe fn drop_record<C>(block: &Block, record: Record) {
    // SAFETY: this function is in the vtable of a record that captures `C`.
    drop(unsafe { block.pop_record::<C>(record) });
}

unsafe fn not_a_stage(_: &Block, _: Record) -> Step {
    unreachable!("a canceller is not run as a stage")
}

unsafe fn not_a_canceller(_: &Block, _: Record, _: &Cancelled) -> bool {
    unreachable!("a stage is not called by a cancel")
}

/// The vtable of the last stage of a block with a waiter, which captures that waiter.
pub(super) static DELIVER: StageVtable = StageVtable::stage::<BlockRef>(None, deliver);

unsafe fn deliver(block: &Block, _: Record) -> Step {
    let waiter = block.take_waiter().expect("the first record captures a waiter");
    block.state.clear_busy();
    block.move_result(&waiter);
    Step::Delivered(waiter)
}

/// The vtable of a callback `F` that takes a `Result<T, E>` and whose output is a `Result<U, D>`.
pub(super) struct Stage<T, E, U, D, F>(PhantomData<(T, E, U, D, F)>);

impl<T: 'static, E: DeferredError, U: 'static, D: DeferredError, F> Stage<T, E, U, D, F>
where
    F: FnOnce(Result<T, E>) -> StageOutput<U, D>,
{
    pub(super) const VTABLE: StageVtable = StageVtable::stage::<F>(Some(result_vtable::<T, E>()), Self::run);

    unsafe fn run(block: &Block, record: Record) -> Step {
        let at = record.head().at;
        let ran = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the first record has this vtable, and the slot holds its input.
            let (f, result) = unsafe { (block.pop_record::<F>(record), block.read_result::<Result<T, E>>()) };
            match f(result) {
                StageOutput::Ready(Ok(value)) => {
                    // SAFETY: the slot is empty while a stage of its block runs. The next input is
                    // this stage's output, for which the slot was made large enough when the stage
                    // was added.
                    unsafe { block.write_result(Ok::<U, D>(value)) };
                    Step::Ready
                }
                // SAFETY: as above.
                StageOutput::Ready(Err(error)) => unsafe { Self::failed(block, at, error) },
                StageOutput::Pending(inner) => {
                    block.begin_wait(at);
                    Step::Pending(inner.into_awaited())
                }
            }
        }));
        // SAFETY: as above: a stage that panics has no output.
        ran.unwrap_or_else(|payload| unsafe { Self::failed(block, at, from_panic(payload)) })
    }

    /// Handles an error. It is not inline, so that the path of a value reserves no registers for
    /// it.
    #[inline(never)]
    unsafe fn failed(block: &Block, at: CallSite, mut error: D) -> Step {
        never_unwinding(|| error.add_location(at));
        // SAFETY: the caller's promise: the slot is empty, and the next input is this stage's
        // output.
        unsafe { block.write_result(Err::<U, D>(error)) };
        Step::Ready
    }
}

/// The vtable of the last stage of a block, which consumes the result.
pub(super) struct End<T, E, F>(PhantomData<(T, E, F)>);

impl<T: 'static, E: DeferredError, F: FnOnce(Result<T, E>) -> Option<Fired>> End<T, E, F> {
    pub(super) const VTABLE: StageVtable = StageVtable::stage::<F>(Some(result_vtable::<T, E>()), Self::run);

    unsafe fn run(block: &Block, record: Record) -> Step {
        // SAFETY: the first record has this vtable, and the slot holds its input.
        let (f, result) = unsafe { (block.pop_record::<F>(record), block.read_result::<Result<T, E>>()) };
        block.state.clear_busy();
        Step::Consumed(never_unwinding(|| f(result)).and_then(Fired::into_block))
    }
}

/// The vtable of the last stage of a block that a coroutine waits for. It leaves the result in the
/// block.
pub(super) static RESUME: StageVtable = StageVtable::stage::<Waiting>(None, resume);

unsafe fn resume(block: &Block, record: Record) -> Step {
    // SAFETY: the first record has this vtable.
    let (coroutine, wait) = unsafe { block.pop_record::<Waiting>(record) };
    block.state.set_awaited(false);
    block.state.clear_busy();
    Step::Resumed(never_unwinding(|| coroutine.resume(wait)).and_then(Fired::into_block))
}

/// The vtable of a canceller that decides with which result the block is fired.
pub(super) struct DecidingCanceller<T, E, C>(PhantomData<(T, E, C)>);

impl<T: 'static, E: DeferredError, C: FnOnce() -> Option<Result<T, E>>> DecidingCanceller<T, E, C> {
    pub(super) const VTABLE: StageVtable = StageVtable::canceller::<C>(result_vtable::<T, E>(), Self::run);

    unsafe fn run(block: &Block, record: Record, why: &Cancelled) -> bool {
        block.clear_canceller();
        // SAFETY: the first record has this vtable.
        let canceller = unsafe { block.pop_record::<C>(record) };
        block.state.set_cancelling(true);
        let decided = catch_unwind(AssertUnwindSafe(canceller));
        block.state.set_cancelling(false);
        match decided {
            Ok(Some(result)) if !block.is_fired() => {
                // SAFETY: the block is unfired, and its source fires what its canceller decides on.
                unsafe { block.fire(result) };
                true
            }
            Ok(Some(late)) => {
                never_unwinding(|| drop(late));
                false
            }
            Ok(None) => block.fire_error(why.clone().into()),
            Err(payload) => block.fire_error(Panicked::new(payload).into()),
        }
    }
}

/// The vtable of a canceller that passes each cancel on. It is cloned for each call, since it can
/// be called from inside itself.
pub(super) struct ForwardingCanceller<T, E, C>(PhantomData<(T, E, C)>);

impl<T: 'static, E: DeferredError, C: Fn(&Cancelled) + Clone> ForwardingCanceller<T, E, C> {
    pub(super) const VTABLE: StageVtable = StageVtable::canceller::<C>(result_vtable::<T, E>(), Self::run);

    unsafe fn run(block: &Block, record: Record, why: &Cancelled) -> bool {
        // SAFETY: the first record has this vtable; the borrow ends before user code runs.
        let canceller = unsafe { borrow::<C>(record.captures()) }.clone();
        let called = catch_unwind(AssertUnwindSafe(move || canceller(why)));
        called.is_err_and(|payload| block.fire_error(BuiltinError::from(Panicked::new(payload))))
    }
}
