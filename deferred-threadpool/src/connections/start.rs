//! `ConnectionPool::start`: opens the minimum number of connections before the first job.
//!
//! A thread can open only its own connection, so each connection takes a job, and each job stays in
//! its thread until the others have begun in theirs.

use std::sync::Arc;
use std::time::Duration;

use deferred_core::{Deferred, deferred_list};
use parking_lot::{Condvar, Mutex};

use super::manage::ManageConnection;
use super::pool::ConnectionPool;

/// The time for which a job waits for the next one to begin. It passes only if the system refuses
/// to start another thread.
const PATIENCE: Duration = Duration::from_secs(1);

/// The jobs that have not begun, nor were refused.
#[derive(Default)]
struct Waiting {
    count: Mutex<usize>,
    changed: Condvar,
}

/// A job that has not begun.
struct Ticket(Arc<Waiting>);

impl Ticket {
    fn new(waiting: &Arc<Waiting>) -> Ticket {
        *waiting.count.lock() += 1;
        Ticket(waiting.clone())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        *self.0.count.lock() -= 1;
        self.0.changed.notify_all();
    }
}

impl Waiting {
    fn wait(&self) {
        let mut count = self.count.lock();
        while *count > 0 && !self.changed.wait_for(&mut count, PATIENCE).timed_out() {}
    }
}

impl<M: ManageConnection> ConnectionPool<M> {
    /// Opens the [minimum](crate::ConnectionPoolBuilder::min_connections) number of connections, at
    /// least one, so that a wrong address or password is noticed when the program starts.
    ///
    /// If threads are busy with other jobs, fewer may be open when the Deferred fires: it waits a
    /// second for a thread, and opens the connections of those that it has got.
    ///
    /// Without it, connections are opened by the first jobs. Code without a reactor submits a job
    /// that does nothing instead. Twisted's `start`, which starts the
    /// threads and opens no connection.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with the first error of opening a connection, after all have
    /// been tried, or with an error of
    /// [`ThreadPool::defer_to_thread`](crate::ThreadPool::defer_to_thread). The pool can be used
    /// nevertheless: a later job tries again.
    ///
    /// # Cancellation
    ///
    /// Like [`ThreadPool::defer_to_thread`](crate::ThreadPool::defer_to_thread).
    #[track_caller]
    pub fn start(&self) -> Deferred<()> {
        let waiting = Arc::new(Waiting::default());
        let count = self.connections.options.min_connections.max(1);
        let tickets: Vec<_> = (0..count).map(|_| Ticket::new(&waiting)).collect();
        let opened = tickets.into_iter().map(|ticket| {
            let (connections, waiting) = (self.connections.clone(), waiting.clone());
            self.threads().defer_to_thread(move || {
                drop(ticket);
                let opened = connections.open_now();
                waiting.wait();
                opened
            })
        });
        deferred_list(opened.collect::<Vec<_>>()).add_callback(|opened| opened.into_iter().collect::<Result<(), _>>())
    }
}
