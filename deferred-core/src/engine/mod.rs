//! The engine: one block per pending Deferred, and the run loop that passes results through
//! callbacks.
//!
//! The rest of the crate uses only the items that this module exports, so the engine can be
//! replaced. `differ/model` is a second engine, in safe code with a box for every callback; the
//! differ runs random programs on both and compares them.
//!
//! # Terms
//!
//! | term | meaning |
//! | --- | --- |
//! | user code | callbacks, cancellers, destructors, error conversions, wakers, futures |
//! | block | the memory of a Deferred that is pending, or that has a handle or a pause |
//! | region, word | the memory of a block's slot and records, in units of a pointer |
//! | slot | the memory of the result in a block |
//! | stage | one callback in a block, with its captures |
//! | record | the memory of a stage, or of the canceller |
//! | fired | the producer has set a result; more stages may change it |
//! | ready | the result is final: no stage, wait or pause is left |
//! | busy | the run loop works on the block |
//! | [`Chain`] | the consumer's end of a block: adds stages, takes the result |
//! | [`Source`] | the producer's end of a block: fires it once; dropping it fires `Abandoned` |
//! | [`Handle`] | an untyped reference to a block, with which it is cancelled or paused |
//! | [`StageOutput`] | the output of a stage: a result, or the chain whose result is the output |
//! | [`Fired`] | a fired block that the run loop must still run, or none if the result was ignored |
//! | waiter | the block that waits for the result of another block; a `DELIVER` stage refers to it |
//! | successor | the block that replaced another one in a tail call: it delivers directly to the waiter |
//! | [`Resume`] | a coroutine; a last stage that resumes it leaves the result in the block |
//! | level | one call into the engine that runs callbacks: a fire, a cancel, an unpause |
//! | job | an entry of the run queue (not a job of the thread pool) |
//! | run queue | the jobs of this thread that run after the current callback |
//!
//! # Files
//!
//! - `raw`: the memory of a block, and all unsafe code of the crate, with its own rules;
//! - `state`: the part of a block's state that no unsafe code relies on;
//! - `block`: predicates that combine `state` and `raw`;
//! - `chain`: the operations of `Chain`, `Source` and `Fired` that the rest of the crate calls;
//! - `call`: callbacks on a ready result, which need no block;
//! - `run`: the run loop, the run queue and the levels;
//! - `wait`: how a block begins to wait for another one;
//! - `fired`: a block that was fired and has not run;
//! - `resume`: a coroutine, as the engine sees it;
//! - `ready_queue`: coroutines that have been woken;
//! - `handle`: the operations of `Handle`;
//! - `registered`: the blocks that exist, while inspection is on.
//!
//! # The path of a result
//!
//! [`Source::fire`] stores the result in the block and calls the run loop, which passes it from
//! stage to stage. If a stage returns a chain, its block waits for that chain's block
//! (`wait::await_inner`). After the last stage, a block with a waiter moves its result into the
//! waiter, which runs next.
//!
//! # The rules
//!
//! 1. *The library never recurses.* Each step of the run loop returns the block to run next,
//!    instead of calling itself. Other work goes through the run queue. Only user code calls the
//!    engine from inside the engine. Each such call is a level, and runs its jobs before it
//!    returns, with two exceptions: a callback on a ready result, and a level nested more than
//!    sixteen deep, leave their jobs to the outer level.
//! 2. *A drop fires later.* Work that a destructor starts inside a level (a resolver dropped
//!    unfired, the guard of a pause, a permit) is queued. It runs after the current callback and
//!    before the next one of the same Deferred, in the order of the drops. The drops that a job
//!    causes run directly after that job. If a callback adds a callback to a ready Deferred, the
//!    drops of the inner callback take effect after the outer one.
//! 3. *At most one run loop works on a block*, which is `BUSY` meanwhile. Added stages wait, `peek`
//!    and `take` find no result, and cancels are ignored. Between two stages the slot of a busy
//!    block is full.
//! 4. *State first, user code after.* No reference into a block is held while user code runs, which
//!    includes every destructor of a value, a callback or an error.
//! 5. *No panic leaves the engine.* A stage's panic becomes its error. If no stage can receive it,
//!    the process aborts: see [`never_unwinding`](crate::abort::never_unwinding). A level that ends
//!    by a panic still finishes its work.

mod block;
mod call;
mod chain;
mod fired;
mod handle;
#[cfg(test)]
mod leftovers;
#[allow(unsafe_code)]
mod raw;
pub(crate) mod ready_queue;
pub(crate) mod registered;
mod resume;
mod run;
mod state;
mod wait;

pub(crate) use call::StageOutput;
pub(crate) use call::{catch, drop_or_panicked, settle};
pub(crate) use fired::Fired;
pub(crate) use raw::{BlockRef as Handle, Chain, Pinned, Source};
pub(crate) use resume::{LiveCoroutine, Resume, Waiting, live_coroutines};
pub(crate) use run::{call_soon, enter, enter_merged, run_soon};
