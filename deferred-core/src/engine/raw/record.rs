//! What a block does with its result, and what it does when it is cancelled: records in its region.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::block::{Block, BlockRef, Place, Step};
use super::kind::{Kind, kind};
use super::region::{Head, Record};
use super::words::{lend, put, take, words};
use crate::engine::{Firing, Left, call, never_unwinding};
use crate::error::{Cancelled, Fault, Interrupt, Panicked};

/// The code of a record. Each function wants it to be the first record of the block.
pub(super) struct Table {
    /// How many words it captures.
    pub(super) words: u32,
    /// The result that it takes; of a canceller, the one that it decides on. None of one that takes what the block gives.
    pub(super) wants: Option<&'static Kind>,
    /// Takes the result through a stage. The slot is full, and of the kind it wants.
    pub(super) run: Run,
    /// Calls a canceller: the block is unfired. Says whether that fired it.
    pub(super) run_canceller: Cancel,
    /// Takes the record away and drops what it captures.
    pub(super) drop: unsafe fn(&Block, Record),
}

type Run = unsafe fn(&Block, Record) -> Step;
type Cancel = unsafe fn(&Block, Record, &Cancelled) -> bool;

impl Table {
    /// Of one that captures a `C`.
    const fn stage<C>(wants: Option<&'static Kind>, run: Run) -> Table {
        Table { words: words::<C>(), wants, run, run_canceller: no_canceller, drop: drop_record::<C> }
    }

    /// The same, of a canceller.
    const fn canceller<C>(wants: &'static Kind, run_canceller: Cancel) -> Table {
        Table { run_canceller, ..Table::stage::<C>(Some(wants), no_stage) }
    }
}

/// The words that a `Give` captures.
pub(super) const GIVE: u32 = words::<BlockRef>();

impl Block {
    /// Appends a record. The slot has at least `slot` words then.
    ///
    /// # Safety
    /// The table is of `C`, and the block's status says what the record is: rule 6.
    #[inline(always)]
    pub(super) unsafe fn push_record<C>(&self, table: &'static Table, at: Place, captures: C, slot: u32) {
        debug_assert!(table.words == words::<C>());
        // SAFETY: the captures are written at once.
        unsafe { put(self.region.push(Head { table, at }, words::<C>(), slot), captures) };
    }

    /// Takes the first record away and gives what it captures.
    ///
    /// # Safety
    /// This is the first record, and its table is of `C`.
    #[inline(always)]
    unsafe fn pop_record<C>(&self, record: Record) -> C {
        // SAFETY: the caller's promise.
        let captures = unsafe { take(record.captures()) };
        self.region.pop_first(words::<C>());
        captures
    }
}

unsafe fn drop_record<C>(block: &Block, record: Record) {
    // SAFETY: the table that has this function is of `C`.
    drop(unsafe { block.pop_record::<C>(record) });
}

unsafe fn no_stage(_: &Block, _: Record) -> Step {
    unreachable!("the result does not go through a canceller")
}

unsafe fn no_canceller(_: &Block, _: Record, _: &Cancelled) -> bool {
    unreachable!("a stage is not asked at a cancel")
}

/// Of the last stage of a block for which another one waits: a `Give`.
pub(super) static GIVES: Table = Table::stage::<BlockRef>(None, give);

unsafe fn give(block: &Block, _: Record) -> Step {
    let to = block.take_give().expect("this is one");
    block.state.clear_busy();
    block.move_result(&to);
    Step::Gave(to)
}

/// Of a stage `F` that takes a `Result<T, E>` and leaves a `Result<U, D>`.
pub(super) struct Stage<T, E, U, D, F>(PhantomData<(T, E, U, D, F)>);

impl<T: 'static, E: Fault, U: 'static, D: Fault, F> Stage<T, E, U, D, F>
where
    F: FnOnce(Result<T, E>) -> Left<U, D>,
{
    pub(super) const TABLE: Table = Table::stage::<F>(Some(kind::<T, E>()), Self::run);

    unsafe fn run(block: &Block, record: Record) -> Step {
        let at = record.head().at;
        let ran = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the first record is one of this table, and the slot holds what it takes.
            let (f, result) = unsafe { (block.pop_record::<F>(record), block.empty::<Result<T, E>>()) };
            match f(result) {
                Left::Result(Ok(value)) => {
                    // SAFETY: the slot is empty while its block's stage runs. What is wanted next is what this stage
                    // gives, and when it was added the slot was made large enough.
                    unsafe { block.fill(Ok::<U, D>(value)) };
                    Step::Result
                }
                // SAFETY: as above.
                Left::Result(Err(error)) => unsafe { Self::failed(block, at, error) },
                Left::Wait(inner) => {
                    block.begin_wait(at);
                    Step::Wait(inner.into_awaited())
                }
            }
        }));
        // SAFETY: as above: a stage that panics has left nothing.
        ran.unwrap_or_else(|payload| unsafe { Self::failed(block, at, call::panicked(payload)) })
    }

    /// Not inline, so that a value needs no registers for it.
    #[inline(never)]
    unsafe fn failed(block: &Block, at: Place, mut error: D) -> Step {
        never_unwinding(|| error.passed(at));
        // SAFETY: the caller's promise: the slot is empty, and wants what this stage gives.
        unsafe { block.fill(Err::<U, D>(error)) };
        Step::Result
    }
}

/// Of the last stage of a block, which takes the result for good.
pub(super) struct End<T, E, F>(PhantomData<(T, E, F)>);

impl<T: 'static, E: Fault, F: FnOnce(Result<T, E>) -> Option<Firing>> End<T, E, F> {
    pub(super) const TABLE: Table = Table::stage::<F>(Some(kind::<T, E>()), Self::run);

    unsafe fn run(block: &Block, record: Record) -> Step {
        // SAFETY: the first record is one of this table, and the slot holds what it takes.
        let (f, result) = unsafe { (block.pop_record::<F>(record), block.empty::<Result<T, E>>()) };
        block.state.clear_busy();
        Step::Ended(never_unwinding(|| f(result)).and_then(Firing::into_block))
    }
}

/// Of the last record of a block, whose `Chain` is told that the result is there.
pub(super) struct Watch<F>(PhantomData<F>);

impl<F: FnOnce() -> Option<Firing>> Watch<F> {
    pub(super) const TABLE: Table = Table::stage::<F>(None, Self::run);

    unsafe fn run(block: &Block, record: Record) -> Step {
        // SAFETY: the first record is one of this table.
        let told = unsafe { block.pop_record::<F>(record) };
        block.state.clear_busy();
        Step::Told(never_unwinding(told).and_then(Firing::into_block))
    }
}

/// Of a canceller that decides what is fired.
pub(super) struct Once<T, E, C>(PhantomData<(T, E, C)>);

impl<T: 'static, E: Fault, C: FnOnce() -> Option<Result<T, E>>> Once<T, E, C> {
    pub(super) const TABLE: Table = Table::canceller::<C>(kind::<T, E>(), Self::run);

    unsafe fn run(block: &Block, record: Record, why: &Cancelled) -> bool {
        block.clear_canceller();
        // SAFETY: the first record is one of this table.
        let canceller = unsafe { block.pop_record::<C>(record) };
        block.state.set_cancelling(true);
        let decided = catch_unwind(AssertUnwindSafe(canceller));
        block.state.set_cancelling(false);
        match decided {
            Ok(Some(result)) if !block.is_fired() => {
                // SAFETY: unfired, and the source of this block fires what its canceller decides on.
                unsafe { block.fire(result) };
                true
            }
            Ok(Some(late)) => {
                never_unwinding(|| drop(late));
                false
            }
            Ok(None) => block.interrupt(why.clone().into()),
            Err(payload) => block.interrupt(Panicked::new(payload).into()),
        }
    }
}

/// Of a canceller that passes each cancel on. Cloned, since it may be called again from inside itself.
pub(super) struct Forward<T, E, C>(PhantomData<(T, E, C)>);

impl<T: 'static, E: Fault, C: Fn(&Cancelled) + Clone> Forward<T, E, C> {
    pub(super) const TABLE: Table = Table::canceller::<C>(kind::<T, E>(), Self::run);

    unsafe fn run(block: &Block, record: Record, why: &Cancelled) -> bool {
        // SAFETY: the first record is one of this table; the loan ends before foreign code runs.
        let canceller = unsafe { lend::<C>(record.captures()) }.clone();
        let called = catch_unwind(AssertUnwindSafe(move || canceller(why)));
        called.is_err_and(|payload| block.interrupt(Interrupt::from(Panicked::new(payload))))
    }
}
