//! `ConnectionPoolBuilder`: the options of a `ConnectionPool`.

use std::fmt;
use std::time::Duration;

use deferred_core::Failure;

use super::interrupt::InterruptHandle;
use super::manage::ManageConnection;
use super::pool::ConnectionPool;
use super::run::{Connections, close};
use crate::builder::ThreadPoolBuilder;
use crate::pool::ThreadPool;

/// A function that the pool calls with a connection.
type Hook<C, T = ()> = Box<dyn Fn(&mut C) -> Result<T, Failure> + Send + Sync>;

/// A function that answers a question about a connection.
type Question<C> = Box<dyn Fn(&mut C) -> bool + Send + Sync>;

/// A builder for a [`ConnectionPool`]. [`ConnectionPool::builder`] creates it.
#[must_use = "call `build` to create the pool"]
pub struct ConnectionPoolBuilder<M: ManageConnection> {
    manager: M,
    options: Options<M::Connection>,
    threads: ThreadPoolBuilder,
}

/// The options that concern connections.
pub(super) struct Options<C> {
    pub(super) min_connections: usize,
    pub(super) max_connections: usize,
    pub(super) max_lifetime: Option<Duration>,
    pub(super) checks: bool,
    pub(super) on_open: Option<Hook<C>>,
    pub(super) on_return: Option<Hook<C>>,
    pub(super) transactions: Option<Transactions<C>>,
    pub(super) in_transaction: Option<Question<C>>,
    pub(super) interrupt_handle: Option<Hook<C, InterruptHandle>>,
}

/// The transactions of a pool whose manager has none.
pub(super) struct Transactions<C> {
    pub(super) begin: Hook<C>,
    pub(super) commit: Hook<C>,
    pub(super) rollback: Hook<C>,
}

impl<M: ManageConnection> ConnectionPool<M> {
    /// Returns a builder for a pool with other options.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use deferred_threadpool::{ConnectionPool, Failure, ManageConnection};
    /// use rusqlite::Connection;
    ///
    /// # struct Memory;
    /// # impl ManageConnection for Memory {
    /// #     type Connection = Connection;
    /// #     fn open(&self) -> Result<Connection, Failure> {
    /// #         Ok(Connection::open_in_memory()?)
    /// #     }
    /// # }
    /// let pool = ConnectionPool::builder(Memory)
    ///     .min_connections(1)
    ///     .max_connections(8)
    ///     .max_lifetime(Duration::from_secs(30 * 60))
    ///     .on_open(|connection| Ok(connection.execute_batch("PRAGMA foreign_keys = ON")?))
    ///     .threads(|threads| threads.queue_limit(1000))
    ///     .build();
    /// # drop(pool);
    /// ```
    pub fn builder(manager: M) -> ConnectionPoolBuilder<M> {
        ConnectionPoolBuilder {
            manager,
            options: Options {
                min_connections: 0,
                max_connections: 5,
                max_lifetime: None,
                checks: true,
                on_open: None,
                on_return: None,
                transactions: None,
                in_transaction: None,
                interrupt_handle: None,
            },
            threads: ThreadPool::builder().name("deferred-db").keep_alive(Duration::from_secs(60)),
        }
    }
}

impl<M: ManageConnection> ConnectionPoolBuilder<M> {
    /// Sets the number of connections that stay open once they were opened, even without jobs.
    /// [`ConnectionPool::start`] opens them. Defaults to 0. Values above the maximum are clamped.
    ///
    /// Twisted's `cp_min`.
    #[doc(alias = "cp_min")]
    #[doc(alias = "min_idle")]
    pub fn min_connections(mut self, min_connections: usize) -> Self {
        self.options.min_connections = min_connections;
        self
    }

    /// Sets the maximum number of connections, which is the number of jobs that run at a time.
    /// Defaults to 5, as in Twisted. With 0, jobs wait until
    /// [`adjust_pool_size`](ThreadPool::adjust_pool_size) allows connections.
    ///
    /// Twisted's `cp_max`.
    #[doc(alias = "cp_max")]
    #[doc(alias = "max_size")]
    pub fn max_connections(mut self, max_connections: usize) -> Self {
        self.options.max_connections = max_connections;
        self
    }

    /// Sets the time after which a connection without jobs is closed, if there are more than the
    /// minimum. Defaults to a minute. Connections are closed one after the other.
    #[doc(alias = "keep_alive")]
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.threads = self.threads.keep_alive(idle_timeout);
        self
    }

    /// Sets the age at which a connection is closed, before or after a job. A job that needs one
    /// then opens another. Defaults to no limit.
    pub fn max_lifetime(mut self, max_lifetime: Duration) -> Self {
        self.options.max_lifetime = Some(max_lifetime);
        self
    }

    /// Sets whether a connection is [checked](ManageConnection::check) before each job but its
    /// first. Defaults to `true`. The managers of most databases ask the server, which takes a
    /// round trip; without the check, the first job after the server has closed a connection fails.
    ///
    /// Twisted's `cp_reconnect` and `cp_good_sql`.
    #[doc(alias = "cp_reconnect")]
    #[doc(alias = "cp_good_sql")]
    #[doc(alias = "test_on_check_out")]
    pub fn check_on_checkout(mut self, check_on_checkout: bool) -> Self {
        self.options.checks = check_on_checkout;
        self
    }

    /// Sets a hook that is called with each connection when it was opened, in its thread: for
    /// example `SET statement_timeout`. An error closes the connection, and the job fails with it.
    ///
    /// Twisted's `cp_openfun`.
    #[doc(alias = "cp_openfun")]
    #[doc(alias = "on_acquire")]
    pub fn on_open(mut self, hook: impl Fn(&mut M::Connection) -> Result<(), Failure> + Send + Sync + 'static) -> Self {
        self.options.on_open = Some(Box::new(hook));
        self
    }

    /// Sets a hook that is called with a connection that is put back after a job, in its thread and
    /// before the result of the job is delivered: for example `DISCARD ALL` in PostgreSQL, which
    /// removes settings, locks and temporary tables that a job has left. The transaction of the job
    /// has ended by then. An error closes the connection and is [reported](crate::ReturnFailed);
    /// the job keeps its result.
    pub fn on_return(
        mut self,
        hook: impl Fn(&mut M::Connection) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Self {
        self.options.on_return = Some(Box::new(hook));
        self
    }

    /// Sets how a transaction begins, is committed and is rolled back, instead of by the methods of
    /// the manager: for a manager of r2d2 whose connection type the pool does not know, or for
    /// another kind of transaction.
    ///
    /// # Examples
    ///
    /// For diesel, with `type Transactions = AnsiTransactionManager`:
    ///
    /// ```ignore
    /// let pool = ConnectionPool::builder(diesel::r2d2::ConnectionManager::<PgConnection>::new(url))
    ///     .transactions(
    ///         |connection| Ok(Transactions::begin_transaction(connection)?),
    ///         |connection| Ok(Transactions::commit_transaction(connection)?),
    ///         |connection| Ok(Transactions::rollback_transaction(connection)?),
    ///     )
    ///     .in_transaction(|connection| {
    ///         let status = Transactions::transaction_manager_status_mut(connection);
    ///         !matches!(status.transaction_depth(), Ok(None))
    ///     })
    ///     .build();
    /// ```
    ///
    /// For the crate `mysql`, where `COMMIT` and `ROLLBACK` outside of a transaction do nothing:
    ///
    /// ```ignore
    /// let pool = ConnectionPool::builder(MySqlConnectionManager::new(options))
    ///     .transactions(
    ///         |connection| Ok(connection.query_drop("START TRANSACTION")?),
    ///         |connection| Ok(connection.query_drop("COMMIT")?),
    ///         |connection| Ok(connection.query_drop("ROLLBACK")?),
    ///     )
    ///     .in_transaction(|_| true) // perhaps
    ///     .build();
    /// ```
    pub fn transactions(
        mut self,
        begin: impl Fn(&mut M::Connection) -> Result<(), Failure> + Send + Sync + 'static,
        commit: impl Fn(&mut M::Connection) -> Result<(), Failure> + Send + Sync + 'static,
        rollback: impl Fn(&mut M::Connection) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Self {
        self.options.transactions =
            Some(Transactions { begin: Box::new(begin), commit: Box::new(commit), rollback: Box::new(rollback) });
        self
    }

    /// Sets how to find out whether a transaction is open, instead of by
    /// [`ManageConnection::in_transaction`]: a transaction that a job of
    /// [`run_with_connection`](ConnectionPool::run_with_connection) has left open is then committed
    /// or rolled back. If the database accepts `COMMIT` and `ROLLBACK` outside of transactions,
    /// `true` can mean "perhaps".
    pub fn in_transaction(
        mut self,
        in_transaction: impl Fn(&mut M::Connection) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.options.in_transaction = Some(Box::new(in_transaction));
        self
    }

    /// Sets the function that returns a handle for interrupts, instead of
    /// [`ManageConnection::interrupt_handle`]. It is called once for each connection. An error
    /// closes the connection, and the job fails with it.
    ///
    /// # Examples
    ///
    /// A PostgreSQL server that allows only connections with TLS:
    ///
    /// ```ignore
    /// let pool = ConnectionPool::builder(PostgresConnectionManager::new(config, tls.clone()))
    ///     .interrupt_handle(move |client| {
    ///         let (token, tls) = (client.cancel_token(), tls.clone());
    ///         Ok(InterruptHandle::blocking(move || drop(token.cancel_query(tls.clone()))))
    ///     })
    ///     .build();
    /// ```
    pub fn interrupt_handle(
        mut self,
        handle: impl Fn(&mut M::Connection) -> Result<InterruptHandle, Failure> + Send + Sync + 'static,
    ) -> Self {
        self.options.interrupt_handle = Some(Box::new(handle));
        self
    }

    /// Changes the settings of the threads, one for each connection: their names, their stack
    /// size, the limit of queued jobs. The numbers of threads are those of the connections.
    pub fn threads(mut self, set: impl FnOnce(ThreadPoolBuilder) -> ThreadPoolBuilder) -> Self {
        self.threads = set(self.threads);
        self
    }

    /// Creates the pool. No connection is opened before the first job.
    #[must_use]
    pub fn build(self) -> ConnectionPool<M> {
        let ConnectionPoolBuilder { manager, mut options, threads } = self;
        options.min_connections = options.min_connections.min(options.max_connections);
        let threads = threads.min_threads(options.min_connections).max_threads(options.max_connections);
        let pool = threads.close_connection(close).build();
        ConnectionPool::with_parts(Connections::new(manager, options), pool)
    }
}

impl<M: ManageConnection> fmt::Debug for ConnectionPoolBuilder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionPoolBuilder")
            .field("min_connections", &self.options.min_connections)
            .field("max_connections", &self.options.max_connections)
            .field("max_lifetime", &self.options.max_lifetime)
            .field("check_on_checkout", &self.options.checks)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}
