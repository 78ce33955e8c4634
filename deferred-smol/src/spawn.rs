//! Work for smol's executor, as a Deferred here.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use deferred_core::{Deferred, Failure, NoReactor, Panicked, Reactor};
use smol::future::FutureExt;

/// Runs `future` on smol's own executor, in the threads of that, and gives its result to a Deferred
/// of the current reactor, whose callbacks run on this thread, in a turn.
///
/// For what is to use more cores than this one, or what another crate wants to have spawned. What
/// belongs on this thread, such as a socket that a few callbacks share, is a coroutine:
/// [`inline_callbacks`](deferred_core::inline_callbacks).
///
/// # Errors
///
/// The Deferred fails with the error of `future`; with [`Panicked`] if it panics; with
/// [`Abandoned`](deferred_core::Abandoned) if the reactor is closed before; with [`NoReactor`]
/// where there is no current one, and then nothing runs.
///
/// # Cancellation
///
/// Fires [`Cancelled`](deferred_core::Cancelled) at once. `future` is dropped where it stands, soon
/// after, in a thread of smol's; one that is being polled, when it suspends. The end of the reactor
/// drops it too.
///
/// # Examples
///
/// ```
/// let sum = deferred_smol::run_until(|_| {
///     deferred_smol::spawn(async { Ok((1..=100).sum::<u32>()) }) // in a thread of smol's
///         .add_callback(|sum| Ok(sum * 2)) // here
/// });
/// assert_eq!(sum.unwrap(), 10_100);
/// ```
#[track_caller]
pub fn spawn<T: Send + 'static>(future: impl Future<Output = Result<T, Failure>> + Send + 'static) -> Deferred<T> {
    match Reactor::current() {
        Some(reactor) => spawn_on(&reactor, future),
        None => Deferred::fail(NoReactor::new()),
    }
}

#[track_caller]
fn spawn_on<T: Send + 'static>(
    reactor: &Reactor,
    future: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Deferred<T> {
    // Held by the canceller: dropping a task of smol's cancels it, and so does whatever drops the
    // Deferred's end.
    let task = Rc::new(Cell::new(None));
    let slot = task.clone();
    let (deferred, resolver) = reactor.remote_with_canceller(move || {
        drop(slot.take());
        None
    });
    if !resolver.is_cancelled() {
        task.set(Some(smol::spawn(async move {
            let result = AssertUnwindSafe(future).catch_unwind().await;
            resolver.fire(result.unwrap_or_else(|payload| Err(Panicked::new(payload).into())));
        })));
    }
    deferred
}
