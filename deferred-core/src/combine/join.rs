//! Deferreds that are waited for together.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::rc::Rc;

use crate::abort::never_unwinding;
use crate::deferred::Deferred;
use crate::engine::{Chain, Fired, Handle, Source, call_soon, drop_or_panicked, enter};
use crate::error::{self, BuiltinError, CallSite, Cancelled, DeferredError, Panicked};

/// What becomes of many results.
pub(super) trait Rule<T, E>: 'static {
    type Value: 'static;
    type Error: DeferredError;

    /// Is told each result, once. Gives the result of all as soon as that is known, and then is
    /// told no more. It runs no code of the user.
    fn arrived(&mut self, index: usize, result: Result<T, E>) -> Option<Decided<Self::Value, Self::Error>>;

    /// The result of all if there are none.
    fn of_none() -> Result<Self::Value, Self::Error>;

    /// Whether a cancel that nobody's result has answered fires `Cancelled`.
    const CANCELS: bool = false;
}

/// A result of all, and why the others are cancelled before it is fired, if they are.
pub(super) struct Decided<T, E> {
    pub(super) result: Result<T, E>,
    pub(super) others: Option<Cancelled>,
}

impl<T, E> From<Result<T, E>> for Decided<T, E> {
    fn from(result: Result<T, E>) -> Self {
        Decided { result, others: None }
    }
}

struct Join<T, E, R: Rule<T, E>> {
    /// None once all is decided.
    rule: RefCell<Option<R>>,
    /// What cancels each that has not arrived.
    members: RefCell<Vec<Option<Handle>>>,
    outcome: Cell<Outcome<R::Value, R::Error>>,
    /// Why those are cancelled that are joined after all was decided.
    late: RefCell<Option<Cancelled>>,
    at: CallSite,
    takes: PhantomData<fn(Result<T, E>)>,
}

/// Who gets the result.
enum Outcome<T, E: DeferredError> {
    /// Whoever joins them just now.
    Joining,
    /// It is there before that was done.
    Early(Result<T, E>),
    Source(Source<T, E>),
    Fired,
}

/// Waits for all of them, by a rule that is made for their number.
pub(super) fn join<T, E, R>(
    deferreds: impl IntoIterator<Item = Deferred<T, E>>,
    rule: impl FnOnce(usize) -> R,
    at: CallSite,
) -> Deferred<R::Value, R::Error>
where
    T: 'static,
    E: DeferredError,
    R: Rule<T, E>,
{
    let deferreds: Vec<_> = deferreds.into_iter().collect();
    let count = deferreds.len();
    if count == 0 {
        return Deferred::with_result(R::of_none(), at, at);
    }
    let join = Rc::new(Join {
        rule: RefCell::new(Some(rule(count))),
        members: RefCell::new(Vec::with_capacity(count)),
        outcome: Cell::new(Outcome::Joining),
        late: RefCell::new(None),
        at,
        takes: PhantomData,
    });
    for (index, deferred) in deferreds.into_iter().enumerate() {
        match deferred.into_result_or_chain() {
            Ok(result) => {
                join.members.borrow_mut().push(None);
                let fired = enter(|| join.arrived(index, result));
                debug_assert!(fired.is_none(), "there is nothing to fire yet");
            }
            Err(chain) => {
                let handle = chain.handle_for_waiter();
                join.members.borrow_mut().push(Some(handle.clone()));
                let arrives = join.clone();
                chain.consume(move |result| arrives.arrived(index, result));
                let late = join.late.borrow().clone();
                if let Some(why) = late {
                    handle.cancel(&why);
                }
            }
        }
    }
    match join.outcome.replace(Outcome::Fired) {
        Outcome::Early(result) => Deferred::with_result(result, at, at),
        _ => {
            let (chain, source) = Chain::pair(at);
            let passes = join.clone();
            source.set_forwarding_canceller(move |why: &Cancelled| passes.clone().cancel(why));
            join.outcome.set(Outcome::Source(source));
            Deferred::with_chain(chain)
        }
    }
}

impl<T: 'static, E: DeferredError, R: Rule<T, E>> Join<T, E, R> {
    fn arrived(self: &Rc<Self>, index: usize, result: Result<T, E>) -> Option<Fired> {
        let handle = self.members.borrow_mut()[index].take();
        drop(handle);
        if self.rule.borrow().is_none() {
            self.came_late(result);
            return None;
        }
        let decided = self.rule.borrow_mut().as_mut().and_then(|rule| rule.arrived(index, result));
        let Decided { mut result, others } = decided?;
        if let Err(panicked) = self.drop_rule() {
            result = self.instead(result, panicked);
        }
        let cancelled = match others {
            None => false,
            Some(why) => {
                let cancelled = self.cancel_members(|handle| handle.cancel_soon(&why));
                self.late.replace(Some(why));
                cancelled
            }
        };
        if cancelled {
            // They are cancelled first.
            let join = self.clone();
            call_soon(move || join.fire(result));
            return None;
        }
        self.fire(result)
    }

    fn fire(&self, result: Result<R::Value, R::Error>) -> Option<Fired> {
        match self.outcome.replace(Outcome::Fired) {
            Outcome::Joining => {
                self.outcome.set(Outcome::Early(result));
                None
            }
            Outcome::Source(source) => Some(source.set_result(result)),
            Outcome::Early(_) | Outcome::Fired => None,
        }
    }

    /// Has all cancelled that have not arrived, in order, after this. Says whether there are any.
    fn cancel_members(&self, cancel: impl Fn(&Handle)) -> bool {
        let members = self.members.borrow();
        members.iter().flatten().inspect(|handle| cancel(handle)).count() > 0
    }

    fn cancel(self: Rc<Self>, why: &Cancelled) {
        self.cancel_members(|handle| handle.pass_cancel(why));
        if R::CANCELS {
            let why = why.clone();
            call_soon(move || match self.outcome.replace(Outcome::Fired) {
                Outcome::Source(source) => {
                    let why = self.drop_rule().map_or_else(BuiltinError::from, |()| why.into());
                    Some(source.set_result(Err(never_unwinding(|| why.into()))))
                }
                _ => None,
            });
        }
    }

    /// All is decided: drops what has arrived until then, outside of the borrow.
    fn drop_rule(&self) -> Result<(), Panicked> {
        let rule = self.rule.take();
        drop_or_panicked(rule)
    }

    /// What arrived before the decision could not be dropped, which takes the place of that.
    #[cold]
    fn instead(&self, result: Result<R::Value, R::Error>, panicked: Panicked) -> Result<R::Value, R::Error> {
        never_unwinding(|| {
            drop(result);
            Err(BuiltinError::from(panicked).into())
        })
    }

    /// One has arrived for which nobody waits any more.
    fn came_late(&self, result: Result<T, E>) {
        if let Err(panicked) = drop_or_panicked(result) {
            let error: E = never_unwinding(|| BuiltinError::from(panicked).into());
            error::report(&error, self.at, self.at);
            never_unwinding(|| drop(error));
        }
    }
}
