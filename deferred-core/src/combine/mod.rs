//! Functions that combine several Deferreds.
//!
//! - `gather`: all values, or the first error; all results;
//! - `race`: the first success, the first completion;
//! - `tuple`: Deferreds of different types;
//! - `limit`: a call for each of many items, with limited concurrency; `fold`: one call after the
//!   other;
//! - `scope`: structured concurrency: work that ends with the call that began it;
//! - `shared`: one result for several observers; a Deferred that absorbs cancels;
//! - `join`: the common part of `gather` and `race`; `notice`: loops that end after a cancel.

mod fold;
mod gather;
mod join;
mod limit;
mod notice;
mod race;
mod scope;
mod shared;
mod tuple;

pub use fold::{fold, repeat_times};
pub use gather::{deferred_list, gather, gather_cancelling};
pub use limit::{Concurrent, concurrent};
pub(crate) use notice::noticing_cancel;
pub use race::{FirstSuccess, first_completion, first_success, race};
pub use scope::{Scope, scope, typed_scope};
pub use shared::Shared;
pub use tuple::{Tuple, gather_tuple};
