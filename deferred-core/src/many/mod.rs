//! Many Deferreds at once.
//!
//! - `join`: what all of these have in common: Deferreds that are waited for together;
//! - `gather`: all values, or the first error; all outcomes;
//! - `race`: the first success, the first completion.

mod gather;
mod join;
mod race;

pub use gather::{deferred_list, gather, gather_cancelling};
pub use race::{FirstSuccess, first_completion, first_success, race};
