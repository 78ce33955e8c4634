//! `CompletionList`: how threads send finished jobs to a reactor, with one post for all jobs that
//! are finished meanwhile.
//!
//! # The protocol
//!
//! A list is protected by a lock, and has two flags: `posted`, whether a delivery was posted to the
//! reactor and has not begun, and `closed`.
//!
//! A thread that **pushes** an entry puts it into the list. If nothing is posted, it sets `posted`
//! and, after the lock is released, posts a delivery. A **delivery** takes the whole list and
//! clears `posted` in one step. If it takes more than one entry, it **posts the next delivery**
//! before it runs anything, unless one is posted: for the entries that it leaves, and for a nested
//! turn inside one of the callbacks, which goes on with the rest.
//!
//! Consequences:
//!
//! 1. *No entry stays in the list.* An entry that a delivery has not taken was pushed after
//!    `posted` was cleared, so its thread has posted, or found that another one has.
//! 2. *Posts are few*: at most one for each delivery, for any number of entries.
//! 3. *A closed list takes nothing.* Closing takes the entries and sets `closed` in one step; a
//!    later push returns the entry, and its thread drops it.
//!
//! The loom tests beside this file check 1 and 3.

#[cfg(all(test, loom))]
mod loom_tests;

use std::collections::VecDeque;
use std::mem;

use crate::sync::{CachePadded, Mutex};

/// The finished jobs of a reactor that have not been delivered; see the page above.
#[derive(Debug)]
pub(super) struct CompletionList<X> {
    state: CachePadded<Mutex<State<X>>>,
}

#[derive(Debug)]
struct State<X> {
    entries: VecDeque<X>,
    posted: bool,
    closed: bool,
}

/// The next step of a thread that has pushed an entry.
#[must_use = "a delivery must be posted, or the entry dropped"]
#[derive(Debug)]
pub(super) enum Pushed<X> {
    /// Nothing: a delivery is already posted.
    AlreadyPosted,
    /// Post a delivery.
    Post,
    /// Drop the entry: the list is closed.
    Closed(X),
}

impl<X> CompletionList<X> {
    pub(super) fn new() -> CompletionList<X> {
        let state = State { entries: VecDeque::new(), posted: false, closed: false };
        CompletionList { state: CachePadded(Mutex::new(state)) }
    }

    pub(super) fn push(&self, entry: X) -> Pushed<X> {
        let mut state = self.state.lock();
        if state.closed {
            return Pushed::Closed(entry);
        }
        state.entries.push_back(entry);
        if mem::replace(&mut state.posted, true) { Pushed::AlreadyPosted } else { Pushed::Post }
    }

    /// Begins a delivery, and returns the entries. `spare` is an empty list whose memory the next
    /// entries use.
    pub(super) fn take(&self, spare: VecDeque<X>) -> VecDeque<X> {
        let mut state = self.state.lock();
        state.posted = false;
        mem::replace(&mut state.entries, spare)
    }

    /// Sets `posted`. Returns `true` if the caller must post the next delivery.
    pub(super) fn post_next(&self) -> bool {
        !mem::replace(&mut self.state.lock().posted, true)
    }

    /// Closes the list, and returns the entries that were not delivered.
    pub(super) fn close(&self) -> VecDeque<X> {
        let mut state = self.state.lock();
        state.closed = true;
        mem::take(&mut state.entries)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_delivery_is_posted_for_all_entries_that_are_pushed_before_it() {
        let list = CompletionList::new();
        assert!(matches!(list.push(1), Pushed::Post));
        assert!(matches!(list.push(2), Pushed::AlreadyPosted));
        assert_eq!(list.take(VecDeque::new()), [1, 2]);
        // The delivery posts the next one itself, or the next push does.
        assert!(list.post_next());
        assert!(matches!(list.push(3), Pushed::AlreadyPosted));
        assert!(!list.post_next());
        assert_eq!(list.take(VecDeque::new()), [3]);
        assert!(matches!(list.push(4), Pushed::Post));
        assert!(!list.post_next());
    }
}
