//! The Deferreds that a coroutine waits for.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::engine::Handle;

/// By the number of the wait. Most coroutines wait for one at a time.
#[derive(Default)]
pub(super) struct Awaited {
    list: Cell<List>,
    /// How many waits have begun.
    begun: Cell<u64>,
    count: Cell<usize>,
}

#[derive(Default)]
enum List {
    #[default]
    None,
    One(u64, Handle),
    Many(BTreeMap<u64, Handle>),
}

impl Awaited {
    /// The number of a wait that begins now.
    #[inline(always)]
    pub(super) fn begin(&self) -> u64 {
        self.begun.set(self.begun.get() + 1);
        self.begun.get()
    }

    /// What that wait waits for.
    #[inline(always)]
    pub(super) fn add(&self, number: u64, handle: Handle) {
        self.count.set(self.count.get() + 1);
        let list = match self.list.take() {
            List::None => List::One(number, handle),
            list => list.and(number, handle),
        };
        self.list.set(list);
    }

    /// That wait is over. Says whether it was not yet.
    #[inline(always)]
    pub(super) fn end(&self, number: u64) -> bool {
        if self.is_empty() {
            return false;
        }
        let gone = match self.list.take() {
            List::One(one, handle) if one == number => Some(handle),
            list => self.end_one_of(list, number),
        };
        let Some(_handle) = gone else { return false };
        self.count.set(self.count.get() - 1);
        true
    }

    #[cold]
    fn end_one_of(&self, mut list: List, number: u64) -> Option<Handle> {
        let gone = if let List::Many(handles) = &mut list { handles.remove(&number) } else { None };
        self.list.set(list);
        gone
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.count.get() == 0
    }

    /// What it waits for now, in the order in which the waits have begun.
    pub(super) fn all(&self) -> Vec<Handle> {
        let list = self.list.take();
        let all = match &list {
            List::None => Vec::new(),
            List::One(_, handle) => vec![handle.clone()],
            List::Many(handles) => handles.values().cloned().collect(),
        };
        self.list.set(list);
        all
    }
}

impl List {
    #[cold]
    fn and(self, number: u64, handle: Handle) -> List {
        let mut handles = match self {
            List::None => BTreeMap::new(),
            List::One(one, first) => BTreeMap::from([(one, first)]),
            List::Many(handles) => handles,
        };
        handles.insert(number, handle);
        List::Many(handles)
    }
}
