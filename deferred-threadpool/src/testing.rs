//! Helpers for tests of code that uses pools, with those of [`deferred_core::testing`].

pub use deferred_core::testing::*;

use deferred_core::Reactor;

use crate::completion;

/// Makes this reactor deliver the results of its jobs in a random order that `seed` determines,
/// instead of the order in which they are ready. It is for tests of code whose callbacks may come
/// in any order.
///
/// Each turn delivers one result. It is drawn from the pending jobs: those that were submitted and
/// whose result was not delivered. Other results that are ready wait until they are drawn. So a
/// program that submits its jobs at its start and in callbacks of jobs runs the same way each time
/// with one seed, and with enough seeds in every possible way. The seed of a failing test
/// reproduces the failure.
///
/// Timers and calls from other threads are not drawn: a program that mixes them with jobs can
/// differ from run to run. Each job must end by itself: a job that waits for a callback of another
/// job may wait forever.
///
/// The order applies to the jobs of all pools, until the reactor is closed. Jobs that were
/// submitted before are delivered as they are ready.
///
/// # Examples
///
/// Two visitors are counted by code that reads, waits, and writes:
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use deferred_threadpool::{defer_to_thread, gather, park, testing::shuffle_completions};
///
/// fn count(seed: u64) -> u32 {
///     let visitors = Rc::new(Cell::new(0));
///     park::run_until(|reactor| {
///         shuffle_completions(reactor, seed);
///         let visit = || {
///             let visitors = visitors.clone();
///             defer_to_thread(|| Ok("read")).add_callback(move |_| {
///                 let before = visitors.get();
///                 defer_to_thread(|| Ok("write")).add_callback(move |_| visitors.set(before + 1))
///             })
///         };
///         gather([visit(), visit()]).map_err(|first| first.error)
///     })
///     .unwrap();
///     visitors.get()
/// }
///
/// let lost: Vec<u64> = (0..20).filter(|seed| count(*seed) == 1).collect();
/// assert!(!lost.is_empty() && lost.len() < 20); // some orders lose a visitor
/// assert!(lost.iter().all(|seed| count(*seed) == 1)); // and do so again
/// ```
pub fn shuffle_completions(reactor: &Reactor, seed: u64) {
    completion::shuffle(reactor, seed);
}
