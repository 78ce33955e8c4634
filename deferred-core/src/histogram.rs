//! `Histogram`: counts durations.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

const BUCKETS: usize = 40;

/// A histogram of durations, with buckets between powers of two of microseconds.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use deferred_core::Histogram;
///
/// let mut waits = Histogram::new();
/// for millis in [1, 1, 1, 40] {
///     waits.record(Duration::from_millis(millis));
/// }
/// assert_eq!((waits.count(), waits.max()), (4, Duration::from_millis(40)));
/// assert!(waits.quantile(0.5) < Duration::from_millis(3));
/// ```
#[derive(Clone)]
pub struct Histogram {
    /// The first bucket counts durations below 1 microsecond, the next ones below 2, 4, 8, ..; the
    /// last one counts the rest.
    buckets: [u64; BUCKETS],
    count: u64,
    max: Duration,
}

impl Histogram {
    /// Creates an empty histogram.
    #[must_use]
    pub fn new() -> Histogram {
        Histogram { buckets: [0; BUCKETS], count: 0, max: Duration::ZERO }
    }

    /// Counts a duration.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(micros)] += 1;
        self.count += 1;
        self.max = self.max.max(duration);
    }

    /// Returns a histogram of the durations that were counted after `earlier`, a copy of this one.
    /// Its longest duration is known only up to a factor of two.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_core::Histogram;
    ///
    /// let mut waits = Histogram::new();
    /// waits.record(Duration::from_secs(9));
    /// let earlier = waits.clone();
    /// waits.record(Duration::from_millis(2));
    /// let last = waits.since(&earlier);
    /// assert!(last.count() == 1 && last.max() < Duration::from_millis(5));
    /// ```
    #[must_use]
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let mut last = self.clone();
        last.buckets.iter_mut().zip(&earlier.buckets).for_each(|(now, before)| *now = now.saturating_sub(*before));
        last.count = last.buckets.iter().sum();
        last.max = last.buckets().last().map_or(Duration::ZERO, |(limit, _)| limit.min(self.max));
        last
    }

    /// Returns the number of counted durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the longest duration, or zero if there is none.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.max
    }

    /// Returns an upper bound of the quantile `part`, which is between 0 and 1. It is less than
    /// twice the quantile. Returns zero if nothing was counted.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        let rank = (part.clamp(0.0, 1.0) * self.count as f64).ceil() as u64;
        let mut below = 0;
        self.buckets()
            .find(|(_, number)| {
                below += number;
                below >= rank
            })
            .map_or(Duration::ZERO, |(limit, _)| limit.min(self.max))
    }

    /// Returns the buckets that are not empty, shortest first: the limit below which their
    /// durations are, and their number. The last bucket has no limit, and returns the longest
    /// duration.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let last = self.buckets.len() - 1;
        self.buckets.iter().enumerate().filter(|(_, number)| **number > 0).map(move |(index, number)| {
            (if index == last { self.max } else { Duration::from_micros(1 << index) }, *number)
        })
    }
}

/// Returns the index of the bucket for a number of microseconds.
#[inline]
fn bucket(micros: u64) -> usize {
    ((u64::BITS - micros.leading_zeros()) as usize).min(BUCKETS - 1)
}

/// A histogram of durations below five centuries that is written often and read rarely.
pub(crate) struct Recorder {
    buckets: [Cell<u64>; BUCKETS],
    max: Cell<u64>,
}

impl Recorder {
    /// Counts a duration in nanoseconds.
    #[inline]
    pub(crate) fn record(&self, nanos: u64) {
        let bucket = &self.buckets[bucket(nanos / 1000)];
        bucket.set(bucket.get() + 1);
        if nanos > self.max.get() {
            self.max.set(nanos);
        }
    }

    pub(crate) fn read(&self) -> Histogram {
        let buckets = self.buckets.each_ref().map(Cell::get);
        Histogram { buckets, count: buckets.iter().sum(), max: Duration::from_nanos(self.max.get()) }
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Recorder { buckets: [const { Cell::new(0) }; BUCKETS], max: Cell::new(0) }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram::new()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.buckets()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_below_its_buckets_limit_and_at_least_half_of_it() {
        for nanos in [0, 999, 1000, 1999, 2000, 3000, 4_000, 999_999_999, 1 << 45] {
            let mut histogram = Histogram::new();
            let duration = Duration::from_nanos(nanos);
            histogram.record(duration);
            let (limit, number) = histogram.buckets().next().unwrap();
            assert_eq!(number, 1);
            assert!(duration < limit && (nanos < 1000 || duration >= limit / 2), "{duration:?} in {limit:?}");
            assert_eq!((histogram.quantile(1.0), histogram.max()), (duration, duration));
        }
        let mut histogram = Histogram::new();
        assert_eq!((histogram.quantile(0.5), histogram.max()), (Duration::ZERO, Duration::ZERO));
        histogram.record(Duration::MAX);
        assert_eq!(histogram.buckets().next(), Some((Duration::MAX, 1)));
    }

    #[test]
    fn a_recorder_counts_like_a_histogram() {
        let (recorder, mut histogram) = (Recorder::default(), Histogram::new());
        for nanos in [0, 999, 1000, 1999, 2000, 1_000_000, u64::MAX] {
            recorder.record(nanos);
            histogram.record(Duration::from_nanos(nanos));
        }
        let read = recorder.read();
        assert_eq!((read.buckets, read.count, read.max), (histogram.buckets, histogram.count, histogram.max));
    }

    #[test]
    fn a_quantile_is_an_upper_bound_and_less_than_twice_the_exact_value() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|millis| histogram.record(Duration::from_millis(millis)));
        for (part, millis) in [(0.0, 1), (0.5, 500), (0.9, 900), (0.99, 990), (1.0, 1000)] {
            let exact = Duration::from_millis(millis);
            let quantile = histogram.quantile(part);
            assert!(quantile >= exact && quantile < exact * 2 + Duration::from_millis(1), "{part}: {quantile:?}");
        }
    }
}
