//! `ReactorHandle::pending`: the list of what is pending on a loop, for another thread.

use super::RemoteFuture;
use crate::inspect::Pending;
use crate::reactor::ReactorHandle;

impl ReactorHandle {
    /// Lists what is pending on the reactor's thread: [`Reactor::pending`](crate::Reactor::pending),
    /// called there in a turn.
    ///
    /// While a call blocks the loop there is no turn. Wait with a timeout then; a
    /// [`Watchdog`](crate::Watchdog) names that call.
    ///
    /// # Errors
    ///
    /// The future fails with [`Abandoned`](crate::Abandoned) if the reactor is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    ///
    /// use deferred_core::{inspect, park};
    ///
    /// let _on = inspect::enable();
    /// let listed = park::run_until(|reactor| {
    ///     let (answer, resolver) = reactor.remote::<usize>();
    ///     let handle = reactor.handle();
    ///     thread::spawn(move || {
    ///         let pending = handle.pending().wait().expect("the loop runs");
    ///         resolver.callback(pending.items().len());
    ///     });
    ///     answer
    /// });
    /// assert!(listed.unwrap() >= 1);
    /// ```
    #[must_use = "the list is in the future"]
    #[track_caller]
    pub fn pending(&self) -> RemoteFuture<Pending> {
        let (future, completer) = RemoteFuture::new();
        // If the reactor is closed, dropping the call fires `Abandoned`.
        drop(self.call_from_thread_with(move |reactor| completer.callback(reactor.pending())));
        future
    }
}
