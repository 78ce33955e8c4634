//! `Reactor::retry` and `Backoff`: repeats an operation until it succeeds.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::ops::ControlFlow;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use crate::combine::noticing_cancel;
use crate::context::Context;
use crate::deferred::{Deferred, IntoDeferred, maybe_deferred_at, repeat_until_at};
use crate::engine::StageOutput;
use crate::error::{BuiltinError, DeferredError, Failure};
use crate::reactor::Reactor;

/// The delays between attempts and the number of attempts, for [`Reactor::retry`].
///
/// By default each delay is twice as long as the one before, up to a minute, and is shortened by a
/// random part of up to a half, so that clients that failed together do not retry together. The
/// number of attempts is not limited unless [`max_attempts`](Self::max_attempts) sets it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use deferred_core::Backoff;
///
/// let backoff = Backoff::new(Duration::from_millis(100)).max_delay(Duration::from_secs(10)).max_attempts(5);
/// # let _ = backoff;
/// ```
#[derive(Clone, Debug)]
#[must_use = "a backoff does nothing until it is passed to `Reactor::retry`"]
pub struct Backoff {
    first: Duration,
    next: Duration,
    /// The number of attempts that were made.
    made: u32,
    max_delay: Duration,
    factor: f64,
    jitter: f64,
    attempts: Option<u32>,
    random: u64,
}

impl Backoff {
    /// Creates a backoff whose first delay is at most `first`.
    pub fn new(first: Duration) -> Backoff {
        Backoff {
            first,
            next: first,
            made: 0,
            max_delay: Duration::from_secs(60),
            factor: 2.0,
            jitter: 0.5,
            attempts: None,
            random: RandomState::new().build_hasher().finish() | 1,
        }
    }

    /// Sets the maximum delay. Defaults to a minute.
    pub fn max_delay(self, max_delay: Duration) -> Backoff {
        Backoff { max_delay, ..self }
    }

    /// Sets the factor by which the delay is multiplied after each attempt. Defaults to 2.
    ///
    /// # Panics
    ///
    /// Panics if `factor` is less than 1 or not a number.
    pub fn factor(self, factor: f64) -> Backoff {
        assert!(factor >= 1.0, "the factor must be at least 1, not {factor}");
        Backoff { factor, ..self }
    }

    /// Sets the maximum part by which a delay is shortened at random: 0 for none, 1 for all of it.
    /// Defaults to 0.5.
    ///
    /// # Panics
    ///
    /// Panics if `jitter` is not between 0 and 1.
    pub fn jitter(self, jitter: f64) -> Backoff {
        assert!((0.0..=1.0).contains(&jitter), "the jitter must be between 0 and 1, not {jitter}");
        Backoff { jitter, ..self }
    }

    /// Sets the maximum number of attempts, including the first. 0 behaves like 1. Defaults to no
    /// limit.
    pub fn max_attempts(self, attempts: u32) -> Backoff {
        Backoff { attempts: Some(attempts.max(1)), ..self }
    }

    /// Seeds the random numbers, so that a test gets the same delays each time.
    pub fn seed(self, seed: u64) -> Backoff {
        Backoff { random: if seed == 0 { u64::MAX } else { seed }, ..self }
    }

    /// Notes a failed attempt. Returns the delay before the next one, or `None` if it was the last.
    /// [`Reactor::retry`] calls this; call it in a loop of your own.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_core::Backoff;
    ///
    /// let mut backoff = Backoff::new(Duration::from_secs(1)).jitter(0.0).max_attempts(3);
    /// assert_eq!(backoff.next_delay(), Some(Duration::from_secs(1)));
    /// assert_eq!(backoff.next_delay(), Some(Duration::from_secs(2)));
    /// assert_eq!(backoff.next_delay(), None);
    /// backoff.reset();
    /// assert_eq!(backoff.next_delay(), Some(Duration::from_secs(1)));
    /// ```
    pub fn next_delay(&mut self) -> Option<Duration> {
        self.made = self.made.saturating_add(1);
        if self.attempts.is_some_and(|attempts| self.made >= attempts) {
            return None;
        }
        let wait = self.next.min(self.max_delay);
        self.next = Duration::try_from_secs_f64(wait.as_secs_f64() * self.factor).unwrap_or(self.max_delay);
        // xorshift64, whose upper bits are the better ones.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let random = (self.random >> 11) as f64 / (1_u64 << 53) as f64;
        // The conversion of the longest duration to a float rounds up, and would fail.
        Some(Duration::try_from_secs_f64(wait.as_secs_f64() * (1.0 - self.jitter * random)).unwrap_or(wait))
    }

    /// Notes a success: the next delay is the first one again.
    pub fn reset(&mut self) {
        self.next = self.first;
        self.made = 0;
    }
}

impl Reactor {
    /// Calls `f` until it succeeds, with the delays of `backoff` in between. The argument of `f` is
    /// the number of previous attempts.
    ///
    /// It uses no stack, for any number of attempts. Use [`retry_if`](Self::retry_if) if some
    /// errors are not worth another attempt.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with the error of the last attempt, or with
    /// [`Abandoned`](crate::Abandoned) if the reactor is closed during a delay. An error that is
    /// [`Cancelled`](crate::Cancelled) is not retried, and no attempt but the first begins
    /// after the [deadline](crate::context#deadlines) of the context in which this was called.
    ///
    /// # Cancellation
    ///
    /// Cancelling the returned Deferred cancels the current attempt or delay, and prevents further
    /// attempts, whatever result the attempt has.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_core::testing::success_result_of;
    /// use deferred_core::{Backoff, Clock, Failure};
    ///
    /// let clock = Clock::new();
    /// let connected = clock.retry(Backoff::new(Duration::from_secs(1)), |attempt| {
    ///     if attempt < 3 { Err(Failure::msg("no answer")) } else { Ok(attempt) }
    /// });
    /// clock.advance_in_steps(Duration::from_secs(7));
    /// assert_eq!(success_result_of(connected), 3);
    /// ```
    #[track_caller]
    pub fn retry<R: IntoDeferred<Failure>>(
        &self,
        backoff: Backoff,
        f: impl FnMut(u32) -> R + 'static,
    ) -> Deferred<R::Value> {
        self.retry_if(backoff, |_| true, f)
    }

    /// Like [`retry`](Self::retry), but tries again only after errors for which `is_retryable`
    /// returns `true`.
    ///
    /// # Cancellation
    ///
    /// Like [`retry`](Self::retry).
    #[track_caller]
    pub fn retry_if<R: IntoDeferred<Failure>>(
        &self,
        mut backoff: Backoff,
        is_retryable: impl FnMut(&Failure) -> bool + 'static,
        mut f: impl FnMut(u32) -> R + 'static,
    ) -> Deferred<R::Value> {
        let (reactor, at, context) = (self.clone(), Location::caller(), Context::current());
        let is_retryable = Rc::new(RefCell::new(is_retryable));
        let mut made = 0;
        noticing_cancel(at, "retry", move |notice| {
            repeat_until_at(at, move || {
                let attempt = context.run(|| maybe_deferred_at(at, || f(made)));
                made += 1;
                let (reactor, is_retryable, wait) = (reactor.clone(), is_retryable.clone(), backoff.next_delay());
                let (context, notice) = (context.clone(), notice.clone());
                attempt.add_stage_at(at, move |result| {
                    let failure = match result {
                        Ok(value) => return StageOutput::Ready(Ok(ControlFlow::Break(value))),
                        Err(failure) => failure,
                    };
                    let ended = notice.is_cancelled() || is_cancelled(&failure);
                    match wait.filter(|wait| !ended && is_in_time(*wait, &context, &reactor)) {
                        Some(wait) if context.run(|| (is_retryable.borrow_mut())(&failure)) => {
                            let sleep = reactor.sleep_at(wait, at);
                            let waited = move |slept: Result<(), Failure>| {
                                // The loop can have been blocked for longer.
                                let in_time = is_in_time(Duration::ZERO, &context, &reactor);
                                StageOutput::Ready(match slept {
                                    Ok(()) if !in_time => Err(failure),
                                    slept => slept.map(ControlFlow::Continue),
                                })
                            };
                            sleep.add_stage_at(at, waited).into_output()
                        }
                        _ => StageOutput::Ready(Err(failure)),
                    }
                })
            })
        })
    }
}

/// Returns `true` if an attempt after this time begins before the deadline of the context.
fn is_in_time(wait: Duration, context: &Context, reactor: &Reactor) -> bool {
    context.deadline().is_none_or(|deadline| deadline.saturating_duration_since(reactor.now()) > wait)
}

fn is_cancelled(failure: &Failure) -> bool {
    matches!(failure.builtin(), Some(BuiltinError::Cancelled(_)))
}
