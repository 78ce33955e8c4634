//! `Waiters`: a FIFO queue of waiters.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use crate::deferred::{Deferred, Resolver};
use crate::error::{CallSite, DeferredError};
use crate::numbered::Numbered;

/// The request of a waiter, and the resolver that completes it.
type Waiter<W, T, E> = (W, Resolver<T, E>);

/// A FIFO queue of waiters, each with a request of type `W`.
pub(crate) struct Waiters<W, T, E: DeferredError> {
    line: RefCell<Numbered<Waiter<W, T, E>>>,
    /// The number of waiters that were ever added.
    came: Cell<u64>,
}

impl<W: 'static, T: 'static, E: DeferredError> Waiters<W, T, E> {
    pub(crate) fn new() -> Self {
        Waiters { line: RefCell::default(), came: Cell::new(0) }
    }

    /// Adds a waiter at the end of the queue that `waiters` returns. A cancel of the returned
    /// Deferred removes it, and then calls `left`.
    pub(crate) fn wait<O: 'static>(
        &self,
        want: W,
        owner: &Rc<O>,
        waiters: impl Fn(&O) -> &Waiters<W, T, E> + 'static,
        left: impl FnOnce(&Rc<O>) + 'static,
        at: CallSite,
    ) -> Deferred<T, E> {
        let number = self.came.replace(self.came.get() + 1);
        let owner: Weak<O> = Rc::downgrade(owner);
        let (deferred, resolver) = Deferred::typed_with_canceller_at(at, move || {
            if let Some(owner) = owner.upgrade() {
                let removed = waiters(&owner).line.borrow_mut().remove(number);
                drop(removed); // after the borrow
                left(&owner);
            }
            None
        });
        self.line.borrow_mut().push(number, (want, resolver));
        deferred
    }

    /// Removes and returns the first waiter, if `fits` returns `true` for its request.
    pub(super) fn first_if(&self, fits: impl FnOnce(&W) -> bool) -> Option<Waiter<W, T, E>> {
        let mut line = self.line.borrow_mut();
        if fits(&line.first()?.0) { line.pop() } else { None }
    }

    pub(crate) fn first(&self) -> Option<Waiter<W, T, E>> {
        self.first_if(|_| true)
    }

    pub(super) fn len(&self) -> usize {
        self.line.borrow().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.borrow().is_empty()
    }
}
