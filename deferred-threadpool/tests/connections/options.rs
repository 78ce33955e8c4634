//! Options of the builder: when connections are opened, checked and closed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use deferred_threadpool::{
    ConnectionPool, ConnectionPoolBuilder, Failure, InterruptHandle, ManageConnection, PoolStopped, PooledConnection,
    QueueFull, ReturnFailed, deferred_list, report,
};

use crate::LIMIT;
use crate::log::{Logs, run};

fn one() -> (ConnectionPoolBuilder<Logs>, Logs) {
    let logs = Logs::default();
    (ConnectionPool::builder(logs.clone()).max_connections(1), logs)
}

/// Waits until a condition is true.
fn eventually(condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < LIMIT, "it is still not so");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn start_opens_the_minimum_of_connections_each_in_its_thread() {
    for (min, opened) in [(0, 1), (1, 1), (3, 3), (100, 5)] {
        let logs = Logs::default();
        let pool = ConnectionPool::builder(logs.clone()).min_connections(min).build();
        run(|| pool.start()).unwrap();
        assert_eq!(pool.stats().opened, opened, "{min}");
        run(|| pool.start()).unwrap();
        run(|| pool.run_with_connection(|_| Ok(()))).unwrap();
        assert_eq!(pool.stats().opened, opened, "they are open");
        run(|| pool.close()).unwrap();
        assert_eq!(pool.stats().closed, opened);
        assert!(run(|| pool.start()).unwrap_err().check::<PoolStopped>());
    }
}

#[test]
fn start_fails_with_the_error_of_opening_and_a_later_job_tries_again() {
    for fails in ["open", "open panics"] {
        let logs = Logs::default();
        let pool = ConnectionPool::builder(logs.clone()).min_connections(2).build();
        logs.fail(&[fails]);
        assert!(run(|| pool.start()).unwrap_err().to_string().contains("open"));
        assert_eq!(pool.stats().failed, 2);
        logs.fail(&[]);
        run(|| pool.run_with_connection(|_| Ok(()))).unwrap();
        run(|| pool.start()).unwrap();
        assert_eq!(pool.stats().opened, 2);
    }
}

#[test]
fn start_waits_for_no_job_that_was_refused() {
    let pool = ConnectionPool::builder(Logs::default())
        .min_connections(3)
        .max_connections(3)
        .threads(|threads| threads.queue_limit(0))
        .build();
    let (release, released) = mpsc::channel::<()>();
    let holds = pool.submit_with_connection(move |_| Ok(released.recv_timeout(LIMIT)?));
    // One of the three threads is busy.
    let started = run(|| pool.start());
    assert!(started.unwrap_err().check::<QueueFull>());
    release.send(()).unwrap();
    holds.wait().unwrap();
}

#[test]
fn a_connection_without_jobs_is_closed_after_the_idle_timeout_unless_it_is_of_the_minimum() {
    for (min, left) in [(0, 0), (1, 1), (2, 2)] {
        let pool = ConnectionPool::builder(Logs::default())
            .min_connections(min)
            .max_connections(3)
            .idle_timeout(Duration::from_millis(10))
            .build();
        let all = Arc::new(std::sync::Barrier::new(3));
        let jobs = || {
            (0..3).map(|_| {
                pool.run_with_connection({
                    let all = all.clone();
                    move |_| Ok(all.wait())
                })
            })
        };
        let results = run(|| deferred_list(jobs().collect::<Vec<_>>())).unwrap();
        assert!(results.iter().all(Result::is_ok));
        eventually(|| pool.stats().opened - pool.stats().closed == left);
        thread::sleep(Duration::from_millis(50));
        assert_eq!(pool.stats().opened - pool.stats().closed, left);
        run(|| pool.run_with_connection(|_| Ok(()))).unwrap();
        run(|| pool.close()).unwrap();
        assert_eq!(pool.stats().opened, pool.stats().closed);
    }
}

#[test]
fn a_connection_beyond_its_lifetime_is_closed_after_its_job_or_before_the_next() {
    let (builder, logs) = one();
    let pool = builder.max_lifetime(Duration::from_millis(30)).build();
    run(|| pool.run_with_connection(|_| Ok(()))).unwrap();
    thread::sleep(Duration::from_millis(40));
    // The second connection becomes too old during its job.
    run(|| {
        pool.run_with_connection(|_| {
            thread::sleep(Duration::from_millis(40));
            Ok(())
        })
    })
    .unwrap();
    assert_eq!(logs.take(), ["open 1", "close 1", "open 2", "close 2"]);
}

#[test]
fn without_the_check_a_connection_is_used_as_it_is() {
    let (builder, logs) = one();
    let pool = builder.check_on_checkout(false).build();
    (0..2).for_each(|_| run(|| pool.run_with_connection(|_| Ok(()))).unwrap());
    assert_eq!(logs.take(), ["open 1"]);
}

#[test]
fn the_hook_on_open_is_called_once_and_its_error_closes_the_connection() {
    let (builder, logs) = one();
    let (calls, fails) = (Arc::new(AtomicUsize::new(0)), logs.clone());
    let counts = calls.clone();
    let pool = builder
        .on_open(move |connection| {
            counts.fetch_add(1, Ordering::Relaxed);
            fails.log_call("hook", connection.number)
        })
        .build();
    logs.fail(&["hook"]);
    assert_eq!(run(|| pool.run_with_connection(|_| Ok(()))).unwrap_err().to_string(), "no hook");
    assert_eq!(logs.take(), ["open 1", "hook 1", "close 1"]);
    logs.fail(&[]);
    (0..2).for_each(|_| run(|| pool.run_with_connection(|_| Ok(()))).unwrap());
    assert_eq!(logs.take(), ["open 2", "hook 2", "check 2"]);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!((pool.stats().opened, pool.stats().failed), (1, 1));
}

#[test]
fn the_hook_on_return_is_called_after_the_transaction_and_its_error_is_reported() {
    let reports = Arc::new(AtomicUsize::new(0));
    let counts = reports.clone();
    report::set_hook(move |report| {
        if report.downcast_ref::<ReturnFailed>().is_some_and(|failed| failed.error.to_string() == "no hook") {
            counts.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (builder, logs) = one();
    let hooks = logs.clone();
    let pool = builder.on_return(move |connection| hooks.log_call("hook", connection.number)).build();
    run(|| pool.run_interaction(|_| Ok(()))).unwrap();
    run(|| pool.run_interaction(|_| Err::<(), _>(Failure::msg("mine")))).unwrap_err();
    assert_eq!(logs.take(), ["open 1", "begin 1", "commit 1", "hook 1", "check 1", "begin 1", "rollback 1", "hook 1"]);
    for fails in ["hook", "hook panics"] {
        logs.fail(&[fails]);
        assert_eq!(run(|| pool.run_interaction(|_| Ok(5))).unwrap(), 5, "the job keeps its result");
        assert!(logs.take().last().unwrap().starts_with("close"));
    }
    report::take_hook();
    assert_eq!(reports.load(Ordering::Relaxed), 1);
}

#[test]
fn a_discarded_connection_is_closed_after_the_end_of_its_transaction() {
    for fails in [false, true] {
        let (builder, logs) = one();
        let pool = builder.build();
        let result = run(|| {
            pool.run_interaction(move |connection| {
                PooledConnection::discard(connection);
                if fails { Err(Failure::msg("mine")) } else { Ok(()) }
            })
        });
        assert_eq!(result.is_err(), fails);
        // Closing the connection rolls back.
        let expected: &[&str] =
            if fails { &["open 1", "begin 1", "close 1"] } else { &["open 1", "begin 1", "commit 1", "close 1"] };
        assert_eq!(logs.take(), expected);
    }
}

#[test]
fn a_broken_connection_is_closed_after_the_end_of_its_transaction() {
    for fails in [false, true] {
        let (builder, logs) = one();
        let pool = builder.build();
        let breaks = logs.clone();
        let result = run(|| {
            pool.run_interaction(move |_| {
                breaks.fail(&["broken"]);
                if fails { Err(Failure::msg("mine")) } else { Ok(()) }
            })
        });
        assert_eq!(result.is_err(), fails);
        let expected: &[&str] = &["open 1", "begin 1", if fails { "rollback 1" } else { "commit 1" }, "close 1"];
        assert_eq!(logs.take(), expected);
    }
}

#[test]
fn transactions_of_the_builder_replace_those_of_the_manager() {
    let (builder, logs) = one();
    let (begins, commits, rolls_back) = (logs.clone(), logs.clone(), logs.clone());
    let pool = builder
        .transactions(
            move |connection| begins.log_call("BEGIN", connection.number),
            move |connection| commits.log_call("COMMIT", connection.number),
            move |connection| rolls_back.log_call("ROLLBACK", connection.number),
        )
        .in_transaction(|_| true)
        .build();
    run(|| pool.run_interaction(|_| Ok(()))).unwrap();
    run(|| pool.run_interaction(|_| Err::<(), _>(Failure::msg("mine")))).unwrap_err();
    assert_eq!(logs.take(), ["open 1", "BEGIN 1", "COMMIT 1", "check 1", "BEGIN 1", "ROLLBACK 1"]);
    run(|| pool.run_with_connection(|_| Ok(()))).unwrap();
    run(|| pool.run_with_connection(|_| Err::<(), _>(Failure::msg("mine")))).unwrap_err();
    assert_eq!(logs.take(), ["check 1", "COMMIT 1", "check 1", "ROLLBACK 1"]);
    logs.fail(&["BEGIN"]);
    run(|| pool.run_interaction(|_| Ok(()))).unwrap_err();
    assert_eq!(logs.take(), ["check 1", "BEGIN 1", "ROLLBACK 1"]);
}

#[test]
fn a_cancel_that_comes_before_the_commit_rolls_back_even_if_the_closure_has_returned() {
    let (builder, logs) = one();
    let (interrupts, interrupted) = mpsc::channel();
    let pool = builder
        .interrupt_handle(move |_| {
            let interrupts = interrupts.clone();
            Ok(InterruptHandle::blocking(move || {
                // The closure returns meanwhile.
                interrupts.send(()).unwrap();
                thread::sleep(Duration::from_millis(50));
            }))
        })
        .build();
    let (began, has_begun) = mpsc::channel();
    let job = pool.submit_interaction(move |_| {
        began.send(()).unwrap();
        Ok(interrupted.recv_timeout(LIMIT)?)
    });
    has_begun.recv_timeout(LIMIT).unwrap();
    drop(job);
    pool.submit_close().wait().unwrap();
    assert!(logs.take().iter().all(|line| !line.starts_with("commit")));
}

/// Cancels a job that runs until it is interrupted, and returns the number of the next job's
/// connection.
fn number_after_cancel(pool: &ConnectionPool<Logs>, interrupted: mpsc::Receiver<()>) -> usize {
    run(|| {
        let (began, has_begun) = mpsc::channel();
        let hangs = pool.run_with_connection(move |_| {
            began.send(()).unwrap();
            interrupted.recv_timeout(LIMIT)?;
            Err::<(), _>(Failure::msg("interrupted"))
        });
        has_begun.recv_timeout(LIMIT).unwrap();
        hangs.cancel();
        drop(hangs.add_errback(|_| Ok(())));
        pool.run_with_connection(|connection| Ok(connection.number))
    })
    .unwrap()
}

#[test]
fn a_blocking_interrupt_runs_in_its_own_thread_and_the_job_waits_for_its_end() {
    let (builder, logs) = one();
    *logs.open.lock() = Some(false);
    let (interrupts, interrupted) = mpsc::channel();
    let caller = thread::current().id();
    let log = logs.clone();
    let pool = builder
        .interrupt_handle(move |connection| {
            let (interrupts, log, number) = (interrupts.clone(), log.clone(), connection.number);
            Ok(InterruptHandle::blocking(move || {
                assert_ne!(thread::current().id(), caller);
                interrupts.send(()).unwrap();
                thread::sleep(Duration::from_millis(30));
                log.log_call("interrupted", number).unwrap();
            }))
        })
        .build();
    assert_eq!(number_after_cancel(&pool, interrupted), 1);
    assert_eq!(logs.take(), ["open 1", "interrupted 1", "settle 1", "check 1"]);
}

#[test]
fn a_connection_whose_interrupt_does_not_end_or_may_come_later_is_closed() {
    for never_ends in [true, false] {
        let (builder, logs) = one();
        *logs.open.lock() = Some(false);
        logs.fail(&["settle"]);
        let (interrupts, interrupted) = mpsc::channel();
        let pool = builder
            .interrupt_handle(move |_| {
                let interrupts = interrupts.clone();
                Ok(InterruptHandle::blocking(move || {
                    interrupts.send(()).unwrap();
                    if never_ends {
                        thread::sleep(Duration::from_secs(5));
                    }
                }))
            })
            .build();
        assert_eq!(number_after_cancel(&pool, interrupted), 2);
        assert_eq!(pool.stats().closed, 1);
    }
}

#[test]
fn an_interrupt_that_panics_or_a_handle_that_fails_harms_only_its_connection() {
    let (builder, logs) = one();
    *logs.open.lock() = Some(false);
    let (interrupts, interrupted) = mpsc::channel();
    let fails = Arc::new(AtomicUsize::new(1));
    let pool = builder
        .interrupt_handle(move |_| {
            if fails.fetch_sub(1, Ordering::Relaxed) == 1 {
                return Err(Failure::msg("no handle"));
            }
            let interrupts = interrupts.clone();
            Ok(InterruptHandle::blocking(move || {
                interrupts.send(()).unwrap();
                std::panic::resume_unwind(Box::new("an interrupt"));
            }))
        })
        .build();
    assert_eq!(run(|| pool.run_with_connection(|_| Ok(()))).unwrap_err().to_string(), "no handle");
    assert_eq!(number_after_cancel(&pool, interrupted), 2);
}

#[test]
fn an_interrupt_that_comes_between_two_queries_is_repeated_until_the_job_ends() {
    for blocks in [false, true] {
        let (builder, logs) = one();
        *logs.open.lock() = Some(false);
        let (interrupts, interrupted) = mpsc::channel();
        let (twice, passed) = mpsc::channel();
        let pool = builder
            .interrupt_handle(move |_| {
                let interrupts = interrupts.clone();
                let interrupt = move || _ = interrupts.send(());
                Ok(if blocks { InterruptHandle::blocking(interrupt) } else { InterruptHandle::new(interrupt) })
            })
            .build();
        thread::spawn(move || {
            (0..3).for_each(|_| interrupted.recv_timeout(LIMIT).unwrap());
            twice.send(()).unwrap();
            interrupted.recv().unwrap_err(); // no call comes after the job, and the handle is dropped
        });
        assert_eq!(number_after_cancel(&pool, passed), 1);
        run(|| pool.close()).unwrap();
    }
}

#[test]
fn a_connection_that_takes_long_to_close_delays_no_other() {
    let (closes, may_close) = mpsc::channel();
    let logs = Logs::default();
    let (closing, is_closing) = logs.hold("closing");
    let pool = ConnectionPool::builder(logs).max_connections(2).idle_timeout(Duration::from_millis(5)).build();
    pool.submit_with_connection(|_| Ok(())).wait().unwrap();
    closing.recv_timeout(LIMIT).unwrap();
    let job = pool.submit_with_connection(move |connection| Ok((closes.send(())?, connection.number)));
    may_close.recv_timeout(LIMIT).unwrap();
    assert_eq!(job.wait().unwrap().1, 2);
    assert_eq!(pool.stats().closed, 0, "a connection is closed when its destructor has returned");
    is_closing.send(()).unwrap();
    pool.submit_close().wait().unwrap();
}

#[test]
fn a_pool_without_a_reactor_is_closed_by_a_future() {
    for cancelled in [false, true] {
        let pool = ConnectionPool::builder(Logs::default()).max_connections(2).build();
        let jobs: Vec<_> = (0..10).map(|_| pool.submit_with_connection(|_| Ok(()))).collect();
        let closed = pool.submit_close();
        if cancelled {
            drop(closed);
            pool.submit_close().wait().unwrap();
        } else {
            closed.wait().unwrap();
        }
        assert_eq!(pool.stats().opened, pool.stats().closed);
        assert!(jobs.into_iter().all(|job| job.wait().is_ok()));
        assert!(pool.submit_interaction(|_| Ok(())).wait().unwrap_err().check::<PoolStopped>());
        pool.submit_close().wait().unwrap();
    }
}

#[test]
fn a_submitted_job_needs_no_reactor() {
    let (builder, logs) = one();
    let pool = builder.build();
    assert_eq!(pool.submit_interaction(|connection| Ok(connection.number)).wait().unwrap(), 1);
    assert_eq!(pool.submit_with_connection(|connection| Ok(connection.number)).wait().unwrap(), 1);
    assert_eq!(logs.take(), ["open 1", "begin 1", "commit 1", "check 1"]);
    let job_is_cancelled =
        pool.submit_with_connection(|connection| Ok(PooledConnection::job(connection).is_cancelled()));
    assert!(!job_is_cancelled.wait().unwrap());
}

#[test]
fn a_manager_without_transactions_can_have_those_of_the_builder() {
    struct Plain;
    impl ManageConnection for Plain {
        type Connection = Vec<&'static str>;
        fn open(&self) -> Result<Self::Connection, Failure> {
            Ok(Vec::new())
        }
    }
    let log = |line: &'static str| {
        move |connection: &mut Vec<&'static str>| -> Result<(), Failure> {
            connection.push(line);
            Ok(())
        }
    };
    let builder = ConnectionPool::builder(Plain).max_connections(1);
    let pool = builder.transactions(log("begin"), log("commit"), log("rollback")).build();
    run(|| pool.run_interaction(|_| Ok(()))).unwrap();
    assert_eq!(run(|| pool.run_with_connection(|connection| Ok(connection.join(" ")))).unwrap(), "begin commit");
}
