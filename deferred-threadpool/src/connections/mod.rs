//! Database connections, one for each thread of a pool: Twisted's adbapi for any blocking database
//! library.
//!
//! `pool` and `builder` are the public interface, and `manage` the adapter for a library. A job
//! goes through `run`: it takes the connection of its thread, calls the closure with a
//! `PooledConnection` (`pooled`), ends the transaction, and puts the connection back or closes it.
//! `interrupt` has a cancel interrupt the query. `recognized` are the libraries that need no
//! adapter: `rusqlite`, `postgres` and, for managers, `r2d2`.

mod builder;
mod interrupt;
mod manage;
mod pool;
mod pooled;
#[cfg(feature = "postgres")]
mod postgres;
mod query;
#[cfg(feature = "r2d2")]
mod r2d2;
mod recognized;
mod report;
mod run;
#[cfg(feature = "rusqlite")]
mod rusqlite;
mod start;

pub use builder::ConnectionPoolBuilder;
pub use interrupt::InterruptHandle;
pub use manage::{ManageConnection, NoTransactions};
pub use pool::{ConnectionPool, ConnectionPoolStats};
pub use pooled::PooledConnection;
#[cfg(feature = "postgres")]
pub use postgres::PostgresParams;
pub use query::Query;
pub use report::{ReturnFailed, RollbackFailed};
