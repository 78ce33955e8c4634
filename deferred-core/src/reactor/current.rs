//! The current reactor of a thread.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::ptr;
use std::rc::Rc;

use super::{Core, Reactor};
use crate::numbered::Numbered;

thread_local! {
    /// The reactors that run a turn or were entered, the innermost last.
    static ENTERED: RefCell<Numbered<Reactor>> = const { RefCell::new(Numbered::new()) };
    /// The number of reactors that were ever entered.
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// The address of the last one in `ENTERED`; null if there is none. It is only compared.
    static LAST: Cell<*const Core> = const { Cell::new(ptr::null()) };
}

/// Changes the entered reactors. Returns `None` while the thread-locals of the thread are being
/// destroyed.
fn change<R>(f: impl FnOnce(&mut Numbered<Reactor>) -> R) -> Option<R> {
    let changed = ENTERED.try_with(|entered| {
        let mut entered = entered.borrow_mut();
        let value = f(&mut entered);
        LAST.set(entered.last().map_or(ptr::null(), |(_, last)| Rc::as_ptr(&last.core)));
        value
    });
    changed.ok()
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
        if LAST.get().is_null() {
            return None;
        }
        ENTERED.try_with(|entered| entered.borrow().last().map(|(_, last)| last.clone())).ok().flatten()
    }

    pub(crate) fn is_current(&self) -> bool {
        ptr::eq(LAST.get(), Rc::as_ptr(&self.core))
    }

    /// Makes this the [`current`](Self::current) reactor until the returned guard is dropped. This
    /// is for code that runs outside of a turn. It does not run the reactor: a driver does.
    ///
    /// In a task of an executor, drop the guard before the next `.await`. Otherwise this reactor is
    /// the current one in other tasks of the thread too.
    pub fn enter(&self) -> EnterGuard {
        let number = COUNT.replace(COUNT.get() + 1);
        change(|entered| entered.push(number, self.clone()));
        EnterGuard { number, this_thread: PhantomData }
    }
}

/// A guard while which a reactor is the current one. [`Reactor::enter`] creates it.
#[derive(Debug)]
#[must_use = "the reactor is left at once if this is not bound to a variable"]
pub struct EnterGuard {
    number: u64,
    this_thread: PhantomData<*const ()>,
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        // By number, since guards need not be dropped in the reverse order.
        let left = change(|entered| entered.remove(self.number));
        drop(left); // after the borrow
    }
}
