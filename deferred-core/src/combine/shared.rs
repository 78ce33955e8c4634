//! `Deferred::share` and `Deferred::shield`: one result for several observers, and a Deferred that
//! absorbs cancels.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::iter;
use std::panic::Location;
use std::rc::Rc;

use crate::deferred::{Deferred, Resolver};
use crate::engine::{Fired, Handle, StageOutput, call_soon, catch};
use crate::error::{BuiltinError, CallSite, Cancelled, DeferredError, Failure, ShareError};
use crate::inspect::Kind;
use crate::report;

impl<T: 'static, E: ShareError> Deferred<T, E> {
    /// Shares the result among several observers: each [`observe`](Shared::observe) returns a
    /// Deferred that fires with a copy of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::testing::success_result_of;
    /// use deferred_core::Deferred;
    ///
    /// let (page, resolver) = Deferred::<String>::new();
    /// let page = page.share();
    /// let (first, second) = (page.observe(), page.observe());
    /// resolver.callback("hello".to_owned());
    /// assert_eq!(success_result_of(first), "hello");
    /// assert_eq!(success_result_of(second), "hello");
    /// assert_eq!(success_result_of(page.observe()), "hello");
    /// ```
    #[doc(alias = "fork")]
    #[doc(alias = "branch")]
    #[track_caller]
    pub fn share(self) -> Shared<T, E> {
        let at = Location::caller();
        let state = Rc::new(State {
            result: OnceCell::new(),
            observed: Cell::new(false),
            has_cancelled: Cell::new(false),
            observers: RefCell::default(),
            added: Cell::new(0),
            source: RefCell::new(None),
            at,
        });
        match self.into_result_or_chain() {
            Ok(result) => drop(state.result.set(result.map_err(E::into_shared))),
            Err(chain) => {
                let fires = state.clone();
                state.source.replace(Some(chain.handle_for_waiter()));
                chain.consume(move |result| fires.fired(result));
            }
        }
        Shared { state }
    }
}

impl<T: 'static, E: DeferredError> Deferred<T, E> {
    /// Returns a Deferred that has the same result and absorbs cancels: a cancel fires
    /// [`Cancelled`](crate::Cancelled) in the returned Deferred, and this one continues. Its result
    /// is dropped then and counts as handled.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::Deferred;
    ///
    /// let (write, resolver) = Deferred::<()>::new();
    /// let shielded = write.map(|()| println!("written")).shield();
    /// shielded.cancel();
    /// assert!(shielded.is_ready());
    /// assert!(!resolver.is_cancelled());
    /// resolver.callback(()); // prints
    /// ```
    #[track_caller]
    pub fn shield(self) -> Deferred<T, E> {
        let (shielded, resolver) = Deferred::typed_at(Location::caller());
        self.chain_deferred(resolver);
        shielded
    }
}

/// A result with several observers. [`Deferred::share`] creates it. Clones refer to the same
/// result.
///
/// An error that no observer has received when the last clone is dropped is reported as unhandled.
///
/// Twisted has no counterpart.
pub struct Shared<T: 'static, E: ShareError = Failure> {
    state: Rc<State<T, E>>,
}

struct State<T: 'static, E: ShareError> {
    result: OnceCell<Result<T, E::Shared>>,
    /// Whether an observer has received the result.
    observed: Cell<bool>,
    /// Whether an observer has cancelled.
    has_cancelled: Cell<bool>,
    observers: RefCell<BTreeMap<u64, Observer<T, E>>>,
    added: Cell<u64>,
    /// The handle of the shared Deferred.
    source: RefCell<Option<Handle>>,
    at: CallSite,
}

/// An observer that waits, and the function that makes its copy.
struct Observer<T: 'static, E: ShareError> {
    resolver: Resolver<T, E>,
    copy: fn(&State<T, E>) -> Result<T, E>,
}

impl<T: Clone + 'static, E: ShareError> Shared<T, E> {
    /// Returns a Deferred that fires with a copy of the result. Observers are fired in the order in
    /// which they were added.
    ///
    /// A panic of `clone` is the error [`Panicked`](crate::Panicked) of that observer. An error is
    /// copied as [`ShareError`] defines: observers of a [`Failure`] get one that holds the original
    /// error and has a trail of its own.
    ///
    /// # Cancellation
    ///
    /// A cancel fires [`Cancelled`] in this observer. The shared Deferred is cancelled only when
    /// all its observers have cancelled.
    #[track_caller]
    pub fn observe(&self) -> Deferred<T, E> {
        let at = Location::caller();
        let state = &self.state;
        if state.result.get().is_some() {
            state.observed.set(true);
            return Deferred::with_result(copy(state), at, at);
        }
        let number = state.added.replace(state.added.get() + 1);
        let weak = Rc::downgrade(state);
        let (deferred, resolver) = Deferred::typed_with_canceller_at(at, move || {
            if let Some(state) = weak.upgrade() {
                state.leave(number);
            }
            None
        });
        state.observers.borrow_mut().insert(number, Observer { resolver, copy });
        let state = Rc::downgrade(state);
        deferred.describe(move |it| {
            let source = state.upgrade().and_then(|state| state.source.borrow().clone());
            source.iter().for_each(|source| it.waits_for_handle(source));
            it.set_kind(Kind::Group);
            it.set_details("an observer of a shared result");
        })
    }
}

/// Copies the result. If `clone` panics, the observer gets that as its error.
fn copy<T: Clone + 'static, E: ShareError>(state: &State<T, E>) -> Result<T, E> {
    let copied = catch(|| match state.result.get().expect("the result is ready") {
        Ok(value) => StageOutput::Ready(Ok(value.clone())),
        Err(error) => StageOutput::Ready(Err(E::from_shared(error))),
    });
    match copied {
        StageOutput::Ready(result) => result,
        StageOutput::Pending(_) => unreachable!("the closure returns a ready result"),
    }
}

impl<T: 'static, E: ShareError> Shared<T, E> {
    /// Returns `true` if the result is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state.result.get().is_some()
    }

    /// Returns the number of waiting observers.
    #[must_use]
    pub fn observers(&self) -> usize {
        self.state.observers.borrow().len()
    }
}

impl<T: 'static, E: ShareError> State<T, E> {
    fn fired(self: Rc<Self>, result: Result<T, E>) -> Option<Fired> {
        self.source.take();
        let set = self.result.set(result.map_err(E::into_shared));
        debug_assert!(set.is_ok(), "the shared Deferred fires once");
        let mut observers = self.observers.take().into_values();
        let only = observers.next()?;
        if observers.len() == 0 {
            return Some(only.fire(&self));
        }
        for observer in iter::once(only).chain(observers) {
            let state = self.clone();
            call_soon(move || Some(observer.fire(&state)));
        }
        None
    }

    /// Removes an observer that has cancelled.
    fn leave(&self, number: u64) {
        self.has_cancelled.set(true);
        let removed = self.observers.borrow_mut().remove(&number);
        drop(removed); // after the borrow
        if self.observers.borrow().is_empty() {
            let source = self.source.borrow().clone();
            if let Some(source) = source {
                source.pass_cancel(&Cancelled::because("all observers have cancelled"));
            }
        }
    }
}

impl<T: 'static, E: ShareError> Observer<T, E> {
    fn fire(self, state: &State<T, E>) -> Fired {
        if !self.resolver.is_cancelled() {
            state.observed.set(true);
        }
        self.resolver.source.set_result((self.copy)(state))
    }
}

impl<T: 'static, E: ShareError> Drop for State<T, E> {
    fn drop(&mut self) {
        if let (Some(Err(error)), false) = (self.result.get(), self.observed.get()) {
            let error = E::from_shared(error);
            // A cancel by the observers themselves is not reported.
            if !(self.has_cancelled.get() && matches!(error.builtin(), Some(BuiltinError::Cancelled(_)))) {
                report::unhandled(&error, self.at, self.at);
            }
        }
    }
}

impl<T: 'static, E: ShareError> Clone for Shared<T, E> {
    fn clone(&self) -> Self {
        Shared { state: self.state.clone() }
    }
}

impl<T: 'static, E: ShareError> fmt::Debug for Shared<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("is_ready", &self.is_ready()).field("observers", &self.observers()).finish()
    }
}
