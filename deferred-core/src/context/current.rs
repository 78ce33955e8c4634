//! The current context of a thread.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::Arc;

use super::Values;
use super::span::{self, Span};

thread_local! {
    /// Whether values are current. It has no destructor, so reading it is cheap.
    static HAS_CURRENT: Cell<bool> = const { Cell::new(false) };
    /// The values of the contexts that were entered. The last ones are current.
    static ENTERED: RefCell<Vec<Option<Arc<Values>>>> = const { RefCell::new(Vec::new()) };
}

/// Returns the current values.
#[inline]
pub(super) fn values() -> Option<Arc<Values>> {
    if HAS_CURRENT.get() { copied() } else { None }
}

#[cold]
fn copied() -> Option<Arc<Values>> {
    // An error means that the thread ends.
    ENTERED.try_with(|entered| entered.borrow().last().cloned().flatten()).ok().flatten()
}

/// Returns `true` if these values are none, and none are current.
#[inline]
pub(super) fn are_none(values: &Option<Arc<Values>>) -> bool {
    values.is_none() && !HAS_CURRENT.get()
}

/// The guard of a context that was made the current one. Dropping it restores the one before.
/// Guards are dropped in the reverse order.
pub(crate) struct Entered<'a> {
    has_entered: bool,
    _span: span::Entered<'a>,
    /// The thread-locals are those of this thread.
    this_thread: PhantomData<*const ()>,
}

impl<'a> Entered<'a> {
    #[inline]
    pub(super) fn new(values: &Option<Arc<Values>>, span: &'a Span) -> Entered<'a> {
        let has_entered = !are_none(values) && push(values.clone());
        Entered { has_entered, _span: span.enter(), this_thread: PhantomData }
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.has_entered {
            pop();
        }
    }
}

/// Makes these values the current ones. Returns `false` if the thread ends.
#[cold]
fn push(values: Option<Arc<Values>>) -> bool {
    let has_current = values.is_some();
    let pushed = ENTERED.try_with(|entered| entered.borrow_mut().push(values)).is_ok();
    HAS_CURRENT.set(pushed && has_current);
    pushed
}

#[cold]
fn pop() {
    let popped = ENTERED.try_with(|entered| {
        let mut entered = entered.borrow_mut();
        let popped = entered.pop();
        HAS_CURRENT.set(matches!(entered.last(), Some(Some(_))));
        popped
    });
    drop(popped); // user code, after the borrow
}
