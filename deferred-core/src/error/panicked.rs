//! `Panicked`: the error of code that panicked.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use parking_lot::Mutex;

use super::DeferredError;
use super::nested::{Nested, drop_flat};
use crate::abort::never_unwinding;

/// The error of a callback, a job or a coroutine that panicked. It holds the payload of the panic.
///
/// # Examples
///
/// ```
/// use std::panic;
///
/// use deferred_core::Panicked;
///
/// let payload = panic::catch_unwind(|| panic!("no such row")).unwrap_err();
/// let panicked = Panicked::new(payload);
/// assert_eq!(panicked.message(), "no such row");
///
/// // Resumes the panic on the calling thread.
/// fn resume(panicked: Panicked) -> ! {
///     panic::resume_unwind(panicked.into_payload())
/// }
/// ```
// Boxed, so that a `BuiltinError` stays small.
pub struct Panicked(Box<Panic>);

struct Panic {
    message: Cow<'static, str>,
    /// The payload is only `Send`; the lock makes it `Sync`.
    payload: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Panicked {
    /// Creates the error from the payload that [`catch_unwind`](std::panic::catch_unwind) or
    /// [`join`](std::thread::JoinHandle::join) returned.
    #[must_use]
    pub fn new(payload: Box<dyn Any + Send>) -> Panicked {
        let message = if let Some(text) = payload.downcast_ref::<&'static str>() {
            Cow::Borrowed(*text)
        } else if let Some(text) = payload.downcast_ref::<String>() {
            Cow::Owned(text.clone())
        } else {
            Cow::Borrowed("Box<dyn Any>")
        };
        Panicked(Box::new(Panic { message, payload: Mutex::new(Some(payload)) }))
    }

    /// Returns the message: the text of `panic!`, or `Box<dyn Any>` if the payload is neither a
    /// `&str` nor a `String`.
    ///
    /// The message remains after the payload is taken.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Takes the payload of the panic. Returns `None` if it was taken before.
    #[must_use]
    pub fn take_payload(&self) -> Option<Box<dyn Any + Send>> {
        self.0.payload.lock().take()
    }

    /// Returns the payload, for [`resume_unwind`](std::panic::resume_unwind). If it was taken
    /// before, returns the message as a `String`.
    #[must_use]
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.take_payload().unwrap_or_else(|| Box::new(self.message().to_owned()))
    }
}

impl Drop for Panic {
    fn drop(&mut self) {
        if let Some(payload) = self.payload.get_mut().take() {
            drop_payload(payload);
        }
    }
}

/// Turns the payload of a panic into an error.
#[cold]
pub(crate) fn from_panic<E: DeferredError>(payload: Box<dyn Any + Send>) -> E {
    never_unwinding(|| E::from(Panicked::new(payload).into()))
}

/// Drops the payload of a panic without recursion, since it may be an error that holds another
/// payload. Catches a panic of its destructor.
pub(crate) fn drop_payload(payload: Box<dyn Any + Send>) {
    drop_flat(Nested::Payload(payload));
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.message())
    }
}

impl fmt::Debug for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panicked").field("message", &self.message()).finish_non_exhaustive()
    }
}

impl Error for Panicked {}
