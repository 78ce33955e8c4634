//! Program 7 of an introduction to Twisted: a blocking database, through a pool with one connection
//! for each of its threads.
//!
//! ```text
//! cargo run --release --example article_7_database
//! ```
//!
//! The program imports a table of real measurements into SQLite: the temperature of the globe in
//! each month since 1850 (`data/README.md` names the source). Each year of each source is a
//! transaction, several run at once, and the loop keeps ticking and queries the progress. Then it
//! inserts one year again, which fails and changes nothing, and queries the warmest and the coldest
//! year.
//!
//! | Python | here |
//! | --- | --- |
//! | `pool = adbapi.ConnectionPool('sqlite3', path)` | `ConnectionPool::new(Sqlite(path))`, an implementation of `ManageConnection` |
//! | `pool.runInteraction(insert, year)` | `pool.run_interaction(move \|connection\| insert(connection, &year))` |
//! | `pool.runQuery('SELECT ..')` | `pool.run_with_connection(\|connection\| ..)` |
//! | `yield task.coiterate(..)`, `DeferredSemaphore(4)` | `concurrent(4).map(years, ..)` |
//!
//! It stops when it is done, after a second or two.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::time::Duration;

use deferred_examples::Story;
use deferred_smol::{Deferred, Failure, LoopingCall, Reactor, concurrent, inline_callbacks, react};
use deferred_threadpool::{ConnectionPool, ManageConnection, defer_to_thread};
use rusqlite::Connection;

/// Opens connections and runs transactions on them.
struct Sqlite(PathBuf);

impl ManageConnection for Sqlite {
    type Connection = Connection;

    fn open(&self) -> Result<Connection, Failure> {
        let connection = Connection::open(&self.0)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        Ok(connection)
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
}

type Database = ConnectionPool<Sqlite>;

/// The measurements of a year by one source.
#[derive(Clone)]
struct Year {
    source: String,
    months: Vec<(String, f64)>,
}

/// Reads the table. Reading a file blocks too, so this runs in a thread.
fn read(path: &Path) -> Result<Vec<Year>, Failure> {
    let mut years = BTreeMap::<(String, String), Year>::new();
    for row in csv::Reader::from_path(path)?.into_deserialize() {
        let (source, month, mean): (String, String, f64) = row?;
        let key = (month.chars().take(4).collect(), source.clone());
        years.entry(key).or_insert(Year { source, months: Vec::new() }).months.push((month, mean));
    }
    Ok(years.into_values().collect())
}

/// Inserts one year, inside a transaction. If one of its months exists already, the transaction is
/// rolled back.
fn insert(connection: &mut Connection, year: &Year) -> Result<usize, Failure> {
    let mut statement = connection.prepare_cached("INSERT INTO temperature VALUES (?, ?, ?)")?;
    for (month, mean) in &year.months {
        statement.execute((&year.source, month, mean))?;
    }
    Ok(year.months.len())
}

fn create(database: &Database) -> Deferred<()> {
    database.run_with_connection(move |connection| {
        // With the write-ahead log, a setting kept in the file, readers and a writer do not wait
        // for each other.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let table = "CREATE TABLE temperature (source TEXT, month TEXT, mean REAL, PRIMARY KEY (source, month))";
        Ok(connection.execute_batch(table)?)
    })
}

fn count(database: &Database) -> Deferred<u32> {
    database.run_with_connection(|connection| {
        Ok(connection.query_row("SELECT count(*) FROM temperature", (), |row| row.get(0))?)
    })
}

/// Returns the first year in `order` of the mean, and its mean.
fn first(database: &Database, order: &'static str) -> Deferred<(String, f64)> {
    database.run_with_connection(move |connection| {
        let query = format!(
            "SELECT substr(month, 1, 4), avg(mean) FROM temperature WHERE source = 'GISTEMP' \
             GROUP BY 1 HAVING count(*) = 12 ORDER BY 2 {order} LIMIT 1"
        );
        Ok(connection.query_row(&query, (), |row| Ok((row.get(0)?, row.get(1)?)))?)
    })
}

/// Queries and prints the number of rows every 20 ms, or when the previous query has finished. This
/// shows that the loop runs and that the database serves other queries meanwhile.
fn print_progress(reactor: &Reactor, database: Database, story: Story) -> LoopingCall {
    let ticking = LoopingCall::new(reactor, move || {
        count(&database).add_callback(move |rows| story.say(format_args!("tick: {rows} rows")))
    });
    drop(ticking.start(Duration::from_millis(20)));
    ticking
}

fn import(reactor: &Reactor, database: Database) -> Deferred<()> {
    let (story, reactor) = (Story::begin(), reactor.clone());
    inline_callbacks(async move {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/global_temperature.csv");
        let years = defer_to_thread(move || read(&path)).await?;
        create(&database).await?;
        let ticking = print_progress(&reactor, database.clone(), story);
        let again = years[0].clone();
        let inserts = database.clone();
        let inserted = concurrent(4)
            .map(years, move |year| inserts.run_interaction(move |connection| insert(connection, &year)))
            .await?;
        story.say(format_args!("imported {} rows in {} transactions", inserted.iter().sum::<usize>(), inserted.len()));

        let before = count(&database).await?;
        match database.run_interaction(move |connection| insert(connection, &again)).await {
            Ok(_) => story.say("unexpected: a year was inserted twice"),
            Err(failure) => story.say(format_args!("inserting the same year again failed: {failure}")),
        }
        story.say(format_args!("and changed nothing: {}", count(&database).await? == before));

        let (coldest, degrees) = first(&database, "ASC").await?;
        story.say(format_args!("the coldest year was {coldest}, {degrees:+.2} degrees from the mean"));
        let (warmest, degrees) = first(&database, "DESC").await?;
        story.say(format_args!("the warmest year was {warmest}, {degrees:+.2} degrees from the mean"));
        ticking.stop();
        Ok(())
    })
}

fn main() -> ExitCode {
    let path = env::temp_dir().join(format!("deferred-example-{}.db", process::id()));
    let file = path.clone();
    let code = react(move |reactor| import(reactor, ConnectionPool::new(Sqlite(file))));
    // SQLite keeps the write-ahead log and its index in files beside the database.
    for ending in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{ending}", path.display()));
    }
    code
}
