//! The connections of the crate postgres.

use std::error::Error;

use deferred_core::Failure;
use postgres::error::SqlState;
use postgres::types::ToSql;
use postgres::{Client, NoTls, Row, SimpleQueryMessage};

use super::interrupt::InterruptHandle;
use super::query::Query;
use super::recognized::Recognized;

/// Whether a transaction is open. The schema is named, since a `search_path` can hide it.
const IN_TRANSACTION: &str = "SELECT pg_catalog.now() OPERATOR(pg_catalog.<>) pg_catalog.statement_timestamp()";

/// The message of a query that a cancel request has ended, unless the server speaks another
/// language. Other ends of a query, such as its timeout, have the same code.
const CANCELLED: &str = "canceling statement due to user request";

impl Recognized for Client {
    fn begin(&mut self) -> Result<(), Failure> {
        Ok(self.batch_execute("BEGIN")?)
    }

    /// In a transaction in which a statement has failed, `COMMIT` rolls back and succeeds, and
    /// outside of a transaction it only warns. A `SAVEPOINT` fails in both cases, so a closure that
    /// ignores the error of a statement is not taken for one whose changes are stored.
    fn commit(&mut self) -> Result<(), Failure> {
        match self.batch_execute("SAVEPOINT deferred; COMMIT") {
            Err(error) if error.code() == Some(&SqlState::NO_ACTIVE_SQL_TRANSACTION) => Err(Failure::msg(
                "the transaction of an interaction ended before its closure returned: use savepoints instead of \
                 `COMMIT`, `ROLLBACK` and `Client::transaction`",
            )),
            committed => Ok(committed?),
        }
    }

    fn rollback(&mut self) -> Result<(), Failure> {
        Ok(self.batch_execute("ROLLBACK")?)
    }

    /// In a transaction, `now()` is the time of its beginning; outside, that of the statement. The
    /// crate does not publish the state that the server sends, and a `COMMIT` or `ROLLBACK` outside
    /// of a transaction would be a warning in the log of the server.
    fn in_transaction(&mut self) -> bool {
        let Ok(messages) = self.simple_query(IN_TRANSACTION) else {
            return true; // it is in a transaction that has failed
        };
        messages.iter().any(|message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("t")))
    }

    fn is_broken(&mut self) -> bool {
        self.is_closed()
    }

    fn interrupt_handle(&mut self) -> InterruptHandle {
        let token = self.cancel_token();
        InterruptHandle::blocking(move || {
            // If the server cannot be reached, or only with TLS, the query goes on.
            let _ = token.cancel_query(NoTls);
        })
    }

    /// The server handles a cancel request after it has closed the request's connection, so the
    /// request may reach the next query. If there was one request, it has reached this one if that
    /// has failed for a cancel request.
    ///
    /// It consists of two signals, one after the other, to the process and to its group, and the
    /// second may be late. The statements here wait for it.
    fn check_interrupted(&mut self, calls: u32, error: Option<&Failure>) -> Result<(), Failure> {
        if calls > 1 || !error.is_some_and(is_query_cancelled) {
            return Err(Failure::msg("a cancel request may reach the next query of this connection"));
        }
        for _ in 0..4 {
            let statement = if self.in_transaction() { "ROLLBACK" } else { "SELECT pg_catalog.pg_sleep(0.005)" };
            match self.batch_execute(statement) {
                Err(error) if error.code() != Some(&SqlState::QUERY_CANCELED) => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Returns `true` if the error, or one of its sources, is that of a query that a cancel request has
/// ended.
fn is_query_cancelled(failure: &Failure) -> bool {
    let mut error: Option<&(dyn Error + 'static)> = Some(failure.error());
    while let Some(one) = error {
        let database_error = one.downcast_ref::<postgres::Error>().and_then(postgres::Error::as_db_error);
        if database_error.is_some_and(|error| error.message() == CANCELLED) {
            return true;
        }
        error = one.source();
    }
    false
}

/// The parameters of a statement for
/// [`ConnectionPool::run_query`](crate::ConnectionPool::run_query) on PostgreSQL: a tuple of up to
/// eight values, an array, or a vector of boxes.
pub trait PostgresParams {
    /// Calls `f` with the parameters.
    fn with_params<R>(&self, f: impl FnOnce(&[&(dyn ToSql + Sync)]) -> R) -> R;
}

impl<T: ToSql + Sync, const N: usize> PostgresParams for [T; N] {
    fn with_params<R>(&self, f: impl FnOnce(&[&(dyn ToSql + Sync)]) -> R) -> R {
        f(&self.each_ref().map(|param| param as &(dyn ToSql + Sync)))
    }
}

impl PostgresParams for Vec<Box<dyn ToSql + Sync + Send>> {
    fn with_params<R>(&self, f: impl FnOnce(&[&(dyn ToSql + Sync)]) -> R) -> R {
        f(&self.iter().map(|param| &**param as &(dyn ToSql + Sync)).collect::<Vec<_>>())
    }
}

macro_rules! tuples {
    ($($($name:ident)*;)*) => {$(
        #[allow(non_snake_case)]
        impl<$($name: ToSql + Sync),*> PostgresParams for ($($name,)*) {
            fn with_params<R>(&self, f: impl FnOnce(&[&(dyn ToSql + Sync)]) -> R) -> R {
                let ($($name,)*) = self;
                f(&[$($name),*])
            }
        }
    )*};
}

tuples! {
    ;
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
}

impl<P: PostgresParams> Query<P> for Client {
    type Row<'a> = Row;

    fn query<T>(
        &mut self,
        sql: &str,
        params: P,
        map: impl FnMut(&Row) -> Result<T, Failure>,
    ) -> Result<Vec<T>, Failure> {
        let rows = params.with_params(|params| Client::query(self, sql, params))?;
        rows.iter().map(map).collect()
    }

    fn execute(&mut self, sql: &str, params: P) -> Result<u64, Failure> {
        Ok(params.with_params(|params| Client::execute(self, sql, params))?)
    }
}
