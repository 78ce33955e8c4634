//! Work that does not outlive the call that began it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;

use crate::deferred::{Deferred, IntoDeferred, Resolver, maybe_deferred_at};
use crate::engine::{Fired, Handle, StageOutput};
use crate::error::{self, BuiltinError, CallSite, Cancelled, DeferredError, Failure};

/// Calls `body` with a scope in which it may begin more work, and is done when all of that is: no
/// child outlives it.
///
/// When what `body` has returned is there, the children that still run are cancelled and waited
/// for, and then the Deferred fires with what `body` had. The first error of a child, other than
/// [`Cancelled`], cancels `body` and all other children, and is the error of the whole. What else
/// fails behind it, a child or `body`, is reported as unhandled, unless that is [`Cancelled`].
///
/// Trio's nursery; Twisted has none.
///
/// # Cancellation
///
/// Cancels what `body` has returned, and each time that it is called again, the children that are
/// waited for.
///
/// # Examples
///
/// ```
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
/// assert_eq!(done.try_take().unwrap().unwrap(), 42);
/// ```
#[doc(alias = "nursery")]
#[track_caller]
pub fn scope<R: IntoDeferred<Failure>>(body: impl FnOnce(&Scope) -> R) -> Deferred<R::Value> {
    scope_at(Location::caller(), body)
}

/// [`scope`] for an error type of your own.
///
/// # Cancellation
///
/// As [`scope`].
#[track_caller]
pub fn typed_scope<E: DeferredError, R: IntoDeferred<E>>(body: impl FnOnce(&Scope<E>) -> R) -> Deferred<R::Value, E> {
    scope_at(Location::caller(), body)
}

fn scope_at<E: DeferredError, R: IntoDeferred<E>>(
    at: CallSite,
    body: impl FnOnce(&Scope<E>) -> R,
) -> Deferred<R::Value, E> {
    let inside = Rc::new(Inside {
        at,
        children: RefCell::default(),
        came: Cell::new(0),
        failed: Cell::new(None),
        phase: Cell::new(Phase::Open),
        body: RefCell::new(None),
        drained: Cell::new(None),
    });
    let scope = Scope { inside: inside.clone() };
    let body = maybe_deferred_at(at, || body(&scope));
    let chain = match body.into_result_or_chain() {
        Ok(result) => return Deferred::from_output(inside.end(result, at), at, at),
        Err(chain) => chain,
    };
    inside.body.replace(Some(chain.handle_for_waiter()));
    if inside.phase.get() == Phase::Failed {
        inside.cancel_body();
    }
    Deferred::from_output(chain.add_stage(at, move |result| inside.end(result, at)), at, at)
}

/// Where [`scope`] lets work be begun. Clones mean the same scope.
pub struct Scope<E: DeferredError = Failure> {
    inside: Rc<Inside<E>>,
}

struct Inside<E: DeferredError> {
    /// Where it was made.
    at: CallSite,
    children: RefCell<BTreeMap<u64, Handle>>,
    came: Cell<u64>,
    /// The first error of a child.
    failed: Cell<Option<E>>,
    phase: Cell<Phase>,
    body: RefCell<Option<Handle>>,
    /// Who waits for the last child.
    drained: Cell<Option<Resolver<(), E>>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Open,
    /// A child has failed: all is being cancelled.
    Failed,
    /// The body is done.
    Ended,
}

impl<E: DeferredError> Scope<E> {
    /// Has the scope cancel and wait for this one at its end. Its value is dropped; its error,
    /// unless that is [`Cancelled`], ends the scope. Handle what must not do that before you add
    /// it.
    ///
    /// Once a child has failed, or the body is done, it is cancelled at once.
    pub fn add<T: 'static>(&self, child: Deferred<T, E>) {
        let inside = &self.inside;
        let number = inside.came.replace(inside.came.get() + 1);
        match child.into_result_or_chain() {
            Ok(result) => drop(inside.ended(number, result.map(drop)).map(Fired::run)),
            Err(chain) => {
                let handle = chain.handle_for_waiter();
                inside.children.borrow_mut().insert(number, handle.clone());
                let ends = inside.clone();
                chain.consume(move |result| ends.ended(number, result.map(drop)));
                if inside.phase.get() != Phase::Open {
                    handle.cancel_soon(&Cancelled::because("its scope has ended"));
                }
            }
        }
    }

    /// Starts a coroutine, and [`add`](Self::add)s it.
    #[track_caller]
    pub fn spawn<T: 'static>(&self, coroutine: impl Future<Output = Result<T, E>> + 'static) {
        self.add(Deferred::from_coroutine(coroutine));
    }

    /// How many children run.
    #[must_use]
    pub fn children(&self) -> usize {
        self.inside.children.borrow().len()
    }
}

impl<E: DeferredError> Inside<E> {
    fn cancel_body(&self) {
        let body = self.body.borrow().clone();
        if let Some(body) = body {
            body.cancel_soon(&Cancelled::because("a child of its scope has failed"));
        }
    }

    fn cancel_children(&self, cancel: impl Fn(&Handle)) {
        // Outside of all callbacks they end in here, and leave.
        let children: Vec<_> = self.children.borrow().values().cloned().collect();
        children.iter().for_each(cancel);
    }

    /// A child is done.
    fn ended(&self, number: u64, result: Result<(), E>) -> Option<Fired> {
        let gone = self.children.borrow_mut().remove(&number);
        drop(gone); // behind the borrow
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

    /// The body is done: what the whole has, once no child runs.
    fn end<T: 'static>(self: Rc<Self>, result: Result<T, E>, at: CallSite) -> StageOutput<T, E> {
        self.phase.set(Phase::Ended);
        self.body.take();
        if self.children.borrow().is_empty() {
            return StageOutput::Ready(self.outcome(result));
        }
        let cancels = self.clone();
        let (drained, resolver) =
            Deferred::forwarding_at(at, move |why| cancels.cancel_children(|child| child.pass_cancel(why)));
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

    /// Nobody gets it: another one came first.
    fn report(&self, error: E) {
        if !matches!(error.builtin(), Some(BuiltinError::Cancelled(_))) {
            error::report(&error, self.at, self.at);
        }
    }
}

impl<E: DeferredError> Clone for Scope<E> {
    fn clone(&self) -> Self {
        Scope { inside: self.inside.clone() }
    }
}

impl<E: DeferredError> fmt::Debug for Scope<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("children", &self.children()).finish_non_exhaustive()
    }
}
