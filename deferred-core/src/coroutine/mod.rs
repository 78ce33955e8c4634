//! Coroutines: `async` blocks that await Deferreds, resumed by the engine.
//!
//! - this file: the functions that start a coroutine;
//! - `wait`: the future that `.await` creates from a Deferred, in a coroutine or in any other
//!   future;
//! - `task`: a suspended coroutine: how it is resumed, cancelled and ended;
//! - `awaited`: the Deferreds that a coroutine waits for;
//! - `frame`: the future of a coroutine;
//! - `current`: the coroutine that runs on this thread now;
//! - `registry`: the coroutines that a waker can reach.
//!
//! # How a coroutine is resumed
//!
//! A [`Wait`] that is polled by a coroutine appends a record to the Deferred's block: "resume that
//! coroutine". No `Waker` is involved. When the result is ready, the engine's run loop reaches the
//! record and polls the coroutine, inside the call that fired. If the coroutine finishes, the loop
//! goes on with the coroutine's Deferred. So a million coroutines that wait for each other unwind
//! in one loop.
//!
//! A future that is not a Deferred gets a `Waker`. Waking never polls. On the coroutine's thread it
//! queues the coroutine: during a turn of a reactor for the batch of that turn or the next one;
//! otherwise for the end of the outermost engine call, or of the next one if the coroutine has no
//! reactor. On another thread it posts a call to the reactor.

mod awaited;
mod current;
mod frame;
mod registry;
mod task;
mod wait;

use std::future::Future;
use std::panic::Location;

pub use wait::Wait;

use crate::deferred::Deferred;
use crate::error::{CallSite, DeferredError, Failure};
use crate::reactor::Reactor;

/// Starts a coroutine. It runs inside this call up to the first Deferred that is not ready.
///
/// `.await` on a Deferred returns its result, so `?` works on it. The coroutine is resumed inside
/// the call that fires that Deferred. The returned Deferred fires with the coroutine's result, or
/// with [`Panicked`](crate::Panicked) if it panics. Dropping the returned Deferred does not end the
/// coroutine.
///
/// A coroutine can await other futures too, such as sockets and channels, if there is a
/// [current](Reactor::current) reactor when it starts; that reactor is the current one whenever the
/// coroutine runs. Without a reactor, a coroutine that waits for such a future ends with
/// [`NoReactor`](crate::NoReactor). This is not detected while it also waits for a Deferred.
///
/// Twisted's `inlineCallbacks`, and its `ensureDeferred` of an `async def`.
///
/// # Cancellation
///
/// Cancelling the returned Deferred cancels the Deferreds that the coroutine waits for, in the
/// order in which the waits began. The coroutine sees the error at its `.await`, and can handle it
/// and go on. If it waits for nothing that can be cancelled, it is dropped, and its Deferred fires
/// [`Cancelled`](crate::Cancelled). A cancel that comes while the coroutine runs takes effect at
/// its next wait. (Twisted loses that cancel.)
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
/// resolver.callback("Twisted".to_owned()); // resumes the coroutine inside this call
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
    /// Like [`inline_callbacks`], but for an error type of your own.
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

    /// Like [`from_coroutine`](Deferred::from_coroutine), but with the location where the coroutine
    /// was created.
    pub(crate) fn from_coroutine_at(
        at: CallSite,
        coroutine: impl Future<Output = Result<T, E>> + 'static,
    ) -> Deferred<T, E> {
        task::start(coroutine, at)
    }
}

impl Reactor {
    /// Like [`inline_callbacks`], but with this reactor instead of the current one.
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
    #[doc(alias = "ensureDeferred")]
    #[track_caller]
    pub fn ensure_deferred<T: 'static>(
        &self,
        coroutine: impl Future<Output = Result<T, Failure>> + 'static,
    ) -> Deferred<T> {
        self.ensure_deferred_at(Location::caller(), coroutine)
    }

    /// Like [`ensure_deferred`](Self::ensure_deferred), but under the location `at`, which a
    /// [`Watchdog`](crate::Watchdog) and the report of an unhandled error name. This is for an
    /// adapter whose caller made the request earlier.
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
