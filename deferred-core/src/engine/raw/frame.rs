//! `Pinned`: a pinned value with a shared owner.

use std::cell::RefCell;
use std::marker::PhantomPinned;
use std::pin::Pin;

/// A value that stays where it is, although its owner is shared.
pub(crate) struct Pinned<X>(RefCell<X>, PhantomPinned);

impl<X> Pinned<X> {
    pub(crate) fn new(value: X) -> Self {
        Pinned(RefCell::new(value), PhantomPinned)
    }

    /// Calls `f` with the value.
    ///
    /// # Panics
    ///
    /// Panics if it is called from `f`.
    #[inline]
    pub(crate) fn with<R>(self: Pin<&Self>, f: impl FnOnce(Pin<&mut X>) -> R) -> R {
        let mut value = self.get_ref().0.borrow_mut();
        // SAFETY: the value lies in `self`, which is pinned, and nothing else accesses it.
        f(unsafe { Pin::new_unchecked(&mut *value) })
    }
}
