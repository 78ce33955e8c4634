//! How the cost of one changes with how many there are: a flat line has slope 0.

use std::hint::black_box;

use super::engine::{bare_list, boxed_pending, ours_pending};
use super::{many, pool, time};
use crate::sample::{Cores, Growth, Side};

const DECADES: &[u64] = &[1000, 10_000, 100_000];

fn chain(callbacks: u64) -> Side {
    Side::new("made, added, fired, taken", move || {
        black_box(ours_pending(black_box(callbacks)));
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
            // Each is polled inside of the next: with many more the stack overflows.
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
            ours: many::gathered,
            peer: |members| Some(many::joined(members)),
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
    ]
}
