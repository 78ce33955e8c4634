//! Trying again.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::ops::ControlFlow;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use crate::deferred::{Deferred, IntoDeferred, maybe_deferred_at, repeat_until};
use crate::engine::StageOutput;
use crate::error::{BuiltinError, DeferredError, Failure};
use crate::reactor::Reactor;

/// How long to wait between attempts, and how many there are: for [`Reactor::retry`].
///
/// Each wait is twice as long as the one before, up to a minute, and a random part of it is left
/// out, so that many who failed together do not try again together. There is no last attempt unless
/// [`attempts`](Self::attempts) says so.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use deferred_core::Backoff;
///
/// let backoff = Backoff::new(Duration::from_millis(100)).max_delay(Duration::from_secs(10)).attempts(5);
/// # let _ = backoff;
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing before it is given to `Reactor::retry`"]
pub struct Backoff {
    next: Duration,
    most: Duration,
    factor: f64,
    jitter: f64,
    attempts: Option<u32>,
    random: u64,
}

impl Backoff {
    /// One whose first wait is at most `first`.
    pub fn new(first: Duration) -> Backoff {
        Backoff {
            next: first,
            most: Duration::from_secs(60),
            factor: 2.0,
            jitter: 0.5,
            attempts: None,
            random: RandomState::new().build_hasher().finish() | 1,
        }
    }

    /// No wait is longer than this.
    pub fn max_delay(self, most: Duration) -> Backoff {
        Backoff { most, ..self }
    }

    /// Each wait is so many times as long as the one before.
    ///
    /// # Panics
    ///
    /// If that is less than 1, or no number.
    pub fn factor(self, factor: f64) -> Backoff {
        assert!(factor >= 1.0, "each wait must be at least as long as the one before, and not {factor} times");
        Backoff { factor, ..self }
    }

    /// Which part of a wait may be left out, at random: 0 for none, 1 for all of it.
    ///
    /// # Panics
    ///
    /// If it is not between 0 and 1.
    pub fn jitter(self, jitter: f64) -> Backoff {
        assert!((0.0..=1.0).contains(&jitter), "the jitter must be between 0 and 1, and not {jitter}");
        Backoff { jitter, ..self }
    }

    /// So many attempts at most; 0 counts as 1.
    pub fn attempts(self, attempts: u32) -> Backoff {
        Backoff { attempts: Some(attempts.max(1)), ..self }
    }

    /// Makes the random part the same each time, for a test.
    pub fn seed(self, seed: u64) -> Backoff {
        Backoff { random: if seed == 0 { u64::MAX } else { seed }, ..self }
    }

    /// The next wait; none after the last attempt, of which `made` were made.
    fn wait(&mut self, made: u32) -> Option<Duration> {
        if self.attempts.is_some_and(|attempts| made >= attempts) {
            return None;
        }
        let wait = self.next.min(self.most);
        self.next = Duration::try_from_secs_f64(wait.as_secs_f64() * self.factor).unwrap_or(self.most);
        // xorshift64, of which the upper bits are the better ones.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let random = (self.random >> 11) as f64 / (1_u64 << 53) as f64;
        // The longest one is too long for a number with a point, which rounds it up.
        Some(Duration::try_from_secs_f64(wait.as_secs_f64() * (1.0 - self.jitter * random)).unwrap_or(wait))
    }
}

impl Reactor {
    /// Calls `f` until it succeeds, and waits in between as `backoff` says. `f` is given how many
    /// attempts were made before.
    ///
    /// It needs no stack, however many attempts there are. Errors that it makes no sense to try
    /// again after are to be told by [`retry_if`](Self::retry_if).
    ///
    /// # Errors
    ///
    /// Through the Deferred: the last attempt's.
    ///
    /// # Cancellation
    ///
    /// Cancels the attempt, or the wait, that goes on, and there is no further one.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_core::{Backoff, Clock, Failure};
    ///
    /// let clock = Clock::new();
    /// let connected = clock.retry(Backoff::new(Duration::from_secs(1)), |attempt| {
    ///     if attempt < 3 { Err(Failure::msg("no answer")) } else { Ok(attempt) }
    /// });
    /// clock.advance_in_steps(Duration::from_secs(7));
    /// assert_eq!(connected.try_take().unwrap().unwrap(), 3);
    /// ```
    #[track_caller]
    pub fn retry<R: IntoDeferred<Failure>>(
        &self,
        backoff: Backoff,
        f: impl FnMut(u32) -> R + 'static,
    ) -> Deferred<R::Value> {
        self.retry_if(backoff, |_| true, f)
    }

    /// [`retry`](Self::retry) that goes on only after errors of which `again` says so.
    ///
    /// # Cancellation
    ///
    /// As [`retry`](Self::retry).
    #[track_caller]
    pub fn retry_if<R: IntoDeferred<Failure>>(
        &self,
        mut backoff: Backoff,
        again: impl FnMut(&Failure) -> bool + 'static,
        mut f: impl FnMut(u32) -> R + 'static,
    ) -> Deferred<R::Value> {
        let (reactor, at) = (self.clone(), Location::caller());
        let again = Rc::new(RefCell::new(again));
        let mut made = 0;
        repeat_until(move || {
            let attempt = maybe_deferred_at(at, || f(made));
            made += 1;
            let (reactor, again, wait) = (reactor.clone(), again.clone(), backoff.wait(made));
            attempt.add_stage_at(at, move |result| match (result, wait) {
                (Ok(value), _) => StageOutput::Ready(Ok(ControlFlow::Break(value))),
                (Err(failure), Some(wait)) if !is_cancelled(&failure) && (again.borrow_mut())(&failure) => {
                    reactor.sleep(wait).map(ControlFlow::Continue).into_output()
                }
                (Err(failure), _) => StageOutput::Ready(Err(failure)),
            })
        })
    }
}

fn is_cancelled(failure: &Failure) -> bool {
    matches!(failure.builtin(), Some(BuiltinError::Cancelled(_)))
}
