//! Callbacks on ready and pending Deferreds, long chains, large results and errors.

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use deferred_core::{Deferred, Failure, Resolver};
use futures::channel::oneshot::{self, Receiver};
use futures::future::{FutureExt, LocalBoxFuture};

use crate::sample::{Row, Side};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        ready(),
        pending_3(),
        pending_10(),
        pending_1000(),
        beside_static(),
        million(),
        results::<1>("engine/results of 8 bytes"),
        results::<8>("engine/results of 64 bytes"),
        results::<32>("engine/results of 256 bytes"),
        error_1000(),
        tail_recursive(),
    ]
}

/// The work of each callback: one addition of a captured number.
pub(super) fn add(value: u64, more: u64) -> u64 {
    value.wrapping_add(more)
}

fn ready() -> Row {
    Row {
        name: "engine/ready callback",
        per: 10,
        unit: "callback",
        ours: Side::new("10 add_callback on succeed", || {
            let more = black_box(1_u64);
            let mut deferred = Deferred::<u64>::succeed(black_box(1));
            for _ in 0..10 {
                deferred = deferred.add_callback(move |value| Ok(add(value, black_box(more))));
            }
            black_box(deferred.try_take().ok());
        }),
        peer: Side::new("the closures called", || {
            let more = black_box(1_u64);
            let mut result = Ok::<u64, Failure>(black_box(1));
            for _ in 0..10 {
                let callback = move |value| Ok(add(value, black_box(more)));
                result = result.and_then(callback);
            }
            black_box(result.ok());
        }),
    }
}

/// Creates a Deferred, adds `steps` callbacks, fires it and takes the result.
pub(super) fn ours_pending(steps: u64) -> u64 {
    let more = black_box(1_u64);
    let (mut deferred, resolver) = Deferred::<u64>::new();
    for _ in 0..steps {
        deferred = deferred.add_callback(move |value| Ok(add(value, more)));
    }
    let deferred = match black_box(deferred).try_take() {
        Err(pending) => pending,
        Ok(_) => unreachable!("it has not fired"),
    };
    resolver.callback(black_box(1));
    match deferred.try_take() {
        Ok(Ok(value)) => value,
        _ => unreachable!("it is fired with a value"),
    }
}

/// The receiver of a oneshot with a boxed `map` for each step, polled once while it is pending,
/// then sent to and polled.
pub(super) fn boxed_pending(steps: u64) -> u64 {
    let more = black_box(1_u64);
    let (sender, receiver) = oneshot::channel::<u64>();
    let mut future = first_step(receiver, move |value| add(value, more));
    for _ in 1..steps {
        future = future.map(move |value| add(value, more)).boxed_local();
    }
    let mut future = black_box(future);
    let mut context = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
    sender.send(black_box(1)).expect("the receiver lives");
    match future.as_mut().poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("it was sent to"),
    }
}

/// The receiver's error is handled in the first step, so that it needs no step of its own.
pub(super) fn first_step<T: 'static>(
    receiver: Receiver<T>,
    step: impl FnOnce(T) -> T + 'static,
) -> LocalBoxFuture<'static, T> {
    receiver.map(move |value| step(value.expect("it is sent to"))).boxed_local()
}

fn pending_3() -> Row {
    Row {
        name: "engine/3 callbacks",
        per: 3,
        unit: "callback",
        ours: Side::new("made, added, fired, taken", || {
            // Written without a loop, so that each callback has its own type.
            let (one, two, three) = (black_box(1_u64), black_box(2_u64), black_box(3_u64));
            let (deferred, resolver) = Deferred::<u64>::new();
            let deferred = deferred
                .add_callback(move |value| Ok(add(value, one)))
                .add_callback(move |value| Ok(add(value, two)))
                .add_callback(move |value| Ok(add(value, three)));
            let Err(deferred) = black_box(deferred).try_take() else { unreachable!("it has not fired") };
            resolver.callback(black_box(1));
            black_box(deferred.try_take().ok());
        }),
        peer: Side::new("oneshot, map().boxed_local() each", || {
            let (one, two, three) = (black_box(1_u64), black_box(2_u64), black_box(3_u64));
            let (sender, receiver) = oneshot::channel::<u64>();
            let future = first_step(receiver, move |value| add(value, one))
                .map(move |value| add(value, two))
                .boxed_local()
                .map(move |value| add(value, three))
                .boxed_local();
            let mut future = black_box(future);
            let mut context = Context::from_waker(Waker::noop());
            assert!(future.as_mut().poll(&mut context).is_pending());
            sender.send(black_box(1)).expect("the receiver lives");
            assert!(black_box(future.as_mut().poll(&mut context)).is_ready());
        }),
    }
}

fn pending_10() -> Row {
    Row {
        name: "engine/10 callbacks",
        per: 10,
        unit: "callback",
        ours: Side::new("made, added, fired, taken", || {
            black_box(ours_pending(black_box(10)));
        }),
        peer: Side::new("oneshot, map().boxed_local() each", || {
            black_box(boxed_pending(black_box(10)));
        }),
    }
}

/// Ten steps whose types the compiler knows: a single state machine in one box.
fn beside_static() -> Row {
    Row {
        name: "engine/10 beside a static chain",
        per: 10,
        unit: "callback",
        ours: Side::new("made, added, fired, taken", || {
            black_box(ours_pending(black_box(10)));
        }),
        peer: Side::new("oneshot, ten map() in one box", || {
            let more = black_box(1_u64);
            let (sender, receiver) = oneshot::channel::<u64>();
            let mut future = black_box(
                receiver
                    .map(move |value| add(value.expect("it is sent to"), more))
                    .map(move |value| add(value, more))
                    .map(move |value| add(value, more))
                    .map(move |value| add(value, more))
                    .map(move |value| add(value, more))
                    .map(move |value| add(value, more))
                    .map(move |value| add(value, more))
                    .map(move |value| add(value, more))
                    .map(move |value| add(value, more))
                    .map(move |value| add(value, more))
                    .boxed_local(),
            );
            let mut context = Context::from_waker(Waker::noop());
            assert!(future.as_mut().poll(&mut context).is_pending());
            sender.send(black_box(1)).expect("the receiver lives");
            assert!(black_box(future.as_mut().poll(&mut context)).is_ready());
        }),
    }
}

fn pending_1000() -> Row {
    Row {
        name: "engine/1000 callbacks",
        per: 1000,
        unit: "callback",
        ours: Side::new("made, added, fired, taken", || {
            black_box(ours_pending(black_box(1000)));
        }),
        peer: Side::new("oneshot, map().boxed_local() each", || {
            black_box(boxed_pending(black_box(1000)));
        }),
    }
}

type Step = Box<dyn FnOnce(u64) -> u64>;

/// The simplest list of callbacks: no errors, a single owner, and it fires once.
pub(super) fn bare_list(steps: u64) -> u64 {
    let more = black_box(1_u64);
    let mut list = Vec::<Step>::new();
    for _ in 0..steps {
        list.push(Box::new(move |value| add(value, more)));
    }
    black_box(list).into_iter().fold(black_box(1), |value, step| step(value))
}

fn million() -> Row {
    const MILLION: u32 = 1_000_000;
    Row {
        name: "engine/1,000,000 callbacks",
        per: MILLION,
        unit: "callback",
        ours: Side::new("made, added, fired, taken", || {
            black_box(ours_pending(black_box(MILLION.into())));
        }),
        // A million nested boxed futures overflow the stack.
        peer: Side::new("a Vec of boxed closures, called", || {
            black_box(bare_list(black_box(MILLION.into())));
        }),
    }
}

/// The number of rounds of the loop.
const LOOPS: u32 = 1000;

fn tail_recursive() -> Row {
    /// Each round returns a Deferred that is fired later and whose callback is the next round.
    fn round(left: u32, value: u64, fire: &Slot) -> Deferred<u64> {
        if left == 0 {
            return Deferred::succeed(value);
        }
        let (deferred, resolver) = Deferred::<u64>::new();
        fire.set(Some(resolver));
        let fire = fire.clone();
        deferred.add_callback(move |more| round(left - 1, add(value, more), &fire))
    }
    Row {
        name: "engine/tail-recursive loop",
        per: LOOPS,
        unit: "round",
        ours: Side::new("a callback that returns the next round", || {
            let fire = Slot::default();
            let deferred = round(black_box(LOOPS), 1, &fire);
            while let Some(resolver) = fire.take() {
                resolver.callback(black_box(1));
            }
            black_box(deferred.try_take().ok());
        }),
        // A boxed future that awaits the next one would keep all rounds until the last, so the peer
        // uses a loop.
        peer: Side::new("an async loop that awaits a boxed oneshot", || {
            let fire = Rc::new(Cell::new(None::<oneshot::Sender<u64>>));
            let waits = fire.clone();
            let mut future = async move {
                let mut value = 1;
                for _ in 0..black_box(LOOPS) {
                    let (sender, receiver) = oneshot::channel();
                    waits.set(Some(sender));
                    value = first_step(receiver, move |more| add(value, more)).await;
                }
                value
            }
            .boxed_local();
            let mut context = Context::from_waker(Waker::noop());
            while future.as_mut().poll(&mut context).is_pending() {
                let sender = fire.take().expect("it waits for one");
                sender.send(black_box(1)).expect("the receiver lives");
            }
        }),
    }
}

/// The slot in which a pending round stores its resolver.
type Slot = Rc<Cell<Option<Resolver<u64>>>>;

/// Ten callbacks that each change one word of a large result.
fn results<const WORDS: usize>(name: &'static str) -> Row {
    fn change<const WORDS: usize>(mut values: [u64; WORDS], more: u64) -> [u64; WORDS] {
        values[WORDS - 1] = add(values[WORDS - 1], more);
        values
    }
    Row {
        name,
        per: 10,
        unit: "callback",
        ours: Side::new("10 callbacks", || {
            let more = black_box(1_u64);
            let (mut deferred, resolver) = Deferred::<[u64; WORDS]>::new();
            for _ in 0..10 {
                deferred = deferred.add_callback(move |values| Ok(change(values, more)));
            }
            let Err(deferred) = black_box(deferred).try_take() else { unreachable!("it has not fired") };
            resolver.callback(black_box([1; WORDS]));
            black_box(deferred.try_take().ok());
        }),
        peer: Side::new("oneshot, map().boxed_local() each", || {
            let more = black_box(1_u64);
            let (sender, receiver) = oneshot::channel::<[u64; WORDS]>();
            let mut future = first_step(receiver, move |values| change(values, more));
            for _ in 1..10 {
                future = future.map(move |values| change(values, more)).boxed_local();
            }
            let mut future = black_box(future);
            let mut context = Context::from_waker(Waker::noop());
            assert!(future.as_mut().poll(&mut context).is_pending());
            assert!(sender.send(black_box([1; WORDS])).is_ok());
            assert!(black_box(future.as_mut().poll(&mut context)).is_ready());
        }),
    }
}

fn error_1000() -> Row {
    fn thousand(result: Result<u64, Failure>) -> Result<u64, Failure> {
        let more = black_box(1_u64);
        let (mut deferred, resolver) = Deferred::<u64>::new();
        for _ in 0..1000 {
            deferred = deferred.add_callback(move |value| Ok(add(value, more)));
        }
        resolver.fire(black_box(result));
        deferred.try_take().unwrap_or_else(|_| unreachable!("it is fired"))
    }
    Row {
        name: "engine/error through 1000",
        per: 1000,
        unit: "callback",
        ours: Side::new("an error passes 1000 callbacks", || {
            black_box(thousand(Err(std::fmt::Error.into())).err());
        }),
        peer: Side::new("a value runs them (ours too)", || {
            black_box(thousand(Ok(1)).ok());
        }),
    }
}
