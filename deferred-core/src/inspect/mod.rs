//! Lists what is pending, for a program that seems to be stuck.
//!
//! While inspection is on, a thread registers each Deferred that it creates.
//! [`Reactor::pending`](crate::Reactor::pending) then lists those that have no result yet, each
//! with the locations where it was made and where its last callback was added, its age, and what it
//! waits for: the Deferred that a callback returned, those that a coroutine awaits, the members of
//! a `gather`, a place in the line of a lock, a job of a thread pool. [`Pending`] is a value, and
//! prints as a tree: each entry stands above those for which it waits.
//!
//! Inspection costs a few instructions for each allocation while it is off. While it is on, the
//! memory of dropped Deferreds is not reused, and each Deferred reads the clock. Deferreds that
//! were created before are listed only if a listed one waits for them, and without their age.
//!
//! # Examples
//!
//! ```
//! use deferred_core::{Deferred, Reactor, inline_callbacks, inspect};
//!
//! let _on = inspect::enable();
//! let reactor = Reactor::new();
//! let (answer, resolver) = Deferred::<u32>::new();
//! let asks = inline_callbacks(async move { Ok(answer.await? + 1) });
//!
//! let pending = reactor.pending();
//! assert_eq!(pending.items().len(), 2);
//! println!("{pending}");
//! // 2 pending: 1 Deferred, 1 coroutine
//! //
//! // coroutine made at src/main.rs:6:12, 12.3µs old
//! //     Deferred made at src/main.rs:5:26, 15.1µs old, not fired
//! # drop((asks, resolver));
//! ```

mod describe;
mod graph;
mod pending;
mod print;
mod report;

use std::fmt;
use std::marker::PhantomData;

pub use describe::Description;
pub(crate) use describe::{describe, is_coroutine};
pub use pending::{Kind, Pending, PendingItem};
pub use report::PendingReport;

use crate::engine::registered;

/// Turns inspection on for this thread, until the returned guard is dropped. Guards can nest.
///
/// See the [module](self).
pub fn enable() -> Inspection {
    registered::turn_on();
    Inspection { this_thread: PhantomData }
}

/// Returns `true` if inspection is on for this thread.
#[inline]
#[must_use]
pub fn is_enabled() -> bool {
    registered::is_on()
}

/// A guard that keeps inspection on. [`enable`] creates it.
#[must_use = "inspection ends at once if this is not bound to a variable"]
pub struct Inspection {
    /// It is on for one thread.
    this_thread: PhantomData<*const ()>,
}

impl Drop for Inspection {
    fn drop(&mut self) {
        registered::turn_off();
        if !registered::is_on() {
            describe::forget();
        }
    }
}

impl fmt::Debug for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspection").finish_non_exhaustive()
    }
}
