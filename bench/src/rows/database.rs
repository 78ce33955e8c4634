//! Interactions with a database: `ConnectionPool` beside r2d2 on tokio, and beside Twisted's adbapi.

use std::cell::OnceCell;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::Instant;

use deferred_core::{Deferred, Failure, deferred_list, park};
use deferred_threadpool::{ConnectionPool, ManageConnection, ThreadPool};
use r2d2_sqlite::SqliteConnectionManager;
use r2d2_sqlite::rusqlite::{self, Connection, TransactionBehavior};

use super::pool::tokio;
use crate::plan::{Group, Records};
use crate::record::Record;
use crate::sample::{Cores, Effort, Row, Side};
use crate::twisted;

const THREADS: usize = 8;
const AT_ONCE: u64 = 1000;
const ACCOUNTS: u64 = 1000;
const BESIDE_ADBAPI: &str = "database/an interaction, beside adbapi";

pub(crate) fn rows() -> Vec<Row> {
    vec![interactions(), empty()]
}

pub(crate) fn group() -> Group {
    Group { rows: vec![BESIDE_ADBAPI.to_owned()], measure: beside_adbapi }
}

/// A database with accounts, in a folder of its own, which is removed on drop.
struct Accounts {
    folder: PathBuf,
}

impl Accounts {
    fn new(name: &str) -> Accounts {
        let folder = std::env::temp_dir().join(format!("deferred-bench-{}-{name}", process::id()));
        fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
        let accounts = Accounts { folder };
        let connection = Connection::open(accounts.file()).expect("a database");
        let rows = format!("WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT {ACCOUNTS})");
        connection
            .execute_batch(&format!(
                "PRAGMA journal_mode = WAL; CREATE TABLE accounts (id INTEGER PRIMARY KEY, money INTEGER);
                 INSERT INTO accounts {rows} SELECT i, 1000 FROM n"
            ))
            .expect("a table");
        accounts
    }

    fn file(&self) -> PathBuf {
        self.folder.join("accounts.db")
    }

    fn manager(&self) -> SqliteConnectionManager {
        SqliteConnectionManager::file(self.file())
            .with_init(|connection| connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA busy_timeout = 60000"))
    }
}

impl Drop for Accounts {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A payment from one account to another, inside a transaction.
fn pay(connection: &Connection, number: u64) -> rusqlite::Result<()> {
    let (from, to) = ((number % ACCOUNTS) as i64, (number * 7 % ACCOUNTS) as i64);
    let mut read = connection.prepare_cached("SELECT money FROM accounts WHERE id = ?")?;
    let money: i64 = read.query_row([from], |row| row.get(0))?;
    let mut write = connection.prepare_cached("UPDATE accounts SET money = money + ?2 WHERE id = ?1")?;
    write.execute([from, -(money / 100)])?;
    write.execute([to, money / 100])?;
    Ok(())
}

/// Waits for jobs that were submitted at once.
fn wait(jobs: impl Iterator<Item = Deferred<()>>) -> Deferred<()> {
    deferred_list(jobs.collect::<Vec<_>>()).add_callback(|results| results.into_iter().collect::<Result<(), _>>())
}

/// A database, and a pool of connections to it.
struct Ours {
    pool: ConnectionPool<SqliteConnectionManager>,
    _accounts: Accounts,
}

impl Ours {
    fn new() -> Ours {
        let accounts = Accounts::new("ours");
        let pool = ConnectionPool::builder(accounts.manager()).max_connections(THREADS).build();
        Ours { pool, _accounts: accounts }
    }

    fn pay(&self, payments: u64) {
        let interactions = |number| self.pool.run_interaction(move |connection| Ok(pay(connection, number)?));
        park::run_until(|_| wait((0..payments).map(interactions))).expect("payments");
    }
}

fn interactions() -> Row {
    let (ours, peer) = (OnceCell::<Ours>::new(), OnceCell::new());
    Row {
        name: "database/an interaction",
        per: AT_ONCE as u32,
        unit: "interaction",
        ours: Side::new("run_interaction on r2d2_sqlite's manager", move || ours.get_or_init(Ours::new).pay(AT_ONCE)),
        peer: Side::new("r2d2 in a task per interaction that awaits spawn_blocking", move || {
            let (_accounts, pool, runtime) = peer.get_or_init(|| {
                let accounts = Accounts::new("peer");
                let pool = r2d2::Pool::builder().max_size(THREADS as u32).build(accounts.manager()).expect("a pool");
                (accounts, pool, tokio(THREADS, Cores::Any))
            });
            runtime.block_on(async {
                let tasks = (0..AT_ONCE).map(|number| {
                    let pool = pool.clone();
                    tokio::spawn(async move {
                        let payment = tokio::task::spawn_blocking(move || {
                            let mut connection = pool.get().expect("a connection");
                            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                            pay(&transaction, number)?;
                            transaction.commit()
                        });
                        payment.await.expect("it returns").expect("a payment");
                    })
                });
                for task in tasks.collect::<Vec<_>>() {
                    task.await.expect("it returns");
                }
            });
        }),
    }
}

/// A database whose operations do nothing.
struct Empty;

impl ManageConnection for Empty {
    type Connection = ();

    fn open(&self) -> Result<(), Failure> {
        Ok(())
    }

    fn begin(&self, (): &mut ()) -> Result<(), Failure> {
        Ok(())
    }

    fn commit(&self, (): &mut ()) -> Result<(), Failure> {
        Ok(())
    }

    fn rollback(&self, (): &mut ()) -> Result<(), Failure> {
        Ok(())
    }
}

fn empty() -> Row {
    let connections = ConnectionPool::builder(Empty).max_connections(1).build();
    let pool = ThreadPool::new(1);
    Row {
        name: "database/an empty interaction",
        per: AT_ONCE as u32,
        unit: "job",
        ours: Side::new("an interaction that does nothing", move || {
            park::run_until(|_| wait((0..AT_ONCE).map(|_| connections.run_interaction(|_| Ok(()))))).expect("jobs");
        }),
        peer: Side::new("defer_to_thread", move || {
            park::run_until(|_| wait((0..AT_ONCE).map(|_| pool.defer_to_thread(|| Ok(()))))).expect("jobs");
        }),
    }
}

/// Measures both sides in turn.
fn beside_adbapi(effort: Effort) -> Records {
    let python = twisted::python(effort)?;
    let (rounds, payments) = if effort.is_quick() { (1, 200) } else { (5, 5000) };
    let (ours, peers) = (Ours::new(), Accounts::new("adbapi"));
    let mut samples = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let begin = Instant::now();
        ours.pay(payments);
        samples.0.push(begin.elapsed().as_nanos() as f64 / payments as f64);
        samples.1.push(adbapis(&python, &peers, payments)?);
    }
    let (ours, peer) = (("run_interaction", &samples.0[..]), ("adbapi's runInteraction", &samples.1[..]));
    Ok(vec![Record::paired(BESIDE_ADBAPI, "ns per interaction", ours, peer)])
}

/// Returns the time of adbapi in nanoseconds per interaction.
fn adbapis(python: &Path, accounts: &Accounts, payments: u64) -> Result<f64, Box<dyn Error>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("twisted/adbapi.py");
    let arguments = [payments, THREADS as u64, ACCOUNTS].map(|number| number.to_string());
    let output = Command::new(python).arg(script).arg(accounts.file()).args(arguments).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
