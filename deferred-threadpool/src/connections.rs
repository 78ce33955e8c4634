//! Connections to a database, one for each thread of a pool: Twisted's adbapi for anything that
//! opens.

use std::any::Any;
use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use deferred_core::{Cancelled, Deferred, Failure};

use crate::builder::ThreadPoolBuilder;
use crate::job::{Job, drop_guarded};
use crate::pool::{Backlog, ThreadPool};

/// How connections of some kind are opened and used: what a [`ConnectionPool`] needs to know of a
/// library.
///
/// It is implemented on a type of your own, which holds what opening needs: a path, an address, a
/// password. All of it is called in threads of the pool.
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
    /// It never leaves the thread that has opened it, and so need not be [`Send`].
    type Connection: 'static;

    /// Opens a connection: when a thread has its first job, and when the last one it had was
    /// broken.
    ///
    /// # Errors
    ///
    /// It cannot be opened. The job fails with this; the thread tries again at its next one.
    fn open(&self) -> Result<Self::Connection, Failure>;

    /// Looks whether a connection still works, before each job but the first. One that does not is
    /// dropped, and another is opened for this job. Unless it is implemented every connection is
    /// taken to work.
    ///
    /// # Errors
    ///
    /// It does not work.
    fn check(&self, connection: &mut Self::Connection) -> Result<(), Failure> {
        let _ = connection;
        Ok(())
    }

    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// It cannot. The job fails with this, and the connection is closed. Unless it is implemented:
    /// [`NoTransactions`].
    fn begin(&self, connection: &mut Self::Connection) -> Result<(), Failure> {
        let _ = connection;
        Err(NoTransactions.into())
    }

    /// Ends a transaction with what was done in it.
    ///
    /// # Errors
    ///
    /// It cannot: what was done is [rolled back](Self::rollback), and the job fails with this.
    fn commit(&self, connection: &mut Self::Connection) -> Result<(), Failure> {
        let _ = connection;
        Err(NoTransactions.into())
    }

    /// Ends a transaction as if it had never begun.
    ///
    /// # Errors
    ///
    /// It cannot. The connection is dropped, which ends the transaction of most databases. The job
    /// fails with the error that was first.
    fn rollback(&self, connection: &mut Self::Connection) -> Result<(), Failure> {
        let _ = connection;
        Err(NoTransactions.into())
    }

    /// Whether a transaction is open, if that is known. [`ConnectionPool::run_with_connection`]
    /// asks when its closure has ended: one that is open is committed then, or rolled back.
    ///
    /// For a database that takes a `COMMIT` and a `ROLLBACK` outside of transactions, `Some(true)`
    /// may stand for "perhaps". Unless this is implemented, it is not known: after an error the
    /// connection is closed, and after success it is used again as it is.
    fn in_transaction(&self, connection: &mut Self::Connection) -> Option<bool> {
        let _ = connection;
        None
    }

    /// Hears that a rollback has failed, of which no Deferred tells. It is printed to standard
    /// error unless this is implemented.
    fn rollback_failed(&self, error: &Failure) {
        eprintln!("deferred: a transaction could not be rolled back, and its connection was closed: {error:#}");
    }
}

/// A transaction was asked of a [`ManageConnection`] that has none: it implements no `begin`,
/// `commit` and `rollback`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTransactions;

impl fmt::Display for NoTransactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this ManageConnection has no transactions: implement `begin`, `commit` and `rollback`")
    }
}

impl Error for NoTransactions {}

/// A pool of threads with a connection each, opened where it is used.
///
/// A connection lives as long as its thread and serves its jobs one after the other. Clones mean
/// the same pool.
///
/// Twisted's `adbapi.ConnectionPool`.
///
/// # Examples
///
/// See [`ManageConnection`].
pub struct ConnectionPool<M: ManageConnection> {
    manager: Arc<M>,
    pool: ThreadPool,
}

thread_local! {
    /// The connection of this thread. A thread is of one pool.
    static OPEN: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

impl<M: ManageConnection> ConnectionPool<M> {
    /// At most five connections, which is also the figure of Twisted's. A connection that has no
    /// job for a minute is closed; the last one stays.
    pub fn new(manager: M) -> Self {
        let threads = ThreadPool::builder().max_threads(5).name("deferred-db").keep_alive(Duration::from_secs(60));
        Self::with_threads(manager, threads)
    }

    /// With a pool of threads that has these settings, one for each connection.
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
        ConnectionPool { manager: Arc::new(manager), pool: threads.at_thread_end(close).build() }
    }

    /// Runs `f` with a connection, in its thread. A transaction that `f` has begun and left open is
    /// committed if it returns a value, and rolled back if it returns an error, as far as
    /// [`ManageConnection::in_transaction`] can tell.
    ///
    /// Twisted's `runWithConnection`.
    ///
    /// # Errors
    ///
    /// Those of `f`, of [`ManageConnection::open`] and of the commit, and otherwise as
    /// [`ThreadPool::defer_to_thread`]. A connection whose state is not known then is closed: after
    /// a panic, after an error where it is not known whether a transaction is open, and after a
    /// rollback that has failed.
    ///
    /// # Cancellation
    ///
    /// As [`ThreadPool::defer_to_thread`].
    #[track_caller]
    pub fn run_with_connection<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut M::Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Deferred<T> {
        let manager = self.manager.clone();
        self.pool.defer_to_thread(move || lend(&*manager, |connection| plain(&*manager, connection, f)))
    }

    /// Runs `f` in a transaction: committed if `f` returns a value, rolled back if it returns an
    /// error, panics, or was cancelled meanwhile.
    ///
    /// Twisted's `runInteraction`.
    ///
    /// # Errors
    ///
    /// The first one: of opening, of beginning, of `f`, of the commit. An error of the rollback
    /// behind it is told to [`ManageConnection::rollback_failed`]. Nothing is tried again.
    ///
    /// # Cancellation
    ///
    /// Before `f` begins, it never does. Before the commit begins, everything is rolled back. Later
    /// it is too late: what was done stays done.
    #[track_caller]
    pub fn run_interaction<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut M::Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Deferred<T> {
        let manager = self.manager.clone();
        self.pool.defer_to_thread_with(move |job: &Job<'_>| {
            lend(&*manager, |connection| transact(&*manager, connection, job, f))
        })
    }

    /// The threads: for statistics, limits, and to wait for room.
    #[must_use]
    pub fn threads(&self) -> &ThreadPool {
        &self.pool
    }

    /// Ends the pool as [`ThreadPool::stop_with`] does. Each connection is closed in its thread,
    /// before the Deferred fires.
    #[track_caller]
    pub fn stop_with(&self, backlog: Backlog) -> Deferred<()> {
        self.pool.stop_with(backlog)
    }

    /// Ends the pool with a deadline, as [`ThreadPool::stop_within`] does.
    #[track_caller]
    pub fn stop_within(&self, backlog: Backlog, deadline: Duration) -> Deferred<()> {
        self.pool.stop_within(backlog, deadline)
    }
}

/// What a job has left.
struct Used<T> {
    /// Its panic is outside.
    result: thread::Result<Result<T, Failure>>,
    /// Whether the connection may serve the next one.
    keep: bool,
}

/// A job with this thread's connection.
fn lend<M: ManageConnection, T>(manager: &M, f: impl FnOnce(&mut M::Connection) -> Used<T>) -> Result<T, Failure> {
    let mut connection = take(manager)?;
    // A panic of the manager's: the connection is gone then, whatever its destructor does.
    let used = panic::catch_unwind(AssertUnwindSafe(|| f(&mut connection)));
    let Used { result, keep } = used.unwrap_or_else(|payload| Used { result: Err(payload), keep: false });
    if keep {
        OPEN.set(Some(connection));
    } else {
        drop_guarded(connection);
    }
    result.unwrap_or_else(|payload| panic::resume_unwind(payload))
}

/// The connection of this thread if it works, or else a new one. While it is used it has no place:
/// if the manager panics it is gone.
fn take<M: ManageConnection>(manager: &M) -> Result<Box<M::Connection>, Failure> {
    if let Some(Ok(mut connection)) = OPEN.take().map(|open| open.downcast::<M::Connection>()) {
        let checked = panic::catch_unwind(AssertUnwindSafe(|| manager.check(&mut connection)));
        if let Ok(Ok(())) = checked {
            return Ok(connection);
        }
        drop_guarded(connection);
        if let Err(payload) = checked {
            panic::resume_unwind(payload);
        }
    }
    Ok(Box::new(manager.open()?))
}

fn plain<M: ManageConnection, T>(
    manager: &M,
    connection: &mut M::Connection,
    f: impl FnOnce(&mut M::Connection) -> Result<T, Failure>,
) -> Used<T> {
    let result = match panic::catch_unwind(AssertUnwindSafe(|| f(connection))) {
        Ok(result) => result,
        // It leaves a connection in a state that nobody knows.
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
    connection: &mut M::Connection,
    job: &Job<'_>,
    f: impl FnOnce(&mut M::Connection) -> Result<T, Failure>,
) -> Used<T> {
    if job.is_cancelled() {
        drop_guarded(f);
        return Used { result: Ok(Err(Cancelled::new().into())), keep: true };
    }
    if let Err(error) = manager.begin(connection) {
        // It may be broken, or in a transaction that something has left open.
        return Used { result: Ok(Err(error)), keep: false };
    }
    // To begin may have taken its time.
    if job.is_cancelled() {
        drop_guarded(f);
        return end(manager, connection, Ok(Err(Cancelled::new().into())));
    }
    let result = match panic::catch_unwind(AssertUnwindSafe(|| f(connection))) {
        Ok(Ok(_)) if job.is_cancelled() => Ok(Err(Cancelled::new().into())),
        result => result,
    };
    end(manager, connection, result)
}

/// Commits a value, and rolls an error back.
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
    if let Err(error) = &rolled_back {
        manager.rollback_failed(error);
    }
    Used { result: first, keep: rolled_back.is_ok() }
}

/// What a thread does when it ends.
fn close() {
    if let Some(connection) = OPEN.take() {
        drop_guarded(connection);
    }
}

impl<M: ManageConnection> Clone for ConnectionPool<M> {
    fn clone(&self) -> Self {
        ConnectionPool { manager: self.manager.clone(), pool: self.pool.clone() }
    }
}

impl<M: ManageConnection> fmt::Debug for ConnectionPool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionPool").field("threads", &self.pool).finish_non_exhaustive()
    }
}
