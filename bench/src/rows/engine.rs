//! Callbacks: ready, pending, long, large, failing.

use std::hint::black_box;
use std::task::{Context, Poll, Waker};

use deferred_core::{Deferred, Failure};
use futures::channel::oneshot::{self, Receiver};
use futures::future::{FutureExt, LocalBoxFuture};

use crate::count;
use crate::runner::{Bar, Row, Side, Size};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        ready(),
        pending_3(),
        pending_10(),
        pending_1000(),
        beside_static(),
        results::<8>("engine/results of 64 bytes", 0.70),
        results::<32>("engine/results of 256 bytes", 1.0),
        fire_and_take(),
        error_1000(),
        flatten(),
    ]
}

/// What every callback here does: one addition of something it captured.
fn add(value: u64, more: u64) -> u64 {
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
        bar: Bar::Extra(2.0),
    }
}

/// `steps` callbacks, made, added and fired.
fn ours_pending(steps: u64) -> u64 {
    let more = black_box(1_u64);
    let (mut deferred, resolver) = Deferred::<u64>::new();
    for _ in 0..steps {
        deferred = deferred.add_callback(move |value| Ok(add(value, more)));
    }
    let deferred = match black_box(deferred).try_take() {
        Err(pending) => pending,
        Ok(_) => unreachable!("nobody has fired it"),
    };
    resolver.callback(black_box(1));
    match deferred.try_take() {
        Ok(Ok(value)) => value,
        _ => unreachable!("it is fired with a value"),
    }
}

/// A oneshot's receiver, then a boxed `map` a step; polled once while it is pending, then sent to and polled.
fn boxed_pending(steps: u64) -> u64 {
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

/// The receiver's own error is dealt with in the first step, so that it costs no step of its own.
fn first_step<T: 'static>(receiver: Receiver<T>, step: impl FnOnce(T) -> T + 'static) -> LocalBoxFuture<'static, T> {
    receiver.map(move |value| step(value.expect("it is sent to"))).boxed_local()
}

fn pending_3() -> Row {
    Row {
        name: "engine/3 callbacks",
        per: 3,
        unit: "callback",
        ours: Side::new("made, added, fired, taken", || {
            // As it is written: without a loop, each callback of a type of its own.
            let (one, two, three) = (black_box(1_u64), black_box(2_u64), black_box(3_u64));
            let (deferred, resolver) = Deferred::<u64>::new();
            let deferred = deferred
                .add_callback(move |value| Ok(add(value, one)))
                .add_callback(move |value| Ok(add(value, two)))
                .add_callback(move |value| Ok(add(value, three)));
            let Err(deferred) = black_box(deferred).try_take() else { unreachable!("nobody has fired it") };
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
        bar: Bar::Ratio(0.55),
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
        bar: Bar::Ratio(0.45),
    }
}

/// What the compiler makes of ten steps that it knows all of: a single state machine in one box.
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
        bar: Bar::Ratio(1.7),
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
        bar: Bar::Ratio(0.25),
    }
}

/// Ten callbacks that each change one word of a large result.
fn results<const WORDS: usize>(name: &'static str, most: f64) -> Row {
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
            let Err(deferred) = black_box(deferred).try_take() else { unreachable!("nobody has fired it") };
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
        bar: Bar::Ratio(most),
    }
}

fn fire_and_take() -> Row {
    Row {
        name: "engine/new, fire, take",
        per: 1,
        unit: "Deferred",
        ours: Side::new("new, callback, try_take", || {
            let (deferred, resolver) = black_box(Deferred::<u64>::new());
            resolver.callback(black_box(1));
            black_box(deferred.try_take().ok());
        }),
        peer: Side::new("futures oneshot, send, try_recv", || {
            let (sender, mut receiver) = black_box(oneshot::channel::<u64>());
            sender.send(black_box(1)).expect("the receiver lives");
            black_box(receiver.try_recv().ok());
        }),
        bar: Bar::Ratio(0.45),
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
        bar: Bar::Extra(2.0),
    }
}

fn flatten() -> Row {
    Row {
        name: "engine/flatten",
        per: 1,
        unit: "pair",
        ours: Side::new("a callback returns a pending one", || {
            let (inner, inner_resolver) = Deferred::<u64>::new();
            let (outer, resolver) = Deferred::<u64>::new();
            let outer = outer.add_callback(move |value| inner.add_callback(move |more| Ok(add(value, more))));
            let Err(outer) = black_box(outer).try_take() else { unreachable!("nobody has fired it") };
            resolver.callback(black_box(1));
            inner_resolver.callback(black_box(2));
            black_box(outer.try_take().ok());
        }),
        peer: Side::new("two oneshots, then() and map(), boxed", || {
            let (inner_sender, inner) = oneshot::channel::<u64>();
            let (sender, outer) = oneshot::channel::<u64>();
            let future = outer
                .then(move |value| {
                    let value = value.expect("it is sent to");
                    inner.map(move |more| add(value, more.expect("it is sent to"))).boxed_local()
                })
                .boxed_local();
            let mut future = black_box(future);
            let mut context = Context::from_waker(Waker::noop());
            assert!(future.as_mut().poll(&mut context).is_pending());
            sender.send(black_box(1)).expect("the receiver lives");
            assert!(future.as_mut().poll(&mut context).is_pending());
            inner_sender.send(black_box(2)).expect("the receiver lives");
            assert!(black_box(future.as_mut().poll(&mut context)).is_ready());
        }),
        bar: Bar::Ratio(0.60),
    }
}

/// A pending Deferred and its resolver, with some callbacks that capture a word each.
fn pending_with(callbacks: u64) -> (u64, u64) {
    let more = black_box(1_u64);
    let (made, bytes, allocations) = count::count(|| {
        let (mut deferred, resolver) = Deferred::<u64>::new();
        for _ in 0..callbacks {
            deferred = deferred.add_callback(move |value| Ok(add(value, more)));
        }
        (deferred, resolver)
    });
    let (deferred, resolver) = made;
    resolver.callback(1);
    drop(deferred);
    (bytes, allocations)
}

pub(crate) fn sizes() -> Vec<Size> {
    vec![
        Size { name: "size/pending", weigh: || pending_with(0), bar: 192 },
        Size { name: "size/pending, 1 callback", weigh: || pending_with(1), bar: 192 },
        Size { name: "size/pending, 3 callbacks", weigh: || pending_with(3), bar: 272 },
    ]
}
