//! `scope`: structured concurrency.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;

use crate::deferred::{Deferred, IntoDeferred, Resolver, maybe_deferred_at};
use crate::engine::{Fired, Handle, StageOutput};
use crate::error::{BuiltinError, CallSite, Cancelled, DeferredError, Failure};
use crate::inspect::Kind;
use crate::report;

/// Calls `body` with a scope in which it can start further work. The returned Deferred fires when
/// all of that is done: no child outlives the scope.
///
/// When the result of `body` is ready, the pending children are cancelled, and the scope waits for
/// them. Then the returned Deferred fires with the result of `body`.
///
/// Trio's nursery. Twisted has no counterpart.
///
/// # Errors
///
/// The returned Deferred fails with the error of `body`, or with the first error of a child other
/// than [`Cancelled`], which cancels `body` and all other children. Further errors, of children or
/// of `body`, are reported as unhandled, unless they are [`Cancelled`].
///
/// # Cancellation
///
/// Cancelling the returned Deferred cancels the Deferred that `body` returned; a further cancel
/// also cancels the children that the scope waits for.
///
/// # Examples
///
/// ```
/// use deferred_core::testing::success_result_of;
/// use deferred_core::{Deferred, scope};
///
/// let (heartbeat, resolver) = Deferred::<()>::new();
/// let (answer, answered) = Deferred::<u32>::new();
/// let done = scope(|scope| {
///     scope.add(heartbeat);
///     answer
/// });
/// answered.callback(42);
/// assert!(resolver.is_cancelled());
/// assert_eq!(success_result_of(done), 42);
/// ```
#[doc(alias = "TaskTracker")]
#[doc(alias = "JoinSet")]
#[doc(alias = "nursery")]
#[track_caller]
pub fn scope<R: IntoDeferred<Failure>>(body: impl FnOnce(&Scope) -> R) -> Deferred<R::Value> {
    scope_at(Location::caller(), body)
}

/// Like [`scope`], but for an error type of your own.
///
/// # Cancellation
///
/// Like [`scope`].
#[track_caller]
pub fn typed_scope<E: DeferredError, R: IntoDeferred<E>>(body: impl FnOnce(&Scope<E>) -> R) -> Deferred<R::Value, E> {
    scope_at(Location::caller(), body)
}

fn scope_at<E: DeferredError, R: IntoDeferred<E>>(
    at: CallSite,
    body: impl FnOnce(&Scope<E>) -> R,
) -> Deferred<R::Value, E> {
    let state = Rc::new(State {
        at,
        children: RefCell::default(),
        added: Cell::new(0),
        failed: Cell::new(None),
        phase: Cell::new(Phase::Open),
        body: RefCell::new(None),
        drained: Cell::new(None),
    });
    let scope = Scope { state: state.clone() };
    let body = maybe_deferred_at(at, || body(&scope));
    let chain = match body.into_result_or_chain() {
        Ok(result) => return Deferred::from_output(state.end(result, at), at, at),
        Err(chain) => chain,
    };
    state.body.replace(Some(chain.handle_for_waiter()));
    if state.phase.get() == Phase::Failed {
        state.cancel_body();
    }
    Deferred::from_output(chain.add_stage(at, move |result| state.end(result, at)), at, at)
}

/// The scope in which the body of [`scope`] starts work. Clones refer to the same scope.
#[doc(alias = "TaskTracker")]
#[doc(alias = "JoinSet")]
pub struct Scope<E: DeferredError = Failure> {
    state: Rc<State<E>>,
}

struct State<E: DeferredError> {
    /// The location where the scope was created.
    at: CallSite,
    children: RefCell<BTreeMap<u64, Handle>>,
    added: Cell<u64>,
    /// The first error of a child.
    failed: Cell<Option<E>>,
    phase: Cell<Phase>,
    body: RefCell<Option<Handle>>,
    /// The resolver that fires when the last child is done.
    drained: Cell<Option<Resolver<(), E>>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Open,
    /// A child has failed, and everything else was cancelled.
    Failed,
    /// The body is done.
    Ended,
}

impl<E: DeferredError> Scope<E> {
    /// Adds a child, which the scope cancels and waits for at its end. Its value is dropped. Its
    /// error, unless it is [`Cancelled`], ends the scope. Before you add a child, handle those of
    /// its errors that must not end the scope.
    ///
    /// If a child has failed, or the body is done, the new child is cancelled: after the current
    /// callback, or inside this call if none runs.
    pub fn add<T: 'static>(&self, child: Deferred<T, E>) {
        let state = &self.state;
        let number = state.added.replace(state.added.get() + 1);
        match child.into_result_or_chain() {
            Ok(result) => drop(state.ended(number, result.map(drop)).map(Fired::run)),
            Err(chain) => {
                let handle = chain.handle_for_waiter();
                state.children.borrow_mut().insert(number, handle.clone());
                let ends = state.clone();
                chain.consume(move |result| ends.ended(number, result.map(drop)));
                if state.phase.get() != Phase::Open {
                    handle.cancel_soon(&Cancelled::because("its scope has ended"));
                }
            }
        }
    }

    /// Starts a coroutine and [adds](Self::add) its Deferred.
    #[track_caller]
    pub fn spawn<T: 'static>(&self, coroutine: impl Future<Output = Result<T, E>> + 'static) {
        self.add(Deferred::from_coroutine(coroutine));
    }

    /// Returns the number of pending children.
    #[must_use]
    pub fn children(&self) -> usize {
        self.state.children.borrow().len()
    }
}

impl<E: DeferredError> State<E> {
    fn cancel_body(&self) {
        let body = self.body.borrow().clone();
        if let Some(body) = body {
            body.cancel_soon(&Cancelled::because("a child of its scope has failed"));
        }
    }

    fn cancel_children(&self, cancel: impl Fn(&Handle)) {
        // Collected first: outside of callbacks the children end inside `cancel`, and are removed.
        let children: Vec<_> = self.children.borrow().values().cloned().collect();
        children.iter().for_each(cancel);
    }

    /// Handles the result of a child.
    fn ended(&self, number: u64, result: Result<(), E>) -> Option<Fired> {
        let removed = self.children.borrow_mut().remove(&number);
        drop(removed); // after the borrow
        if let Err(error) = result {
            self.child_failed(error);
        }
        let last = self.phase.get() == Phase::Ended && self.children.borrow().is_empty();
        let drained = if last { self.drained.take() } else { None };
        drained.map(|resolver| resolver.source.set_result(Ok(())))
    }

    fn child_failed(&self, error: E) {
        if matches!(error.builtin(), Some(BuiltinError::Cancelled(_))) {
            return;
        }
        match self.failed.take() {
            None => self.failed.set(Some(error)),
            Some(first) => {
                self.failed.set(Some(first));
                self.report(error);
            }
        }
        if self.phase.get() == Phase::Open {
            self.phase.set(Phase::Failed);
            self.cancel_body();
            let why = Cancelled::because("another child of its scope has failed");
            self.cancel_children(|child| child.cancel_soon(&why));
        }
    }

    /// Handles the result of the body. Returns the output of the scope.
    fn end<T: 'static>(self: Rc<Self>, result: Result<T, E>, at: CallSite) -> StageOutput<T, E> {
        self.phase.set(Phase::Ended);
        self.body.take();
        if self.children.borrow().is_empty() {
            return StageOutput::Ready(self.outcome(result));
        }
        let cancels = self.clone();
        let (drained, resolver) =
            Deferred::forwarding_at(at, move |why| cancels.cancel_children(|child| child.pass_cancel(why)));
        let state = Rc::downgrade(&self);
        let drained = drained.describe(move |it| {
            let Some(state) = state.upgrade() else { return };
            let children = state.children.borrow();
            children.values().for_each(|child| it.waits_for_handle(child));
            it.set_kind(Kind::Group);
            it.set_details("a scope whose body has ended");
        });
        self.drained.set(Some(resolver));
        let why = Cancelled::because("its scope has ended");
        self.cancel_children(|child| child.cancel_soon(&why));
        drained.add_stage_at(at, move |_| StageOutput::Ready(self.outcome(result))).into_output()
    }

    fn outcome<T>(&self, result: Result<T, E>) -> Result<T, E> {
        match (self.failed.take(), result) {
            (Some(first), Err(error)) => {
                self.report(error);
                Err(first)
            }
            (Some(first), Ok(_)) => Err(first),
            (None, result) => result,
        }
    }

    /// Reports an error that is not the first one as unhandled.
    fn report(&self, error: E) {
        if !matches!(error.builtin(), Some(BuiltinError::Cancelled(_))) {
            report::unhandled(&error, self.at, self.at);
        }
    }
}

impl<E: DeferredError> Clone for Scope<E> {
    fn clone(&self) -> Self {
        Scope { state: self.state.clone() }
    }
}

impl<E: DeferredError> fmt::Debug for Scope<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("children", &self.children()).finish_non_exhaustive()
    }
}
