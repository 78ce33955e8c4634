//! The reactor on tokio's driver, beside tokio alone. The operations also run in processes whose
//! system calls are counted.

use std::cell::{Cell, OnceCell};
use std::hint::black_box;
use std::thread;
use std::time::Duration;

use deferred_core::{LoopingCall, Reactor, ReactorThread};
use deferred_tokio::{drive, start_thread};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::pool::{in_a_row, pool, tokio as pool_runtime, tokios_in_a_row};
use crate::sample::{Cores, Row, Side};

const OURS: &str = "a reactor driven by deferred-tokio";

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            name: "tokio/a tick, CPU",
            per: 50,
            unit: "tick",
            ours: Side::cpu("LoopingCall", || ticks(50, false)),
            peer: Side::cpu("tokio: interval", || plain_ticks(50, false)),
        },
        Row {
            name: "tokio/a tick, paused clock",
            per: 1000,
            unit: "tick",
            ours: Side::new("LoopingCall, paused clock", || ticks(1000, true)),
            peer: Side::new("tokio: interval, paused clock", || plain_ticks(1000, true)),
        },
        Row {
            name: "tokio/a pool job",
            per: 200,
            unit: "job",
            ours: Side::new(OURS, || jobs(200)),
            peer: Side::new("tokio: a task per job that awaits spawn_blocking", || plain_jobs(200)),
        },
        Row {
            name: "tokio/a post from a task",
            per: 100_000,
            unit: "post",
            ours: Side::new(OURS, || posts(100_000)),
            peer: Side::new("tokio: mpsc of boxed closures to a task", || plain_posts(100_000)),
        },
        Row {
            name: "tokio/an await across",
            per: 2000,
            unit: "call",
            ours: Side::new("ReactorThread::call", || calls(2000)),
            peer: Side::new("tokio: mpsc to a task, and a oneshot back", || plain_calls(2000)),
        },
    ]
}

/// Runs the operation with this name `times` times. Returns `false` if the name is unknown.
pub(crate) fn run_one(name: &str, times: u64, one_core: bool) -> bool {
    if one_core {
        Cores::One.pin_this(); // and the threads that it starts
    }
    match name {
        "tokio-ticks" => ticks(times, false),
        "plain-tokio-ticks" => plain_ticks(times, false),
        "tokio-jobs" => jobs(times),
        "plain-tokio-jobs" => plain_jobs(times),
        "tokio-posts" => posts(times),
        "plain-tokio-posts" => plain_posts(times),
        "tokio-calls" => calls(times),
        "plain-tokio-calls" => plain_calls(times),
        _ => return false,
    }
    true
}

fn runtime(paused: bool) -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(paused).build().expect("a runtime")
}

/// Runs a new reactor on a new runtime, until it is stopped.
fn run(paused: bool, main: impl FnOnce(&Reactor)) {
    runtime(paused).block_on(async {
        let reactor = Reactor::new();
        main(&reactor);
        drive(reactor).await;
    });
}

/// The interval of the ticks: several times the resolution of tokio's timers.
const TICK: Duration = Duration::from_millis(4);

fn ticks(times: u64, paused: bool) {
    run(paused, |reactor| {
        let (mut left, stopper) = (times, reactor.clone());
        let ticking = LoopingCall::new(reactor, move || {
            left -= 1;
            if left == 0 {
                stopper.stop();
            }
        });
        drop(ticking.start(TICK));
    });
}

fn plain_ticks(times: u64, paused: bool) {
    runtime(paused).block_on(async {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip); // as a LoopingCall does
        for left in 0..times {
            interval.tick().await;
            black_box(left);
        }
    });
}

fn jobs(times: u64) {
    run(false, |reactor| in_a_row(pool(1, Cores::Any), times, reactor.clone()));
}

fn plain_jobs(times: u64) {
    tokios_in_a_row(&pool_runtime(1, Cores::Any), times);
}

thread_local! {
    static RAN: Cell<u64> = const { Cell::new(0) };
}

/// The posted call. Returns `true` for the last one.
fn is_last(times: u64) -> bool {
    RAN.set(RAN.get() + 1);
    RAN.get() == times
}

fn posts(times: u64) {
    RAN.set(0);
    run(false, |reactor| {
        let handle = reactor.handle();
        thread::spawn(move || {
            runtime(false).block_on(async move {
                for _ in 0..times {
                    let call = move |reactor: &Reactor| {
                        if is_last(times) {
                            reactor.stop();
                        }
                    };
                    handle.call_from_thread_with(call).expect("it runs until the last one");
                }
            });
        });
    });
}

fn plain_posts(times: u64) {
    RAN.set(0);
    runtime(false).block_on(async {
        let (sender, mut receiver) = mpsc::unbounded_channel::<Box<dyn FnOnce() -> bool + Send>>();
        thread::spawn(move || {
            runtime(false).block_on(async move {
                for _ in 0..times {
                    sender.send(Box::new(move || is_last(times))).expect("the receiver lives");
                }
            });
        });
        while !receiver.recv().await.expect("there are more")() {}
    });
}

thread_local! {
    static LOOP: OnceCell<ReactorThread<u64>> = const { OnceCell::new() };
    static TASK: OnceCell<mpsc::UnboundedSender<(u64, oneshot::Sender<u64>)>> = const { OnceCell::new() };
}

fn calls(times: u64) {
    let reactor =
        LOOP.with(|reactor| reactor.get_or_init(|| start_thread(|_| Ok(1)).wait().expect("it starts")).clone());
    runtime(false).block_on(async {
        for number in 0..times {
            black_box(reactor.call(move |one| Ok(number + **one)).await.expect("it runs"));
        }
    });
}

fn plain_calls(times: u64) {
    let task = TASK.with(|task| {
        task.get_or_init(|| {
            let (sender, mut receiver) = mpsc::unbounded_channel::<(u64, oneshot::Sender<u64>)>();
            thread::spawn(move || {
                runtime(false).block_on(async {
                    while let Some((number, answer)) = receiver.recv().await {
                        answer.send(number + 1).expect("it is awaited");
                    }
                });
            });
            sender
        })
        .clone()
    });
    runtime(false).block_on(async {
        for number in 0..times {
            let (answer, answered) = oneshot::channel();
            task.send((number, answer)).expect("the task lives");
            black_box(answered.await.expect("it answers"));
        }
    });
}
