//! Many Deferreds at once.
//!
//! - `join`: what all of these have in common: Deferreds that are waited for together;
//! - `gather`: all values, or the first error; all outcomes;
//! - `race`: the first success, the first completion;
//! - `limit`: a call for each of many items, so many at a time; `fold`: one after the other;
//! - `tuple`: several of different types;
//! - `scope`: work that does not outlive the call that began it;
//! - `shared`: one result for many; a Deferred past which no cancel goes.

mod fold;
mod gather;
mod join;
mod limit;
mod race;
mod scope;
mod shared;
mod tuple;

pub use fold::{fold, repeat_times};
pub use gather::{deferred_list, gather, gather_cancelling};
pub use limit::{Concurrent, concurrent};
pub use race::{FirstSuccess, first_completion, first_success, race};
pub use scope::{Scope, scope, typed_scope};
pub use shared::Shared;
pub use tuple::{Tuple, gather_tuple};
