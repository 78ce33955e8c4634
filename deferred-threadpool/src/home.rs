//! How jobs come home: a list for each reactor, and one post for as many as have come meanwhile.
//!
//! # The protocol
//!
//! A list stands behind a lock, with two words: `posted`, whether a delivery was posted to the
//! reactor and has not begun, and `closed`.
//!
//! Whoever **brings a job** puts it into the list. If nothing is posted it says so and, when the
//! lock is released, posts a delivery. A **delivery** takes the whole list and clears `posted` in
//! one step. If it takes more than one it **posts the next** before it runs anything, if nobody
//! has: for what it leaves behind, and for a turn inside one of the callbacks, which goes on with
//! the rest.
//!
//! What follows:
//!
//! 1. *Nothing stays in the list.* A job that a delivery has not taken was brought after `posted`
//!    was cleared, so whoever brought it has posted, or found that somebody has.
//! 2. *Posts are few*: at most one for each delivery, however many come.
//! 3. *A closed list takes nothing.* Closing takes what is there and says so in one step; what is
//!    brought later is dropped by whoever brings it.
//!
//! The loom tests beside this file replay 1 and 3.

#[cfg(all(test, loom))]
mod loom_tests;

use std::collections::VecDeque;
use std::mem;

use crate::sync::{Apart, Mutex};

/// See the page above.
#[derive(Debug)]
pub(crate) struct List<X> {
    state: Apart<Mutex<State<X>>>,
}

#[derive(Debug)]
struct State<X> {
    arrived: VecDeque<X>,
    posted: bool,
    closed: bool,
}

/// What is left to do for whoever brings something.
#[must_use = "a delivery is to be posted, or the thing dropped"]
#[derive(Debug)]
pub(crate) enum Brought<X> {
    /// Somebody has posted.
    Done,
    Post,
    /// It is not wanted.
    Closed(X),
}

impl<X> List<X> {
    pub(crate) fn new() -> List<X> {
        let state = State { arrived: VecDeque::new(), posted: false, closed: false };
        List { state: Apart(Mutex::new(state)) }
    }

    pub(crate) fn bring(&self, thing: X) -> Brought<X> {
        let mut state = self.state.lock();
        if state.closed {
            return Brought::Closed(thing);
        }
        state.arrived.push_back(thing);
        if mem::replace(&mut state.posted, true) { Brought::Done } else { Brought::Post }
    }

    /// Begins a delivery. `spare` is an empty list whose memory the next ones get.
    pub(crate) fn take(&self, spare: VecDeque<X>) -> VecDeque<X> {
        let mut state = self.state.lock();
        state.posted = false;
        mem::replace(&mut state.arrived, spare)
    }

    /// Whether the next delivery is to be posted by the caller.
    pub(crate) fn post_next(&self) -> bool {
        !mem::replace(&mut self.state.lock().posted, true)
    }

    /// Nothing is brought from now on. Gives what was not delivered.
    pub(crate) fn close(&self) -> VecDeque<X> {
        let mut state = self.state.lock();
        state.closed = true;
        mem::take(&mut state.arrived)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_delivery_is_posted_for_as_many_as_come_before_it() {
        let list = List::new();
        assert!(matches!(list.bring(1), Brought::Post));
        assert!(matches!(list.bring(2), Brought::Done));
        assert_eq!(list.take(VecDeque::new()), [1, 2]);
        // It posts the next one itself, or whoever comes first does.
        assert!(list.post_next());
        assert!(matches!(list.bring(3), Brought::Done));
        assert!(!list.post_next());
        assert_eq!(list.take(VecDeque::new()), [3]);
        assert!(matches!(list.bring(4), Brought::Post));
        assert!(!list.post_next());
    }
}
