//! Counters: each value is dropped once, and each Deferred ends once.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

#[derive(Default)]
pub(crate) struct Ledger {
    next: Cell<u64>,
    alive: RefCell<BTreeSet<u64>>,
    /// The number of times that each Deferred has ended.
    ended: RefCell<BTreeMap<u64, u32>>,
    problems: RefCell<Vec<String>>,
    /// The numbers of the getters and of the values that they received, for each queue.
    got: RefCell<BTreeMap<usize, BTreeMap<u64, u64>>>,
}

impl Ledger {
    pub(crate) fn value(self: &Rc<Self>) -> Value {
        let number = self.ticket();
        self.alive.borrow_mut().insert(number);
        Value { number, ledger: self.clone() }
    }

    pub(crate) fn problem(&self, text: impl Into<String>) {
        self.problems.borrow_mut().push(text.into());
    }

    /// Returns the next number, for any queue.
    pub(crate) fn ticket(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    pub(crate) fn got(&self, queue: usize, ticket: u64, value: &Value) {
        self.got.borrow_mut().entry(queue).or_default().insert(ticket, value.number);
    }

    /// Excludes a queue from the check of the order, because streams return values.
    pub(crate) fn has_no_order(&self, queue: usize) {
        self.got.borrow_mut().entry(queue).or_default().insert(u64::MAX, 0);
    }

    /// Checks that values and getters are matched in FIFO order.
    fn unfair(&self) -> Option<String> {
        let got = self.got.borrow();
        let unfair = got.iter().find(|(_, got)| !got.contains_key(&u64::MAX) && !got.values().is_sorted());
        unfair.map(|(queue, got)| format!("queue {queue} is not first-in first-out: {got:?}"))
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

    /// Returns the problems; if `all`, also Deferreds that have not ended and values that are
    /// alive.
    pub(crate) fn problems(&self, all: bool) -> Vec<String> {
        let mut problems = self.problems.take();
        problems.extend(self.unfair());
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

/// A value that is counted. It contains a box, so that a sanitizer detects a use after its drop.
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

/// A value whose destructor panics.
pub(crate) struct PanicOnDrop;

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a bomb");
        }
    }
}
