//! `spawn`: futures in the threads of smol's executor.

use std::future::Future;

#[cfg(doc)]
use deferred_core::Panicked;
use deferred_core::{Deferred, Failure, NoReactor, Reactor};

/// Runs `future` in the threads of smol's global executor. Returns a Deferred of the current
/// reactor for its result, whose callbacks run on this thread, in a turn.
///
/// Use it for work that should use other cores, or for a future that needs `Send`. Code that
/// belongs on this thread, such as a socket that several callbacks share, is better a coroutine:
/// [`inline_callbacks`](deferred_core::inline_callbacks).
///
/// # Errors
///
/// The returned Deferred fails with the error of `future`, with [`Panicked`] if it panics, with
/// [`Abandoned`](deferred_core::Abandoned) if the reactor is closed before, or with [`NoReactor`]
/// if there is no current reactor; `future` does not run then.
///
/// # Cancellation
///
/// The returned Deferred fires [`Cancelled`](deferred_core::Cancelled) at once. `future` is dropped
/// soon after, in a thread of smol; if it is being polled, when that poll returns. Closing the
/// reactor drops it too.
///
/// # Examples
///
/// ```
/// let sum = deferred_smol::run_until(|_| {
///     deferred_smol::spawn(async { Ok((1..=100).sum::<u32>()) }) // in a thread of smol
///         .add_callback(|sum| Ok(sum * 2)) // on this thread
/// });
/// assert_eq!(sum.unwrap(), 10_100);
/// ```
#[doc(alias = "deferToThread")]
#[track_caller]
pub fn spawn<T: Send + 'static>(future: impl Future<Output = Result<T, Failure>> + Send + 'static) -> Deferred<T> {
    match Reactor::current() {
        // Dropping a task of smol cancels it.
        Some(reactor) => reactor.spawn_with(future, smol::spawn),
        None => Deferred::fail(NoReactor::new()),
    }
}
