//! The Deferreds that a coroutine waits for.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::engine::Handle;

/// By the number of the wait. Most coroutines wait for one at a time: that one stands in words of
/// its own, which are written and read one by one.
#[derive(Default)]
pub(super) struct Awaited {
    only: Cell<Option<Handle>>,
    only_number: Cell<u64>,
    /// Those that began while there was another.
    more: Cell<BTreeMap<u64, Handle>>,
    /// How many waits have begun.
    begun: Cell<u64>,
    count: Cell<usize>,
    /// The block of the coroutine's own Deferred, once it has one; 0 before.
    own: Cell<usize>,
}

impl Awaited {
    pub(super) fn set_own(&self, id: usize) {
        self.own.set(id);
    }

    /// Whether this is the Deferred of the coroutine itself, which it would wait for forever.
    #[inline(always)]
    pub(super) fn is_own(&self, id: usize) -> bool {
        self.own.get() == id
    }

    /// The number of a wait that begins now. The first is 1.
    #[inline(always)]
    pub(super) fn begin(&self) -> u64 {
        self.begun.set(self.begun.get() + 1);
        self.begun.get()
    }

    /// What that wait waits for.
    #[inline(always)]
    pub(super) fn add(&self, number: u64, handle: Handle) {
        if self.is_empty() {
            self.only_number.set(number);
            self.only.set(Some(handle));
        } else {
            self.with_more(|more| more.insert(number, handle));
        }
        self.count.set(self.count.get() + 1);
    }

    /// That wait is over. Says whether it was not yet.
    #[inline(always)]
    pub(super) fn end(&self, number: u64) -> bool {
        let only = number == self.only_number.get();
        let ended = if only { self.only.take() } else { self.with_more(|more| more.remove(&number)) };
        let Some(_handle) = ended else { return false };
        self.count.set(self.count.get() - 1);
        true
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.count.get() == 0
    }

    /// What it waits for now, in the order in which the waits have begun.
    pub(super) fn all(&self) -> Vec<Handle> {
        let only = self.only.take();
        let mut all = Vec::from_iter(only.clone());
        self.only.set(only);
        self.with_more(|more| all.extend(more.values().cloned()));
        all
    }

    #[cold]
    fn with_more<R>(&self, f: impl FnOnce(&mut BTreeMap<u64, Handle>) -> R) -> R {
        let mut more = self.more.take();
        let value = f(&mut more);
        self.more.set(more);
        value
    }
}
