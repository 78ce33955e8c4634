//! `Order`: delivers results in a random order that a seed determines, for tests.

use std::collections::BTreeMap;

use crate::job::JobKey;

/// The pending jobs of a reactor, the results that wait to be delivered, and the job that is drawn
/// next.
pub(super) struct Order<X> {
    random: u64,
    /// The pending jobs, in the order in which they were submitted.
    pending: Vec<JobKey>,
    /// The job whose result is delivered next.
    drawn: Option<JobKey>,
    arrived: BTreeMap<JobKey, X>,
}

impl<X> Order<X> {
    pub(super) fn new(seed: u64) -> Order<X> {
        Order { random: seed, pending: Vec::new(), drawn: None, arrived: BTreeMap::new() }
    }

    /// Draws from now on by another seed.
    pub(super) fn reseed(&mut self, seed: u64) {
        self.random = seed;
    }

    /// Adds a job that was submitted.
    pub(super) fn add(&mut self, key: JobKey) {
        self.pending.push(key);
    }

    /// Removes a job. Returns its result if that has arrived.
    pub(super) fn remove(&mut self, key: JobKey) -> Option<X> {
        self.pending.retain(|pending| *pending != key);
        if self.drawn == Some(key) {
            self.drawn = None;
        }
        self.arrived.remove(&key)
    }

    /// Stores a result that has arrived. Returns it if the job has no order, so that it is
    /// delivered at once.
    pub(super) fn arrive(&mut self, key: JobKey, result: X) -> Option<X> {
        if !self.pending.contains(&key) {
            return Some(result);
        }
        self.arrived.insert(key, result);
        None
    }

    /// Draws the next job, unless one is drawn or none is pending.
    pub(super) fn draw(&mut self) {
        if self.drawn.is_none() && !self.pending.is_empty() {
            let index = self.below(self.pending.len() as u64);
            self.drawn = Some(self.pending[index as usize]);
        }
    }

    /// Returns the result of the drawn job, if it has arrived.
    pub(super) fn next(&mut self) -> Option<(JobKey, X)> {
        let key = self.drawn?;
        let result = self.arrived.remove(&key)?;
        self.remove(key);
        Some((key, result))
    }

    /// Returns the results that have arrived and were not delivered.
    pub(super) fn into_arrived(self) -> impl Iterator<Item = X> {
        self.arrived.into_values()
    }

    /// Returns `true` if a job must be drawn.
    pub(super) fn needs_draw(&self) -> bool {
        self.drawn.is_none() && !self.pending.is_empty()
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
