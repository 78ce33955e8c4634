//! Coroutines, beside tasks.

use std::cell::Cell;
use std::hint::black_box;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use deferred_core::{Deferred, Failure, Reactor, Resolver, inline_callbacks};
use futures::FutureExt;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot::{self, Sender};
use tokio::task::LocalSet;

use crate::sample::{Row, Side};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        ready(),
        suspended_once(),
        suspended_one_at_a_time(),
        one_after_the_other(),
        with_a_reactor(),
        awaits_of_one_coroutine(),
    ]
}

/// The number of awaits in the ready row.
const AWAITS: u32 = 1000;

fn ready() -> Row {
    Row {
        name: "coroutine/await of a ready one",
        per: AWAITS,
        unit: "await",
        ours: Side::new("Deferred::succeed(..).await", || {
            let mut future = pin!(async {
                let mut sum = 0_u64;
                for _ in 0..AWAITS {
                    sum = sum.wrapping_add(Deferred::<u64>::succeed(black_box(1)).await?);
                }
                Ok::<_, Failure>(sum)
            });
            black_box(future.as_mut().poll_unpin(&mut Context::from_waker(Waker::noop())).is_ready());
        }),
        peer: Side::new("std::future::ready(..).await", || {
            let mut future = pin!(async {
                let mut sum = 0_u64;
                for _ in 0..AWAITS {
                    sum = sum.wrapping_add(std::future::ready(Ok::<_, Failure>(black_box(1))).await?);
                }
                Ok::<_, Failure>(sum)
            });
            black_box(future.as_mut().poll_unpin(&mut Context::from_waker(Waker::noop())).is_ready());
        }),
    }
}

fn runtime() -> (Runtime, LocalSet) {
    (Builder::new_current_thread().build().expect("a runtime without I/O"), LocalSet::new())
}

/// The number of concurrent coroutines.
const COROUTINES: usize = 100;

fn suspended_once() -> Row {
    let (runtime, local) = runtime();
    Row {
        name: "coroutine/suspended once",
        per: COROUTINES as u32,
        unit: "coroutine",
        ours: Side::new("inline_callbacks, fired, taken", || {
            let mut all = Vec::with_capacity(COROUTINES);
            for _ in 0..COROUTINES {
                let (deferred, resolver) = Deferred::<u64>::new();
                all.push((inline_callbacks(async move { Ok(deferred.await? + black_box(1)) }), resolver));
            }
            let mut sum = 0;
            for (deferred, resolver) in all {
                resolver.callback(black_box(1));
                sum += deferred.try_take().ok().and_then(Result::ok).expect("it has ended");
            }
            black_box(sum);
        }),
        peer: Side::new("tokio: spawn_local, oneshot, join", move || {
            let sum = runtime.block_on(local.run_until(async {
                let mut all = Vec::with_capacity(COROUTINES);
                for _ in 0..COROUTINES {
                    let (sender, receiver) = oneshot::channel::<u64>();
                    let task = async move { receiver.await.expect("it is sent to") + black_box(1) };
                    all.push((tokio::task::spawn_local(task), sender));
                }
                tokio::task::yield_now().await; // now all of them wait
                let mut sum = 0;
                for (task, sender) in all {
                    sender.send(black_box(1)).expect("the receiver lives");
                    sum += task.await.expect("it has ended");
                }
                sum
            }));
            black_box(sum);
        }),
    }
}

fn suspended_one_at_a_time() -> Row {
    let (runtime, local) = runtime();
    Row {
        name: "coroutine/suspended once, one at a time",
        per: COROUTINES as u32,
        unit: "coroutine",
        ours: Side::new("inline_callbacks, fired, taken", || {
            let mut sum = 0;
            for _ in 0..COROUTINES {
                let (deferred, resolver) = Deferred::<u64>::new();
                let deferred = inline_callbacks(async move { Ok(deferred.await? + black_box(1)) });
                resolver.callback(black_box(1));
                sum += deferred.try_take().ok().and_then(Result::ok).expect("it has ended");
            }
            black_box(sum);
        }),
        peer: Side::new("tokio: spawn_local, oneshot, join", move || {
            let sum = runtime.block_on(local.run_until(async {
                let mut sum = 0;
                for _ in 0..COROUTINES {
                    let (sender, receiver) = oneshot::channel::<u64>();
                    let task = async move { receiver.await.expect("it is sent to") + black_box(1) };
                    let task = tokio::task::spawn_local(task);
                    tokio::task::yield_now().await; // it waits now
                    sender.send(black_box(1)).expect("the receiver lives");
                    sum += task.await.expect("it has ended");
                }
                sum
            }));
            black_box(sum);
        }),
    }
}

/// The slot in which a waiting coroutine stores its resolver.
type Slot<X> = Rc<Cell<Option<X>>>;

/// Awaits one Deferred after the other, each of which is fired once it is awaited.
fn await_in_turn() {
    let slot = Slot::<Resolver<u64>>::default();
    let waiting = slot.clone();
    let deferred = inline_callbacks(async move {
        let mut sum = 0;
        for _ in 0..AWAITS {
            let (deferred, resolver) = Deferred::new();
            waiting.set(Some(resolver));
            sum += deferred.await?;
        }
        Ok(sum)
    });
    while let Some(resolver) = slot.take() {
        resolver.callback(black_box(1));
    }
    black_box(deferred.try_take().ok());
}

fn with_a_reactor() -> Row {
    let reactor = Reactor::new();
    Row {
        name: "coroutine/await that suspends, with a reactor",
        per: AWAITS,
        unit: "await",
        ours: Side::new("one coroutine, Deferreds, a current reactor", move || {
            let _entered = reactor.enter();
            await_in_turn();
        }),
        peer: Side::new("without a reactor", await_in_turn),
    }
}

/// The number of Deferreds that a coroutine of the next row awaits.
const FIVE: usize = 5;

fn awaits_of_one_coroutine() -> Row {
    let (runtime, local) = runtime();
    Row {
        name: "coroutine/a coroutine that awaits five",
        per: 1,
        unit: "coroutine",
        ours: Side::new("inline_callbacks, five fired, taken", || {
            let (deferreds, resolvers): (Vec<_>, Vec<_>) = (0..FIVE).map(|_| Deferred::<u64>::new()).unzip();
            let sum = inline_callbacks(async move {
                let mut sum = 0;
                for deferred in deferreds {
                    sum += deferred.await?;
                }
                Ok(sum)
            });
            for resolver in resolvers {
                resolver.callback(black_box(1));
            }
            black_box(sum.try_take().ok());
        }),
        peer: Side::new("tokio: spawn_local, five oneshots, join", move || {
            let sum = runtime.block_on(local.run_until(async {
                let (senders, receivers): (Vec<_>, Vec<_>) = (0..FIVE).map(|_| oneshot::channel::<u64>()).unzip();
                let task = tokio::task::spawn_local(async move {
                    let mut sum = 0;
                    for receiver in receivers {
                        sum += receiver.await.expect("it is sent to");
                    }
                    sum
                });
                for sender in senders {
                    tokio::task::yield_now().await; // it waits now
                    sender.send(black_box(1)).expect("the receiver lives");
                }
                task.await.expect("it has ended")
            }));
            black_box(sum);
        }),
    }
}

fn one_after_the_other() -> Row {
    let (runtime, local) = runtime();
    Row {
        name: "coroutine/await that suspends",
        per: AWAITS,
        unit: "await",
        ours: Side::new("one coroutine, Deferreds", await_in_turn),
        peer: Side::new("one task of a LocalSet, oneshots", move || {
            let slot = Slot::<Sender<u64>>::default();
            let waiting = slot.clone();
            let sum = runtime.block_on(local.run_until(async move {
                let task = tokio::task::spawn_local(async move {
                    let mut sum = 0;
                    for _ in 0..AWAITS {
                        let (sender, receiver) = oneshot::channel();
                        waiting.set(Some(sender));
                        sum += receiver.await.expect("it is sent to");
                    }
                    sum
                });
                loop {
                    tokio::task::yield_now().await;
                    match slot.take() {
                        Some(sender) => sender.send(black_box(1)).expect("the receiver lives"),
                        None => break task.await.expect("it has ended"),
                    }
                }
            }));
            black_box(sum);
        }),
    }
}
