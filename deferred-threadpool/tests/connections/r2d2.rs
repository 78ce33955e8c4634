//! Managers of r2d2: those of SQLite, whose connections the pool knows, and one of the tests.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use deferred_threadpool::{
    Cancelled, ConnectionPool, Failure, NoTransactions, PooledConnection, TimedOut, deferred_list, park,
};
use parking_lot::Mutex;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::LIMIT;
use crate::log::run;
use crate::sqlite::{File, count_forever};

fn pool(file: &File, connections: usize) -> ConnectionPool<SqliteConnectionManager> {
    let manager = SqliteConnectionManager::file(&file.0).with_init(|connection| {
        connection.busy_timeout(LIMIT)?;
        connection.pragma_update(None, "journal_mode", "WAL")
    });
    ConnectionPool::builder(manager).max_connections(connections).build()
}

#[test]
fn queries_and_operations_have_typed_parameters_and_rows() {
    let file = File::new();
    let pool = pool(&file, 1);
    run(|| pool.run_operation("CREATE TABLE people (name TEXT, age INTEGER)", ())).unwrap();
    let insert = "INSERT INTO people VALUES (?, ?), (?, ?)";
    assert_eq!(run(|| pool.run_operation(insert, ("Ada", 36, "Grace", 85))).unwrap(), 2);
    let older = run(|| {
        pool.run_query("SELECT name, age FROM people WHERE age > ? ORDER BY age", [18], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i32>(1)?))
        })
    });
    assert_eq!(older.unwrap(), [("Ada".to_owned(), 36), ("Grace".to_owned(), 85)]);
    let limit = 100;
    let none = run(|| {
        pool.run_query(format!("SELECT age FROM people WHERE age > {limit}"), (), |row| Ok(row.get::<_, i32>(0)?))
    });
    assert!(none.unwrap().is_empty());
    let wrong = run(|| pool.run_query("SELECT name FROM people", (), |row| Ok(row.get::<_, i32>(0)?)));
    assert!(wrong.unwrap_err().check::<rusqlite::Error>());
    let mapped = run(|| pool.run_query("SELECT name FROM people", (), |_| Err::<(), _>(Failure::msg("mine"))));
    assert_eq!(mapped.unwrap_err().to_string(), "mine");
    assert!(run(|| pool.run_operation("SELEKT 1", ())).unwrap_err().check::<rusqlite::Error>());
    assert_eq!(pool.stats().opened, 1);
}

#[test]
fn a_transaction_of_sqlite_is_committed_rolled_back_and_never_left_open() {
    let file = File::new();
    let pool = pool(&file, 1);
    run(|| pool.run_operation("CREATE TABLE kept (n INTEGER PRIMARY KEY)", ())).unwrap();
    let insert = |connection: &Connection| connection.execute("INSERT INTO kept VALUES (1)", ());
    let count =
        || run(|| pool.run_query("SELECT count(*) FROM kept", (), |row| Ok(row.get::<_, i64>(0)?))).unwrap().remove(0);
    run(|| {
        pool.run_interaction(move |connection| {
            insert(connection)?;
            Err::<(), _>(Failure::msg("mine"))
        })
    })
    .unwrap_err();
    assert_eq!(count(), 0);
    run(|| {
        pool.run_with_connection(move |connection| {
            connection.execute_batch("BEGIN")?;
            insert(connection)?;
            Err::<(), _>(Failure::msg("mine"))
        })
    })
    .unwrap_err();
    assert_eq!(count(), 0);
    run(|| pool.run_interaction(move |connection| Ok(insert(connection)?))).unwrap();
    assert_eq!(count(), 1);
    assert_eq!(pool.stats().opened, 1, "each time the connection was left in a known state");
}

#[test]
fn an_interaction_whose_transaction_has_ended_by_itself_fails() {
    let file = File::new();
    let pool = pool(&file, 1);
    run(|| pool.run_operation("CREATE TABLE kept (n INTEGER PRIMARY KEY)", ())).unwrap();
    let failed = run(|| {
        pool.run_interaction(|connection| {
            connection.execute("INSERT INTO kept VALUES (1)", ())?;
            // This rolls the whole transaction back, and the closure ignores it.
            let _ = connection.execute("INSERT OR ROLLBACK INTO kept VALUES (1)", ());
            Ok(())
        })
    });
    assert!(failed.unwrap_err().to_string().contains("no transaction is active"));
    assert_eq!(pool.stats().opened, 1);
}

#[test]
fn a_read_only_database_has_interactions() {
    let file = File::new();
    run(|| pool(&file, 1).run_operation("CREATE TABLE kept (n INTEGER)", ())).unwrap();
    let manager = SqliteConnectionManager::file(&file.0).with_flags(OpenFlags::SQLITE_OPEN_READ_ONLY);
    let pool = ConnectionPool::new(manager);
    let read = run(|| {
        pool.run_interaction(|connection| {
            Ok(connection.query_row("SELECT count(*) FROM kept", (), |row| row.get::<_, i64>(0))?)
        })
    });
    assert_eq!(read.unwrap(), 0);
    let written = run(|| pool.run_operation("INSERT INTO kept VALUES (1)", ())).unwrap_err();
    let code = written.downcast_ref::<rusqlite::Error>().unwrap().sqlite_error_code();
    assert_eq!(code, Some(ErrorCode::ReadOnly));
}

#[test]
fn another_begin_of_sqlite_keeps_what_is_known_of_its_transactions() {
    let file = File::new();
    let pool = ConnectionPool::builder(SqliteConnectionManager::file(&file.0))
        .max_connections(1)
        .transactions(
            |connection| Ok(connection.execute_batch("BEGIN DEFERRED")?),
            |connection| Ok(connection.execute_batch("COMMIT")?),
            |connection| Ok(connection.execute_batch("ROLLBACK")?),
        )
        .build();
    run(|| pool.run_operation("CREATE TABLE kept (n INTEGER)", ())).unwrap();
    run(|| pool.run_operation("SELEKT", ())).unwrap_err();
    run(|| pool.run_interaction(|connection| Ok(connection.execute("INSERT INTO kept VALUES (1)", ())?))).unwrap();
    run(|| pool.run_query("SELECT n FROM kept", (), |row| Ok(row.get::<_, i64>(0)?))).unwrap();
    assert_eq!(pool.stats().opened, 1);
}

#[test]
fn a_wait_for_a_lock_of_sqlite_is_interrupted_and_ends_at_the_busy_timeout_of_the_connection() {
    let file = File::new();
    let manager = SqliteConnectionManager::file(&file.0).with_init(|connection| {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.busy_timeout(Duration::from_millis(50))
    });
    let hasty = ConnectionPool::builder(manager).max_connections(1).build();
    run(|| hasty.run_operation("CREATE TABLE kept (n INTEGER)", ())).unwrap();
    let writer = Connection::open(&file.0).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let busy = run(|| hasty.run_operation("INSERT INTO kept VALUES (1)", ())).unwrap_err();
    let code = busy.downcast_ref::<rusqlite::Error>().unwrap().sqlite_error_code();
    assert_eq!(code, Some(ErrorCode::DatabaseBusy));

    let pool = pool(&file, 1); // it waits for a minute
    for _ in 0..3 {
        let next = park::run_until(|reactor| {
            let waits = pool.run_interaction(|_| -> Result<(), _> { unreachable!() });
            let waits = waits.add_timeout(Duration::from_millis(30), reactor);
            let next = pool.run_query("SELECT count(*) FROM kept", (), |row| Ok(row.get::<_, i64>(0)?));
            let next = next.add_timeout(LIMIT / 2, reactor);
            waits.add_both(|_| next)
        });
        assert_eq!(next.unwrap(), [0]);
    }
    writer.execute_batch("COMMIT").unwrap();
    run(|| pool.run_operation("INSERT INTO kept VALUES (1)", ())).unwrap();
    assert_eq!(pool.stats().opened, 1);
}

#[test]
fn a_query_of_sqlite_is_interrupted_and_its_connection_serves_the_next_job() {
    let file = File::new();
    let pool = pool(&file, 1);
    for cancels in [false, true] {
        let (ended, next) = park::run_until(|reactor| {
            let mut hangs = pool.run_interaction(|connection| count_forever(connection));
            if cancels {
                let cancel = hangs.cancel_handle();
                reactor.call_later(Duration::from_millis(30), move || cancel.cancel());
            } else {
                hangs = hangs.add_timeout(Duration::from_millis(30), reactor);
            }
            let next = pool.run_query("SELECT 7", (), |row| Ok(row.get::<_, i64>(0)?));
            hangs.add_both(Ok).add_callback(move |ended| next.map(move |next| (ended, next)))
        })
        .unwrap();
        let failure = ended.unwrap_err();
        assert!(if cancels { failure.check::<Cancelled>() } else { failure.check::<TimedOut>() }, "{failure}");
        assert_eq!(next, [7]);
    }
    assert_eq!(pool.stats().opened, 1);
}

#[test]
fn an_interrupt_while_a_leaked_statement_runs_closes_the_connection() {
    let file = File::new();
    let pool = pool(&file, 1);
    let (began, has_begun) = mpsc::channel();
    let leaks = pool.submit_with_connection(move |connection| {
        let mut statement = connection.prepare("SELECT 1 UNION SELECT 2")?;
        let mut rows = statement.query(())?;
        rows.next()?;
        std::mem::forget(rows);
        std::mem::forget(statement);
        began.send(())?;
        count_forever(connection)
    });
    has_begun.recv_timeout(LIMIT).unwrap();
    drop(leaks);
    assert_eq!(pool.submit_query("SELECT 7", (), |row| Ok(row.get::<_, i64>(0)?)).wait().unwrap(), [7]);
}

#[test]
fn a_cancel_at_any_time_never_reaches_another_job() {
    let file = File::new();
    let pool = pool(&file, 2);
    // Two connections that switch a new database to WAL at the same time would both fail.
    run(|| pool.run_operation("CREATE TABLE kept (n INTEGER)", ())).unwrap();
    for round in 0..300 {
        let results = park::run_until(|reactor| {
            let mut cancelled = pool.run_with_connection(|connection| count_forever(connection));
            let cancel = cancelled.cancel_handle();
            reactor.call_later(Duration::from_micros(round * 7 % 500), move || cancel.cancel());
            let others = (0..4).map(|_| {
                pool.run_query(
                    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500) SELECT sum(i) FROM n",
                    (),
                    |row| Ok(row.get::<_, i64>(0)?),
                )
            });
            let others = deferred_list(others.collect::<Vec<_>>());
            cancelled.add_both(|_| others)
        });
        for result in results.unwrap() {
            assert_eq!(result.unwrap(), [125_250]);
        }
    }
    assert!(pool.stats().opened <= 2);
}

/// A manager that records when r2d2's methods are called.
#[derive(Clone, Default)]
struct Records {
    calls: Arc<Mutex<Vec<&'static str>>>,
    fails: Arc<Mutex<&'static str>>,
}

#[derive(Debug)]
struct No(&'static str);

impl fmt::Display for No {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no {}", self.0)
    }
}

impl std::error::Error for No {}

impl Records {
    fn call(&self, what: &'static str) -> Result<(), No> {
        self.calls.lock().push(what);
        if *self.fails.lock() == what { Err(No(what)) } else { Ok(()) }
    }

    fn fail(&self, what: &'static str) -> Vec<&'static str> {
        *self.fails.lock() = what;
        std::mem::take(&mut self.calls.lock())
    }
}

impl r2d2::ManageConnection for Records {
    type Connection = ();
    type Error = No;

    fn connect(&self) -> Result<(), No> {
        self.call("connect")
    }

    fn is_valid(&self, (): &mut ()) -> Result<(), No> {
        self.call("is_valid")
    }

    fn has_broken(&self, (): &mut ()) -> bool {
        self.call("has_broken").is_err()
    }
}

#[test]
fn the_methods_of_a_manager_are_called_when_r2d2_calls_them() {
    let records = Records::default();
    let pool = ConnectionPool::builder(records.clone()).max_connections(1).build();
    let job = || run(|| pool.run_with_connection(|_| Ok(())));
    job().unwrap();
    assert_eq!(records.fail(""), ["connect", "has_broken"]);
    job().unwrap();
    assert_eq!(records.fail("is_valid"), ["is_valid", "has_broken"]);
    job().unwrap();
    assert_eq!(records.fail("has_broken"), ["is_valid", "connect", "has_broken"]);
    job().unwrap();
    assert_eq!(records.fail("connect"), ["is_valid", "has_broken"]);
    let failed = job().unwrap_err();
    assert!(failed.check::<No>(), "the error of the manager keeps its type");
    assert_eq!(records.fail(""), ["connect"]);
    let stats = pool.stats();
    assert_eq!((stats.opened, stats.closed, stats.failed), (2, 2, 1));
}

#[test]
fn a_manager_of_an_unknown_connection_has_no_transactions_and_the_error_says_what_to_do() {
    let pool = ConnectionPool::new(Records::default());
    let failed = run(|| pool.run_interaction(|_| -> Result<(), _> { unreachable!() })).unwrap_err();
    assert!(failed.check::<NoTransactions>());
    assert!(failed.to_string().contains("ConnectionPoolBuilder::transactions"), "{failed}");
}

#[test]
fn the_closure_of_a_job_sees_that_it_is_cancelled() {
    let pool = ConnectionPool::new(Records::default());
    let (sees, has_seen) = mpsc::channel();
    let (began, has_begun) = mpsc::channel();
    let waits = pool.submit_with_connection(move |connection| {
        began.send(()).unwrap();
        while !PooledConnection::job(connection).is_cancelled() {
            std::thread::yield_now();
        }
        Ok(sees.send(())?)
    });
    has_begun.recv_timeout(LIMIT).unwrap();
    drop(waits);
    has_seen.recv_timeout(LIMIT).unwrap();
}
