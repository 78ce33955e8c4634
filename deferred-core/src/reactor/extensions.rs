//! Data that adapters keep in a reactor.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Reactor;

/// The extensions of a reactor: one value of each type.
#[derive(Default)]
pub(super) struct Extensions {
    values: RefCell<BTreeMap<TypeId, Rc<dyn Any>>>,
    closed: Cell<bool>,
}

impl Extensions {
    /// Closes the set: later values are not stored. Returns the stored values for the caller to
    /// drop.
    pub(super) fn close(&self) -> Vec<Rc<dyn Any>> {
        self.closed.set(true);
        self.values.take().into_values().collect()
    }
}

impl Reactor {
    /// Returns this reactor's value of type `T`. The first call creates it with `make`. This is a
    /// place for the state of adapters, for example for a thread pool that lives as long as the
    /// loop.
    ///
    /// The value is dropped when the reactor is closed. On a closed reactor each call creates a new
    /// value and does not store it.
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
        let stored = extensions.values.borrow().get(&key).cloned();
        let value = match stored {
            Some(value) => value,
            None => {
                let made: Rc<dyn Any> = Rc::new(make());
                if extensions.closed.get() {
                    made
                } else {
                    // `make` may have called this for the same type: the value stored first stays.
                    extensions.values.borrow_mut().entry(key).or_insert(made).clone()
                }
            }
        };
        value.downcast().expect("the value is stored under its own type")
    }
}
