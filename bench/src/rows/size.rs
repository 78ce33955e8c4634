//! The memory of a Deferred.

use std::hint::black_box;
use std::mem;
use std::task::{Context, Waker};

use deferred_core::Deferred;
use futures::channel::oneshot;
use futures::future::FutureExt;

use super::engine::{add, first_step};
use crate::count::count;
use crate::sample::{Size, Weight};

pub(crate) fn sizes() -> Vec<Size> {
    let size = |name, ours, peer| Size { name, ours, peer: Some(peer) };
    vec![
        size("size/pending", ours::<0>(), boxed::<0>()),
        size("size/pending, 1 callback", ours::<1>(), boxed::<1>()),
        size("size/pending, 3 callbacks", ours::<3>(), boxed::<3>()),
        size("size/pending, 10 callbacks", ours::<10>(), boxed::<10>()),
        size("size/each callback of 1000", each_of_1000::<true>(), each_of_1000::<false>()),
    ]
}

/// A pending Deferred and its resolver, with callbacks that capture a word each.
fn ours<const CALLBACKS: u64>() -> Weight {
    ("a Deferred and its resolver", || weigh_ours(CALLBACKS))
}

/// A oneshot, polled once, so that it has a waker.
fn boxed<const CALLBACKS: u64>() -> Weight {
    ("a futures oneshot, map().boxed_local() each", || weigh_boxed(CALLBACKS))
}

fn each_of_1000<const OURS: bool>() -> Weight {
    let each = || {
        let weigh = if OURS { weigh_ours } else { weigh_boxed };
        let ((bytes, allocations), (bytes_of_none, allocations_of_none)) = (weigh(1000), weigh(0));
        ((bytes - bytes_of_none) / 1000.0, (allocations - allocations_of_none) / 1000.0)
    };
    (if OURS { "add_callback" } else { "map().boxed_local()" }, each)
}

fn weigh_ours(callbacks: u64) -> (f64, f64) {
    let more = black_box(1_u64);
    let ((deferred, resolver), bytes, allocations) = count(|| {
        let (mut deferred, resolver) = Deferred::<u64>::new();
        for _ in 0..callbacks {
            deferred = deferred.add_callback(move |value| Ok(add(value, more)));
        }
        (deferred, resolver)
    });
    // Its block would be reused for the next one.
    mem::forget((deferred, resolver));
    (bytes as f64, allocations as f64)
}

fn weigh_boxed(callbacks: u64) -> (f64, f64) {
    let more = black_box(1_u64);
    let (_made, bytes, allocations) = count(|| {
        let (sender, receiver) = oneshot::channel::<u64>();
        if callbacks == 0 {
            return (sender, Err(receiver));
        }
        let mut future = first_step(receiver, move |value| add(value, more));
        for _ in 1..callbacks {
            future = future.map(move |value| add(value, more)).boxed_local();
        }
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        (sender, Ok(future))
    });
    (bytes as f64, allocations as f64)
}
