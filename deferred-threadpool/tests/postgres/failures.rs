//! A server that kills connections, or restarts: each job has one outcome, nothing is written
//! twice, and nothing that was confirmed is lost.

use std::collections::BTreeSet;
use std::env;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use deferred_threadpool::{Failure, concurrent, deferred_list, park};

use super::{LIMIT, Pool, Table, admin, backend, builder, close, run};

const ACCOUNTS: i64 = 20;
const EACH: i64 = 1000;

/// Accounts, and a log of the payments between them.
struct Accounts {
    accounts: Table,
    payments: Table,
}

impl Accounts {
    fn new(prefix: &str) -> Accounts {
        let accounts = Table::new(&format!("{prefix}_accounts"), "id BIGINT PRIMARY KEY, money BIGINT");
        let payments = Table::new(&format!("{prefix}_payments"), "id BIGINT PRIMARY KEY");
        let insert = format!("INSERT INTO {} SELECT id, $2 FROM generate_series(0, $1::BIGINT) AS id", accounts.0);
        admin().execute(&insert, &[&(ACCOUNTS - 1), &EACH]).unwrap();
        Accounts { accounts, payments }
    }

    /// Pays, for each number below `count`, and returns the numbers of confirmed payments and those
    /// of failed ones.
    fn pay(&self, pool: &Pool, count: i64) -> (BTreeSet<i64>, BTreeSet<i64>) {
        let (accounts, payments) = (self.accounts.0.clone(), self.payments.0.clone());
        let jobs = pool.clone();
        let results = park::run_until(|reactor| {
            let paid = concurrent(16).map(0..count, move |number| {
                let (accounts, payments) = (accounts.clone(), payments.clone());
                let paid = jobs.run_interaction(move |client| {
                    let update = format!("UPDATE {accounts} SET money = money + $2 WHERE id = $1");
                    client.execute(&format!("INSERT INTO {payments} VALUES ($1)"), &[&number])?;
                    // In the order of the numbers, against deadlocks.
                    let (from, to) = (number % ACCOUNTS, number * 7 % ACCOUNTS);
                    for id in [from.min(to), from.max(to)] {
                        client.execute(&update, &[&id, &if id == to { 5_i64 } else { -5 }])?;
                    }
                    if from == to {
                        return Err(Failure::msg("to itself"));
                    }
                    Ok(())
                });
                paid.add_both(move |paid| Ok((number, paid.is_ok())))
            });
            paid.add_timeout(Duration::from_secs(LIMIT), reactor)
        });
        let (confirmed, failed): (Vec<_>, Vec<_>) = results.unwrap().into_iter().partition(|(_, paid)| *paid);
        let numbers = |results: Vec<(i64, bool)>| results.into_iter().map(|(number, _)| number).collect();
        (numbers(confirmed), numbers(failed))
    }

    /// Checks that each job had one outcome, and that the database agrees with it.
    fn check(&self, count: i64, confirmed: &BTreeSet<i64>, failed: &BTreeSet<i64>) {
        assert_eq!(confirmed.len() + failed.len(), count as usize);
        let stored = admin().query(&format!("SELECT id FROM {}", self.payments.0), &[]).unwrap();
        let stored: BTreeSet<i64> = stored.iter().map(|row| row.get(0)).collect();
        assert!(confirmed.is_subset(&stored), "confirmed payments are missing");
        // A connection that breaks during a commit leaves its outcome unknown, at most one each.
        let unknown = stored.difference(confirmed).count();
        assert!(unknown < 100, "{unknown} failed payments are stored");
        let sum = format!("SELECT sum(money)::BIGINT FROM {}", self.accounts.0);
        assert_eq!(admin().query_one(&sum, &[]).unwrap().get::<_, i64>(0), ACCOUNTS * EACH);
    }
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn killed_connections_lose_no_confirmed_payment_and_are_replaced() {
    const COUNT: i64 = 20_000;
    let accounts = Accounts::new("killed");
    let pool = builder(8).on_open(|client| Ok(client.batch_execute("SET application_name = 'killed'")?)).build();
    let done = Arc::new(AtomicBool::new(false));
    let stops = done.clone();
    let killer = thread::spawn(move || {
        let (mut admin, mut killed) = (admin(), 0);
        while !stops.load(Ordering::Relaxed) {
            let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                        WHERE application_name = 'killed' ORDER BY random() LIMIT 1";
            killed += admin.execute(kill, &[]).unwrap();
            thread::sleep(Duration::from_millis(10));
        }
        killed
    });
    let (confirmed, failed) = accounts.pay(&pool, COUNT);
    done.store(true, Ordering::Relaxed);
    let killed = killer.join().unwrap();
    accounts.check(COUNT, &confirmed, &failed);
    let stats = pool.stats();
    println!("{killed} killed, {} confirmed, {} failed, {} opened", confirmed.len(), failed.len(), stats.opened);
    assert!(killed > 20 && stats.opened > killed / 2, "{killed} {stats:?}");
    assert!(confirmed.len() > failed.len());
    // Without kills, all works again.
    assert!(
        run(|| deferred_list((0..20).map(|_| backend(&pool)).collect::<Vec<_>>())).unwrap().iter().all(Result::is_ok)
    );
    close(&pool);
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'killed'";
    let mut admin = admin();
    for _ in 0..LIMIT * 100 {
        if admin.query_one(left, &[]).unwrap().get::<_, i64>(0) == 0 {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("the server still has connections of the pool");
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn a_restart_of_the_server_fails_the_jobs_meanwhile_and_no_later_one() {
    const COUNT: i64 = 5_000;
    let accounts = Accounts::new("restarted");
    let pool = builder(4).build();
    let restarts = thread::spawn(|| {
        let script = env::var("DEFERRED_POSTGRES_RESTART").unwrap();
        for _ in 0..2 {
            thread::sleep(Duration::from_millis(200));
            assert!(Command::new("bash").arg(&script).status().unwrap().success());
        }
    });
    let (confirmed, failed) = accounts.pay(&pool, COUNT);
    restarts.join().unwrap();
    accounts.check(COUNT, &confirmed, &failed);
    assert!(!failed.is_empty() && !confirmed.is_empty());
    run(|| backend(&pool)).unwrap();
    close(&pool);
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn a_connection_that_died_without_a_job_is_replaced_unless_the_check_is_off() {
    for checks in [true, false] {
        let pool = builder(1).check_on_checkout(checks).build();
        let first = run(|| backend(&pool)).unwrap();
        admin().execute("SELECT pg_terminate_backend($1, 10000)", &[&first]).unwrap();
        let next = run(|| backend(&pool));
        assert_eq!(next.is_ok(), checks);
        assert_ne!(run(|| backend(&pool)).unwrap(), first);
        close(&pool);
    }
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn a_pool_that_is_closed_with_connections_in_use_lets_their_jobs_finish() {
    let table = Table::new("closed", "n INTEGER");
    let pool = builder(3).build();
    let results = run(|| {
        let jobs = (0..10).map(|number| {
            pool.run_interaction(move |client| {
                client.execute("INSERT INTO closed VALUES ($1)", &[&number])?;
                Ok(client.batch_execute("SELECT pg_sleep(0.02)")?)
            })
        });
        let jobs = deferred_list(jobs.collect::<Vec<_>>());
        let closed = pool.close();
        closed.add_callback(move |()| jobs)
    });
    assert!(results.unwrap().iter().all(Result::is_ok));
    assert_eq!(table.count(), 10);
    assert_eq!(pool.stats().opened, pool.stats().closed);
}
