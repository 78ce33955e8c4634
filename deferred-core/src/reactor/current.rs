//! Which reactor is this thread's.

use std::cell::RefCell;
use std::rc::Rc;

use super::Reactor;

thread_local! {
    /// Those that are turned or entered, the innermost last.
    static ENTERED: RefCell<Vec<Reactor>> = const { RefCell::new(Vec::new()) };
}

/// `None` while the thread ends and its locals are gone.
fn with<R>(f: impl FnOnce(&mut Vec<Reactor>) -> R) -> Option<R> {
    ENTERED.try_with(|entered| f(&mut entered.borrow_mut())).ok()
}

impl Reactor {
    /// This thread's reactor: the one whose [`turn`](Self::turn) or [`enter`](Self::enter) is innermost, else none.
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
        with(|entered| entered.last().cloned()).flatten()
    }

    /// [`enter`](Self::enter), where that makes a difference.
    pub(crate) fn enter_unless_current(&self) -> Option<Entered> {
        let is_current = with(|entered| entered.last().is_some_and(|last| Rc::ptr_eq(&last.core, &self.core)));
        if is_current == Some(true) { None } else { Some(self.enter()) }
    }

    /// Makes this the [`current`](Self::current) reactor until the guard is dropped: for code that runs outside of a
    /// turn.
    pub fn enter(&self) -> Entered {
        with(|entered| entered.push(self.clone()));
        Entered { reactor: self.clone() }
    }
}

/// The time in which a reactor is the current one; [`Reactor::enter`] gives it.
#[derive(Debug)]
#[must_use = "dropping it ends the reactor's being current"]
pub struct Entered {
    reactor: Reactor,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Looked for, since guards need not be dropped in the reverse order.
        let left = with(|entered| {
            let innermost = entered.iter().rposition(|entered| Rc::ptr_eq(&entered.core, &self.reactor.core));
            innermost.map(|index| entered.remove(index))
        });
        drop(left); // behind the borrow
    }
}
