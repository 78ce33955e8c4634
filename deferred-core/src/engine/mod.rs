//! The engine: one block per pending Deferred, and the run loop that passes results through
//! callbacks.
//!
//! The rest of the crate uses the names that this module exports and nothing else, so the engine
//! can be replaced as a whole. A second one exists: safe code with a box for every callback, which
//! random programs compare with this one.
//!
//! # Terms
//!
//! | term | meaning |
//! | --- | --- |
//! | block | the memory of one pending Deferred: its state, its result and its stages |
//! | slot | the place of the result in a block |
//! | stage | one callback in a block, with its captures |
//! | record | the memory of a stage, or of the canceller |
//! | [`Chain`] | the consumer's end of a block: adds stages, takes the result |
//! | [`Source`] | the producer's end of a block: fires it once; dropping it fires `Abandoned` |
//! | [`Handle`] | a reference to a block that can cancel and pause, without a type |
//! | [`StageOutput`] | the output of a stage: a result, or a chain whose result is still to come |
//! | [`Fired`] | a block that has been fired and that the run loop has still to run |
//! | waiter | the block that waits for the result of another block |
//! | level | one call from user code into the engine; a callback that calls the engine opens an inner level |
//! | run queue | the jobs that destructors have queued on this thread |
//!
//! # Files
//!
//! - `raw`: the memory of a block, and all unsafe code of the crate, with rules of its own;
//! - `state`: the part of a block's state that no unsafe code relies on;
//! - `block`: questions about a block that combine both;
//! - `chain`: the operations of `Chain`, `Source` and `Fired` that the rest of the crate calls;
//! - `call`: callbacks on a result that is ready, which need no block;
//! - `run`: the run loop, the run queue and the levels;
//! - `ready_queue`: coroutines that have been woken;
//! - `handle`: `Handle`.
//!
//! # How a result travels
//!
//! [`Source::fire`] stores the result in the block and calls the run loop, which passes it from
//! stage to stage. If a stage returns a chain, its block waits for that chain's block
//! (`run::await_inner`). After the last stage, a block with a waiter moves its result into the
//! waiter, which runs next.
//!
//! # The rules
//!
//! 1. *The library never recurses.* The run loop pushes further work onto the run queue instead of
//!    calling itself. Only user code calls the engine from inside the engine, and each such call is
//!    a level of its own that finishes before it returns. Up to sixteen nested levels run the jobs
//!    that destructors queue in them; a deeper level leaves them to the levels outside.
//! 2. *A drop fires later.* What a destructor starts inside a level (a resolver dropped unfired,
//!    the guard of a pause, a permit) is queued. It runs right after the callback in which the drop
//!    happened, before the next callback of the same Deferred, in the order of the drops, each with
//!    everything it drops itself. A callback on a ready result belongs to the callback that adds
//!    it: its drops run after that one.
//! 3. *One loop at a time is in a block.* The block is `BUSY` then. Meanwhile an added stage waits,
//!    a look or a take finds no result, and a cancel is ignored. A busy block can hold its result:
//!    between two stages.
//! 4. *State first, foreign code after.* Nothing of a block is borrowed while user code runs. That
//!    includes every destructor of a value, a callback or an error.
//! 5. *No panic leaves.* A stage's panic becomes its error. Where no stage can receive it, see
//!    [`never_unwinding`](crate::abort::never_unwinding). A level that ends by a panic still
//!    finishes its work.

mod block;
mod call;
mod chain;
mod handle;
#[cfg(test)]
mod leftovers;
#[allow(unsafe_code)]
mod raw;
pub(crate) mod ready_queue;
mod run;
mod state;

pub(crate) use call::{catch, drop_or_panicked, settle};
pub(crate) use handle::Handle;
pub(crate) use raw::{Chain, Fired, Frame, Source, StageOutput};
pub(crate) use run::{call_soon, enter, enter_merged, run_soon};
