//! `Failure::wrap_msg`: an error with a text before it.

use std::any::Any;
use std::error::Error;
use std::fmt;

use super::failure::Held;
use super::interop::ReportError;
use super::{BuiltinError, DeferredError, Failure, TimedOut};

/// A text and the failure it was added to, which is its source. It does not hide that failure from
/// `trap` and the downcasts.
pub(super) struct Wrapped {
    pub(super) text: String,
    pub(super) failure: Failure,
}

impl Failure {
    /// Adds a text that says what failed: `context` of `anyhow`, `wrap_err` of `eyre`.
    ///
    /// The text becomes the message. The error so far becomes its cause, which `{:#}` and `{:?}`
    /// print too. It is found as before by [`trap`](Failure::trap), [`check`](Failure::check) and
    /// the downcasts, so that a cancel stays a cancel, and a timeout around it makes it a
    /// [`TimedOut`](crate::TimedOut) with the same text. The trail goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use deferred_core::testing::failure_result_of;
    /// use deferred_core::{Deferred, Failure, TimedOut};
    ///
    /// fn load(user: u32) -> Deferred<String> {
    ///     let answer = Deferred::fail(TimedOut::after(Duration::from_secs(1)));
    ///     answer.map_err(move |failure: Failure| failure.wrap_msg(format!("loading user {user}")))
    /// }
    ///
    /// let failure = failure_result_of(load(7));
    /// assert_eq!(failure.to_string(), "loading user 7");
    /// assert_eq!(format!("{failure:#}"), "loading user 7: timed out after 1s");
    /// assert!(failure.check::<TimedOut>());
    /// ```
    #[must_use]
    pub fn wrap_msg(self, text: impl Into<String>) -> Failure {
        let text = text.into();
        self.wrap(|failure| Wrapped { text, failure })
    }
}

/// Turns the error of a cancel into that of a timeout. The texts that were added to a failure stay.
pub(crate) fn into_timed_out<E: DeferredError>(mut cancelled: E, timed_out: TimedOut) -> E {
    let failure = (&mut cancelled as &mut dyn Any).downcast_mut::<Failure>();
    match failure.map(|failure| (texts(failure), failure)) {
        Some((texts, failure)) if !texts.is_empty() => {
            let wraps = |error: Failure, text: String| error.wrap_msg(text);
            failure.replace_error(texts.into_iter().rev().fold(Failure::from(timed_out), wraps));
            cancelled
        }
        _ => BuiltinError::from(timed_out).into(),
    }
}

/// Returns the texts that were added to a failure, by [`Failure::wrap_msg`] or in another crate's
/// report.
fn texts(failure: &Failure) -> Vec<String> {
    let (mut texts, mut held) = (Vec::new(), failure.held());
    while let Held::Other { error, .. } = held {
        if let Some(wrapped) = error.downcast_ref::<Wrapped>() {
            texts.push(wrapped.text.clone());
            held = wrapped.failure.held();
        } else if let Some(report) = error.downcast_ref::<ReportError>() {
            let (contexts, shared) = report.contexts();
            texts.extend(contexts);
            let Some(shared) = shared else { break };
            held = shared.held();
        } else {
            break;
        }
    }
    texts
}

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl Error for Wrapped {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.failure.error())
    }
}
