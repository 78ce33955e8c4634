//! The Deferreds that a coroutine waits for.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::mem;

use crate::engine::Handle;

/// The awaited Deferreds, by the number of the wait. Most coroutines wait for one at a time: that
/// one needs no map.
#[derive(Default)]
pub(super) struct Awaited {
    /// The wait with the number [`ONLY`], which began while there was no other one.
    only: Cell<Option<Handle>>,
    /// Waits that began during another one.
    more: Cell<Option<Box<More>>>,
    /// The id of the block of the coroutine's own Deferred; 0 until it has one.
    own: Cell<usize>,
}

struct More {
    waits: BTreeMap<u64, Handle>,
    next_number: u64,
}

const ONLY: u64 = 1;

impl Awaited {
    pub(super) fn set_own(&self, id: usize) {
        self.own.set(id);
    }

    /// Returns the id of the block of the coroutine's own Deferred; 0 if it has none.
    pub(super) fn own(&self) -> usize {
        self.own.get()
    }

    /// Begins a wait for this Deferred. Returns the number of the wait, which is not 0, or `None`
    /// if this is the coroutine's own Deferred, for which it would wait forever.
    pub(super) fn begin(&self, handle: Handle) -> Option<u64> {
        if handle.id() == self.own.get() {
            None
        } else if self.is_empty() {
            self.only.set(Some(handle));
            Some(ONLY)
        } else {
            Some(self.begin_another(handle))
        }
    }

    /// Like [`begin`](Self::begin), but returns `None` also if there may be another wait. It calls
    /// nothing.
    #[inline]
    pub(super) fn begin_only(&self, handle: &Handle) -> Option<u64> {
        let (only, more) = (self.only.take(), self.more.take());
        let is_free = only.is_none() && more.is_none() && handle.id() != self.own.get();
        if is_free {
            mem::forget(self.only.replace(Some(handle.clone()))); // `None`, which the compiler cannot know
            Some(ONLY)
        } else {
            self.only.set(only);
            self.more.set(more);
            None
        }
    }

    #[cold]
    fn begin_another(&self, handle: Handle) -> u64 {
        self.with_more(|more| {
            let more = more.get_or_insert_with(|| Box::new(More { waits: BTreeMap::new(), next_number: ONLY + 1 }));
            let number = more.next_number;
            more.next_number += 1;
            more.waits.insert(number, handle);
            number
        })
    }

    /// Ends a wait.
    #[inline]
    pub(super) fn end(&self, number: u64) {
        if number == ONLY {
            drop(self.only.take());
        } else {
            self.end_another(number);
        }
    }

    #[cold]
    fn end_another(&self, number: u64) {
        drop(self.with_more(|more| more.as_mut()?.waits.remove(&number)));
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        let only = self.only.take();
        let empty = only.is_none();
        self.only.set(only);
        empty && self.with_more(|more| more.as_ref().is_none_or(|more| more.waits.is_empty()))
    }

    /// Returns the handles of the Deferreds that are awaited now, in the order in which the waits
    /// began.
    pub(super) fn all(&self) -> Vec<Handle> {
        let only = self.only.take();
        let mut all = Vec::from_iter(only.clone());
        self.only.set(only);
        self.with_more(|more| all.extend(more.iter().flat_map(|more| more.waits.values().cloned())));
        all
    }

    #[inline]
    fn with_more<R>(&self, f: impl FnOnce(&mut Option<Box<More>>) -> R) -> R {
        let mut more = self.more.take();
        let value = f(&mut more);
        self.more.set(more);
        value
    }
}
