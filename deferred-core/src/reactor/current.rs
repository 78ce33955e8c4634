//! The current reactor of a thread.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::rc::Rc;

use super::Reactor;
use crate::numbered::Numbered;

thread_local! {
    /// The reactors that run a turn or were entered, the innermost last.
    static ENTERED: RefCell<Numbered<Reactor>> = const { RefCell::new(Numbered::new()) };
    /// The number of reactors that were ever entered.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Returns `None` while the thread-locals of the thread are being destroyed.
fn with<R>(f: impl FnOnce(&mut Numbered<Reactor>) -> R) -> Option<R> {
    ENTERED.try_with(|entered| f(&mut entered.borrow_mut())).ok()
}

impl Reactor {
    /// Returns the current reactor of this thread: the one whose [`turn`](Self::turn) or
    /// [`enter`](Self::enter) is innermost. Returns `None` outside of all of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::Reactor;
    ///
    /// let reactor = Reactor::new();
    /// assert!(Reactor::current().is_none());
    /// let entered = reactor.enter();
    /// assert!(Reactor::current().is_some());
    /// drop(entered);
    /// assert!(Reactor::current().is_none());
    /// ```
    #[must_use]
    pub fn current() -> Option<Reactor> {
        with(|entered| entered.last().map(|(_, last)| last.clone())).flatten()
    }

    pub(crate) fn is_current(&self) -> bool {
        with(|entered| entered.last().is_some_and(|(_, last)| Rc::ptr_eq(&last.core, &self.core))).unwrap_or(false)
    }

    /// Makes this the [`current`](Self::current) reactor until the returned guard is dropped. This
    /// is for code that runs outside of a turn.
    pub fn enter(&self) -> EnterGuard {
        let number = COUNT.replace(COUNT.get() + 1);
        with(|entered| entered.push(number, self.clone()));
        EnterGuard { number, this_thread: PhantomData }
    }
}

/// A guard while which a reactor is the current one. [`Reactor::enter`] creates it.
#[derive(Debug)]
#[must_use = "dropping the guard makes the reactor no longer the current one"]
pub struct EnterGuard {
    number: u64,
    this_thread: PhantomData<*const ()>,
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        // By number, since guards need not be dropped in the reverse order.
        let left = with(|entered| entered.remove(self.number));
        drop(left); // after the borrow
    }
}
