//! `PooledConnection`: the argument of a closure that uses a connection.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::job::Job;

/// A connection of a [`ConnectionPool`](crate::ConnectionPool), while a job uses it.
///
/// It dereferences to the connection of the database library; a generic function may need
/// `&mut **connection`. Do not replace the connection by another one: an interrupt would reach the
/// old one. Its own methods are associated functions, so that they do not hide those of
/// the connection.
pub struct PooledConnection<'a, C> {
    connection: &'a mut C,
    job: &'a Job<'a>,
    discarded: bool,
}

impl<'a, C> PooledConnection<'a, C> {
    pub(super) fn new(connection: &'a mut C, job: &'a Job<'a>) -> PooledConnection<'a, C> {
        PooledConnection { connection, job, discarded: false }
    }

    /// Returns the job that uses the connection, for [`Job::is_cancelled`] and
    /// [`Job::on_cancel`].
    #[must_use]
    pub fn job(connection: &PooledConnection<'a, C>) -> &'a Job<'a> {
        connection.job
    }

    /// Has the connection closed after this job, instead of being used by the next one. The
    /// transaction of an interaction is committed before if the closure returns a value; if it
    /// returns an error, closing the connection rolls it back.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_threadpool::{ConnectionPool, Failure, ManageConnection, PooledConnection};
    /// use rusqlite::Connection;
    ///
    /// struct Memory;
    ///
    /// impl ManageConnection for Memory {
    ///     type Connection = Connection;
    ///
    ///     fn open(&self) -> Result<Connection, Failure> {
    ///         Ok(Connection::open_in_memory()?)
    ///     }
    /// }
    ///
    /// let pool = ConnectionPool::new(Memory);
    /// let attached = pool.submit_with_connection(|connection| {
    ///     PooledConnection::discard(connection); // the next job should not see the other database
    ///     Ok(connection.execute_batch("ATTACH ':memory:' AS other")?)
    /// });
    /// attached.wait().unwrap();
    /// assert_eq!(pool.stats().closed, 1);
    /// ```
    pub fn discard(connection: &mut PooledConnection<'a, C>) {
        connection.discarded = true;
    }

    pub(super) fn is_discarded(&self) -> bool {
        self.discarded
    }
}

impl<C> Deref for PooledConnection<'_, C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.connection
    }
}

impl<C> DerefMut for PooledConnection<'_, C> {
    fn deref_mut(&mut self) -> &mut C {
        self.connection
    }
}

impl<C: fmt::Debug> fmt::Debug for PooledConnection<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledConnection")
            .field("connection", self.connection)
            .field("discarded", &self.discarded)
            .finish_non_exhaustive()
    }
}
