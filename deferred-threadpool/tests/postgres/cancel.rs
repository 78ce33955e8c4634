//! A cancel reaches the query on the server, and never the next one.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use deferred_threadpool::{Backlog, Cancelled, Failure, StopTimedOut, TimedOut, deferred_list, park};
use r2d2_postgres::postgres::Error;
use r2d2_postgres::postgres::error::SqlState;

use super::{LIMIT, Table, backend, close, pool, run};

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn after_a_cancel_or_timeout_of_a_query_the_same_connection_serves_the_next_job() {
    let table = Table::new("interrupted", "n INTEGER");
    let pool = pool(1);
    let first = run(|| backend(&pool)).unwrap();
    for in_a_transaction in [false, true] {
        for cancels in [false, true] {
            let (ended, next) = park::run_until(|reactor| {
                let mut hangs = if in_a_transaction {
                    pool.run_interaction(|client| {
                        client.batch_execute("INSERT INTO interrupted VALUES (1)")?;
                        Ok(client.batch_execute("SELECT pg_sleep(600)")?)
                    })
                } else {
                    pool.run_with_connection(|client| Ok(client.batch_execute("SELECT pg_sleep(600)")?))
                };
                if cancels {
                    let cancel = hangs.cancel_handle();
                    reactor.call_later(Duration::from_millis(100), move || cancel.cancel());
                } else {
                    hangs = hangs.add_timeout(Duration::from_millis(100), reactor);
                }
                let next = backend(&pool).add_timeout(Duration::from_secs(LIMIT), reactor);
                hangs.add_both(Ok).add_callback(move |ended| next.map(move |next| (ended, next)))
            })
            .unwrap();
            let failure = ended.unwrap_err();
            assert!(if cancels { failure.check::<Cancelled>() } else { failure.check::<TimedOut>() }, "{failure}");
            assert_eq!(next, first, "it is the same connection");
        }
    }
    assert_eq!(table.count(), 0, "the transactions were rolled back");
    assert_eq!(pool.stats().opened, 1);
    close(&pool);
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn a_cancelled_job_whose_query_ended_at_a_timeout_of_the_server_loses_its_connection() {
    let pool = pool(1);
    let (timed_out, has_timed_out) = mpsc::channel();
    let (goes_on, may_go_on) = mpsc::channel();
    let job = pool.submit_with_connection(move |client| {
        let pid = client.query_one("SELECT pg_backend_pid()", &[])?.get::<_, i32>(0);
        let error = client.batch_execute("SET statement_timeout = 10; SELECT pg_sleep(600)").unwrap_err();
        timed_out.send(pid).unwrap();
        may_go_on.recv_timeout(Duration::from_secs(LIMIT))?;
        Err::<(), _>(error.into())
    });
    let first = has_timed_out.recv_timeout(Duration::from_secs(LIMIT)).unwrap();
    // The cancel request finds no query, and the error of the job is not its work.
    drop(job);
    thread::sleep(Duration::from_millis(20));
    goes_on.send(()).unwrap();
    assert_ne!(run(|| backend(&pool)).unwrap(), first);
    close(&pool);
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn a_query_that_begins_after_the_cancel_is_interrupted_too() {
    let pool = pool(1);
    let next = park::run_until(|reactor| {
        let hangs = pool.run_with_connection(|client| {
            thread::sleep(Duration::from_millis(60));
            Ok(client.batch_execute("SELECT pg_sleep(600)")?)
        });
        let hangs = hangs.add_timeout(Duration::from_millis(20), reactor);
        let next = backend(&pool).add_timeout(Duration::from_secs(LIMIT), reactor);
        hangs.add_both(|_| next)
    });
    next.unwrap();
    close(&pool);
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn a_cancelled_job_that_hides_the_error_of_its_query_loses_its_connection() {
    let pool = pool(1);
    let first = run(|| backend(&pool)).unwrap();
    let next = park::run_until(|reactor| {
        let hides = pool.run_with_connection(|client| {
            let _ = client.batch_execute("SELECT pg_sleep(600)");
            Ok(())
        });
        let hides = hides.add_timeout(Duration::from_millis(100), reactor);
        let next = backend(&pool).add_timeout(Duration::from_secs(LIMIT), reactor);
        hides.add_both(|_| next)
    });
    assert_ne!(next.unwrap(), first);
    close(&pool);
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn a_cancel_at_any_time_never_reaches_another_job() {
    const JOBS: u64 = 1500;
    let _table = Table::new("random_cancels", "n BIGINT PRIMARY KEY");
    let pool = pool(4);
    let mut seed = 7_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    let results = park::run_until(|reactor| {
        let jobs = (0..JOBS).map(|number| {
            let micros = random(3000);
            let mut job = pool.run_interaction(move |client| {
                client.execute("INSERT INTO random_cancels VALUES ($1)", &[&(number as i64)])?;
                Ok(client.batch_execute(&format!("SELECT pg_sleep({})", micros as f64 / 1e6))?)
            });
            if number % 2 == 0 {
                // At any time between its place in the queue and after its end.
                let cancel = job.cancel_handle();
                reactor.call_later(Duration::from_micros(number * 500 + random(20_000)), move || cancel.cancel());
            }
            job
        });
        deferred_list(jobs.collect::<Vec<_>>()).add_timeout(Duration::from_secs(LIMIT), reactor)
    })
    .unwrap();
    let mut cancelled = 0;
    for (number, result) in results.iter().enumerate() {
        match result {
            Ok(()) => {}
            Err(failure) if failure.check::<Cancelled>() && number % 2 == 0 => cancelled += 1,
            Err(failure) => panic!("job {number} failed with the cancel of another one: {failure}"),
        }
    }
    assert!(cancelled > 20, "{cancelled}");
    close(&pool);
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn a_pool_that_is_stopped_interrupts_the_queries_that_run_at_its_deadline() {
    let pool = pool(3);
    let (started, has_started) = mpsc::channel();
    let (jobs, stopped) = park::run_until(|_| {
        let jobs = (0..5).map(|_| {
            let started = started.clone();
            pool.run_interaction(move |client| {
                started.send(()).unwrap();
                Ok(client.batch_execute("SELECT pg_sleep(600)")?)
            })
        });
        let jobs = deferred_list(jobs.collect::<Vec<_>>());
        (0..3).for_each(|_| has_started.recv_timeout(Duration::from_secs(LIMIT)).unwrap());
        let stopped = pool.stop_within(Backlog::Run, Duration::from_millis(100));
        stopped.add_both(Ok).add_callback(move |stopped| jobs.map(move |jobs| (jobs, stopped)))
    })
    .unwrap();
    assert!(stopped.unwrap_err().check::<StopTimedOut>());
    assert!(jobs.iter().all(Result::is_err));
    let all_closed = || pool.stats().opened == 3 && pool.stats().closed == 3;
    for _ in 0..LIMIT * 100 {
        if all_closed() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("the queries still run: {:?}", pool.stats());
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn dropping_the_future_of_a_submitted_job_interrupts_its_query() {
    let pool = pool(1);
    let (started, has_started) = mpsc::channel();
    let hangs = pool.submit_interaction(move |client| {
        started.send(client.query_one("SELECT pg_backend_pid()", &[])?.get::<_, i32>(0)).unwrap();
        Ok(client.batch_execute("SELECT pg_sleep(600)")?)
    });
    let first = has_started.recv_timeout(Duration::from_secs(LIMIT)).unwrap();
    drop(hangs);
    let next =
        pool.submit_with_connection(|client| Ok(client.query_one("SELECT pg_backend_pid()", &[])?.get::<_, i32>(0)));
    assert_eq!(next.wait().unwrap(), first);
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn a_timeout_of_the_server_is_an_error_of_the_job() {
    let pool = super::builder(1).on_open(|client| Ok(client.batch_execute("SET statement_timeout = 50")?)).build();
    let first = run(|| backend(&pool)).unwrap();
    let failed: Failure = run(|| pool.run_operation("SELECT pg_sleep(600)", ())).unwrap_err();
    let code = failed.downcast_ref::<Error>().unwrap().code();
    assert_eq!(code, Some(&SqlState::QUERY_CANCELED));
    assert_eq!(run(|| backend(&pool)).unwrap(), first);
    close(&pool);
}
