//! The cost of one operation for growing sizes: a flat line has slope 0.

use std::cell::Cell;
use std::future::poll_fn;
use std::hint::black_box;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use deferred_core::{Clock, Deferred, Phase, Reactor, SystemEvent, inline_callbacks, inspect, on_unhandled};

use super::engine::{bare_list, boxed_pending, ours_pending};
use super::{combine, pool, time};
use crate::sample::{Cores, Growth, Side};

const DECADES: &[u64] = &[1000, 10_000, 100_000];

fn chain(callbacks: u64) -> Side {
    Side::new("made, added, fired, taken", move || {
        black_box(ours_pending(black_box(callbacks)));
    })
}

fn triggers(count: u64) -> Side {
    Side::new("added, removed in the order in which they came", move || {
        let reactor = Reactor::new();
        let triggers: Vec<_> =
            (0..count).map(|_| reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, || ())).collect();
        triggers.iter().for_each(|trigger| trigger.remove().expect("the loop has not ended"));
    })
}

/// All calls are due when a call delays each by zero, after the others.
fn overdue(count: u64) -> Side {
    Side::new("put off by nothing in a call", move || {
        let clock = Clock::new();
        let timers = Rc::new(Cell::new(Vec::new()));
        let all = timers.clone();
        clock.call_later(Duration::ZERO, move || {
            all.take().iter().for_each(|timer: &deferred_core::DelayedCall| {
                timer.delay(Duration::ZERO).expect("it is pending");
            });
        });
        timers.set((1..=count).map(|nanos| clock.call_later(Duration::from_nanos(nanos), || ())).collect());
        clock.advance(Duration::from_secs(1));
    })
}

fn hooks(count: u64) -> Side {
    Side::new("set, dropped in the order in which they came", move || {
        let guards: Vec<_> = (0..count).map(|_| on_unhandled(|_| ())).collect();
        guards.into_iter().for_each(drop);
    })
}

/// Each coroutine wakes itself at each of its first ten polls.
fn wakes(count: u64) -> Side {
    const POLLS: u32 = 10;
    Side::new("started, polled ten times", move || {
        let reactor = Reactor::new();
        for _ in 0..count {
            let mut polls = 0;
            drop(reactor.ensure_deferred(poll_fn(move |context| {
                polls += 1;
                context.waker().wake_by_ref();
                if polls > POLLS { Poll::Ready(Ok(())) } else { Poll::Pending }
            })));
        }
        while reactor.turn(Waker::noop()) == deferred_core::Turn::Again {}
    })
}

/// Coroutines that each wait for a Deferred, listed once.
fn listed(count: u64) -> Side {
    Side::new("started, listed, fired", move || {
        let _on = inspect::enable();
        let (waits, resolvers): (Vec<_>, Vec<_>) = (0..count).map(|_| Deferred::<()>::new()).unzip();
        waits.into_iter().for_each(|waits| drop(inline_callbacks(async move { waits.await })));
        assert_eq!(Reactor::new().pending().items().len() as u64, 2 * count);
        resolvers.into_iter().for_each(|resolver| resolver.callback(()));
    })
}

pub(crate) fn all() -> Vec<Growth> {
    vec![
        Growth {
            name: "growth/chain",
            unit: "callback",
            along: "callbacks",
            sizes: &[1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000, 1_000_000],
            ours: chain,
            // Each is polled inside the next one: with many more the stack overflows.
            peer: |callbacks| {
                (callbacks <= 10_000).then(|| {
                    Side::new("oneshot, map().boxed_local() each", move || {
                        black_box(boxed_pending(black_box(callbacks)));
                    })
                })
            },
        },
        Growth {
            name: "growth/chain, beside a bare list",
            unit: "callback",
            along: "callbacks",
            sizes: DECADES,
            ours: chain,
            peer: |callbacks| {
                Some(Side::new("a Vec of boxed closures, called", move || {
                    black_box(bare_list(black_box(callbacks)));
                }))
            },
        },
        Growth {
            name: "growth/gather",
            unit: "member",
            along: "members",
            sizes: DECADES,
            ours: combine::gathered,
            peer: |members| Some(combine::joined(members)),
        },
        Growth {
            name: "growth/timers cancelled",
            unit: "timer",
            along: "pending",
            sizes: &[10_000, 100_000, 1_000_000],
            ours: time::ours_cancel,
            peer: |timers| Some(time::tokios_cancel(timers)),
        },
        Growth {
            name: "growth/timers fired",
            unit: "timer",
            along: "timers",
            sizes: &[10_000, 100_000, 1_000_000],
            ours: time::ours_fire,
            peer: |timers| Some(time::tokios_fire(timers)),
        },
        Growth {
            name: "growth/pool",
            unit: "job",
            along: "jobs at once",
            sizes: DECADES,
            ours: |jobs| pool::ours_of(jobs, Cores::Any),
            peer: |jobs| Some(pool::tokios_of(jobs, Cores::Any)),
        },
        alone("growth/triggers removed", "trigger", "triggers", triggers),
        alone("growth/overdue timers put off", "timer", "due", overdue),
        alone("growth/hooks dropped", "hook", "hooks", hooks),
        alone("growth/coroutines that wake themselves", "coroutine", "coroutines", wakes),
        alone("growth/pending listed", "coroutine", "coroutines", listed),
    ]
}

/// An operation on n values may cost at most n log n.
fn alone(name: &'static str, unit: &'static str, along: &'static str, ours: fn(u64) -> Side) -> Growth {
    Growth { name, unit, along, sizes: DECADES, ours, peer: |_| None }
}
