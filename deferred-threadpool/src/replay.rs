//! Completions in an order that a seed draws, so that a race of a user's callbacks can be found and
//! replayed.

use std::collections::BTreeMap;

use deferred_core::Reactor;

use crate::delivery;
use crate::job::Key;

/// From now on the results of this reactor's jobs arrive in an order that `seed` draws, whichever
/// is ready first: for tests of code whose callbacks may come in any order.
///
/// One result arrives at a time, a turn each. It is drawn from the jobs that are out, those that
/// have been given and whose result has not arrived; others that are ready wait until they are
/// drawn. So a program whose jobs are given by its own start and by callbacks of jobs runs the same
/// way each time, for one seed; and with enough seeds in every way there is. Where a test fails,
/// its seed is all that is needed to see it again.
///
/// Timers and calls from other threads are not drawn: a program that mixes them with jobs may
/// differ from run to run. A job must end by itself: one that waits for what a callback of another
/// job does may wait for ever.
///
/// This is for every pool, and ends with the reactor. Jobs that are out already arrive as they
/// come.
///
/// # Examples
///
/// Two visitors are counted by code that reads, waits, and writes:
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use deferred_threadpool::{defer_to_thread, gather, order_completions, park};
///
/// fn counted(seed: u64) -> u32 {
///     let visitors = Rc::new(Cell::new(0));
///     park::run_until(|reactor| {
///         order_completions(reactor, seed);
///         let visit = || {
///             let visitors = visitors.clone();
///             defer_to_thread(|| Ok("who is it?")).add_callback(move |_| {
///                 let before = visitors.get();
///                 defer_to_thread(|| Ok("noted")).add_callback(move |_| visitors.set(before + 1))
///             })
///         };
///         gather([visit(), visit()]).map_err(|first| first.error)
///     })
///     .unwrap();
///     visitors.get()
/// }
///
/// let lost: Vec<u64> = (0..20).filter(|seed| counted(*seed) == 1).collect();
/// assert!(!lost.is_empty() && lost.len() < 20); // found
/// assert!(lost.iter().all(|seed| counted(*seed) == 1)); // and seen again
/// ```
pub fn order_completions(reactor: &Reactor, seed: u64) {
    delivery::order(reactor, seed);
}

/// Who is out, who has arrived, and whose turn it is.
pub(crate) struct Order<X> {
    random: u64,
    /// In the order in which they were given.
    out: Vec<Key>,
    drawn: Option<Key>,
    arrived: BTreeMap<Key, X>,
}

impl<X> Order<X> {
    pub(crate) fn new(seed: u64) -> Order<X> {
        Order { random: seed, out: Vec::new(), drawn: None, arrived: BTreeMap::new() }
    }

    /// Those that are out are drawn by another seed.
    pub(crate) fn reseed(&mut self, seed: u64) {
        self.random = seed;
    }

    /// A job was given.
    pub(crate) fn is_out(&mut self, key: Key) {
        self.out.push(key);
    }

    /// Nobody waits for it any more. What it has brought, if it has.
    pub(crate) fn is_gone(&mut self, key: Key) -> Option<X> {
        self.out.retain(|out| *out != key);
        if self.drawn == Some(key) {
            self.drawn = None;
        }
        self.arrived.remove(&key)
    }

    /// Gives it back if it is not to wait.
    pub(crate) fn arrives(&mut self, key: Key, thing: X) -> Option<X> {
        if !self.out.contains(&key) {
            return Some(thing);
        }
        self.arrived.insert(key, thing);
        None
    }

    /// Draws the next one, unless that is done or nobody is out.
    pub(crate) fn draw(&mut self) {
        if self.drawn.is_none() && !self.out.is_empty() {
            let index = self.below(self.out.len() as u64);
            self.drawn = Some(self.out[index as usize]);
        }
    }

    /// The one that was drawn, once it has arrived.
    pub(crate) fn next(&mut self) -> Option<(Key, X)> {
        let key = self.drawn?;
        let thing = self.arrived.remove(&key)?;
        self.is_gone(key);
        Some((key, thing))
    }

    /// What waits for its turn.
    pub(crate) fn into_arrived(self) -> impl Iterator<Item = X> {
        self.arrived.into_values()
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.drawn.is_none() && !self.out.is_empty()
    }

    fn below(&mut self, limit: u64) -> u64 {
        // Splitmix64.
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % limit
    }
}
