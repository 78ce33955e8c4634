//! Coroutines: `async` blocks that wait for Deferreds, run by the engine.
//!
//! - this file: how one is started;
//! - `wait`: what `.await` makes of a Deferred, in a coroutine and in any other future;
//! - `task`: a coroutine that is suspended: what resumes, cancels and ends it;
//! - `awaited`: the Deferreds that one waits for;
//! - `current`: which coroutine runs on this thread just now;
//! - `wakes`: the `Waker` for what is no Deferred.
//!
//! # How one is resumed
//!
//! A [`Wait`] that is polled by a coroutine asks which one that is, and leaves a record in the
//! Deferred's block: resume it. There is no `Waker` in that. When the result is there, the engine's
//! loop comes to the record and polls the coroutine, inside the call that fired; where the
//! coroutine ends by that, the loop goes on with the Deferred of the coroutine. So a million
//! coroutines that wait for each other unwind in one loop.
//!
//! A future that is no Deferred gets a `Waker`. Waking never polls. On the coroutine's thread it
//! queues: in a turn of a reactor, for the batch of that turn or the next one; elsewhere, for the
//! end of the outermost engine call, or of the next call where the coroutine has no reactor. From
//! another thread it is posted to the reactor.

mod awaited;
mod current;
mod registry;
mod task;
mod wait;

use std::future::Future;
use std::panic::Location;

pub use wait::Wait;

use crate::deferred::Deferred;
use crate::error::{CallSite, DeferredError, Failure};
use crate::reactor::Reactor;

/// Starts a coroutine: runs it at once, inside this call, up to the first Deferred that has no
/// result yet.
///
/// `.await` on a Deferred gives its result, so `?` works on it, and the coroutine is resumed inside
/// the call that fires that Deferred. What the coroutine returns is the result of the Deferred that
/// this gives. A panic inside it is [`Panicked`](crate::Panicked) there. Dropping the Deferred does
/// not end it.
///
/// It may await other futures too, such as sockets and channels, if there is a
/// [current](Reactor::current) reactor when it is started; that one is the current one whenever it
/// runs. Without a reactor, one that has to wait for something that is no Deferred ends with
/// [`NoReactor`](crate::NoReactor). One that waits for a Deferred and for something else at once is
/// not found out by that.
///
/// Twisted's `inlineCallbacks`, and its `ensureDeferred` of an `async def`.
///
/// # Cancellation
///
/// Cancelling its Deferred cancels what the coroutine waits for, in the order in which it has begun
/// to wait. It sees the error at its `.await`, and may handle it and go on. If it waits for nothing
/// that can be cancelled, it is dropped where it stands, and its Deferred fires
/// [`Cancelled`](crate::Cancelled). A cancel that comes while it runs is kept for the next time
/// that it waits. (Twisted loses that one.)
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, Failure, inline_callbacks};
///
/// fn length(name: Deferred<String>) -> Deferred<usize> {
///     inline_callbacks(async move {
///         let name = name.await?;
///         if name.is_empty() {
///             return Err(Failure::msg("no name"));
///         }
///         Ok(name.len())
///     })
/// }
///
/// let (name, resolver) = Deferred::new();
/// let mut length = length(name);
/// assert!(length.peek().is_none());
/// resolver.callback("Twisted".to_owned()); // resumes it, in here
/// assert_eq!(length.peek().unwrap().unwrap(), &7);
/// ```
#[doc(alias = "inlineCallbacks")]
#[doc(alias = "ensureDeferred")]
#[doc(alias = "spawn")]
#[track_caller]
pub fn inline_callbacks<T: 'static>(coroutine: impl Future<Output = Result<T, Failure>> + 'static) -> Deferred<T> {
    task::start(coroutine, Location::caller())
}

impl<T: 'static, E: DeferredError> Deferred<T, E> {
    /// [`inline_callbacks`] with an error type of your own.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::{Deferred, BuiltinError};
    ///
    /// let (inner, resolver) = Deferred::<u32, BuiltinError>::typed();
    /// let outer = Deferred::from_coroutine(async move { Ok(inner.await? + 1) });
    /// drop(resolver);
    /// assert!(matches!(outer.try_take(), Ok(Err(BuiltinError::Abandoned(_)))));
    /// ```
    #[track_caller]
    pub fn from_coroutine(coroutine: impl Future<Output = Result<T, E>> + 'static) -> Deferred<T, E> {
        task::start(coroutine, Location::caller())
    }

    /// [`from_coroutine`](Deferred::from_coroutine) for one that is made at `at`.
    pub(crate) fn from_coroutine_at(
        at: CallSite,
        coroutine: impl Future<Output = Result<T, E>> + 'static,
    ) -> Deferred<T, E> {
        task::start(coroutine, at)
    }
}

impl Reactor {
    /// [`inline_callbacks`] with this reactor, whichever is the current one.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::park;
    /// use futures::channel::oneshot;
    ///
    /// let sum = park::run_until(|reactor| {
    ///     let (sender, receiver) = oneshot::channel();
    ///     std::thread::spawn(move || sender.send(20));
    ///     reactor.ensure_deferred(async move { Ok(receiver.await? + 1) })
    /// });
    /// assert_eq!(sum.unwrap(), 21);
    /// ```
    #[track_caller]
    pub fn ensure_deferred<T: 'static>(
        &self,
        coroutine: impl Future<Output = Result<T, Failure>> + 'static,
    ) -> Deferred<T> {
        self.ensure_deferred_at(Location::caller(), coroutine)
    }

    /// [`ensure_deferred`](Self::ensure_deferred) with the place that the coroutine is named by: by
    /// a [`Watchdog`](crate::Watchdog), and where nobody handles its error. For an adapter whose
    /// caller asked for it earlier.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::panic::Location;
    /// use deferred_core::{Failure, Reactor, on_unhandled};
    ///
    /// let at = Location::caller();
    /// let _hook = on_unhandled(move |unhandled| assert!(unhandled.to_string().contains(&at.to_string())));
    /// drop(Reactor::new().ensure_deferred_at::<()>(at, async { Err(Failure::msg("no such row")) }));
    /// ```
    pub fn ensure_deferred_at<T: 'static>(
        &self,
        at: &'static Location<'static>,
        coroutine: impl Future<Output = Result<T, Failure>> + 'static,
    ) -> Deferred<T> {
        let _entered = self.enter();
        task::start(coroutine, at)
    }
}
