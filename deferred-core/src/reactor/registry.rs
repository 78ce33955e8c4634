//! What a reactor keeps for whoever fires it later, so that closing it fires it at the latest.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Reactor;

/// They stand in the order in which they came.
#[derive(Default)]
pub(super) struct Kept {
    entries: RefCell<BTreeMap<u64, Entry>>,
    made: Cell<u64>,
    closed: Cell<bool>,
}

pub(super) struct Entry {
    /// Dropping it fires. Its type is known to the holder of the key.
    fires: Box<dyn Any>,
    /// Who else is to know that nobody waits any more.
    ended: Option<Arc<AtomicBool>>,
}

impl Kept {
    /// Keeps nothing from now on. What was kept is for the caller to drop.
    pub(super) fn close(&self) -> BTreeMap<u64, Entry> {
        self.closed.set(true);
        let entries = self.entries.take();
        for ended in entries.values().filter_map(|entry| entry.ended.as_ref()) {
            ended.store(true, Ordering::Relaxed);
        }
        entries
    }
}

impl Reactor {
    /// Keeps something that fires a Deferred when it is dropped, such as a resolver, and gives the
    /// key for [`claim`](Self::claim). A closed reactor drops it.
    ///
    /// `ended` becomes true when the reactor is closed meanwhile.
    pub(crate) fn keep<X: 'static>(&self, fires: X, ended: Option<Arc<AtomicBool>>) -> Option<u64> {
        let kept = &self.core.kept;
        if kept.closed.get() {
            return None;
        }
        let key = kept.made.replace(kept.made.get() + 1);
        kept.entries.borrow_mut().insert(key, Entry { fires: Box::new(fires), ended });
        Some(key)
    }

    /// Looks at what is kept.
    pub(crate) fn look<X: 'static, R>(&self, key: u64, f: impl FnOnce(&X) -> R) -> Option<R> {
        let entries = self.core.kept.entries.borrow();
        Some(f(entries.get(&key)?.fires.downcast_ref().expect("a key is used with the type that it was given for")))
    }

    /// What was kept, once; none if the reactor was closed meanwhile.
    pub(crate) fn claim<X: 'static>(&self, key: u64) -> Option<X> {
        let entry = self.core.kept.entries.borrow_mut().remove(&key)?;
        Some(*entry.fires.downcast().expect("a key is used with the type that it was given for"))
    }
}
