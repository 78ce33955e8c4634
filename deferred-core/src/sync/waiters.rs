//! `Waiters`: a FIFO queue of waiters.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use crate::deferred::{Deferred, Resolver};
use crate::error::{CallSite, DeferredError};
use crate::inspect::{self, Kind};
use crate::numbered::Numbered;

/// The request of a waiter, and the resolver that completes it.
type Waiter<W, T, E> = (W, Resolver<T, E>);

/// A FIFO queue of waiters, each with a request of type `W`.
pub(crate) struct Waiters<W, T, E: DeferredError> {
    queue: RefCell<Numbered<Waiter<W, T, E>>>,
    /// The number of waiters that were ever added.
    next_number: Cell<u64>,
}

impl<W: 'static, T: 'static, E: DeferredError> Waiters<W, T, E> {
    pub(crate) fn new() -> Self {
        Waiters { queue: RefCell::default(), next_number: Cell::new(0) }
    }

    /// Adds a waiter at the end of the queue that `waiters` returns. A cancel of the returned
    /// Deferred removes it, and then calls `on_cancel`. `details` says what it waits for.
    pub(crate) fn wait<O: 'static>(
        &self,
        want: W,
        owner: &Rc<O>,
        waiters: impl Fn(&O) -> &Waiters<W, T, E> + 'static,
        on_cancel: impl FnOnce(&Rc<O>) + 'static,
        details: impl Fn(&O) -> String + 'static,
        at: CallSite,
    ) -> Deferred<T, E> {
        let number = self.next_number.replace(self.next_number.get() + 1);
        let weak: Weak<O> = Rc::downgrade(owner);
        let (mut deferred, resolver) = Deferred::typed_with_canceller_at(at, move || {
            if let Some(owner) = weak.upgrade() {
                let removed = waiters(&owner).queue.borrow_mut().remove(number);
                drop(removed); // after the borrow
                on_cancel(&owner);
            }
            None
        });
        self.queue.borrow_mut().push(number, (want, resolver));
        if inspect::is_enabled() {
            describe(&mut deferred, Rc::downgrade(owner), details);
        }
        deferred
    }

    /// Removes and returns the first waiter, if `fits` returns `true` for its request.
    // As `#[inline]`, a lock that is handed over takes 4 % more instructions (bench: sync/).
    #[inline(always)]
    pub(super) fn first_if(&self, fits: impl FnOnce(&W) -> bool) -> Option<Waiter<W, T, E>> {
        self.queue.borrow_mut().pop_if(|(want, _)| fits(want))
    }

    pub(crate) fn first(&self) -> Option<Waiter<W, T, E>> {
        self.first_if(|_| true)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }
}

#[cold]
fn describe<T: 'static, E: DeferredError, O: 'static>(
    deferred: &mut Deferred<T, E>,
    owner: Weak<O>,
    details: impl Fn(&O) -> String + 'static,
) {
    if let Some(chain) = deferred.as_chain() {
        inspect::describe(chain.as_handle(), move |it| {
            let details = owner.upgrade().map(|owner| details(&owner));
            it.set_kind(Kind::Waiter);
            it.set_details(details.unwrap_or_default());
        });
    }
}
