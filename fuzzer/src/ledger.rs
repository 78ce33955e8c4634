//! What is counted: each value is dropped once, each Deferred ends once.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

#[derive(Default)]
pub(crate) struct Ledger {
    next: Cell<u64>,
    alive: RefCell<BTreeSet<u64>>,
    /// By Deferred, how often it has ended.
    ended: RefCell<BTreeMap<u64, u32>>,
    problems: RefCell<Vec<String>>,
}

impl Ledger {
    pub(crate) fn value(self: &Rc<Self>) -> Value {
        let number = self.next.replace(self.next.get() + 1);
        self.alive.borrow_mut().insert(number);
        Value { number, ledger: self.clone() }
    }

    pub(crate) fn problem(&self, text: impl Into<String>) {
        self.problems.borrow_mut().push(text.into());
    }

    pub(crate) fn made(&self, deferred: u64) {
        self.ended.borrow_mut().insert(deferred, 0);
    }

    pub(crate) fn ended(&self, deferred: u64) {
        let times = {
            let mut ended = self.ended.borrow_mut();
            let times = ended.entry(deferred).or_default();
            *times += 1;
            *times
        };
        if times > 1 {
            self.problem(format!("Deferred {deferred} has ended {times} times"));
        }
    }

    /// What is wrong; with `all`, also what has not ended and what lives.
    pub(crate) fn problems(&self, all: bool) -> Vec<String> {
        let mut problems = self.problems.take();
        if all {
            let pending: Vec<_> =
                self.ended.borrow().iter().filter(|(_, times)| **times == 0).map(|(n, _)| *n).collect();
            if !pending.is_empty() {
                problems.push(format!("Deferreds that never end: {pending:?}"));
            }
            let alive = self.alive.borrow();
            if !alive.is_empty() {
                problems.push(format!("values that are never dropped: {alive:?}"));
            }
        }
        problems
    }
}

/// A value that is counted. It lies in a box of its own too, so that a sanitizer sees who uses one that is gone.
pub(crate) struct Value {
    number: u64,
    ledger: Rc<Ledger>,
}

impl Clone for Value {
    fn clone(&self) -> Self {
        self.ledger.value()
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        let was_alive = self.ledger.alive.borrow_mut().remove(&self.number);
        if !was_alive {
            self.ledger.problem(format!("value {} is dropped twice", self.number));
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "value {}", self.number)
    }
}

/// Panics when it is dropped.
pub(crate) struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a bomb");
        }
    }
}
