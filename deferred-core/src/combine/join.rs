//! `join`: waits for several Deferreds by a rule.

use std::cell::{Cell, OnceCell, RefCell};
use std::marker::PhantomData;
use std::rc::Rc;

use crate::abort::never_unwinding;
use crate::deferred::Deferred;
use crate::engine::{Chain, Fired, Handle, Source, call_soon, drop_or_panicked, enter};
use crate::error::{BuiltinError, CallSite, Cancelled, DeferredError, Panicked};
use crate::inspect::{self, Kind};
use crate::report;

/// A rule that combines the results of several Deferreds into one.
pub(super) trait Rule<T, E>: 'static {
    type Value: 'static;
    type Error: DeferredError;

    /// Receives the result of one Deferred. Returns the combined result as soon as that is decided;
    /// it is not called again then. It must not run user code.
    fn arrived(&mut self, index: usize, result: Result<T, E>) -> Option<Decided<Self::Value, Self::Error>>;

    /// Returns the combined result of no Deferreds.
    fn empty() -> Result<Self::Value, Self::Error>;

    /// Whether a cancel fires `Cancelled` if no member's result has decided.
    const CANCELS: bool = false;
}

/// The combined result, and the reason for cancelling the pending members before it fires, if they
/// are to be cancelled.
pub(super) struct Decided<T, E> {
    pub(super) result: Result<T, E>,
    pub(super) cancel_others: Option<Cancelled>,
}

impl<T, E> From<Result<T, E>> for Decided<T, E> {
    fn from(result: Result<T, E>) -> Self {
        Decided { result, cancel_others: None }
    }
}

struct Join<T, E, R: Rule<T, E>> {
    /// `None` once the result is decided.
    rule: RefCell<Option<R>>,
    /// The handles of the members that are pending.
    members: RefCell<Vec<Option<Handle>>>,
    outcome: Cell<Outcome<R::Value, R::Error>>,
    /// The reason for cancelling members that are added after the decision.
    late: OnceCell<Cancelled>,
    at: CallSite,
    takes: PhantomData<fn(Result<T, E>)>,
}

/// The destination of the result.
enum Outcome<T, E: DeferredError> {
    /// The members are still being added.
    Joining,
    /// The result was decided before all members were added.
    Early(Result<T, E>),
    Source(Source<T, E>),
    Fired,
}

/// Waits for all Deferreds, with a rule that is created for their number.
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
        return Deferred::with_result(R::empty(), at, at);
    }
    let join = Rc::new(Join {
        rule: RefCell::new(Some(rule(count))),
        members: RefCell::new(Vec::with_capacity(count)),
        outcome: Cell::new(Outcome::Joining),
        late: OnceCell::new(),
        at,
        takes: PhantomData,
    });
    for (index, deferred) in deferreds.into_iter().enumerate() {
        match deferred.into_result_or_chain() {
            Ok(result) => {
                join.members.borrow_mut().push(None);
                let fired = enter(|| join.arrived(index, result));
                debug_assert!(fired.is_none(), "the source is set only at the end");
            }
            Err(chain) => {
                join.members.borrow_mut().push(Some(chain.handle_for_waiter()));
                let member = join.clone();
                chain.consume(move |result| member.arrived(index, result));
                if let Some(why) = join.late.get() {
                    join.cancel_late(index, why);
                }
            }
        }
    }
    match join.outcome.replace(Outcome::Fired) {
        Outcome::Early(result) => Deferred::with_result(result, at, at),
        _ => {
            let (chain, source) = Chain::pair(at);
            let canceller = join.clone();
            source.set_forwarding_canceller(move |why: &Cancelled| canceller.clone().cancel(why));
            if inspect::is_enabled() {
                describe(&chain, &join);
            }
            join.outcome.set(Outcome::Source(source));
            Deferred::with_chain(chain)
        }
    }
}

#[cold]
fn describe<T: 'static, E: DeferredError, R: Rule<T, E>>(chain: &Chain<R::Value, R::Error>, join: &Rc<Join<T, E, R>>) {
    let join = Rc::downgrade(join);
    inspect::describe(chain.as_handle(), move |it| {
        let Some(join) = join.upgrade() else { return };
        let members = join.members.borrow();
        let pending = members.iter().flatten().inspect(|member| it.waits_for_handle(member)).count();
        it.set_kind(Kind::Group);
        it.set_details(format!("{pending} of {} pending", members.len()));
    });
}

impl<T: 'static, E: DeferredError, R: Rule<T, E>> Join<T, E, R> {
    fn arrived(self: &Rc<Self>, index: usize, result: Result<T, E>) -> Option<Fired> {
        let handle = self.members.borrow_mut()[index].take();
        drop(handle);
        let mut undecided = self.rule.borrow_mut();
        let decided = match &mut *undecided {
            Some(rule) => rule.arrived(index, result),
            None => {
                drop(undecided);
                return self.drop_late(result);
            }
        };
        drop(undecided);
        let Decided { mut result, cancel_others } = decided?;
        if let Err(panicked) = self.drop_rule() {
            result = self.panicked(result, panicked);
        }
        let cancelled = match cancel_others {
            None => false,
            Some(why) => {
                let cancelled = self.cancel_members(|handle| handle.cancel_soon(&why));
                let _ = self.late.set(why); // it is decided once
                cancelled
            }
        };
        if cancelled {
            // The members are cancelled first.
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

    /// Cancels all pending members in order, after the current callback. Returns `true` if there
    /// are any.
    fn cancel_members(&self, cancel: impl Fn(&Handle)) -> bool {
        let members = self.members.borrow();
        members.iter().flatten().inspect(|handle| cancel(handle)).count() > 0
    }

    /// Cancels a member that was added after the decision.
    #[cold]
    fn cancel_late(&self, index: usize, why: &Cancelled) {
        let member = self.members.borrow()[index].clone();
        if let Some(member) = member {
            member.cancel(why);
        }
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

    /// Drops the rule after the decision, with the results it holds, outside of the borrow.
    fn drop_rule(&self) -> Result<(), Panicked> {
        let rule = self.rule.take();
        drop_or_panicked(rule)
    }

    /// Replaces the result by the panic of a member's destructor.
    #[cold]
    fn panicked(&self, result: Result<R::Value, R::Error>, panicked: Panicked) -> Result<R::Value, R::Error> {
        never_unwinding(|| {
            drop(result);
            Err(BuiltinError::from(panicked).into())
        })
    }

    /// Drops a result that came after the decision.
    #[cold]
    fn drop_late(&self, result: Result<T, E>) -> Option<Fired> {
        if let Err(panicked) = drop_or_panicked(result) {
            let error: E = never_unwinding(|| BuiltinError::from(panicked).into());
            report::unhandled(&error, self.at, self.at);
            never_unwinding(|| drop(error));
        }
        None
    }
}
