//! Accounts in a real database. Transactions must keep their sum.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{self, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deferred_threadpool::{
    Backlog, Cancelled, ConnectionPool, Deferred, Failure, InterruptHandle, ManageConnection, Panicked,
    PooledConnection, TimedOut, deferred_list, gather, park,
};
use rusqlite::Connection;

/// The path of the database, and whether the manager reports open transactions.
struct Sqlite(PathBuf, bool);

impl ManageConnection for Sqlite {
    type Connection = Connection;

    fn open(&self) -> Result<Connection, Failure> {
        let connection = Connection::open(&self.0)?;
        connection.busy_timeout(Duration::from_secs(60))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "OFF")?; // a test does not need to survive a power failure
        Ok(connection)
    }

    fn check(&self, connection: &mut Connection) -> Result<(), Failure> {
        Ok(connection.query_row("SELECT 1", (), |_| Ok(()))?)
    }

    fn begin(&self, connection: &mut Connection) -> Result<(), Failure> {
        Ok(connection.execute_batch("BEGIN IMMEDIATE")?)
    }

    fn commit(&self, connection: &mut Connection) -> Result<(), Failure> {
        Ok(connection.execute_batch("COMMIT")?)
    }

    fn rollback(&self, connection: &mut Connection) -> Result<(), Failure> {
        Ok(connection.execute_batch("ROLLBACK")?)
    }

    fn interrupt_handle(&self, connection: &mut Connection) -> Option<InterruptHandle> {
        let handle = connection.get_interrupt_handle();
        Some(InterruptHandle::new(move || handle.interrupt()))
    }

    fn in_transaction(&self, connection: &mut Connection) -> Option<bool> {
        self.1.then(|| !connection.is_autocommit())
    }
}

/// A temporary database, which is deleted on drop.
pub(crate) struct File(pub(crate) PathBuf);

impl File {
    pub(crate) fn new() -> File {
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        File(env::temp_dir().join(format!("deferred-accounts-{}-{number}.db", process::id())))
    }

    fn pool(&self, threads: usize) -> ConnectionPool<Sqlite> {
        self.pool_with(true, threads)
    }
}

impl File {
    fn pool_with(&self, knows: bool, threads: usize) -> ConnectionPool<Sqlite> {
        let manager = Sqlite(self.0.clone(), knows);
        ConnectionPool::builder(manager).max_connections(threads).build()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            let mut name = self.0.clone().into_os_string();
            name.push(end);
            let _ = fs::remove_file(name);
        }
    }
}

const ACCOUNTS: i64 = 20;
const EACH: i64 = 1000;

fn open_accounts(pool: &ConnectionPool<Sqlite>) -> Deferred<()> {
    pool.run_interaction(|connection| {
        connection.execute_batch("CREATE TABLE accounts (id INTEGER PRIMARY KEY, money INTEGER CHECK (money >= 0))")?;
        for id in 0..ACCOUNTS {
            connection.execute("INSERT INTO accounts VALUES (?1, ?2)", (id, EACH))?;
        }
        Ok(())
    })
}

fn total(pool: &ConnectionPool<Sqlite>) -> Deferred<i64> {
    pool.run_with_connection(|connection| {
        Ok(connection.query_row("SELECT sum(money) FROM accounts", (), |row| row.get(0))?)
    })
}

fn pay(connection: &Connection, from: i64, to: i64, money: i64) -> Result<(), Failure> {
    connection.execute("UPDATE accounts SET money = money + ?2 WHERE id = ?1", (to, money))?;
    connection.execute("UPDATE accounts SET money = money - ?2 WHERE id = ?1", (from, money))?;
    Ok(())
}

#[test]
fn ten_thousand_interactions_on_eight_threads_keep_the_sum() {
    const INTERACTIONS: i64 = 10_000;
    let file = File::new();
    let pool = file.pool(8);
    let (done, failed, panicked) = park::run_until(|_| {
        let jobs = pool.clone();
        open_accounts(&pool).add_callback(move |()| {
            let interactions = (0..INTERACTIONS).map(|number| match number % 10 {
                // A read in one statement always sees a consistent sum.
                0 => total(&jobs)
                    .add_callback(|sum| if sum == ACCOUNTS * EACH { Ok(()) } else { Err(Failure::msg("torn")) }),
                // This interaction fails or panics after it has changed only one of the two
                // accounts.
                1 => jobs.run_interaction(move |connection| {
                    connection.execute("UPDATE accounts SET money = money + 5 WHERE id = ?1", (number % ACCOUNTS,))?;
                    if number % 20 == 1 {
                        Err(Failure::msg("in the middle"))
                    } else {
                        std::panic::resume_unwind(Box::new("in the middle"))
                    }
                }),
                _ => jobs.run_interaction(move |connection| {
                    pay(connection, number % ACCOUNTS, number * 7 % ACCOUNTS, number % 13)
                }),
            });
            deferred_list(interactions.collect::<Vec<_>>()).add_callback(|results| {
                let (mut done, mut failed, mut panicked) = (0, 0, 0);
                for result in results {
                    match result {
                        Ok(()) => done += 1,
                        Err(error) if error.check::<Panicked>() => panicked += 1,
                        Err(error) if error.to_string() == "in the middle" || error.to_string().contains("CHECK") => {
                            failed += 1
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok((done, failed, panicked))
            })
        })
    })
    .unwrap();
    assert_eq!(done + failed + panicked, INTERACTIONS);
    assert!(failed >= INTERACTIONS / 20 && panicked == INTERACTIONS / 20, "{done} {failed} {panicked}");
    assert_eq!(park::run_until(|_| total(&pool)).unwrap(), ACCOUNTS * EACH);
    let stats = pool.threads().stats();
    assert_eq!(stats.panicked, panicked as u64);
    assert!(stats.threads <= 8);
    park::run_until(|_| pool.stop_with(Backlog::Run)).unwrap();
}

/// The environment variable that is set in the process that dies in a transaction.
const DIES: &str = "DEFERRED_TEST_DIES_WITH";

#[test]
fn a_process_that_dies_in_a_transaction_leaves_the_committed_rows() {
    if let Some(path) = env::var_os(DIES) {
        let pool = ConnectionPool::new(Sqlite(path.into(), true));
        let _ = park::run_until(|_| {
            pool.run_interaction(|connection| -> Result<(), _> {
                connection.execute("UPDATE accounts SET money = money + 5", ())?;
                process::abort()
            })
        });
        unreachable!("it is dead");
    }
    let file = File::new();
    let pool = file.pool(2);
    park::run_until(|_| open_accounts(&pool)).unwrap();
    for _ in 0..3 {
        let name = "sqlite::a_process_that_dies_in_a_transaction_leaves_the_committed_rows";
        let died =
            Command::new(env::current_exe().unwrap()).args(["--exact", name]).env(DIES, &file.0).output().unwrap();
        assert!(!died.status.success() && died.status.code().is_none(), "{died:?}");
        let sums = park::run_until(|_| {
            let paid = pool.run_interaction(|connection| pay(connection, 1, 2, 10));
            let pool = pool.clone();
            paid.add_callback(move |()| gather([total(&pool), total(&pool)]).map_err(|first| first.error))
        });
        assert_eq!(sums.unwrap(), [ACCOUNTS * EACH; 2]);
    }
}

#[test]
fn a_statement_that_fails_between_begin_and_commit_leaves_the_next_job_a_clean_connection() {
    for knows in [false, true] {
        let file = File::new();
        let pool = file.pool_with(knows, 1);
        park::run_until(|_| open_accounts(&pool)).unwrap();
        let fails = park::run_until(|_| {
            pool.run_with_connection(|connection| {
                connection.execute_batch("BEGIN")?;
                connection.execute("UPDATE accounts SET money = money + 1", ())?;
                connection.execute("INSERT INTO nowhere VALUES (1)", ())?;
                Ok(connection.execute_batch("COMMIT")?)
            })
        });
        assert!(fails.unwrap_err().to_string().contains("nowhere"));
        let late = park::run_until(|_| pool.run_interaction(|connection| pay(connection, 1, 2, 10)));
        assert!(late.is_ok(), "{late:?}");
        park::run_until(|_| {
            pool.run_with_connection(|connection| Ok(connection.execute("INSERT INTO accounts VALUES (100, 7)", ())?))
        })
        .unwrap();
        park::run_until(|_| pool.stop_with(Backlog::Run)).unwrap();
        // The committed rows are on disk, and no row of the failed transaction is.
        let others = file.pool(1);
        assert_eq!(park::run_until(|_| total(&others)).unwrap(), ACCOUNTS * EACH + 7);
    }
}

#[test]
fn a_transaction_left_open_by_a_statement_is_committed() {
    let file = File::new();
    let pool = file.pool(1);
    park::run_until(|_| open_accounts(&pool)).unwrap();
    park::run_until(|_| {
        pool.run_with_connection(|connection| {
            connection.execute_batch("BEGIN")?;
            Ok(connection.execute("INSERT INTO accounts VALUES (100, 7)", ())?)
        })
    })
    .unwrap();
    let others = file.pool(1);
    assert_eq!(park::run_until(|_| total(&others)).unwrap(), ACCOUNTS * EACH + 7);
}

/// A query that never ends by itself.
pub(crate) fn count_forever(connection: &mut Connection) -> Result<u32, Failure> {
    let sql =
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers) SELECT count(*) FROM numbers";
    Ok(connection.query_row(sql, (), |row| row.get(0))?)
}

#[test]
fn a_timeout_or_cancel_interrupts_the_query_and_the_connection_serves_the_next_job() {
    let file = File::new();
    let pool = file.pool(1);
    let made = |connection: &mut PooledConnection<'_, Connection>| {
        Ok(connection.execute_batch("CREATE TABLE kept (n INTEGER)")?)
    };
    park::run_until(|_| pool.run_interaction(made)).unwrap();
    for in_a_transaction in [false, true] {
        for cancels in [false, true] {
            let (ended, next) = park::run_until(|reactor| {
                let query = |connection: &mut PooledConnection<'_, Connection>| {
                    connection.execute("INSERT INTO kept VALUES (1)", ()).map_err(Failure::from)?;
                    count_forever(connection)
                };
                let mut hangs = if in_a_transaction {
                    pool.run_interaction(query)
                } else {
                    pool.run_with_connection(|connection| count_forever(connection))
                };
                if cancels {
                    let cancel = hangs.cancel_handle();
                    reactor.call_later(Duration::from_millis(50), move || cancel.cancel());
                } else {
                    hangs = hangs.add_timeout(Duration::from_millis(50), reactor);
                }
                let next = pool.run_with_connection(|connection| {
                    Ok(connection.query_row("SELECT count(*) FROM kept", (), |row| row.get::<_, u32>(0))?)
                });
                hangs.add_both(Ok).add_callback(move |ended| next.map(move |next| (ended, next)))
            })
            .unwrap();
            let failure = ended.unwrap_err();
            assert!(if cancels { failure.check::<Cancelled>() } else { failure.check::<TimedOut>() }, "{failure}");
            assert_eq!(next, 0, "the transaction was rolled back");
        }
    }
    assert_eq!(pool.stats().opened, 1, "it was the same connection all the time");
}
