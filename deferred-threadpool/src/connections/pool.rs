//! `ConnectionPool` and its statistics.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use deferred_core::{Deferred, Failure, RemoteFuture};

use super::manage::ManageConnection;
use super::pooled::PooledConnection;
use super::query::Query;
use super::run::{Connections, Counters, Kind};
use crate::atomic::AtomicU64;
use crate::job::{Job, drop_ignoring_panic};
use crate::pool::{Backlog, ThreadPool};
use crate::stats::PoolStats;

/// A pool of threads that each have a database connection.
///
/// A connection is opened in its thread, and serves its jobs one after the other until the thread
/// ends, the connection fails, or it is too old. Clones refer to the same pool.
///
/// Twisted's `adbapi.ConnectionPool`.
///
/// # Twisted's interface
///
/// | Twisted | here | difference |
/// | --- | --- | --- |
/// | `ConnectionPool('sqlite3', path)` | [`ConnectionPool::new(manager)`](Self::new) | a [`ManageConnection`], or any manager of r2d2 |
/// | `cp_min`, `cp_max`, `cp_openfun`, `cp_reconnect` | [`builder`](Self::builder) | also an idle timeout, a maximum lifetime, a hook at the return |
/// | `runInteraction(f)` | [`run_interaction`](Self::run_interaction) | can be cancelled until its commit begins; a cancel interrupts the query |
/// | `runWithConnection(f)` | [`run_with_connection`](Self::run_with_connection) | commits and rolls back only if a transaction is open, as far as the manager knows |
/// | `runQuery(sql, params)` | [`run_query`](Self::run_query) | a closure maps each row; the statement is not wrapped in a transaction |
/// | `runOperation(sql, params)` | [`run_operation`](Self::run_operation) | fires with the number of changed rows |
/// | `start()` | [`start`](Self::start) | opens the connections |
/// | `close()` | [`close`](Self::close) | fires a Deferred when all connections are closed; a later job fails with [`PoolStopped`](crate::PoolStopped) |
///
/// # The end of a job
///
/// | the closure | `run_interaction` | `run_with_connection` |
/// | --- | --- | --- |
/// | returns a value | commit; if that fails, rollback, and the error of the commit | an open transaction is committed |
/// | returns an error | rollback, and that error | an open transaction is rolled back; if it is unknown whether one is open, the connection is closed |
/// | panics | rollback, and [`Panicked`](deferred_core::Panicked) | the connection is closed |
/// | is cancelled | the query is interrupted; rollback | the query is interrupted; as after its value or error |
/// | discards the connection | as above, then the connection is closed | the same |
///
/// The error of the job is always the first one. If a rollback fails, the connection is closed, and
/// the error is [reported](ManageConnection::rollback_failed). Nothing is tried again: only the
/// caller knows whether that is safe. If the connection breaks during the commit, the changes may
/// or may not be stored.
///
/// # Threads
///
/// Closures, and all methods of the manager, run in threads of the pool, and callbacks on the
/// thread of the reactor. A connection never moves to another thread, so it need not be [`Send`]; a
/// temporary table, or a prepared statement, belongs to one connection, and the next job may get
/// another one. A setting or a lock that a job leaves in its session stays for the next job, unless
/// [`on_return`](crate::ConnectionPoolBuilder::on_return) removes it.
///
/// Code without a reactor, for example in a program on tokio's runtime, calls the methods whose
/// names begin with `submit`. Dropping the last clone of a pool closes it like
/// [`close`](Self::close), without waiting.
///
/// # Size
///
/// A job holds its connection from its beginning to its end, so the maximum number of connections
/// is the number of transactions at a time. More connections than the database can work on at a
/// time only move the queue into the database. Begin with the default of five, and look at
/// [`PoolStats`]: raise the maximum if jobs wait while the database is idle. For a server, a common
/// rule is twice the number of its processors; all programs together must stay below its limit
/// (`max_connections` of PostgreSQL).
///
/// Jobs wait in the queue of the threads, without a limit unless
/// [`queue_limit`](crate::ThreadPoolBuilder::queue_limit) is set. A job that waits for another job
/// of the same pool can wait forever, if all connections do.
///
/// # SQLite
///
/// With the feature `rusqlite`:
///
/// - An interaction begins with `BEGIN IMMEDIATE`: it waits for its turn to write, within the busy
///   timeout, even if it only reads. Several reads that must agree belong in
///   [`run_with_connection`](Self::run_with_connection) and a `rusqlite::Transaction`; or set
///   another [`begin`](crate::ConnectionPoolBuilder::transactions).
/// - There is one writer at a time: more connections help only readers, in WAL mode. Set that mode
///   once, before several connections are open.
/// - A database in memory has one connection: set
///   [`max_connections(1)`](crate::ConnectionPoolBuilder::max_connections) and
///   [`min_connections(1)`](crate::ConnectionPoolBuilder::min_connections).
/// - The parameters of [`run_query`](Self::run_query) move to the thread: a tuple, an array, or
///   `rusqlite::params_from_iter` of a vector. `rusqlite::params!` borrows them, and works in
///   [`run_with_connection`](Self::run_with_connection).
///
/// # PostgreSQL
///
/// With the feature `postgres`:
///
/// - An interaction whose closure ignores the error of a statement fails and stores nothing, since
///   PostgreSQL has rolled back; a `COMMIT` alone would succeed.
/// - `Client::transaction` in an interaction does not begin a transaction within it, and its
///   `commit` ends that of the interaction, which then fails, although changes are stored. Use
///   savepoints, or `Client::transaction` in [`run_with_connection`](Self::run_with_connection).
/// - After a closure of [`run_with_connection`](Self::run_with_connection), a query finds out
///   whether a transaction is open. It takes a round trip, as the
///   [check](crate::ConnectionPoolBuilder::check_on_checkout) does.
/// - A cancel sends a cancel request. If the query fails for it, the connection is used again after
///   some 20 ms, in which a late part of the request can do no harm; otherwise it is closed. It is
///   recognized by its message in English, so with another `lc_messages` it is always closed.
/// - A result that a closure has not read to its end, of `query_raw` or `copy_out`, is read by the
///   next statement, which is often the end of the transaction, and that is not interrupted. Return
///   an error and [discard](PooledConnection::discard) such a connection.
/// - The parameters of [`run_query`](Self::run_query) are `PostgresParams`: a tuple of up to eight
///   values, an array, or a vector of boxes.
/// - `{}` of an error of the crate shows `db error`; `{:#}` shows its cause too.
///
/// # Examples
///
/// With the feature `r2d2`, the manager of `r2d2_sqlite`, and the feature `rusqlite`:
///
#[cfg_attr(all(feature = "r2d2", feature = "rusqlite"), doc = "```")]
#[cfg_attr(not(all(feature = "r2d2", feature = "rusqlite")), doc = "```ignore")]
/// use deferred_threadpool::{ConnectionPool, park};
/// use r2d2_sqlite::SqliteConnectionManager;
///
/// let pool = ConnectionPool::builder(SqliteConnectionManager::memory()).max_connections(1).build();
/// let names = park::run_until(|_| {
///     let created = pool.run_interaction(|connection| {
///         connection.execute("CREATE TABLE names (name TEXT)", ())?;
///         Ok(connection.execute("INSERT INTO names VALUES ('Ada'), ('Grace')", ())?)
///     });
///     let pool = pool.clone();
///     created.add_callback(move |_| {
///         pool.run_query("SELECT name FROM names WHERE name > ?", ["B"], |row| Ok(row.get::<_, String>(0)?))
///     })
/// });
/// assert_eq!(names.unwrap(), ["Grace"]);
/// ```
#[doc(alias = "adbapi")]
pub struct ConnectionPool<M: ManageConnection> {
    pub(super) connections: Arc<Connections<M>>,
    pool: ThreadPool,
}

/// The statistics of a [`ConnectionPool`] at one time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionPoolStats {
    /// The number of connections that were opened and set up by
    /// [`on_open`](crate::ConnectionPoolBuilder::on_open).
    pub opened: u64,
    /// The number of connections that were closed.
    pub closed: u64,
    /// The number of times that a connection could not be opened, or not be set up.
    pub failed: u64,
    /// The statistics of the jobs and threads. The openings of
    /// [`start`](ConnectionPool::start) are jobs too.
    pub threads: PoolStats,
}

impl<M: ManageConnection> ConnectionPool<M> {
    /// Creates a pool of at most five connections, like Twisted's. A connection that has no job for
    /// a minute is closed. [`builder`](Self::builder) sets other options.
    pub fn new(manager: M) -> Self {
        Self::builder(manager).build()
    }

    pub(super) fn with_parts(connections: Connections<M>, pool: ThreadPool) -> Self {
        ConnectionPool { connections: Arc::new(connections), pool }
    }

    /// Runs `f` in a transaction, in a thread of the pool. The transaction is committed if `f`
    /// returns a value, and rolled back if `f` returns an error, panics, or was cancelled
    /// meanwhile. `f` must not end the transaction itself; it may use savepoints.
    ///
    /// Twisted's `runInteraction`; see [the table of differences](Self#twisteds-interface).
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with the first error: of opening the connection, of beginning
    /// the transaction, of `f`, or of the commit; or with an error of
    /// [`ThreadPool::defer_to_thread`]. It fails with [`NoTransactions`](crate::NoTransactions) if
    /// the manager has no transactions and the builder has set none. A later error of the rollback
    /// is reported to [`ManageConnection::rollback_failed`]. Nothing is tried again.
    ///
    /// # Cancellation
    ///
    /// The returned Deferred fires [`Cancelled`](deferred_core::Cancelled) at once. A cancel before
    /// `f` begins prevents it. A cancel while `f` runs calls the [interrupt
    /// handle](ManageConnection::interrupt_handle) of the connection, so that the query fails, and
    /// the transaction is rolled back. A cancel after the commit has begun does not undo it. A
    /// timeout is a cancel.
    #[doc(alias = "runInteraction")]
    #[doc(alias = "transaction")]
    #[track_caller]
    pub fn run_interaction<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut PooledConnection<'_, M::Connection>) -> Result<T, Failure> + Send + 'static,
    ) -> Deferred<T> {
        self.pool.defer_to_thread_with(self.job(Kind::Interaction, f))
    }

    /// Runs `f` with a connection, in a thread of the pool. If `f` leaves a transaction open, as
    /// far as [`ManageConnection::in_transaction`] knows, it is committed if `f` returns a value,
    /// and rolled back if it returns an error.
    ///
    /// Twisted's `runWithConnection`; see [the table of differences](Self#twisteds-interface).
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with the error of `f`, of [`ManageConnection::open`] or of the
    /// commit, or with an error of [`ThreadPool::defer_to_thread`].
    ///
    /// # Cancellation
    ///
    /// Like [`run_interaction`](Self::run_interaction), but a transaction that `f` has committed
    /// stays committed.
    #[doc(alias = "runWithConnection")]
    #[track_caller]
    pub fn run_with_connection<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut PooledConnection<'_, M::Connection>) -> Result<T, Failure> + Send + 'static,
    ) -> Deferred<T> {
        self.pool.defer_to_thread_with(self.job(Kind::Plain, f))
    }

    /// Runs a statement that returns rows, and fires with the result of `map` for each row. `map`
    /// runs in the thread of the connection.
    ///
    /// Twisted's `runQuery`; see [the table of differences](Self#twisteds-interface).
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with the error of the statement, with the first error of `map`,
    /// or with an error of [`run_with_connection`](Self::run_with_connection).
    ///
    /// # Cancellation
    ///
    /// Like [`run_with_connection`](Self::run_with_connection).
    #[doc(alias = "runQuery")]
    #[track_caller]
    pub fn run_query<P, T, F>(&self, sql: impl Into<Cow<'static, str>>, params: P, map: F) -> Deferred<Vec<T>>
    where
        M::Connection: Query<P>,
        P: Send + 'static,
        T: Send + 'static,
        F: FnMut(&<M::Connection as Query<P>>::Row<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let sql = sql.into();
        self.run_with_connection(move |connection| Query::query(&mut **connection, &sql, params, map))
    }

    /// Runs a statement that returns no rows, and fires with the number of rows that it has
    /// changed.
    ///
    /// Twisted's `runOperation`, which fires with `None`.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with the error of the statement, or with an error of
    /// [`run_with_connection`](Self::run_with_connection).
    ///
    /// # Cancellation
    ///
    /// Like [`run_with_connection`](Self::run_with_connection).
    #[doc(alias = "runOperation")]
    #[track_caller]
    pub fn run_operation<P>(&self, sql: impl Into<Cow<'static, str>>, params: P) -> Deferred<u64>
    where
        M::Connection: Query<P>,
        P: Send + 'static,
    {
        let sql = sql.into();
        self.run_with_connection(move |connection| Query::execute(&mut **connection, &sql, params))
    }

    /// Like [`run_interaction`](Self::run_interaction), but for callers without a reactor. The
    /// returned future can be awaited on any runtime, or waited for by a blocking
    /// [`wait`](RemoteFuture::wait). The errors are the same.
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels the job.
    #[track_caller]
    pub fn submit_interaction<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut PooledConnection<'_, M::Connection>) -> Result<T, Failure> + Send + 'static,
    ) -> RemoteFuture<T> {
        self.pool.submit(self.job(Kind::Interaction, f))
    }

    /// Like [`run_with_connection`](Self::run_with_connection), but for callers without a reactor:
    /// see [`submit_interaction`](Self::submit_interaction).
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels the job.
    #[track_caller]
    pub fn submit_with_connection<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut PooledConnection<'_, M::Connection>) -> Result<T, Failure> + Send + 'static,
    ) -> RemoteFuture<T> {
        self.pool.submit(self.job(Kind::Plain, f))
    }

    /// Like [`run_query`](Self::run_query), but for callers without a reactor: see
    /// [`submit_interaction`](Self::submit_interaction).
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels the job.
    #[track_caller]
    pub fn submit_query<P, T, F>(&self, sql: impl Into<Cow<'static, str>>, params: P, map: F) -> RemoteFuture<Vec<T>>
    where
        M::Connection: Query<P>,
        P: Send + 'static,
        T: Send + 'static,
        F: FnMut(&<M::Connection as Query<P>>::Row<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let sql = sql.into();
        self.submit_with_connection(move |connection| Query::query(&mut **connection, &sql, params, map))
    }

    /// Like [`run_operation`](Self::run_operation), but for callers without a reactor: see
    /// [`submit_interaction`](Self::submit_interaction).
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels the job.
    #[track_caller]
    pub fn submit_operation<P>(&self, sql: impl Into<Cow<'static, str>>, params: P) -> RemoteFuture<u64>
    where
        M::Connection: Query<P>,
        P: Send + 'static,
    {
        let sql = sql.into();
        self.submit_with_connection(move |connection| Query::execute(&mut **connection, &sql, params))
    }

    fn job<T: Send + 'static>(
        &self,
        kind: Kind,
        f: impl FnOnce(&mut PooledConnection<'_, M::Connection>) -> Result<T, Failure> + Send + 'static,
    ) -> impl FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static {
        let connections = self.connections.clone();
        move |job: &Job<'_>| {
            let result = connections.run(kind, job, f);
            drop_ignoring_panic(connections); // the manager, if the pool is gone
            result
        }
    }

    /// Returns the statistics of the connections, and of the jobs.
    #[must_use]
    pub fn stats(&self) -> ConnectionPoolStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { opened, closed, failed } = &*self.connections.counters;
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

    /// Closes the pool: submitted jobs run, each connection is closed in its thread, and then the
    /// returned Deferred fires. Like [`ThreadPool::stop`], with the same errors.
    ///
    /// Twisted's `close`.
    #[track_caller]
    pub fn close(&self) -> Deferred<()> {
        self.pool.stop()
    }

    /// Like [`close`](Self::close), but for callers without a reactor: see
    /// [`ThreadPool::submit_stop`].
    pub fn submit_close(&self) -> RemoteFuture<()> {
        self.pool.submit_stop(Backlog::Run)
    }

    /// Like [`close`](Self::close), with a choice for queued jobs: see [`ThreadPool::stop_with`].
    #[track_caller]
    pub fn stop_with(&self, backlog: Backlog) -> Deferred<()> {
        self.pool.stop_with(backlog)
    }

    /// Like [`stop_with`](Self::stop_with), with a deadline, at which the queries that still run
    /// are interrupted: see [`ThreadPool::stop_within`].
    #[track_caller]
    pub fn stop_within(&self, backlog: Backlog, timeout: Duration) -> Deferred<()> {
        self.pool.stop_within(backlog, timeout)
    }
}

impl<M: ManageConnection> Clone for ConnectionPool<M> {
    fn clone(&self) -> Self {
        ConnectionPool { connections: self.connections.clone(), pool: self.pool.clone() }
    }
}

impl<M: ManageConnection> fmt::Debug for ConnectionPool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionPool").field("threads", &self.pool).finish_non_exhaustive()
    }
}
