//! Timers, beside tokio's.

use std::cell::{Cell, OnceCell};
use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};
use std::time::Duration;

use deferred_core::{Clock, LoopingCall, Reactor, ReactorOwner, Watchdog};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Sleep, sleep};

use crate::count::count;
use crate::sample::{Row, Side, Size};

pub(crate) fn rows() -> Vec<Row> {
    const MANY: u64 = 1_000_000;
    vec![
        cancelled("timers/cancelled, 1,000 pending", 1000),
        cancelled("timers/cancelled, 1,000,000 pending", MANY as usize),
        fired("timers/fired, 1,000 at once", 1000),
        fired("timers/fired, 1,000,000 at once", MANY),
        tick_of_a_loop(),
        Row {
            name: "watchdog/overhead of a call",
            per: BATCH,
            unit: "call",
            ours: Side::new("a turn's calls, watched", turns(true)),
            peer: Side::new("not watched", turns(false)),
        },
    ]
}

fn tick_of_a_loop() -> Row {
    const SECOND: Duration = Duration::from_secs(1);
    let runtime = tokio(true);
    Row {
        name: "timers/a tick of a LoopingCall",
        per: BATCH,
        unit: "tick",
        ours: Side::new("LoopingCall, Clock", || {
            let clock = Clock::new();
            let looping = LoopingCall::new(&clock, tick(1));
            let ended = looping.start(SECOND);
            (0..BATCH).for_each(|_| clock.advance(SECOND));
            looping.stop();
            black_box(ended.try_take().ok());
        }),
        peer: Side::new("tokio: interval, paused clock", move || {
            runtime.block_on(async {
                let mut interval = tokio::time::interval(SECOND);
                let mut tick = tick(1);
                for _ in 0..BATCH {
                    interval.tick().await;
                    tick();
                    tokio::time::advance(SECOND).await;
                }
            });
        }),
    }
}

/// Posted calls, because the watchdog also records the lateness of timers.
fn turns(watched: bool) -> impl Fn() {
    let reactor = OnceCell::<ReactorOwner>::new();
    move || {
        let reactor = reactor.get_or_init(|| {
            let reactor = Reactor::new();
            if watched {
                Watchdog::new().start(&reactor).expect("the system can start a thread");
            }
            reactor.set_calls_per_turn(BATCH as usize);
            reactor
        });
        let handle = reactor.handle();
        for _ in 0..BATCH {
            handle.call_from_thread(tick(1)).expect("it is open");
        }
        let _ = black_box(reactor.turn(Waker::noop()));
    }
}

/// The number of timers for the memory row.
const WEIGHED: usize = 10_000;

pub(crate) fn sizes() -> Vec<Size> {
    fn each<R>(make: impl FnOnce() -> R) -> (f64, f64) {
        let (_, bytes, allocations) = count(make);
        (bytes as f64 / WEIGHED as f64, allocations as f64 / WEIGHED as f64)
    }
    vec![Size {
        name: "size/a timer",
        ours: ("call_later with one small callback", || {
            let reactor = Reactor::new();
            each(|| fill(&reactor, WEIGHED))
        }),
        peer: Some(("tokio: sleep, boxed, polled", || {
            let runtime = tokio(false);
            let _entered = runtime.enter();
            each(|| sleeps(WEIGHED, &mut Moments(7), MINUTE))
        })),
    }]
}

thread_local! {
    static RAN: Cell<u64> = const { Cell::new(0) };
}

/// The work of a timer.
fn tick(number: u64) -> impl FnMut() + Copy {
    move || RAN.set(RAN.get() + number)
}

/// Random times up to a minute from now.
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> Duration {
        // Xorshift, which costs both sides the same.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_micros(self.0 % 60_000_000)
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn fill(reactor: &Reactor, pending: usize) {
    let mut moments = Moments(7);
    for _ in 0..pending {
        reactor.call_later(MINUTE + moments.next(), tick(1));
    }
}

/// The number of timers that are created and cancelled in one sample.
const BATCH: u32 = 1000;

fn ours_cancelled(pending: usize) -> impl Fn() {
    let reactor = OnceCell::<ReactorOwner>::new();
    move || {
        let reactor = reactor.get_or_init(|| {
            let reactor = Reactor::new();
            fill(&reactor, pending);
            reactor
        });
        let mut moments = Moments(11);
        for number in 0..BATCH {
            let call = reactor.call_later(moments.next(), tick(u64::from(number)));
            call.cancel().expect("it is a while until it is due");
        }
    }
}

fn tokio(paused: bool) -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(paused).build().expect("a runtime without I/O")
}

fn sleeps(pending: usize, moments: &mut Moments, from: Duration) -> Vec<Pin<Box<Sleep>>> {
    let mut context = Context::from_waker(Waker::noop());
    let make = |_| {
        let mut sleep = Box::pin(sleep(from + moments.next()));
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        sleep
    };
    (0..pending).map(make).collect()
}

fn tokios_cancelled(pending: usize) -> impl Fn() {
    let theirs = OnceCell::new();
    move || {
        let (runtime, _pending) = theirs.get_or_init(|| {
            let runtime = tokio(false);
            let entered = runtime.enter();
            let pending = sleeps(pending, &mut Moments(7), MINUTE);
            drop(entered);
            (runtime, pending)
        });
        let _entered = runtime.enter();
        let mut context = Context::from_waker(Waker::noop());
        let mut moments = Moments(11);
        for _ in 0..BATCH {
            let sleep = pin!(sleep(moments.next() + Duration::from_millis(1)));
            assert!(black_box(sleep.poll(&mut context)).is_pending());
        }
    }
}

fn cancelled(name: &'static str, pending: usize) -> Row {
    Row {
        name,
        per: BATCH,
        unit: "timer",
        ours: Side::new("call_later, cancel", ours_cancelled(pending)),
        peer: Side::new("tokio: sleep, polled, dropped", tokios_cancelled(pending)),
    }
}

fn ours_fired(timers: usize) {
    let clock = Clock::new();
    let mut moments = Moments(7);
    for _ in 0..timers {
        clock.call_later(moments.next(), tick(1));
    }
    RAN.set(0);
    clock.pump([MINUTE / 100; 100]);
    assert_eq!(RAN.get(), timers as u64);
}

fn tokios_fired(runtime: &Runtime, timers: usize) {
    let entered = runtime.enter();
    // Outside of a task, because a task's budget would refuse most of these polls.
    let pending = sleeps(timers, &mut Moments(7), Duration::from_millis(1));
    drop(entered);
    runtime.block_on(async {
        for _ in 0..100 {
            tokio::time::advance(MINUTE / 100).await;
        }
        tokio::time::advance(Duration::from_millis(2)).await;
    });
    let left = pending.iter().filter(|sleep| !sleep.is_elapsed()).count();
    assert_eq!(left, 0);
}

fn fired(name: &'static str, timers: u64) -> Row {
    Row { name, per: timers as u32, unit: "timer", ours: ours_fire(timers), peer: tokios_fire(timers) }
}

/// Creates and fires this number of timers.
pub(super) fn ours_fire(timers: u64) -> Side {
    Side::new("call_later, Clock", move || ours_fired(timers as usize))
}

pub(super) fn tokios_fire(timers: u64) -> Side {
    let runtime = tokio(true);
    Side::new("tokio: sleep, paused clock", move || tokios_fired(&runtime, timers as usize))
}

/// Creates and cancels as many timers as are pending.
pub(super) fn ours_cancel(timers: u64) -> Side {
    let batch = ours_cancelled(timers as usize);
    Side::new("call_later, cancel", move || (0..timers / u64::from(BATCH)).for_each(|_| batch()))
}

pub(super) fn tokios_cancel(timers: u64) -> Side {
    let batch = tokios_cancelled(timers as usize);
    Side::new("tokio: sleep, polled, dropped", move || (0..timers / u64::from(BATCH)).for_each(|_| batch()))
}
