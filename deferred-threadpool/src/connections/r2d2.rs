//! The managers of the crate r2d2.

use deferred_core::Failure;

use super::manage::ManageConnection;
use super::recognized::recognize;

/// Any manager of r2d2 opens connections for a [`ConnectionPool`](crate::ConnectionPool): those of
/// r2d2_sqlite, r2d2_postgres, diesel, mysql, redis and others. `is_valid` is the
/// [check](ManageConnection::check), and `has_broken` is asked after each job.
impl<M> ManageConnection for M
where
    M: r2d2::ManageConnection,
    M::Error: Send + Sync,
{
    type Connection = M::Connection;

    fn open(&self) -> Result<M::Connection, Failure> {
        Ok(self.connect()?)
    }

    fn check(&self, connection: &mut M::Connection) -> Result<(), Failure> {
        Ok(self.is_valid(connection)?)
    }

    fn is_broken(&self, connection: &mut M::Connection) -> bool {
        self.has_broken(connection) || recognize(connection).is_some_and(|known| known.is_broken())
    }
}
