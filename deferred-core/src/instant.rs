//! `Instant`: that of the standard library, or one without a system.

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
pub use std::time::Instant;

#[cfg(all(target_family = "wasm", target_os = "unknown"))]
pub use without_system::Instant;

#[cfg(any(test, all(target_family = "wasm", target_os = "unknown")))]
#[cfg_attr(test, allow(unreachable_pub, reason = "it is public where it is used"))]
mod without_system {
    use std::cell::Cell;
    use std::ops::{Add, AddAssign, Sub, SubAssign};
    use std::time::Duration;

    thread_local! {
        static SOURCE: Cell<fn() -> Duration> = const { Cell::new(|| Duration::ZERO) };
    }

    /// A moment in time, on a system without a clock: `wasm32-unknown-unknown`, where
    /// [`std::time::Instant::now`] panics. It has the methods of [`std::time::Instant`].
    ///
    /// The program, or its driver, provides the time with
    /// [`set_time_source`](Instant::set_time_source). Until then it stands still.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct Instant(Duration);

    impl Instant {
        /// Sets the function that returns the time of this thread, as the duration since any fixed
        /// moment. It must never go backward.
        ///
        /// In a browser or in node, `performance.now()` returns it in milliseconds.
        pub fn set_time_source(since_start: fn() -> Duration) {
            SOURCE.set(since_start);
        }

        /// Returns the current time.
        #[must_use]
        pub fn now() -> Instant {
            Instant(SOURCE.get()())
        }

        /// Returns the time between `earlier` and this instant, or zero if this one is earlier.
        #[must_use]
        pub fn duration_since(&self, earlier: Instant) -> Duration {
            self.saturating_duration_since(earlier)
        }

        /// Like [`duration_since`](Self::duration_since), but `None` if this one is earlier.
        #[must_use]
        pub fn checked_duration_since(&self, earlier: Instant) -> Option<Duration> {
            self.0.checked_sub(earlier.0)
        }

        /// Like [`duration_since`](Self::duration_since).
        #[must_use]
        pub fn saturating_duration_since(&self, earlier: Instant) -> Duration {
            self.0.saturating_sub(earlier.0)
        }

        /// Returns the time since this instant.
        #[must_use]
        pub fn elapsed(&self) -> Duration {
            Instant::now().duration_since(*self)
        }

        /// Returns the instant that is `duration` later, unless it cannot be represented.
        #[must_use]
        pub fn checked_add(&self, duration: Duration) -> Option<Instant> {
            self.0.checked_add(duration).map(Instant)
        }

        /// Returns the instant that is `duration` earlier, unless it cannot be represented.
        #[must_use]
        pub fn checked_sub(&self, duration: Duration) -> Option<Instant> {
            self.0.checked_sub(duration).map(Instant)
        }
    }

    impl Add<Duration> for Instant {
        type Output = Instant;

        fn add(self, duration: Duration) -> Instant {
            Instant(self.0 + duration)
        }
    }

    impl AddAssign<Duration> for Instant {
        fn add_assign(&mut self, duration: Duration) {
            *self = *self + duration;
        }
    }

    impl Sub<Duration> for Instant {
        type Output = Instant;

        fn sub(self, duration: Duration) -> Instant {
            Instant(self.0 - duration)
        }
    }

    impl SubAssign<Duration> for Instant {
        fn sub_assign(&mut self, duration: Duration) {
            *self = *self - duration;
        }
    }

    impl Sub for Instant {
        type Output = Duration;

        fn sub(self, earlier: Instant) -> Duration {
            self.duration_since(earlier)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn time_stands_still_until_a_source_is_set() {
            let start = Instant::now();
            assert_eq!(start.elapsed(), Duration::ZERO);
            Instant::set_time_source(|| Duration::from_secs(5));
            assert_eq!(start.elapsed(), Duration::from_secs(5));
            Instant::set_time_source(|| Duration::ZERO);
        }

        #[test]
        fn it_calculates_as_that_of_the_standard_library() {
            let second = Duration::from_secs(1);
            let (ours, std) = (Instant::now(), std::time::Instant::now());
            assert_eq!((ours + second) - ours, (std + second) - std);
            assert_eq!(ours.duration_since(ours + second), std.duration_since(std + second));
            assert_eq!(ours.checked_duration_since(ours + second), std.checked_duration_since(std + second));
            assert_eq!((ours + second).checked_add(Duration::MAX), None);
            let mut moved = ours + second;
            moved += second;
            moved -= second;
            assert_eq!(moved - second, ours);
            assert_eq!(ours.checked_sub(second), None);
        }
    }
}
