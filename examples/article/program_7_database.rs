//! Program 7 of an introduction to Twisted: a blocking database, through a pool with one connection
//! for each of its threads.
//!
//! ```text
//! cargo run --release --example article_7_database
//! ```
//!
//! The program imports a table of real measurements into SQLite: the temperature of the globe in
//! each month since 1850 (see `data/README.md`). Each year of each source is a transaction, several
//! run at once, and the loop keeps ticking and queries the progress. Then it inserts one year
//! again, which fails and changes nothing, and queries the warmest and the coldest year.
//!
//! | Python | here |
//! | --- | --- |
//! | `pool = adbapi.ConnectionPool('sqlite3', path)` | `ConnectionPool::new(SqliteConnectionManager::file(path))`, a manager of r2d2 |
//! | `pool.runInteraction(insert, year)` | `pool.run_interaction(move \|connection\| insert(connection, &year))` |
//! | `pool.runQuery('SELECT ..')` | `pool.run_query("SELECT ..", (), \|row\| ..)` |
//! | `yield task.coiterate(..)`, `DeferredSemaphore(4)` | `concurrent(4).map(years, ..)` |
//!
//! It stops when it is done, after a second or two.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, process};

use deferred_examples::Story;
use deferred_smol::{Deferred, Failure, LoopingCall, Reactor, concurrent, inline_callbacks, react};
use deferred_threadpool::{ConnectionPool, defer_to_thread};
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::Connection;

type Database = ConnectionPool<SqliteConnectionManager>;

/// The measurements of a year by one source: its name, the month, and the mean.
type Year = Vec<(String, String, f64)>;

/// Reads the table. Reading a file blocks too, so this runs in a thread.
fn read() -> Result<Vec<Year>, Failure> {
    let mut years = BTreeMap::<_, Year>::new();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/global_temperature.csv");
    for row in csv::Reader::from_path(path)?.into_deserialize() {
        let row: (String, String, f64) = row?;
        years.entry((row.1.chars().take(4).collect::<String>(), row.0.clone())).or_default().push(row);
    }
    Ok(years.into_values().collect())
}

/// Inserts one year, inside a transaction. If one of its months exists already, the transaction is
/// rolled back.
fn insert(connection: &mut Connection, year: &Year) -> Result<usize, Failure> {
    let mut statement = connection.prepare_cached("INSERT INTO temperature VALUES (?, ?, ?)")?;
    year.iter().try_for_each(|(source, month, mean)| statement.execute((source, month, mean)).map(drop))?;
    Ok(year.len())
}

fn count(database: &Database) -> Deferred<u32> {
    database.run_query("SELECT count(*) FROM temperature", (), |row| Ok(row.get(0)?)).map(|rows| rows[0])
}

/// Returns the first year in `order` of the mean, and its mean.
fn first(database: &Database, order: &str) -> Deferred<(String, f64)> {
    let query = format!(
        "SELECT substr(month, 1, 4), avg(mean) FROM temperature WHERE source = 'GISTEMP' \
         GROUP BY 1 HAVING count(*) = 12 ORDER BY 2 {order} LIMIT 1"
    );
    database.run_query(query, (), |row| Ok((row.get(0)?, row.get(1)?))).map(|mut rows| rows.remove(0))
}

fn import(reactor: &Reactor, database: Database) -> Deferred<()> {
    let (story, reactor) = (Story::begin(), reactor.clone());
    inline_callbacks(async move {
        let years = defer_to_thread(read).await?;
        let table = "CREATE TABLE temperature (source TEXT, month TEXT, mean REAL, PRIMARY KEY (source, month))";
        database.run_operation(table, ()).await?;
        // Queries the progress every 20 ms: the loop runs, and the database serves other queries.
        let counts = database.clone();
        let ticking = LoopingCall::new(&reactor, move || {
            count(&counts).add_callback(move |rows| story.say(format_args!("tick: {rows} rows")))
        });
        drop(ticking.start(Duration::from_millis(20)));
        let (again, inserts) = (years[0].clone(), database.clone());
        let inserted = concurrent(4)
            .map(years, move |year| inserts.run_interaction(move |connection| insert(connection, &year)))
            .await?;
        story.say(format_args!("imported {} rows in {} transactions", inserted.iter().sum::<usize>(), inserted.len()));
        let before = count(&database).await?;
        if let Err(failure) = database.run_interaction(move |connection| insert(connection, &again)).await {
            story.say(format_args!("inserting the same year again failed: {failure}"));
        }
        story.say(format_args!("and changed nothing: {}", count(&database).await? == before));
        for (name, order) in [("coldest", "ASC"), ("warmest", "DESC")] {
            let (year, degrees) = first(&database, order).await?;
            story.say(format_args!("the {name} year was {year}, {degrees:+.2} degrees from the mean"));
        }
        ticking.stop();
        database.close().await
    })
}

fn main() -> ExitCode {
    let folder = env::temp_dir().join(format!("deferred-example-{}", process::id()));
    fs::create_dir(&folder).expect("the folder for temporary files is writable");
    // In WAL mode, readers and a writer do not wait for each other, and writers do for 5 seconds.
    let wal = |connection: &mut Connection| connection.pragma_update(None, "journal_mode", "WAL");
    let manager = SqliteConnectionManager::file(folder.join("temperature.db")).with_init(wal);
    let code = react(move |reactor| import(reactor, ConnectionPool::new(manager)));
    drop(fs::remove_dir_all(folder));
    code
}
