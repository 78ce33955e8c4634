//! A single result: created, fired, taken, cancelled, or forwarded.

use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use deferred_core::{Cancelled, Deferred};
use futures::channel::oneshot;
use futures::future::{AbortHandle, Abortable, FutureExt};

use super::engine::{add, first_step};
use crate::sample::{Row, Side};

pub(crate) fn rows() -> Vec<Row> {
    let beside = |name, peer| Row { name, per: 1, unit: "Deferred", ours: fire_and_take(), peer };
    vec![
        beside("engine/new, fire, take", futures_oneshot()),
        beside("engine/new, fire, take, beside tokio", tokio_oneshot()),
        beside("engine/new, fire, take, beside oneshot", oneshot_crate()),
        beside("engine/new, fire, take, beside async-oneshot", async_oneshot()),
        beside_a_bare_cell(),
        cancel(),
        flatten(),
    ]
}

fn fire_and_take() -> Side {
    Side::new("new, callback, try_take", || {
        let (deferred, resolver) = black_box(Deferred::<u64>::new());
        resolver.callback(black_box(1));
        black_box(deferred.try_take().ok());
    })
}

fn futures_oneshot() -> Side {
    Side::new("futures oneshot, send, try_recv", || {
        let (sender, mut receiver) = black_box(oneshot::channel::<u64>());
        sender.send(black_box(1)).expect("the receiver lives");
        black_box(receiver.try_recv().ok());
    })
}

fn tokio_oneshot() -> Side {
    Side::new("tokio oneshot, send, try_recv", || {
        let (sender, mut receiver) = black_box(tokio::sync::oneshot::channel::<u64>());
        sender.send(black_box(1)).expect("the receiver lives");
        black_box(receiver.try_recv().ok());
    })
}

fn oneshot_crate() -> Side {
    Side::new("oneshot::channel, send, try_recv", || {
        let (sender, receiver) = black_box(::oneshot::channel::<u64>());
        sender.send(black_box(1)).expect("the receiver lives");
        black_box(receiver.try_recv().ok());
    })
}

fn async_oneshot() -> Side {
    Side::new("async_oneshot, send, try_recv", || {
        let (mut sender, receiver) = black_box(::async_oneshot::oneshot::<u64>());
        sender.send(black_box(1)).expect("the receiver lives");
        black_box(receiver.try_recv().ok());
    })
}

/// A handwritten cell for a dependency that calls back.
type BareCell = Rc<RefCell<Option<Box<dyn FnOnce(u64)>>>>;

fn beside_a_bare_cell() -> Row {
    Row {
        name: "engine/a callback, beside a bare cell",
        per: 1,
        unit: "callback",
        ours: Side::new("new, add_callback, callback", || {
            let (deferred, resolver) = black_box(Deferred::<u64>::new());
            drop(deferred.add_callback(|value| {
                black_box(value);
            }));
            resolver.callback(black_box(1));
        }),
        // It has no errors and no results, and hangs if it is never called.
        peer: Side::new("Rc<RefCell<Option<Box<dyn FnOnce>>>>", || {
            let cell = black_box(BareCell::default());
            let fires = cell.clone();
            *cell.borrow_mut() = Some(Box::new(|value| {
                black_box(value);
            }));
            drop(cell);
            let callback = fires.borrow_mut().take();
            if let Some(callback) = callback {
                callback(black_box(1));
            }
        }),
    }
}

fn cancel() -> Row {
    Row {
        name: "engine/cancel",
        per: 1,
        unit: "cancel",
        ours: Side::new("three callbacks passed, an errback takes it", || {
            let more = black_box(1_u64);
            let (deferred, resolver) = Deferred::<u64>::new();
            let deferred = deferred
                .add_callback(move |value| Ok(add(value, more)))
                .add_callback(move |value| Ok(add(value, more)))
                .add_callback(move |value| Ok(add(value, more)))
                .add_errback(|failure| if failure.check::<Cancelled>() { Ok(0) } else { Err(failure) });
            let deferred = black_box(deferred);
            deferred.cancel();
            black_box(deferred.try_take().ok());
            drop(resolver);
        }),
        peer: Side::new("futures: three maps in an Abortable, boxed each", || {
            let more = black_box(1_u64);
            let (sender, receiver) = oneshot::channel::<u64>();
            let future = first_step(receiver, move |value| add(value, more))
                .map(move |value| add(value, more))
                .boxed_local()
                .map(move |value| add(value, more))
                .boxed_local();
            let (handle, registration) = AbortHandle::new_pair();
            let future = Abortable::new(future, registration).map(|result| result.unwrap_or(0)).boxed_local();
            let mut future = black_box(future);
            let mut context = Context::from_waker(Waker::noop());
            assert!(future.as_mut().poll(&mut context).is_pending());
            handle.abort();
            match future.as_mut().poll(&mut context) {
                Poll::Ready(value) => drop(black_box(value)),
                Poll::Pending => unreachable!("it is aborted"),
            }
            drop(future);
            drop(sender);
        }),
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
            let Err(outer) = black_box(outer).try_take() else { unreachable!("it has not fired") };
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
    }
}
