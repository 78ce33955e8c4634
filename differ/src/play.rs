// Plays a program on the engine that is called `deferred` where this file is included. The file is
// included once for each engine.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::rc::Rc;

use crate::program::{Canceller, Decision, End, Hold, Kind, Op, Pick, Shape, Stage};
use crate::trace::{Event, Trace, What};
use deferred::{
    Abandoned, CancelHandle, Cancelled, Cycle, Deferred, Failure, Panicked, Pause, Resolver, Unhandled, maybe_deferred,
    on_unhandled, repeat_until,
};

/// The maximum number of operations of a program, since it may recurse forever.
const BUDGET: u32 = 400;

thread_local! {
    static WORLD: World = World::default();
}

/// The values of a program. They are always taken out, and the borrow ended, before they are used.
#[derive(Default)]
struct World {
    deferreds: RefCell<Vec<Any>>,
    resolvers: RefCell<Vec<AnyResolver>>,
    handles: RefCell<Vec<CancelHandle>>,
    pauses: RefCell<Vec<Pause>>,
    trace: RefCell<Trace>,
    budget: Cell<u32>,
    tokens: RefCell<Vec<bool>>,
    zeros: Cell<i64>,
    /// The tokens whose destructors panic.
    bombs: RefCell<Vec<u32>>,
}

fn world<R>(f: impl FnOnce(&World) -> R) -> R {
    WORLD.with(f)
}

fn note(what: What, a: u32, b: u32) {
    world(|world| world.trace.borrow_mut().push(Event { what, a, b }));
}

/// Takes an element of a list, counted from its end.
fn pick<T>(list: &RefCell<Vec<T>>, pick: Pick) -> Option<T> {
    let mut list = list.borrow_mut();
    let length = list.len();
    (length > 0).then(|| list.remove(length - 1 - pick as usize % length))
}

fn pick_deferred(number: Pick) -> Option<Any> {
    world(|world| pick(&world.deferreds, number))
}

fn pick_resolver(number: Pick) -> Option<AnyResolver> {
    world(|world| pick(&world.resolvers, number))
}

/// Takes a Deferred of type `T`.
fn pick_deferred_of<T: Kept>(number: Pick) -> Option<Deferred<T>> {
    match T::unwrap(pick_deferred(number)?) {
        Ok(deferred) => Some(deferred),
        Err(other) => {
            keep(other);
            None
        }
    }
}

fn keep(deferred: Any) {
    world(|world| world.deferreds.borrow_mut().push(deferred));
}

fn keep_resolver(resolver: AnyResolver) {
    world(|world| world.resolvers.borrow_mut().push(resolver));
}

fn keep_pair<T: Kept>((deferred, resolver): (Deferred<T>, Resolver<T>)) {
    keep(T::wrap(deferred));
    keep_resolver(T::wrap_resolver(resolver));
}

/// A capture besides the token, which is only dropped.
#[allow(dead_code)]
enum Held {
    Nothing,
    Resolver(AnyResolver),
    Deferred(Any),
    Pause(Pause),
    Handle(CancelHandle),
}

fn hold(what: Option<Hold>) -> Held {
    let held = match what {
        None => None,
        Some(Hold::Resolver(number)) => pick_resolver(number).map(Held::Resolver),
        Some(Hold::Deferred(number)) => pick_deferred(number).map(Held::Deferred),
        Some(Hold::Pause(number)) => world(|world| pick(&world.pauses, number)).map(Held::Pause),
        Some(Hold::Handle(number)) => world(|world| pick(&world.handles, number)).map(Held::Handle),
    };
    held.unwrap_or(Held::Nothing)
}

#[derive(Debug)]
struct App(u32);

impl std::fmt::Display for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "application error {}", self.0)
    }
}

impl std::error::Error for App {}

/// Encodes an error as a number.
fn error_number(failure: &Failure) -> u32 {
    if let Some(App(number)) = failure.downcast_ref() {
        2_000_000 + number
    } else if failure.check::<Cancelled>() {
        3_000_001
    } else if failure.check::<Abandoned>() {
        3_000_002
    } else if failure.check::<Cycle>() {
        3_000_003
    } else if let Some(panicked) = failure.downcast_ref::<Panicked>() {
        4_000_000 + panicked.message().bytes().fold(0_u32, |sum, byte| (sum * 31 + u32::from(byte)) % 999_983)
    } else {
        5_000_000
    }
}

fn number<T: Kept>(result: Result<&T, &Failure>) -> u32 {
    match result {
        Ok(value) => value.number(),
        Err(failure) => error_number(failure),
    }
}

/// The captures of a callback.
struct Captured<C: Kept> {
    capture: C,
    _held: Held,
    stage: Rc<Stage>,
}

impl<C: Kept> Captured<C> {
    fn new(stage: &Rc<Stage>) -> Self {
        let held = hold(stage.hold);
        let capture = C::make();
        if stage.bomb && capture.number() < 1_000_000 {
            world(|world| world.bombs.borrow_mut().push(capture.number()));
        }
        Captured { capture, _held: held, stage: stage.clone() }
    }

    /// Borrows the whole struct, so that a closure captures all of it.
    fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Runs the body of a callback with the argument `got`, and returns its result.
    fn run<U: Kept>(self, got: u32) -> Deferred<U> {
        note(What::Ran, self.stage.id, got);
        self.capture.number();
        run_all(&self.stage.body);
        match self.stage.end {
            End::Value => Deferred::succeed(U::make()),
            End::Error => Deferred::fail(App(self.stage.id)),
            End::Panic => resume_unwind(Box::new(format!("panic {}", self.stage.id))),
            End::Deferred(number) => pick_deferred_of(number).unwrap_or_else(|| Deferred::succeed(U::make())),
        }
    }
}

fn add<T: Kept>(deferred: Deferred<T>, stage: &Rc<Stage>) -> Any {
    macro_rules! captured {
        ($captured:ident => $body:expr) => {
            match stage.capture {
                Shape::Zero | Shape::Small => {
                    let $captured = Captured::<Small>::new(stage);
                    $body
                }
                Shape::Large => {
                    let $captured = Captured::<Large>::new(stage);
                    $body
                }
                Shape::Wide => {
                    let $captured = Captured::<Wide>::new(stage);
                    $body
                }
            }
        };
    }
    match stage.kind {
        Kind::Both if matches!(stage.capture, Shape::Zero) && !stage.bomb => {
            // A callback without captures.
            shaped!(stage.to, To => To::wrap(deferred.add_both(|result: Result<T, Failure>| {
                note(What::Ran, 0, number(result.as_ref()));
                Ok(To::make())
            })))
        }
        Kind::Both => captured!(captured => shaped!(stage.to, To => To::wrap(
            deferred.add_both(move |result| captured.run::<To>(number(result.as_ref())))
        ))),
        Kind::Callback => captured!(captured => shaped!(stage.to, To => To::wrap(
            deferred.add_callback(move |value| captured.run::<To>(value.number()))
        ))),
        Kind::Errback => captured!(captured => T::wrap(
            deferred.add_errback(move |failure| captured.run::<T>(error_number(&failure)))
        )),
        Kind::Callbacks => {
            let other = Captured::<Zero>::new(stage);
            captured!(captured => shaped!(stage.to, To => To::wrap(deferred.add_callbacks(
                move |value| captured.run::<To>(value.number()),
                move |failure| other.run::<To>(error_number(&failure)),
            ))))
        }
        Kind::Finally => captured!(captured => shaped!(stage.to, To => T::wrap(
            deferred.add_finally(move || captured.run::<To>(0))
        ))),
        Kind::Map => {
            let stage = stage.clone();
            shaped!(stage.to, To => To::wrap(deferred.map(move |value| {
                note(What::Ran, stage.id, value.number());
                if let End::Panic = stage.end {
                    resume_unwind(Box::new(format!("panic {}", stage.id)));
                }
                To::make()
            })))
        }
    }
}

fn run_all(ops: &[Op]) {
    for op in ops {
        run(op);
    }
}

/// The captures of a canceller.
struct Cancels {
    _held: Held,
    token: Token,
    canceller: Rc<Canceller>,
}

impl Cancels {
    fn new(canceller: &Rc<Canceller>) -> Cancels {
        Cancels { _held: hold(canceller.hold), token: Token::new(), canceller: canceller.clone() }
    }

    fn called(&self) -> &Decision {
        note(What::CancellerRan, self.canceller.id, self.token.0);
        run_all(&self.canceller.body);
        if let Decision::Panic = self.canceller.end {
            resume_unwind(Box::new(format!("canceller {}", self.canceller.id)));
        }
        &self.canceller.end
    }
}

fn maybe(stage: &Rc<Stage>) -> Any {
    let captured = Captured::<Small>::new(stage);
    shaped!(stage.to, To => To::wrap(maybe_deferred(move || captured.run::<To>(0))))
}

fn repeat(stage: &Rc<Stage>, rounds: u8) -> Any {
    let (captured, mut round) = (Captured::<Small>::new(stage), 0);
    Small::wrap(repeat_until(move || {
        round += 1;
        note(What::Ran, captured.stage().id, u32::from(round));
        if round > rounds {
            return Deferred::succeed(ControlFlow::Break(Small::make()));
        }
        run_all(&captured.stage().body);
        match captured.stage().end {
            End::Value => Deferred::succeed(ControlFlow::Continue(())),
            End::Error => Deferred::fail(App(captured.stage().id)),
            End::Panic => resume_unwind(Box::new(format!("panic {}", captured.stage.id))),
            End::Deferred(number) => match pick_deferred_of::<Small>(number) {
                Some(deferred) => deferred.map(|_| ControlFlow::Continue(())),
                None => Deferred::succeed(ControlFlow::Continue(())),
            },
        }
    }))
}

fn run(op: &Op) {
    let left = world(|world| world.budget.get());
    if left == 0 {
        return;
    }
    world(|world| world.budget.set(left - 1));
    match op {
        Op::New(shape) => shaped!(*shape, Of => keep_pair(Deferred::<Of>::new())),
        Op::Cancellable(shape, canceller) => {
            let cancels = Cancels::new(canceller);
            shaped!(*shape, Of => keep_pair(Deferred::with_canceller(move || match cancels.called() {
                Decision::Value => Some(Ok(Of::make())),
                Decision::Error => Some(Err(App(cancels.canceller.id).into())),
                _ => None,
            })));
        }
        Op::Forwarding(shape, canceller) => {
            let cancels = Cancels::new(canceller);
            shaped!(*shape, Of => keep_pair(Deferred::<Of>::with_forwarding_canceller(move |_: &Cancelled| {
                cancels.called();
            })));
        }
        Op::Succeed(shape) => shaped!(*shape, Of => keep(Of::wrap(Deferred::succeed(Of::make())))),
        Op::Fail(shape) => shaped!(*shape, Of => keep(Of::wrap(Deferred::fail(App(0))))),
        Op::Maybe(stage) => keep(maybe(stage)),
        Op::Repeat(stage, rounds) => keep(repeat(stage, *rounds)),
        Op::Add(number, stage) => {
            if let Some(any) = pick_deferred(*number) {
                let added = each!(Any, any, deferred => add(deferred, stage));
                keep(added);
            }
        }
        Op::Fire(number, value) => {
            if let Some(any) = pick_resolver(*number) {
                each!(AnyResolver, any, resolver => fire(resolver, *value));
            }
        }
        Op::DropResolver(number) => drop(pick_resolver(*number)),
        Op::IsCancelled(number) => {
            if let Some(any) = pick_resolver(*number) {
                let cancelled = each!(AnyResolver, &any, resolver => resolver.is_cancelled());
                note(What::Saw, 1, u32::from(cancelled));
                keep_resolver(any);
            }
        }
        Op::Chain(number, resolver) => chain(*number, *resolver),
        Op::Cancel(number) => {
            // `cancel` needs the Deferred itself, so it is taken out of the list meanwhile.
            if let Some(any) = pick_deferred(*number) {
                each!(Any, &any, deferred => deferred.cancel());
                keep(any);
            }
        }
        Op::TakeHandle(number) => {
            if let Some(mut any) = pick_deferred(*number) {
                let handle = each!(Any, &mut any, deferred => deferred.cancel_handle());
                keep(any);
                world(|world| world.handles.borrow_mut().push(handle));
            }
        }
        Op::CancelByHandle(number) => {
            if let Some(handle) = world(|world| pick(&world.handles, *number)) {
                world(|world| world.handles.borrow_mut().push(handle.clone()));
                handle.cancel_with(&Cancelled::because("by a handle"));
            }
        }
        Op::DropHandle(number) => drop(world(|world| pick(&world.handles, *number))),
        Op::Pause(number) => {
            if let Some(mut any) = pick_deferred(*number) {
                let pause = each!(Any, &mut any, deferred => deferred.pause());
                keep(any);
                world(|world| world.pauses.borrow_mut().push(pause));
            }
        }
        Op::Unpause(number) => {
            if let Some(pause) = world(|world| pick(&world.pauses, *number)) {
                pause.unpause();
            }
        }
        Op::DropPause(number) => drop(world(|world| pick(&world.pauses, *number))),
        Op::IsReady(number) => {
            if let Some(any) = pick_deferred(*number) {
                let ready = each!(Any, &any, deferred => deferred.is_ready());
                note(What::Saw, 2, u32::from(ready));
                keep(any);
            }
        }
        Op::Peek(number) => {
            if let Some(mut any) = pick_deferred(*number) {
                let seen = each!(Any, &mut any, deferred => deferred.peek().map(self::number));
                note(What::Saw, 3, seen.unwrap_or(u32::MAX));
                keep(any);
            }
        }
        Op::Take(number) => {
            if let Some(any) = pick_deferred(*number) {
                each!(Any, any, deferred => take(deferred));
            }
        }
        Op::DropDeferred(number) => drop(pick_deferred(*number)),
    }
}

fn fire<T: Kept>(resolver: Resolver<T>, value: bool) {
    if value {
        resolver.callback(T::make());
    } else {
        resolver.errback(App(1));
    }
}

fn take<T: Kept>(deferred: Deferred<T>) {
    match deferred.try_take() {
        Ok(result) => note(What::Saw, 4, number(result.as_ref())),
        Err(pending) => {
            note(What::Saw, 4, u32::MAX);
            keep(T::wrap(pending));
        }
    }
}

fn chain(deferred: Pick, resolver: Pick) {
    fn of<T: Kept>(deferred: Deferred<T>, resolver: Pick) {
        match pick_resolver(resolver).map(T::unwrap_resolver) {
            Some(Ok(resolver)) => deferred.chain_deferred(resolver),
            Some(Err(other)) => {
                keep_resolver(other);
                keep(T::wrap(deferred));
            }
            None => keep(T::wrap(deferred)),
        }
    }
    if let Some(any) = pick_deferred(deferred) {
        each!(Any, any, deferred => of(deferred, resolver));
    }
}

fn unhandled(unhandled: &Unhandled<'_>) {
    let error = unhandled.downcast_ref::<Failure>().map_or(0, error_number);
    note(What::Unhandled, error, unhandled.made_at().line());
    let trail = unhandled.trail();
    note(What::UnhandledAt, unhandled.last_added_at().line(), trail.map_or(0, |trail| trail.total() as u32));
    for place in trail.into_iter().flat_map(|trail| trail.iter()) {
        note(What::Passed, place.line(), place.column());
    }
}

/// Plays a program, drops the remaining values, and returns the trace.
pub(crate) fn play(program: &[Op]) -> Trace {
    let _hook = on_unhandled(unhandled);
    world(|world| world.budget.set(BUDGET));
    for (number, op) in program.iter().enumerate() {
        note(What::Op, number as u32, 0);
        run(op);
    }
    note(What::Op, u32::MAX, 0);
    // In reverse order of creation, including values that callbacks create meanwhile.
    loop {
        if let Some(resolver) = pick_resolver(0) {
            drop(resolver);
        } else if let Some(pause) = world(|world| pick(&world.pauses, 0)) {
            drop(pause);
        } else if let Some(handle) = world(|world| pick(&world.handles, 0)) {
            handle.cancel();
        } else if let Some(deferred) = pick_deferred(0) {
            drop(deferred);
        } else {
            break;
        }
    }
    let live = world(|world| {
        world.bombs.borrow_mut().clear();
        let tokens = world.tokens.take().into_iter().filter(|&alive| alive).count();
        tokens as i64 + world.zeros.replace(0)
    });
    note(What::Live, live as u32, 0);
    world(|world| world.trace.take())
}
