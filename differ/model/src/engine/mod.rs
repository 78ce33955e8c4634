//! The engine: one block per pending Deferred, and the loop that runs what waits in it.
//!
//! This is the plain engine: safe Rust, written to be right and to be read. The rest of the crate
//! uses the names that this module exports and nothing else, so another engine can take its place
//! behind the same door:
//!
//! - [`Chain`], the consumer's end: stages are added to it, its result is taken from it;
//! - [`Source`], the producer's end: it fires once, and dropped it abandons;
//! - [`Handle`], with no type and no right to either end: it cancels and pauses;
//! - [`Left`], what a stage leaves behind: a result, or a chain to wait for;
//! - `Fired`, a source with what it is to be fired with, for the loop to fire;
//! - [`settle`], a stage without a block, for a result that is there.
//!
//! How a result walks: [`Source::fire`] puts it in the block and calls the loop (`run`), which
//! takes it from stage to stage. A stage that leaves a chain makes its block wait for that chain's
//! (`join`); at its end a block *gives* its result to the block that waits for it, which runs next.
//!
//! # The rules
//!
//! 1. *The library never recurses.* Whatever the loop has to do next it pushes on its own stack of
//!    jobs. Only code of the user calls the engine from inside the engine, and each such call is a
//!    loop of its own (a *level*) that comes to its end before it returns.
//! 2. *A drop fires later.* What destructors set off inside a level (a resolver dropped unfired,
//!    the guard of a pause, a permit) is queued with that level, and runs right after the callback
//!    in which it happened, before the next callback of the same Deferred. In the order of the
//!    drops, each to its end with what it drops itself. A callback on a result that is there
//!    belongs to the callback that adds it: what it drops comes after that one.
//! 3. *One loop at a time is in a block.* It is `busy` then; whoever adds, looks, takes or cancels
//!    meanwhile waits, gets nothing, or is ignored. A busy block may have its result: it is set
//!    aside between two stages.
//! 4. *State first, foreign code after.* No borrow of a block is has_chain while code of the user
//!    runs, and that includes every destructor of a value, a callback or an error.
//! 5. *No panic leaves.* A stage's panic is its error. Where there is no stage to take it, see
//!    [`never_unwinding`].

mod block;
mod chain;
mod run;

pub(crate) use chain::{Chain, Handle, Source, StageOutput, catch, settle};
