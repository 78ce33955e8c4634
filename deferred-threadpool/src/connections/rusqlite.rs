//! The connections of the crate rusqlite.

use deferred_core::Failure;
use rusqlite::{Connection, ErrorCode, Params, Row};

use super::interrupt::InterruptHandle;
use super::query::Query;
use super::recognized::Recognized;

impl Recognized for Connection {
    /// Begins an immediate transaction: it waits for its turn to write now, within the busy
    /// timeout. A deferred one would fail at its first write if another connection has written
    /// since its first read. A read-only database has only deferred ones.
    fn begin(&mut self) -> Result<(), Failure> {
        match self.execute_batch("BEGIN IMMEDIATE") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => Ok(self.execute_batch("BEGIN")?),
            begun => Ok(begun?),
        }
    }

    fn commit(&mut self) -> Result<(), Failure> {
        Ok(self.execute_batch("COMMIT")?)
    }

    fn rollback(&mut self) -> Result<(), Failure> {
        Ok(self.execute_batch("ROLLBACK")?)
    }

    fn in_transaction(&mut self) -> bool {
        !self.is_autocommit()
    }

    fn is_broken(&mut self) -> bool {
        false
    }

    fn interrupt_handle(&mut self) -> InterruptHandle {
        let handle = self.get_interrupt_handle();
        InterruptHandle::new(move || handle.interrupt())
    }

    /// An interrupt stops the statements that run at that time, and no later ones.
    fn check_interrupted(&mut self, _: u32, _: Option<&Failure>) -> Result<(), Failure> {
        Ok(())
    }
}

impl<P: Params> Query<P> for Connection {
    type Row<'a> = Row<'a>;

    fn query<T>(
        &mut self,
        sql: &str,
        params: P,
        mut map: impl FnMut(&Row<'_>) -> Result<T, Failure>,
    ) -> Result<Vec<T>, Failure> {
        let mut statement = self.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let mut mapped = Vec::new();
        while let Some(row) = rows.next()? {
            mapped.push(map(row)?);
        }
        Ok(mapped)
    }

    fn execute(&mut self, sql: &str, params: P) -> Result<u64, Failure> {
        Ok(self.prepare_cached(sql)?.execute(params)? as u64)
    }
}
