//! The memory of the engine: the only unsafe code of the crate.
//!
//! One allocation holds all of a pending Deferred: the state, and behind it words for its result and for what waits for
//! that, one record after the other. When they no longer fit, the words move to an allocation of their own.
//!
//! - `words`: how a value lies in words;
//! - `region`: the words of a block, and what is where;
//! - `block`: the block, who holds it, and the result in its slot;
//! - `kind`: what can be done with a result of a type that is not known;
//! - `record`: what a block does with its result: stages, the canceller;
//! - `frame`: a future that stays where it is while others hold it too;
//! - `ends`: `Chain` and `Source`, the typed ends that the rest of the crate holds.
//!
//! # The rules
//!
//! What each `// SAFETY:` refers to. The loop outside this folder is safe code: whatever it does in whatever order, it
//! may let a Deferred hang, and cannot break these.
//!
//! 1. *Layout.* A region is `slot`, done records, live records, free words, in this order; `first` is where the first live
//!    record begins, `end` where the last one ends. A record is a `Head` and the words of its captures. Values and
//!    records are moved as words, so pointers into a region hold only until foreign code runs or a record is added:
//!    none is kept across either.
//! 2. *The slot* holds a result exactly when `full` is set. Its type is what the first stage takes, and where there is
//!    none what the last stage gave: `wants`. It is as large as the largest result of the chain, which is seen to when
//!    a stage is added. While `WAITING` is set it is empty, and its first word holds the place of the stage that waits.
//! 3. *The types of the ends.* A `Chain<T, E>` is the only one of its block, which is `HELD` while it lives. What the
//!    block gives in the end is then a `Result<T, E>`, only this `Chain` adds to it, and a result behind which nothing
//!    is left belongs to it. What a `Source<T, E>` fires is what its block wants while that is not `FIRED`.
//! 4. *The types of a wait.* A result that is given from one block to another is compared with what that one wants.
//! 5. *State first.* What runs foreign code (a callback, a canceller, a destructor, a conversion) first moves it and
//!    what it is given onto the stack, and sets the state. A panic of foreign code finds the block as it then is.
//! 6. *The first record* is a canceller exactly when `CANCELLER` is set; every other one is a stage. *The last record* is a
//!    `Give` exactly when `GIVES` is set.
//! 7. *The end of a block.* Who lets go of it when there is no other `BlockRef` drops what is in it, through a shared
//!    reference: a `&mut Block` would end what the region's pointers are derived from. Where there is no `Weak` either, its
//!    memory is another's then. So nobody keeps a pointer to a block beside those.

mod block;
mod ends;
mod frame;
mod kind;
mod record;
mod region;
mod words;

pub(super) use block::{Block, BlockRef, Place, Step};
pub(crate) use ends::{Chain, Source};
pub(crate) use frame::Frame;
