//! The Deferreds that a coroutine waits for.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::engine::Handle;

/// The awaited Deferreds, by the number of the wait. Most coroutines wait for one at a time: that
/// one has fields of its own, which are read and written one by one.
#[derive(Default)]
pub(super) struct Awaited {
    only: Cell<Option<Handle>>,
    only_number: Cell<u64>,
    /// Waits that began during another one.
    more: Cell<BTreeMap<u64, Handle>>,
    /// The number of the last wait.
    next_number: Cell<u64>,
    count: Cell<usize>,
    /// The id of the block of the coroutine's own Deferred; 0 until it has one.
    own: Cell<usize>,
}

impl Awaited {
    pub(super) fn set_own(&self, id: usize) {
        self.own.set(id);
    }

    /// Returns `true` if this is the id of the coroutine's own Deferred, for which it would wait
    /// forever.
    #[inline]
    pub(super) fn is_own(&self, id: usize) -> bool {
        self.own.get() == id
    }

    /// Begins a wait and returns its number. The first is 1.
    #[inline]
    pub(super) fn begin(&self) -> u64 {
        self.next_number.set(self.next_number.get() + 1);
        self.next_number.get()
    }

    /// Sets the handle of the Deferred that a wait waits for.
    #[inline]
    pub(super) fn add(&self, number: u64, handle: Handle) {
        if self.is_empty() {
            self.only_number.set(number);
            self.only.set(Some(handle));
        } else {
            self.with_more(|more| more.insert(number, handle));
        }
        self.count.set(self.count.get() + 1);
    }

    /// Ends a wait. Returns `false` if it had ended before.
    #[inline]
    pub(super) fn end(&self, number: u64) -> bool {
        let only = number == self.only_number.get();
        let ended = if only { self.only.take() } else { self.with_more(|more| more.remove(&number)) };
        let Some(_handle) = ended else { return false };
        self.count.set(self.count.get() - 1);
        true
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.count.get() == 0
    }

    /// Returns the handles of the Deferreds that are awaited now, in the order in which the waits
    /// began.
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
