//! Calls from other threads, beside a channel to a task that runs them.

use std::cell::{Cell, OnceCell};
use std::task::Waker;
use std::thread;

use deferred_core::{Reactor, ReactorOwner, park};
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use crate::sample::{Row, Side};

const POSTS: u64 = 1_000_000;

pub(crate) fn rows() -> Vec<Row> {
    vec![
        from_its_own_thread(),
        beside_tokio("post/1 thread, beside tokio", 1),
        beside_async_channel("post/1 thread, beside async-channel", 1),
        beside_tokio("post/4 threads, beside tokio", 4),
        beside_async_channel("post/4 threads, beside async-channel", 4),
    ]
}

thread_local! {
    static RAN: Cell<u64> = const { Cell::new(0) };
}

/// The posted call. After each call the loop checks whether it was the last.
fn call(number: u64) -> impl FnOnce() + Send {
    move || RAN.set(RAN.get() + number)
}

fn is_last() -> bool {
    RAN.get() == POSTS
}

fn from_threads(threads: u64, post: impl Fn(u64) + Clone + Send + 'static) {
    RAN.set(0);
    for _ in 0..threads {
        let post = post.clone();
        thread::spawn(move || (0..POSTS / threads).for_each(|_| post(1)));
    }
}

fn ours(threads: u64) -> Side {
    Side::new("call_from_thread, park", move || {
        park::run(|reactor| {
            let handle = reactor.handle();
            from_threads(threads, move |number| {
                let call = call(number);
                let call = move || {
                    call();
                    if is_last() {
                        Reactor::current().expect("a turn of it").stop();
                    }
                };
                handle.call_from_thread(call).expect("it runs until the last one");
            });
        });
    })
}

type Boxed = Box<dyn FnOnce() + Send>;

fn beside_tokio(name: &'static str, threads: u64) -> Row {
    Row {
        name,
        per: POSTS as u32,
        unit: "post",
        ours: ours(threads),
        peer: Side::new("tokio: mpsc of boxed closures", move || {
            let runtime = Builder::new_current_thread().build().expect("a runtime without I/O");
            runtime.block_on(async {
                let (sender, mut receiver) = mpsc::unbounded_channel::<Boxed>();
                from_threads(threads, move |number| {
                    sender.send(Box::new(call(number))).expect("the receiver lives");
                });
                while !is_last() {
                    receiver.recv().await.expect("there are more")();
                }
            });
        }),
    }
}

fn beside_async_channel(name: &'static str, threads: u64) -> Row {
    Row {
        name,
        per: POSTS as u32,
        unit: "post",
        ours: ours(threads),
        peer: Side::new("async-channel of boxed closures, smol", move || {
            smol::block_on(async {
                let (sender, receiver) = async_channel::unbounded::<Boxed>();
                from_threads(threads, move |number| {
                    sender.try_send(Box::new(call(number))).expect("the receiver lives");
                });
                while !is_last() {
                    receiver.recv().await.expect("there are more")();
                }
            });
        }),
    }
}

const BATCH: u64 = 1000;

/// A post and its call, both on one thread.
fn from_its_own_thread() -> Row {
    let reactor = OnceCell::<ReactorOwner>::new();
    let runtime = OnceCell::new();
    Row {
        name: "post/from its own thread",
        per: BATCH as u32,
        unit: "post",
        ours: Side::new("call_from_thread, a turn", move || {
            let reactor = reactor.get_or_init(|| {
                let reactor = Reactor::new();
                reactor.set_calls_per_turn(BATCH as usize);
                reactor
            });
            let handle = reactor.handle();
            for _ in 0..BATCH {
                handle.call_from_thread(call(1)).expect("it is open");
            }
            let _ = reactor.turn(Waker::noop());
        }),
        peer: Side::new("tokio: mpsc of boxed closures", move || {
            let runtime = runtime.get_or_init(|| Builder::new_current_thread().build().expect("a runtime without I/O"));
            runtime.block_on(async {
                let (sender, mut receiver) = mpsc::unbounded_channel::<Boxed>();
                for _ in 0..BATCH {
                    sender.send(Box::new(call(1))).expect("the receiver lives");
                }
                for _ in 0..BATCH {
                    receiver.recv().await.expect("there are more")();
                }
            });
        }),
    }
}
