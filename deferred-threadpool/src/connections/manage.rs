//! `ManageConnection`: the adapter of a [`ConnectionPool`](crate::ConnectionPool) for one database
//! library.

use std::error::Error;
use std::fmt;

use deferred_core::{Failure, report};

use super::interrupt::InterruptHandle;
use super::recognized::recognize;
use super::report::RollbackFailed;

/// The operations on connections that a [`ConnectionPool`](crate::ConnectionPool) needs: an adapter
/// for one database library.
///
/// With the feature `r2d2`, every `r2d2::ManageConnection` implements it. For another library,
/// implement it for a type of your own that holds the parameters of a connection: a path, an
/// address, a password. Only [`open`](Self::open) is required. All methods but
/// [`rollback_failed`](Self::rollback_failed) have a connection as argument, and are called in the
/// thread of that connection.
///
/// With the feature `rusqlite`, the other methods have defaults for a `rusqlite::Connection`: an
/// interaction is a `BEGIN IMMEDIATE` transaction, and a cancel interrupts the query, also while it
/// waits for the lock of another connection. For that, the busy timeout that a connection has after
/// [`open`](Self::open) is replaced by a busy handler with the same timeout.
///
/// With the feature `postgres`, they have defaults for a `postgres::Client`: an interaction is a
/// `BEGIN` transaction, and a cancel sends a cancel request, over a connection without TLS
/// ([`ConnectionPoolBuilder::interrupt_handle`](crate::ConnectionPoolBuilder::interrupt_handle)
/// shows one with TLS).
///
/// # Examples
///
/// For SQLite through the crate rusqlite, without those features:
///
/// ```
/// use std::path::PathBuf;
/// use deferred_threadpool::{ConnectionPool, Failure, InterruptHandle, ManageConnection, park};
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
///     fn interrupt_handle(&self, connection: &mut Connection) -> Option<InterruptHandle> {
///         let handle = connection.get_interrupt_handle();
///         Some(InterruptHandle::new(move || handle.interrupt()))
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
///         reads.run_with_connection(|connection| {
///             Ok(connection.query_row("SELECT count(*) FROM names", (), |row| row.get::<_, u32>(0))?)
///         })
///     })
/// });
/// assert_eq!(count.unwrap(), 2);
/// # std::fs::remove_file(file).unwrap();
/// ```
#[cfg_attr(
    not(feature = "r2d2"),
    diagnostic::on_unimplemented(
        note = "managers of r2d2 implement it with the feature `r2d2` of deferred-threadpool"
    )
)]
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
    ///
    /// # Cancellation
    ///
    /// A cancel or timeout of the job does not interrupt this call, so it needs timeouts of its
    /// own: until it returns, its thread serves no other job.
    fn open(&self) -> Result<Self::Connection, Failure>;

    /// Checks that a connection still works. It is called before each job but the first of a
    /// connection, and after a rollback has failed. A connection that fails the check is dropped,
    /// and another one is opened for the job. By default every connection passes.
    ///
    /// # Errors
    ///
    /// An error means that the connection does not work.
    fn check(&self, connection: &mut Self::Connection) -> Result<(), Failure> {
        let _ = connection;
        Ok(())
    }

    /// Returns `true` if a connection is known to be broken, without asking the database. It is
    /// called after each job and the end of its transaction; a broken connection is closed.
    /// Defaults to `false`.
    fn is_broken(&self, connection: &mut Self::Connection) -> bool {
        recognize(connection).is_some_and(|known| known.is_broken())
    }

    /// Begins a transaction. By default transactions fail with [`NoTransactions`].
    ///
    /// # Errors
    ///
    /// An error means that the transaction cannot begin. The job fails with it, and the connection
    /// is rolled back or closed, as after an error of the job.
    fn begin(&self, connection: &mut Self::Connection) -> Result<(), Failure> {
        recognize(connection).ok_or(NoTransactions)?.begin()
    }

    /// Commits a transaction.
    ///
    /// In PostgreSQL, a `COMMIT` after the error of a statement is a `ROLLBACK` that succeeds. If a
    /// closure ignores such an error and returns a value, the job succeeds and has stored nothing.
    /// The default for `postgres::Client` fails instead: it sends `SAVEPOINT deferred; COMMIT`.
    ///
    /// # Errors
    ///
    /// An error means that the commit has failed. The transaction is [rolled back](Self::rollback),
    /// and the job fails with the error.
    fn commit(&self, connection: &mut Self::Connection) -> Result<(), Failure> {
        recognize(connection).ok_or(NoTransactions)?.commit()
    }

    /// Rolls a transaction back.
    ///
    /// # Errors
    ///
    /// An error means that the rollback has failed. The connection is dropped, which ends the
    /// transaction in most databases. The job fails with the first error.
    fn rollback(&self, connection: &mut Self::Connection) -> Result<(), Failure> {
        recognize(connection).ok_or(NoTransactions)?.rollback()
    }

    /// Returns `Some(true)` if a transaction is open, `Some(false)` if none is, and `None` if that
    /// is unknown. It is called after a closure: an open transaction is then committed or rolled
    /// back.
    ///
    /// If the database accepts `COMMIT` and `ROLLBACK` outside of transactions, `Some(true)` can
    /// mean "perhaps". Defaults to `None`: after an error of
    /// [`run_with_connection`](crate::ConnectionPool::run_with_connection) the connection is
    /// closed, and after success it is used again as it is.
    fn in_transaction(&self, connection: &mut Self::Connection) -> Option<bool> {
        Some(recognize(connection)?.in_transaction())
    }

    /// Returns a handle that interrupts whatever the connection does. This method is called once
    /// for each connection, after [`open`](Self::open).
    ///
    /// If a job is cancelled or times out while it uses the connection, the handle is called: the
    /// query fails, the job ends, and the connection can serve the next one. By default there is no
    /// handle, and a query that hangs holds its thread.
    fn interrupt_handle(&self, connection: &mut Self::Connection) -> Option<InterruptHandle> {
        Some(recognize(connection)?.interrupt_handle())
    }

    /// Checks that the interrupt of a job cannot reach the next one. It is called after a job whose
    /// [interrupt handle](Self::interrupt_handle) was called, with the number of calls and the
    /// error of the job. By default every connection passes.
    ///
    /// # Errors
    ///
    /// An error means that the interrupt may still take effect. The connection is closed.
    fn check_interrupted(
        &self,
        connection: &mut Self::Connection,
        calls: u32,
        error: Option<&Failure>,
    ) -> Result<(), Failure> {
        recognize(connection).map_or(Ok(()), |known| known.check_interrupted(calls, error))
    }

    /// Receives the error of a failed rollback, which no Deferred receives. By default it is a
    /// [report](deferred_core::report): [`RollbackFailed`]. It is not called if the connection is
    /// [broken](Self::is_broken) or fails its [check](Self::check), since a transaction ends with
    /// its connection.
    fn rollback_failed(&self, error: Failure) {
        report::send(&RollbackFailed { error });
    }
}

/// The error of a transaction in a pool that does not know how to begin one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTransactions;

impl fmt::Display for NoTransactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the pool cannot begin, commit and roll back transactions of this type of connection: implement these methods \
             of `ManageConnection`, or set them by `ConnectionPoolBuilder::transactions`; those of the crates rusqlite and \
             postgres are known with the feature of that name, in the same version of the crate",
        )
    }
}

impl Error for NoTransactions {}
