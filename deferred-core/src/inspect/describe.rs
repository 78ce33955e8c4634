//! `Description`: what a Deferred is, in the words of the code that has created it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::Kind;
use crate::deferred::{CancelHandle, Deferred};
use crate::engine::Handle;
use crate::engine::registered::{self, WeakHandle};
use crate::error::{DeferredError, Panicked};

/// The entry of a Deferred in a list of what is pending, as far as its creator fills it in.
///
/// [`Deferred::describe`](crate::Deferred::describe) passes it to a function, which fills it in.
#[derive(Default)]
pub struct Description {
    pub(super) kind: Kind,
    pub(super) details: String,
    pub(super) waits_for: Vec<Handle>,
}

impl Description {
    /// Sets the kind.
    pub fn set_kind(&mut self, kind: Kind) {
        self.kind = kind;
    }

    /// Sets the text that follows the location and the age, such as `request 12 of ::1`.
    pub fn set_details(&mut self, details: impl Into<String>) {
        self.details = details.into();
    }

    /// Adds a Deferred for which this one waits, such as one that its canceller cancels.
    pub fn waits_for(&mut self, deferred: &CancelHandle) {
        self.waits_for_handle(deferred.as_handle());
    }

    /// Like [`waits_for`](Self::waits_for).
    pub(crate) fn waits_for_handle(&mut self, handle: &Handle) {
        self.waits_for.push(handle.clone());
    }
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits_for = self.waits_for.len();
        f.debug_struct("Description")
            .field("kind", &self.kind)
            .field("details", &self.details)
            .field("waits_for", &waits_for)
            .finish()
    }
}

impl<T: 'static, E: DeferredError> Deferred<T, E> {
    /// Has `f` say what this Deferred is, in lists of what is [pending](crate::Reactor::pending).
    /// Has no effect if this Deferred is ready, or while [inspection](crate::inspect) is off.
    ///
    /// `f` is called on this thread when a list is made. If it panics, the list says so. It must
    /// not keep this Deferred: it should capture a [`Weak`](std::rc::Weak).
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::{Deferred, Reactor, inspect};
    ///
    /// let _on = inspect::enable();
    /// let (answer, _resolver) = Deferred::<String>::new();
    /// let answer = answer.describe(|it| it.set_details("the answer to request 12"));
    /// assert!(Reactor::new().pending().to_string().contains("the answer to request 12"));
    /// # drop(answer);
    /// ```
    #[must_use]
    pub fn describe(mut self, f: impl Fn(&mut Description) + 'static) -> Deferred<T, E> {
        if let Some(chain) = self.as_chain() {
            describe(chain.as_handle(), f);
        }
        self
    }
}

/// A function that describes a Deferred.
type Describe = Rc<dyn Fn(&mut Description)>;

/// The number of functions at which those of dropped Deferreds are first removed.
const FIRST_PRUNING: usize = 256;

struct Described {
    /// By the number of the block. A weak reference keeps the number from being used again.
    functions: BTreeMap<usize, (WeakHandle, Describe)>,
    /// The number of functions at which those of dropped Deferreds are removed.
    prune_at: usize,
}

thread_local! {
    static DESCRIBED: RefCell<Described> =
        const { RefCell::new(Described { functions: BTreeMap::new(), prune_at: FIRST_PRUNING }) };
}

/// Has `f` describe this Deferred in lists of what is pending, if inspection is on. `f` must not
/// keep the Deferred's block.
#[inline]
pub(crate) fn describe(handle: &Handle, f: impl Fn(&mut Description) + 'static) {
    if registered::is_on() {
        add(handle, Rc::new(f));
    }
}

/// The tag of the block of a coroutine.
pub(super) const COROUTINE: u8 = 1;

/// Marks a Deferred that was just created as that of a coroutine, if inspection is on.
#[inline]
pub(crate) fn is_coroutine(handle: &Handle) {
    if registered::is_on() {
        registered::set_tag(handle, COROUTINE);
    }
}

#[cold]
fn add(handle: &Handle, f: Describe) {
    let dropped = DESCRIBED.try_with(|described| {
        let described = &mut *described.borrow_mut();
        let mut dropped = BTreeMap::new();
        if described.functions.len() >= described.prune_at {
            let functions = mem::take(&mut described.functions);
            (described.functions, dropped) = functions.into_iter().partition(|(_, (block, _))| block.is_alive());
            described.prune_at = (2 * described.functions.len()).max(FIRST_PRUNING);
        }
        (described.functions.insert(handle.id(), (handle.downgrade(), f)), dropped)
    });
    drop(dropped); // user code, after the borrow
}

/// Returns the description of this Deferred.
pub(super) fn description(handle: &Handle) -> Description {
    let found = DESCRIBED
        .try_with(|described| described.borrow().functions.get(&handle.id()).map(|(_, describe)| describe.clone()));
    let mut description = Description::default();
    if let Ok(Some(describe)) = found {
        // A list is made where a panic would do harm, such as in the shutdown.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| describe(&mut description))) {
            description.details = format!("its description {}", Panicked::new(payload));
        }
    }
    description
}

/// Drops all functions.
pub(super) fn forget() {
    let functions = DESCRIBED.try_with(|described| mem::take(&mut described.borrow_mut().functions));
    drop(functions); // user code, after the borrow
}
