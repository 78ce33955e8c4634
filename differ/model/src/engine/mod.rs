//! The model engine: one block per pending Deferred, and the loop that runs its stages.
//!
//! It is safe Rust, written to be correct and readable. The rest of the crate uses only the names
//! that this module exports, so that the two engines are interchangeable:
//!
//! - [`Chain`], the consumer's end: adds stages and takes the result;
//! - [`Source`], the producer's end: fires once, and abandons when it is dropped unfired;
//! - [`Handle`], untyped and not an end: cancels and pauses;
//! - [`StageOutput`], the output of a stage: a result, or a chain to wait for;
//! - `Fired`, a source and its result, for the loop to fire;
//! - [`settle`], which runs a stage on a ready result without a block.
//!
//! The path of a result: [`Source::fire`] stores it in the block and calls the loop (`run`), which
//! takes it from stage to stage. If a stage returns a pending chain, its block waits for that
//! chain's block (`join`). At its end a block *delivers* its result to the block that waits for it,
//! which runs next.
//!
//! # The rules
//!
//! 1. *The library never recurses.* The loop pushes all further work on its own stack of jobs. Only
//!    user code calls the engine from inside the engine, and each such call is a loop of its own (a
//!    *level*) that ends before it returns.
//! 2. *A drop fires later.* The effects of destructors inside a level (a resolver dropped unfired,
//!    a pause guard, a permit) are queued with that level, and run right after the callback in
//!    which they happened, before the next callback of the same Deferred. They run in the order of
//!    the drops, each to its end including the effects of its own drops. A callback on a ready
//!    result belongs to the callback that adds it: the effects of its drops run after that one.
//! 3. *One loop at a time runs a block.* The block is `busy` meanwhile: stages that are added wait,
//!    `peek` and `take` return nothing, and cancels are ignored. A busy block may have its result,
//!    which is set aside between two stages.
//! 4. *State first, foreign code after.* No borrow of a block is held while user code runs, which
//!    includes every destructor of a value, a callback or an error.
//! 5. *No panic propagates.* A stage's panic is its error. For panics without a stage to receive
//!    them, see [`never_unwinding`].

mod block;
mod chain;
mod run;

pub(crate) use chain::{Chain, Handle, Source, StageOutput, catch, settle};
