//! The engine: one block per pending Deferred, and the loop that runs what waits in it.
//!
//! The rest of the crate uses the names that this module exports and nothing else, so another engine can take its place
//! behind the same door. There is one: the plain engine, in safe code with a box for everything, is the model that this
//! one is compared with on random programs.
//!
//! - [`Chain`], the consumer's end: stages are added to it, its result is taken from it;
//! - [`Source`], the producer's end: it fires once, and dropped it abandons;
//! - [`Handle`], with no type and no right to either end: it cancels and pauses;
//! - [`Left`], what a stage leaves behind: a result, or a chain to wait for;
//! - `Firing`, a block that was fired and is busy, for the loop to run;
//! - [`settle`], a stage without a block, for a result that is there.
//!
//! How a result walks: [`Source::fire`] puts it in the block and calls the loop (`run`), which takes it from stage to
//! stage. A stage that leaves a chain makes its block wait for that chain's (`join`); at its end a block *gives* its
//! result to the block that waits for it, which runs next.
//!
//! What lies where in a block, and all unsafe code, is in `raw`, with rules of its own. Memory of blocks that are gone waits
//! for others in `spare`.
//!
//! # The rules
//!
//! 1. *The library never recurses.* Whatever the loop has to do next it pushes on its own stack of jobs. Only code of
//!    the user calls the engine from inside the engine, and each such call is a loop of its own (a *level*) that comes
//!    to its end before it returns. Of levels inside each other, sixteen do what drops have set off in them; a deeper one
//!    leaves that to those outside of it.
//! 2. *A drop fires later.* What destructors set off inside a level (a resolver dropped unfired, the guard of a pause, a
//!    permit) is queued with that level, and runs right after the callback in which it happened, before the next callback
//!    of the same Deferred. In the order of the drops, each to its end with what it drops itself. A callback on a result
//!    that is there belongs to the callback that adds it: what it drops comes after that one.
//! 3. *One loop at a time is in a block.* It is `BUSY` then; whoever adds, looks, takes or cancels meanwhile waits, gets
//!    nothing, or is ignored. A busy block may have its result: it is set aside between two stages.
//! 4. *State first, foreign code after.* Nothing of a block is borrowed while code of the user runs, and that includes
//!    every destructor of a value, a callback or an error.
//! 5. *No panic leaves.* A stage's panic is its error. Where there is no stage to take it, see [`never_unwinding`]. A level
//!    ends as it should by a panic too.

mod call;
mod ends;
mod handle;
#[cfg(test)]
mod leftovers;
mod looks;
#[allow(unsafe_code)]
mod raw;
mod run;
mod spare;
mod state;
pub(crate) mod woken;

pub(crate) use call::{Left, catch, drop_or_panicked, settle};
pub(crate) use ends::Firing;
pub(crate) use handle::Handle;
pub(crate) use raw::{Chain, Frame, Source};
pub(crate) use run::{call_soon, inside, run_soon, within};

/// Aborts the process if it is dropped: stands on the stack while code runs that must not unwind.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        eprintln!(
            "deferred: a destructor, a conversion from Interrupt or a waker of other code panicked where no callback \
             can take the panic; aborting. Catch it inside that code."
        );
        std::process::abort();
    }
}

/// Runs code of the user of which no panic may come out, since a Deferred would be left that can never fire.
#[inline(always)]
pub(crate) fn never_unwinding<R>(f: impl FnOnce() -> R) -> R {
    let bomb = Bomb;
    let value = f();
    std::mem::forget(bomb);
    value
}
