//! What adapters keep in a reactor.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Reactor;

/// One value of each type.
#[derive(Default)]
pub(super) struct Extensions {
    kept: RefCell<BTreeMap<TypeId, Rc<dyn Any>>>,
    closed: Cell<bool>,
}

impl Extensions {
    /// Nothing is kept from now on. What was is for the caller to drop.
    pub(super) fn close(&self) -> Vec<Rc<dyn Any>> {
        self.closed.set(true);
        self.kept.take().into_values().collect()
    }
}

impl Reactor {
    /// What this reactor keeps of type `T`, made by `make` the first time: a place for adapters,
    /// for example for a pool of threads that lives as long as the loop.
    ///
    /// It is dropped when the reactor is closed. On a closed one it is made anew for each caller
    /// and not kept.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{cell::Cell, rc::Rc};
    /// # use deferred_core::Reactor;
    /// #[derive(Default)]
    /// struct Requests(Cell<u32>);
    ///
    /// let reactor = Reactor::new();
    /// let requests = reactor.extension(Requests::default);
    /// requests.0.set(1);
    /// assert_eq!(reactor.extension(Requests::default).0.get(), 1);
    /// ```
    pub fn extension<T: 'static>(&self, make: impl FnOnce() -> T) -> Rc<T> {
        let extensions = &self.core.extensions;
        let key = TypeId::of::<T>();
        let kept = extensions.kept.borrow().get(&key).cloned();
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let made: Rc<dyn Any> = Rc::new(make());
                if extensions.closed.get() {
                    made
                } else {
                    // `make` may have asked for the same: the first one that is kept stays.
                    extensions.kept.borrow_mut().entry(key).or_insert(made).clone()
                }
            }
        };
        kept.downcast().expect("kept under its own type")
    }
}
