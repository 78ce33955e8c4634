//! The registry of a reactor: values that fire a Deferred when they are dropped. Other threads
//! refer to them by key, and closing the reactor drops them, so that no Deferred waits forever.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Reactor;
use crate::report;

/// The entries, in the order in which they were added.
#[derive(Default)]
pub(super) struct Registry {
    entries: RefCell<BTreeMap<u64, Entry>>,
    last_key: Cell<u64>,
    closed: Cell<bool>,
}

pub(super) struct Entry {
    /// The value that fires when dropped. The holder of the key knows its type.
    fires: Box<dyn Any>,
    /// Set when the reactor is closed: the flag that other threads read.
    ended: Option<Arc<AtomicBool>>,
}

impl Registry {
    /// Closes the registry, and returns the entries for the caller to drop.
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
    /// Adds a value that fires a Deferred when dropped, such as a resolver. Returns the key for
    /// [`claim`](Self::claim), or `None` if the reactor is closed, which drops the value.
    ///
    /// `ended` is set to `true` if the reactor is closed before the value is claimed.
    pub(crate) fn keep<X: 'static>(&self, fires: X, ended: Option<Arc<AtomicBool>>) -> Option<u64> {
        let registry = &self.core.registry;
        if registry.closed.get() {
            report::refusing(|| drop(fires));
            return None;
        }
        let key = registry.last_key.replace(registry.last_key.get() + 1);
        registry.entries.borrow_mut().insert(key, Entry { fires: Box::new(fires), ended });
        Some(key)
    }

    /// Calls `f` with the value of a key. Returns `None` if there is none any more.
    pub(crate) fn with<X: 'static, R>(&self, key: u64, f: impl FnOnce(&X) -> R) -> Option<R> {
        let entries = self.core.registry.entries.borrow();
        Some(f(entries.get(&key)?.fires.downcast_ref().expect("a key is used with the type that it was created for")))
    }

    /// Removes the value of a key and returns it. Returns `None` if it was claimed before, or the
    /// reactor was closed.
    pub(crate) fn claim<X: 'static>(&self, key: u64) -> Option<X> {
        let entry = self.core.registry.entries.borrow_mut().remove(&key)?;
        Some(*entry.fires.downcast().expect("a key is used with the type that it was created for"))
    }
}
