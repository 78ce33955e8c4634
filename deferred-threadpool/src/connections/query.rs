//! `Query`: connections that run one SQL statement.

use deferred_core::Failure;

/// A connection that runs one SQL statement with parameters of the type `P`:
/// [`ConnectionPool::run_query`](crate::ConnectionPool::run_query) needs it.
///
/// With the features `rusqlite` and `postgres`, the connections of those crates implement it. For
/// another library, implement it for a connection type of your own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not run queries with parameters of the type `{P}`",
    note = "a `rusqlite::Connection` does with the feature `rusqlite` of deferred-threadpool, and a `postgres::Client` \
            with the feature `postgres`, if the versions of those crates are the same"
)]
pub trait Query<P> {
    /// A row of a result.
    type Row<'a>;

    /// Runs a statement that returns rows, and returns the result of `map` for each row.
    ///
    /// # Errors
    ///
    /// Returns the error of the statement, or the first error of `map`.
    fn query<T>(
        &mut self,
        sql: &str,
        params: P,
        map: impl FnMut(&Self::Row<'_>) -> Result<T, Failure>,
    ) -> Result<Vec<T>, Failure>;

    /// Runs a statement that returns no rows, and returns the number of rows that it has changed.
    ///
    /// # Errors
    ///
    /// Returns the error of the statement.
    fn execute(&mut self, sql: &str, params: P) -> Result<u64, Failure>;
}
