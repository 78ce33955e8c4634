//! Tests of `ConnectionPool` on a PostgreSQL server, which `.ci/postgres` starts.

mod cancel;
mod failures;
mod interface;

use std::env;
use std::time::Duration;

use deferred_threadpool::{ConnectionPool, ConnectionPoolBuilder, Deferred, Failure, park};
use r2d2_postgres::PostgresConnectionManager;
use r2d2_postgres::postgres::{Client, NoTls};

type Manager = PostgresConnectionManager<NoTls>;
type Pool = ConnectionPool<Manager>;

/// A time longer than any test takes, in seconds: if it passes, something hangs.
const LIMIT: u64 = 60;

fn address() -> String {
    env::var("DEFERRED_POSTGRES").expect("run `.ci/postgres`, which starts a server")
}

fn builder(connections: usize) -> ConnectionPoolBuilder<Manager> {
    let manager = PostgresConnectionManager::new(address().parse().unwrap(), NoTls);
    ConnectionPool::builder(manager).max_connections(connections)
}

fn pool(connections: usize) -> Pool {
    builder(connections).build()
}

/// A connection beside the pool.
fn admin() -> Client {
    Client::connect(&address(), NoTls).unwrap()
}

/// A table with a name of its own, which is dropped on drop.
struct Table(String);

impl Table {
    fn new(name: &str, columns: &str) -> Table {
        let mut admin = admin();
        admin.batch_execute(&format!("DROP TABLE IF EXISTS {name}; CREATE TABLE {name} ({columns})")).unwrap();
        Table(name.into())
    }

    fn count(&self) -> i64 {
        admin().query_one(&format!("SELECT count(*) FROM {}", self.0), &[]).unwrap().get(0)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let _ = admin().batch_execute(&format!("DROP TABLE {}", self.0));
    }
}

fn run<T: 'static>(f: impl FnOnce() -> Deferred<T>) -> Result<T, Failure> {
    park::run_until(|reactor| {
        let deferred = f();
        deferred.add_timeout(Duration::from_secs(LIMIT), reactor)
    })
}

/// Returns the number of the process that serves a connection of the pool.
fn backend(pool: &Pool) -> Deferred<i32> {
    pool.run_with_connection(|client| Ok(client.query_one("SELECT pg_backend_pid()", &[])?.try_get(0)?))
}

fn close(pool: &Pool) {
    run(|| pool.close()).unwrap();
    let stats = pool.stats();
    assert_eq!(stats.opened, stats.closed, "each connection is closed");
}
