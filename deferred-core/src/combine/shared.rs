//! One result for many.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::iter;
use std::panic::Location;
use std::rc::Rc;

use crate::deferred::{Deferred, Resolver};
use crate::engine::{Fired, Handle, StageOutput, call_soon, catch};
use crate::error::{self, BuiltinError, CallSite, Cancelled, DeferredError, Failure, ShareError};

impl<T: 'static, E: ShareError> Deferred<T, E> {
    /// Shares the result among many: each [`observe`](Shared::observe) gives a Deferred that has a
    /// copy of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::Deferred;
    ///
    /// let (page, resolver) = Deferred::<String>::new();
    /// let page = page.share();
    /// let (first, second) = (page.observe(), page.observe());
    /// resolver.callback("hello".to_owned());
    /// assert_eq!(first.try_take().unwrap().unwrap(), "hello");
    /// assert_eq!(second.try_take().unwrap().unwrap(), "hello");
    /// assert_eq!(page.observe().try_take().unwrap().unwrap(), "hello");
    /// ```
    #[doc(alias = "fork")]
    #[doc(alias = "branch")]
    #[track_caller]
    pub fn share(self) -> Shared<T, E> {
        let at = Location::caller();
        let state = Rc::new(State {
            result: OnceCell::new(),
            observed: Cell::new(false),
            left: Cell::new(false),
            observers: RefCell::default(),
            came: Cell::new(0),
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
    /// A Deferred with the same result, past which no cancel goes: cancelled, it fires
    /// [`Cancelled`](crate::Cancelled), and this one runs on. What that brings then is dropped and
    /// counts as handled.
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

/// A result that many observe; [`Deferred::share`] gives it. Clones mean the same one.
///
/// An error that no observer has had when the last of these is gone is reported as unhandled.
///
/// Twisted has no such type; its users write one each.
pub struct Shared<T: 'static, E: ShareError = Failure> {
    state: Rc<State<T, E>>,
}

struct State<T: 'static, E: ShareError> {
    result: OnceCell<Result<T, E::Shared>>,
    /// Somebody has the result.
    observed: Cell<bool>,
    /// Somebody waited for it, and has cancelled.
    left: Cell<bool>,
    observers: RefCell<BTreeMap<u64, Observer<T, E>>>,
    came: Cell<u64>,
    /// What cancels the Deferred that is shared.
    source: RefCell<Option<Handle>>,
    at: CallSite,
}

/// Who waits, and how the copy is made for it.
struct Observer<T: 'static, E: ShareError> {
    resolver: Resolver<T, E>,
    copy: fn(&State<T, E>) -> Result<T, E>,
}

impl<T: Clone + 'static, E: ShareError> Shared<T, E> {
    /// A Deferred that has a copy of the result once that is there. Those who observe it are fired
    /// in the order in which they came.
    ///
    /// An error is copied as [`ShareError`] says: observers of a [`Failure`] get one that holds the
    /// original error, and whose trail goes on by itself.
    ///
    /// # Cancellation
    ///
    /// Fires [`Cancelled`] in this one. The Deferred that is shared is cancelled only when all who
    /// observe it have cancelled.
    #[track_caller]
    pub fn observe(&self) -> Deferred<T, E> {
        let at = Location::caller();
        let state = &self.state;
        if state.result.get().is_some() {
            state.observed.set(true);
            return Deferred::with_result(copy(state), at, at);
        }
        let number = state.came.replace(state.came.get() + 1);
        let left = Rc::downgrade(state);
        let (deferred, resolver) = Deferred::typed_with_canceller_at(at, move || {
            if let Some(state) = left.upgrade() {
                state.leave(number);
            }
            None
        });
        state.observers.borrow_mut().insert(number, Observer { resolver, copy });
        deferred
    }
}

/// A panic of a clone is what its observer gets.
fn copy<T: Clone + 'static, E: ShareError>(state: &State<T, E>) -> Result<T, E> {
    let copied = catch(|| match state.result.get().expect("it is there") {
        Ok(value) => StageOutput::Ready(Ok(value.clone())),
        Err(error) => StageOutput::Ready(Err(E::from_shared(error))),
    });
    match copied {
        StageOutput::Ready(result) => result,
        StageOutput::Pending(_) => unreachable!("nothing waits in here"),
    }
}

impl<T: 'static, E: ShareError> Shared<T, E> {
    /// Whether the result is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state.result.get().is_some()
    }

    /// How many observers wait for the result.
    #[must_use]
    pub fn observers(&self) -> usize {
        self.state.observers.borrow().len()
    }
}

impl<T: 'static, E: ShareError> State<T, E> {
    fn fired(self: Rc<Self>, result: Result<T, E>) -> Option<Fired> {
        self.source.take();
        let set = self.result.set(result.map_err(E::into_shared));
        debug_assert!(set.is_ok(), "it fires once");
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

    /// An observer has cancelled.
    fn leave(&self, number: u64) {
        self.left.set(true);
        let gone = self.observers.borrow_mut().remove(&number);
        drop(gone); // behind the borrow
        if self.observers.borrow().is_empty() {
            let source = self.source.borrow().clone();
            if let Some(source) = source {
                source.pass_cancel(&Cancelled::because("all who observed it have cancelled"));
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
            // That of the cancel which those who left have caused, they know.
            if !(self.left.get() && matches!(error.builtin(), Some(BuiltinError::Cancelled(_)))) {
                error::report(&error, self.at, self.at);
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
