//! `ConnectionPool`: database connections, one for each thread of a pool. Twisted's adbapi for any
//! database library.

use std::any::Any;
use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::panic::{self, AssertUnwindSafe, Location};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use deferred_core::report::{self, Level, Reportable};
use deferred_core::{Deferred, Failure};

use crate::builder::ThreadPoolBuilder;
use crate::cancel_flag::OnCancel;
use crate::job::{Job, drop_ignoring_panic};
use crate::pool::{Backlog, ThreadPool};
use crate::stats::PoolStats;

/// The operations on connections that a [`ConnectionPool`] needs: an adapter for one database
/// library.
///
/// Implement it for a type of your own that holds the parameters of a connection: a path, an
/// address, a password. All methods are called in threads of the pool.
///
/// # Examples
///
/// For SQLite through the crate rusqlite:
///
/// ```
/// use std::path::PathBuf;
/// use deferred_threadpool::{ConnectionPool, Failure, ManageConnection, park};
/// use rusqlite::Connection;
///
/// struct Sqlite(PathBuf);
///
/// impl ManageConnection for Sqlite {
///     type Connection = Connection;
///
///     fn open(&self) -> Result<Connection, Failure> {
///         Ok(Connection::open(&self.0)?)
///     }
///     fn begin(&self, connection: &mut Connection) -> Result<(), Failure> {
///         Ok(connection.execute_batch("BEGIN IMMEDIATE")?)
///     }
///     fn commit(&self, connection: &mut Connection) -> Result<(), Failure> {
///         Ok(connection.execute_batch("COMMIT")?)
///     }
///     fn rollback(&self, connection: &mut Connection) -> Result<(), Failure> {
///         Ok(connection.execute_batch("ROLLBACK")?)
///     }
///     fn in_transaction(&self, connection: &mut Connection) -> Option<bool> {
///         Some(!connection.is_autocommit())
///     }
/// }
///
/// # let file = std::env::temp_dir().join(format!("deferred-doc-{}.db", std::process::id()));
/// let pool = ConnectionPool::new(Sqlite(file.clone()));
/// let count = park::run_until(|_| {
///     let made = pool.run_interaction(|connection| {
///         connection.execute_batch("CREATE TABLE names (name TEXT)")?;
///         Ok(connection.execute("INSERT INTO names VALUES ('Ada'), ('Grace')", ())?)
///     });
///     let reads = pool.clone();
///     made.add_callback(move |_| {
///         reads.run_with_connection(|connection| Ok(connection.query_row("SELECT count(*) FROM names", (), |row| row.get::<_, u32>(0))?))
///     })
/// });
/// assert_eq!(count.unwrap(), 2);
/// # std::fs::remove_file(file).unwrap();
/// ```
pub trait ManageConnection: Send + Sync + 'static {
    /// The type of a connection. A connection never leaves the thread that has opened it, so it
    /// need not be [`Send`].
    type Connection: 'static;

    /// Opens a connection. A thread calls this before its first job, and after its previous
    /// connection was closed.
    ///
    /// # Errors
    ///
    /// An error means that the connection cannot be opened. The job fails with it; the thread tries
    /// again at its next job.
    fn open(&self) -> Result<Self::Connection, Failure>;

    /// Checks that a connection still works. It is called before each job but the first of a
    /// connection. A connection that fails the check is dropped, and another one is opened for the
    /// job. By default every connection passes.
    ///
    /// # Errors
    ///
    /// An error means that the connection does not work.
    fn check(&self, connection: &mut Self::Connection) -> Result<(), Failure> {
        let _ = connection;
        Ok(())
    }

    /// Begins a transaction. By default transactions fail with [`NoTransactions`].
    ///
    /// # Errors
    ///
    /// An error means that the transaction cannot begin. The job fails with it, and the connection
    /// is closed.
    fn begin(&self, connection: &mut Self::Connection) -> Result<(), Failure> {
        let _ = connection;
        Err(NoTransactions.into())
    }

    /// Commits a transaction.
    ///
    /// # Errors
    ///
    /// An error means that the commit has failed. The transaction is [rolled back](Self::rollback),
    /// and the job fails with the error.
    fn commit(&self, connection: &mut Self::Connection) -> Result<(), Failure> {
        let _ = connection;
        Err(NoTransactions.into())
    }

    /// Rolls a transaction back.
    ///
    /// # Errors
    ///
    /// An error means that the rollback has failed. The connection is dropped, which ends the
    /// transaction in most databases. The job fails with the first error.
    fn rollback(&self, connection: &mut Self::Connection) -> Result<(), Failure> {
        let _ = connection;
        Err(NoTransactions.into())
    }

    /// Returns `Some(true)` if a transaction is open, `Some(false)` if none is, and `None` if that
    /// is unknown. [`ConnectionPool::run_with_connection`] calls this after its closure: an open
    /// transaction is then committed or rolled back.
    ///
    /// If the database accepts `COMMIT` and `ROLLBACK` outside of transactions, `Some(true)` can
    /// mean "perhaps". Defaults to `None`: after an error the connection is closed, and after
    /// success it is used again as it is.
    fn in_transaction(&self, connection: &mut Self::Connection) -> Option<bool> {
        let _ = connection;
        None
    }

    /// Returns a handle that interrupts whatever the connection does. It is called once for each
    /// connection, after [`open`](Self::open).
    ///
    /// If a job is cancelled or times out while it uses the connection, the handle is called: the
    /// query fails, the job ends, and the connection can serve the next one. By default there is no
    /// handle, and a query that hangs holds its thread.
    ///
    /// # Examples
    ///
    /// ```
    /// # use deferred_threadpool::{Failure, InterruptHandle, ManageConnection};
    /// # use rusqlite::Connection;
    /// # struct Sqlite;
    /// # impl ManageConnection for Sqlite {
    /// #     type Connection = Connection;
    /// #     fn open(&self) -> Result<Connection, Failure> {
    /// #         Ok(Connection::open_in_memory()?)
    /// #     }
    /// fn interrupt_handle(&self, connection: &mut Connection) -> Option<InterruptHandle> {
    ///     let handle = connection.get_interrupt_handle();
    ///     Some(InterruptHandle::new(move || handle.interrupt()))
    /// }
    /// # }
    /// ```
    fn interrupt_handle(&self, connection: &mut Self::Connection) -> Option<InterruptHandle> {
        let _ = connection;
        None
    }

    /// Receives the error of a failed rollback, which no Deferred receives. By default it is a
    /// [report](deferred_core::report): [`RollbackFailed`].
    fn rollback_failed(&self, error: Failure) {
        report::send(&RollbackFailed { error });
    }
}

/// A function that interrupts what a connection does.
/// [`ManageConnection::interrupt_handle`] returns it.
#[derive(Clone)]
pub struct InterruptHandle(Arc<dyn Fn() + Send + Sync>);

impl InterruptHandle {
    /// Creates a handle that calls `interrupt`. The call runs on the thread that cancels, which is
    /// usually that of the loop, so it must not block. It never runs while the connection has no
    /// job, or after its job.
    pub fn new(interrupt: impl Fn() + Send + Sync + 'static) -> InterruptHandle {
        InterruptHandle(Arc::new(interrupt))
    }
}

impl fmt::Debug for InterruptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterruptHandle").finish_non_exhaustive()
    }
}

/// The report of a transaction that could not be rolled back. Its connection was closed.
#[derive(Debug)]
#[non_exhaustive]
pub struct RollbackFailed {
    /// The error of the rollback.
    pub error: Failure,
}

impl fmt::Display for RollbackFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a rollback failed, and its connection was closed: {:#}", self.error)
    }
}

impl Reportable for RollbackFailed {
    fn kind(&self) -> &'static str {
        "rollback_failed"
    }

    fn level(&self) -> Level {
        Level::Error
    }

    fn location(&self) -> Option<&'static Location<'static>> {
        Some(self.error.made_at())
    }
}

/// The error of a transaction on a [`ManageConnection`] without transactions: it does not implement
/// `begin`, `commit` and `rollback`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTransactions;

impl fmt::Display for NoTransactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ManageConnection without transactions: implement `begin`, `commit` and `rollback`")
    }
}

impl Error for NoTransactions {}

/// A pool of threads that each have a database connection.
///
/// A connection is opened in its thread, and serves its jobs one after the other until the thread
/// ends or the connection fails. Clones refer to the same pool.
///
/// Twisted's `adbapi.ConnectionPool`.
///
/// # Examples
///
/// See [`ManageConnection`].
#[doc(alias = "adbapi")]
pub struct ConnectionPool<M: ManageConnection> {
    manager: Arc<M>,
    pool: ThreadPool,
    counters: Arc<Counters>,
}

/// The statistics of a [`ConnectionPool`] at one time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionPoolStats {
    /// The number of connections that were opened.
    pub opened: u64,
    /// The number of connections that were closed.
    pub closed: u64,
    /// The number of times that a connection could not be opened.
    pub failed: u64,
    /// The statistics of the jobs and threads.
    pub threads: PoolStats,
}

// ORDERING: Relaxed: they are counters.
#[derive(Default)]
struct Counters {
    opened: AtomicU64,
    closed: AtomicU64,
    failed: AtomicU64,
}

/// An open connection, which is counted.
struct Open<C> {
    connection: C,
    interrupt: Option<InterruptHandle>,
    counters: Arc<Counters>,
}

impl<C> Open<C> {
    /// Has a cancel of `job` interrupt the connection until the returned guard is dropped. Then no
    /// interrupt runs any more, and none reaches the commit or the next job.
    fn interrupt_on_cancel<'a>(&self, job: &Job<'a>) -> Option<OnCancel<'a>> {
        let handle = self.interrupt.clone()?;
        Some(job.on_cancel(move || (handle.0)()))
    }
}

impl<C> Drop for Open<C> {
    fn drop(&mut self) {
        self.counters.closed.fetch_add(1, Ordering::Relaxed);
    }
}

thread_local! {
    /// The [`Open`] connection of this thread, which belongs to one pool.
    static OPEN: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

impl<M: ManageConnection> ConnectionPool<M> {
    /// Creates a pool of at most five connections, like Twisted's. A connection that has no job for
    /// a minute is closed; the last one stays.
    pub fn new(manager: M) -> Self {
        let threads = ThreadPool::builder().max_threads(5).name("deferred-db").keep_alive(Duration::from_secs(60));
        Self::with_threads(manager, threads)
    }

    /// Creates a pool with these settings of its threads, one for each connection.
    ///
    /// # Examples
    ///
    /// ```
    /// # use deferred_threadpool::{ConnectionPool, Failure, ManageConnection};
    /// # struct Database;
    /// # impl ManageConnection for Database {
    /// #     type Connection = ();
    /// #     fn open(&self) -> Result<(), Failure> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// use deferred_threadpool::ThreadPool;
    ///
    /// let pool = ConnectionPool::with_threads(Database, ThreadPool::builder().max_threads(8).queue_limit(1000));
    /// ```
    pub fn with_threads(manager: M, threads: ThreadPoolBuilder) -> Self {
        ConnectionPool {
            manager: Arc::new(manager),
            pool: threads.close_connection(close).build(),
            counters: Arc::default(),
        }
    }

    /// Runs `f` with a connection, in a thread of the pool. If `f` leaves a transaction open, as
    /// far as [`ManageConnection::in_transaction`] knows, it is committed if `f` returns a value,
    /// and rolled back if it returns an error.
    ///
    /// Twisted's `runWithConnection`.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with the error of `f`, of [`ManageConnection::open`] or of the
    /// commit, or with an error of [`ThreadPool::defer_to_thread`]. A connection whose state is
    /// unknown is closed: after a panic, after an error if it is unknown whether a transaction is
    /// open, and after a failed rollback.
    ///
    /// # Cancellation
    ///
    /// Like [`ThreadPool::defer_to_thread`].
    #[doc(alias = "runWithConnection")]
    #[track_caller]
    pub fn run_with_connection<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut M::Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Deferred<T> {
        let (manager, counters) = (self.manager.clone(), self.counters.clone());
        self.pool
            .defer_to_thread_with(move |job: &Job<'_>| lend(&*manager, counters, |open| plain(&*manager, open, job, f)))
    }

    /// Runs `f` in a transaction, in a thread of the pool. The transaction is committed if `f`
    /// returns a value, and rolled back if `f` returns an error, panics, or was cancelled
    /// meanwhile.
    ///
    /// Twisted's `runInteraction`.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with the first error: of opening the connection, of beginning
    /// the transaction, of `f`, or of the commit; or with an error of
    /// [`ThreadPool::defer_to_thread`]. A later error of the rollback is reported to
    /// [`ManageConnection::rollback_failed`]. Nothing is tried again.
    ///
    /// # Cancellation
    ///
    /// A cancel before `f` begins prevents it. A cancel before the commit begins rolls the
    /// transaction back. A later cancel does not undo it.
    #[doc(alias = "runInteraction")]
    #[doc(alias = "transaction")]
    #[doc(alias = "runQuery")]
    #[doc(alias = "runOperation")]
    #[track_caller]
    pub fn run_interaction<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut M::Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Deferred<T> {
        let (manager, counters) = (self.manager.clone(), self.counters.clone());
        self.pool.defer_to_thread_with(move |job: &Job<'_>| {
            lend(&*manager, counters, |open| transact(&*manager, open, job, f))
        })
    }

    /// Returns the statistics of the connections, and of the jobs.
    #[must_use]
    pub fn stats(&self) -> ConnectionPoolStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { opened, closed, failed } = &*self.counters;
        ConnectionPoolStats {
            opened: count(opened),
            closed: count(closed),
            failed: count(failed),
            threads: self.pool.stats(),
        }
    }

    /// Returns the pool of threads, for statistics, limits and reservations.
    #[must_use]
    pub fn threads(&self) -> &ThreadPool {
        &self.pool
    }

    /// Stops the pool like [`ThreadPool::stop_with`], with the same errors. Each connection is
    /// closed in its thread, before the Deferred fires.
    #[track_caller]
    pub fn stop_with(&self, backlog: Backlog) -> Deferred<()> {
        self.pool.stop_with(backlog)
    }

    /// Stops the pool with a deadline, like [`ThreadPool::stop_within`], with the same errors.
    #[track_caller]
    pub fn stop_within(&self, backlog: Backlog, timeout: Duration) -> Deferred<()> {
        self.pool.stop_within(backlog, timeout)
    }
}

/// The outcome of a job.
struct Used<T> {
    /// The result of the closure, or the payload of its panic.
    result: thread::Result<Result<T, Failure>>,
    /// Whether the next job can use the connection.
    keep: bool,
}

/// Runs a job with the connection of this thread.
fn lend<M: ManageConnection, T>(
    manager: &M,
    counters: Arc<Counters>,
    f: impl FnOnce(&mut Open<M::Connection>) -> Used<T>,
) -> Result<T, Failure> {
    let mut open = take(manager, counters)?;
    // If the manager panics, the connection is dropped.
    let used = panic::catch_unwind(AssertUnwindSafe(|| f(&mut open)));
    let Used { result, keep } = used.unwrap_or_else(|payload| Used { result: Err(payload), keep: false });
    if keep {
        OPEN.set(Some(open));
    } else {
        drop_ignoring_panic(open);
    }
    result.unwrap_or_else(|payload| panic::resume_unwind(payload))
}

/// Returns the connection of this thread if it works, or else a new one. The thread-local is empty
/// meanwhile, so a panic of the manager drops the connection.
fn take<M: ManageConnection>(manager: &M, counters: Arc<Counters>) -> Result<Box<Open<M::Connection>>, Failure> {
    if let Some(Ok(mut open)) = OPEN.take().map(|open| open.downcast::<Open<M::Connection>>()) {
        let checked = panic::catch_unwind(AssertUnwindSafe(|| manager.check(&mut open.connection)));
        if let Ok(Ok(())) = checked {
            return Ok(open);
        }
        drop_ignoring_panic(open);
        if let Err(payload) = checked {
            panic::resume_unwind(payload);
        }
    }
    let open = || {
        let mut connection = manager.open()?;
        let interrupt = manager.interrupt_handle(&mut connection);
        Ok((connection, interrupt))
    };
    match panic::catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok((connection, interrupt))) => {
            counters.opened.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(Open { connection, interrupt, counters }))
        }
        failed => {
            counters.failed.fetch_add(1, Ordering::Relaxed);
            match failed {
                Ok(result) => Err(result.err().expect("a connection was returned above")),
                Err(payload) => panic::resume_unwind(payload),
            }
        }
    }
}

fn plain<M: ManageConnection, T>(
    manager: &M,
    open: &mut Open<M::Connection>,
    job: &Job<'_>,
    f: impl FnOnce(&mut M::Connection) -> Result<T, Failure>,
) -> Used<T> {
    let interrupts = open.interrupt_on_cancel(job);
    let connection = &mut open.connection;
    let called = panic::catch_unwind(AssertUnwindSafe(|| f(connection)));
    drop(interrupts);
    let result = match called {
        Ok(result) => result,
        // A panic leaves the connection in an unknown state.
        panicked => return Used { result: panicked, keep: false },
    };
    match manager.in_transaction(connection) {
        Some(true) => end(manager, connection, Ok(result)),
        Some(false) => Used { result: Ok(result), keep: true },
        None => Used { keep: result.is_ok(), result: Ok(result) },
    }
}

fn transact<M: ManageConnection, T>(
    manager: &M,
    open: &mut Open<M::Connection>,
    job: &Job<'_>,
    f: impl FnOnce(&mut M::Connection) -> Result<T, Failure>,
) -> Used<T> {
    if job.is_cancelled() {
        drop_ignoring_panic(f);
        return Used { result: Ok(Err(job.cancelled_error())), keep: true };
    }
    let interrupts = open.interrupt_on_cancel(job);
    let connection = &mut open.connection;
    if let Err(error) = manager.begin(connection) {
        // The connection may be broken, or in a transaction that was left open.
        return Used { result: Ok(Err(error)), keep: false };
    }
    // The job may have been cancelled while `begin` ran.
    if job.is_cancelled() {
        drop_ignoring_panic(f);
        drop(interrupts);
        return end(manager, connection, Ok(Err(job.cancelled_error())));
    }
    let result = match panic::catch_unwind(AssertUnwindSafe(|| f(connection))) {
        Ok(Ok(_)) if job.is_cancelled() => Ok(Err(job.cancelled_error())),
        result => result,
    };
    drop(interrupts);
    end(manager, connection, result)
}

/// Ends a transaction: commits it if `result` is a value, and rolls it back otherwise.
fn end<M: ManageConnection, T>(
    manager: &M,
    connection: &mut M::Connection,
    result: thread::Result<Result<T, Failure>>,
) -> Used<T> {
    let first = match result {
        Ok(Ok(value)) => match manager.commit(connection) {
            Ok(()) => return Used { result: Ok(Ok(value)), keep: true },
            Err(error) => Ok(Err(error)),
        },
        other => other,
    };
    let rolled_back = manager.rollback(connection);
    let keep = rolled_back.is_ok();
    if let Err(error) = rolled_back {
        manager.rollback_failed(error);
    }
    Used { result: first, keep }
}

/// Closes the connection of a thread that ends.
fn close() {
    if let Some(connection) = OPEN.take() {
        drop_ignoring_panic(connection);
    }
}

impl<M: ManageConnection> Clone for ConnectionPool<M> {
    fn clone(&self) -> Self {
        ConnectionPool { manager: self.manager.clone(), pool: self.pool.clone(), counters: self.counters.clone() }
    }
}

impl<M: ManageConnection> fmt::Debug for ConnectionPool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionPool").field("threads", &self.pool).finish_non_exhaustive()
    }
}
