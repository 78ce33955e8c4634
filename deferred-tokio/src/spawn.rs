//! `spawn`: futures as tasks of the runtime.

use std::future::Future;

#[cfg(doc)]
use deferred_core::Panicked;
use deferred_core::{Deferred, Failure, NoReactor, Reactor};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Runs `future` as a task of the current tokio runtime. Returns a Deferred of the current reactor
/// for its result, whose callbacks run on this thread, in a turn.
///
/// On a multi-thread runtime the task runs in its worker threads. Code that belongs on this thread
/// is better a coroutine: [`inline_callbacks`](deferred_core::inline_callbacks).
///
/// # Errors
///
/// The returned Deferred fails with the error of `future`, with [`Panicked`] if it panics, with
/// [`Abandoned`](deferred_core::Abandoned) if the reactor is closed or the runtime is shut down
/// before, or with [`NoReactor`] if there is no current reactor; `future` does not run then.
///
/// # Panics
///
/// Panics outside of a tokio runtime, like `tokio::spawn`.
///
/// # Cancellation
///
/// The returned Deferred fires [`Cancelled`](deferred_core::Cancelled) at once, and the task is
/// [aborted](tokio::task::JoinHandle::abort). Closing the reactor does so too.
///
/// # Examples
///
/// ```
/// let sum = deferred_tokio::run_until(|_| {
///     deferred_tokio::spawn(async { Ok((1..=100).sum::<u32>()) })
///         .add_callback(|sum| Ok(sum * 2)) // on this thread
/// });
/// assert_eq!(sum.unwrap(), 10_100);
/// ```
///
/// From a [`start_thread`](crate::start_thread), a task on the runtime of the program, not that of
/// the thread:
///
/// ```
/// use deferred_tokio::{Failure, spawn, start_thread};
/// use tokio::runtime::Handle;
///
/// #[tokio::main]
/// async fn main() -> Result<(), Failure> {
///     let program = Handle::current();
///     let thread = start_thread(|_| ()).await?;
///     let sum = thread.call(move |_| {
///         let _entered = program.enter();
///         spawn(async { Ok((1..=100).sum::<u32>()) })
///     });
///     assert_eq!(sum.await?, 5050);
///     Ok(())
/// }
/// ```
#[track_caller]
pub fn spawn<T: Send + 'static>(future: impl Future<Output = Result<T, Failure>> + Send + 'static) -> Deferred<T> {
    let runtime = Handle::current();
    match Reactor::current() {
        Some(reactor) => reactor.spawn_with(future, |task| AbortOnDrop(runtime.spawn(task))),
        None => Deferred::fail(NoReactor::new()),
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
