//! The memory of the engine: the only unsafe code of the crate.
//!
//! One allocation holds a whole pending Deferred: its state, and words for its result and its
//! records, one record after the other. When the records no longer fit, the words move to an
//! allocation of their own.
//!
//! - `words`: storage of values in words;
//! - `region`: the words of a block, and their layout;
//! - `block`: the block, the references to it, and the result in its slot;
//! - `result_vtable`: the operations on a result whose type is not known;
//! - `stage`: the records of a block: its stages and its canceller;
//! - `chain`: `Chain` and `Source`, the typed ends that the rest of the crate holds;
//! - `frame`: a pinned value with a shared owner;
//! - `free_list`: memory of dropped blocks for new ones.
//!
//! The folder uses seven things of the engine outside of it, all safe code: `state`; `run::Step`, the
//! output of a record; `StageOutput`, `Fired` and `Resume`, which records and their callers pass on;
//! `block::release`, which the drop of the last `BlockRef` calls; and `registered::new_memory`, which
//! allocates.
//!
//! # The rules
//!
//! Each `// SAFETY:` comment refers to these rules. The run loop is safe code outside this folder:
//! an error in it can make a Deferred hang but cannot break the rules.
//!
//! 1. *Layout.* A region is `slot`, done records, live records, free words, in this order; `first`
//!    is where the first live record begins, `end` where the last one ends. A record is a `Head`
//!    and the words of its captures. Values and records are moved as words, so pointers into a
//!    region are valid only until user code runs or a record is added: none is kept across either.
//! 2. *The slot* holds a result exactly when `full` is set. Its type is the input of the first
//!    record, or the block's output if there is no record or that record has no input of its own:
//!    `Block::input`. The slot is as large as the largest result of the chain, which is ensured
//!    when a stage is added. While `WAITING` is set it is empty, and its first word holds the
//!    location of the stage that waits.
//! 3. *The types of the ends.* A block has at most one `Chain<T, E>`, and `HAS_CHAIN` is set while
//!    that exists. The block's output is then a `Result<T, E>`, only the `Chain` adds stages, and
//!    once no stage is left, the result belongs to it. A `Source<T, E>` fires the input of its
//!    block while that is not `FIRED`.
//! 4. *The types of a wait.* When a result is moved from one block to another, its type is compared
//!    with the other's input.
//! 5. *State first.* Before user code is called (a callback, a canceller, a destructor, a
//!    conversion), it and its arguments are moved onto the stack, and the state is set. A panic of
//!    user code finds the block in that state.
//! 6. *The first record* is a canceller exactly when `CANCELLER` is set; every other one is a
//!    stage. *The last record* is a `DELIVER` stage exactly when `HAS_WAITER` is set. Whether it is a
//!    `RESUME` stage is found by walking the records, since `AWAITED` is a bit of `state`.
//! 7. *The end of a block.* The drop of the last `BlockRef` drops the contents through a shared
//!    reference: a `&mut Block` would invalidate the pointers of the region. If no `Weak` exists
//!    either, `recycle` links the memory to the free list, and another Deferred may get it. So only
//!    `BlockRef` and `Weak` may point to a block, and memory that a `Weak` points to is never in the
//!    free list: if that `Weak` can be upgraded, the memory holds a block. (`BlockRef::new` writes
//!    it before any other code runs.)
//!
//! # Access to the slot, the records and the flags
//!
//! | function | needs | slot | records | flags |
//! | --- | --- | --- | --- | --- |
//! | `BlockRef::new` | | made empty | | sets `HAS_CHAIN` |
//! | `Block::push_canceller` | no record, not `FIRED` | | appends the first | sets `CANCELLER` |
//! | `Chain::push_stage` | `HAS_CHAIN` | may grow, keeps its result | appends | |
//! | `Chain::push_end` | `HAS_CHAIN` | | appends the last | clears `HAS_CHAIN` |
//! | `Block::append_waiting` | `HAS_CHAIN` | | appends the last | |
//! | `Block::take_waiting` | | | removes the last | |
//! | `Block::append_waiter` | neither `HAS_CHAIN` nor `HAS_WAITER` | | appends the last | sets `HAS_WAITER` |
//! | `Block::take_waiter` | | | removes the last | clears `HAS_WAITER` |
//! | `Block::fire`, `fire_error` | not `FIRED` | writes | | sets `FIRED`, `full` |
//! | `Block::run_canceller` | not `FIRED` | may write | removes a deciding canceller | clears `CANCELLER`; sets `FIRED`, `full` |
//! | `Block::drop_canceller` | | | removes the first | clears `CANCELLER` |
//! | `Block::advance` (`run` of a stage) | no canceller; without `full` a no-op | reads, writes; `RESUME` leaves it | removes the first | `full` |
//! | `Block::begin_wait` | empty slot | writes the location | | sets `WAITING` |
//! | `Block::end_wait_with_error` | `WAITING` | reads the location, writes | | clears `WAITING`, sets `full` |
//! | `Block::move_result` | this one ready without `HAS_CHAIN`, the other `WAITING` | reads; writes the other's | | clears the other's `WAITING`; moves `full` |
//! | `Block::set_successor` | empty slot, no record | | | clears `WAITING` |
//! | `Chain::into_awaited`, drop of a `Chain` | `HAS_CHAIN` | | | clears `HAS_CHAIN` |
//! | `Chain::waiting` | a new block | | | sets `FIRED` |
//! | `Chain::peek` | ready | borrows | | |
//! | `Chain::take_result`, `Block::finish` | ready | reads | | clears `full` |
//! | `Block::drop_contents` | last `BlockRef` | reads | removes all | clears `full` |

mod block;
mod chain;
mod frame;
mod free_list;
mod region;
mod result_vtable;
mod stage;
mod words;

pub(crate) use block::BlockRef;
pub(super) use block::{Block, recycle};
pub(crate) use chain::{Chain, Source};
pub(crate) use frame::Pinned;
pub(super) use free_list::{Memory, set_recycling};
pub(super) use words::words;
