//! Which reactor is this thread's.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::rc::Rc;

use super::Reactor;
use crate::numbered::Numbered;

thread_local! {
    /// Those that are turned or entered, the innermost last.
    static ENTERED: RefCell<Numbered<Reactor>> = const { RefCell::new(Numbered::new()) };
    /// How many there were.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// `None` while the thread ends and its locals are gone.
fn with<R>(f: impl FnOnce(&mut Numbered<Reactor>) -> R) -> Option<R> {
    ENTERED.try_with(|entered| f(&mut entered.borrow_mut())).ok()
}

impl Reactor {
    /// This thread's reactor: the one whose [`turn`](Self::turn) or [`enter`](Self::enter) is
    /// innermost, else none.
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

    /// [`enter`](Self::enter), where that makes a difference.
    pub(crate) fn enter_unless_current(&self) -> Option<EnterGuard> {
        if self.is_current() { None } else { Some(self.enter()) }
    }

    pub(super) fn is_current(&self) -> bool {
        with(|entered| entered.last().is_some_and(|(_, last)| Rc::ptr_eq(&last.core, &self.core))).unwrap_or(false)
    }

    /// Makes this the [`current`](Self::current) reactor until the guard is dropped: for code that
    /// runs outside of a turn.
    pub fn enter(&self) -> EnterGuard {
        let number = COUNT.replace(COUNT.get() + 1);
        with(|entered| entered.push(number, self.clone()));
        EnterGuard { number, this_thread: PhantomData }
    }
}

/// The time in which a reactor is the current one; [`Reactor::enter`] gives it.
#[derive(Debug)]
#[must_use = "dropping it ends the reactor's being current"]
pub struct EnterGuard {
    number: u64,
    this_thread: PhantomData<*const ()>,
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        // By number, since guards need not be dropped in the reverse order.
        let left = with(|entered| entered.remove(self.number));
        drop(left); // behind the borrow
    }
}
