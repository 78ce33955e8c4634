//! The resolvers that a reactor keeps for whoever fires them later, so that closing it fires them all.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Reactor;
use crate::deferred::Resolver;
use crate::error::Fault;

/// They stand in the order in which they came.
#[derive(Default)]
pub(super) struct Kept {
    entries: RefCell<BTreeMap<u64, Entry>>,
    made: Cell<u64>,
    closed: Cell<bool>,
}

pub(super) struct Entry {
    /// A `Resolver<T, E>`, whose types the holder of the key knows.
    resolver: Box<dyn Any>,
    /// Who else is to know that nobody waits any more.
    ended: Option<Arc<AtomicBool>>,
}

impl Kept {
    /// Keeps nothing from now on. What was kept is for the caller to drop, which fires `Abandoned`.
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
    /// Keeps a resolver, and gives the key for [`claim`](Self::claim). On a closed reactor it is dropped.
    ///
    /// `ended` becomes true when the reactor is closed meanwhile.
    pub(crate) fn keep<T: 'static, E: Fault>(
        &self,
        resolver: Resolver<T, E>,
        ended: Option<Arc<AtomicBool>>,
    ) -> Option<u64> {
        let kept = &self.core.kept;
        if kept.closed.get() {
            return None;
        }
        let key = kept.made.replace(kept.made.get() + 1);
        kept.entries.borrow_mut().insert(key, Entry { resolver: Box::new(resolver), ended });
        Some(key)
    }

    /// The resolver that was kept, once; none if the reactor was closed meanwhile.
    pub(crate) fn claim<T: 'static, E: Fault>(&self, key: u64) -> Option<Resolver<T, E>> {
        let entry = self.core.kept.entries.borrow_mut().remove(&key)?;
        Some(*entry.resolver.downcast().expect("a key is used with the types of its resolver"))
    }
}
