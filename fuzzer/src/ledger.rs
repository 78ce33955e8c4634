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
    /// By queue: who has got which value, each by its number.
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

    /// The next in line, whatever the line.
    pub(crate) fn ticket(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    pub(crate) fn got(&self, queue: usize, ticket: u64, value: &Value) {
        self.got.borrow_mut().entry(queue).or_default().insert(ticket, value.number);
    }

    /// Streams give values back.
    pub(crate) fn has_no_order(&self, queue: usize) {
        self.got.borrow_mut().entry(queue).or_default().insert(u64::MAX, 0);
    }

    /// Who came first, got what was put first.
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

    /// What is wrong; with `all`, also what has not ended and what lives.
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

/// A value that is counted. It lies in a box of its own too, so that a sanitizer sees who uses one
/// that is gone.
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
