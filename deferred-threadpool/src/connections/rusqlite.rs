//! The connections of the crate rusqlite.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use deferred_core::Failure;
use rusqlite::{Connection, Params, Row};

use super::interrupt::InterruptHandle;
use super::query::Query;
use super::recognized::Recognized;

impl Recognized for Connection {
    /// Begins an immediate transaction: it waits for its turn to write now, within the busy
    /// timeout. A deferred one would fail at its first write if another connection has written
    /// since its first read.
    fn begin(&mut self) -> Result<(), Failure> {
        Ok(self.execute_batch("BEGIN IMMEDIATE")?)
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
        let (handle, interrupted) = (self.get_interrupt_handle(), interruptible_waits(self));
        InterruptHandle::new(move || {
            interrupted.store(true, Ordering::Relaxed);
            handle.interrupt();
        })
    }

    /// An interrupt stops the statements that run at that time, and no later ones; but if one of
    /// them was leaked, and never ends, all later ones are stopped.
    fn check_interrupted(&mut self, _: u32, _: Option<&Failure>) -> Result<(), Failure> {
        WAITS.with_borrow(|waits| waits.interrupted.store(false, Ordering::Relaxed));
        Ok(self.query_row("SELECT 1", (), |_| Ok(()))?)
    }
}

/// The waits of this thread's connection for the locks of others.
struct Waits {
    /// The busy timeout of the connection.
    timeout: Duration,
    begun: Instant,
    /// Whether the job is cancelled.
    // ORDERING: Relaxed: it publishes nothing, and is read until it is seen.
    interrupted: Arc<AtomicBool>,
}

thread_local! {
    static WAITS: RefCell<Waits> =
        RefCell::new(Waits { timeout: Duration::ZERO, begun: Instant::now(), interrupted: Arc::default() });
}

/// Replaces the busy timeout of a connection by a handler that waits for the same time, but can be
/// interrupted: SQLite's own wait goes on after an interrupt. Returns the flag that ends a wait.
fn interruptible_waits(connection: &mut Connection) -> Arc<AtomicBool> {
    let millis = connection.query_row("PRAGMA busy_timeout", (), |row| row.get::<_, i64>(0)).unwrap_or(0);
    // With 0, the connection does not wait, or has a handler of its own.
    if millis > 0 && connection.busy_handler(Some(wait)).is_ok() {
        WAITS.with_borrow_mut(|waits| waits.timeout = Duration::from_millis(millis.unsigned_abs()));
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    WAITS.with_borrow_mut(|waits| waits.interrupted = interrupted.clone());
    interrupted
}

/// Waits for the lock of another connection. Returns `false` to give up.
fn wait(attempt: i32) -> bool {
    WAITS.with_borrow_mut(|waits| {
        if attempt == 0 {
            waits.begun = Instant::now();
        }
        let left = waits.timeout.saturating_sub(waits.begun.elapsed());
        if left.is_zero() || waits.interrupted.load(Ordering::Relaxed) {
            return false;
        }
        // SQLite's delays, but at most 25 ms, within which an interrupt takes effect.
        let delay = match attempt {
            0 => 1,
            1 => 2,
            2 => 5,
            3 => 10,
            4 => 15,
            5 => 20,
            _ => 25,
        };
        thread::sleep(left.min(Duration::from_millis(delay)));
        true
    })
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
