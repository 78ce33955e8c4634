//! Connections: when they are opened, checked, discarded and closed, and the steps of a transaction
//! in each case.

use std::panic;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use deferred_threadpool::{
    Backlog, Cancelled, ConnectionPool, Failure, ManageConnection, NoTransactions, Panicked, PoolStopped, TimedOut,
    context, park,
};
use parking_lot::Mutex;

use crate::LIMIT;

/// A connection manager that logs each call and fails the chosen ones.
#[derive(Clone, Default)]
pub(crate) struct Logs {
    log: Arc<Mutex<Vec<String>>>,
    opened: Arc<AtomicUsize>,
    fails: Arc<Mutex<Vec<&'static str>>>,
    /// The call that blocks: it sends a message, and continues when it receives one.
    held: Arc<Mutex<Option<Held>>>,
    /// `true` if a transaction is open.
    pub(crate) open: Arc<Mutex<Option<bool>>>,
}

/// A connection that is not `Send`: it must not leave its thread.
pub(crate) struct Logged {
    pub(crate) number: usize,
    log: Arc<Mutex<Vec<String>>>,
    thread: thread::ThreadId,
    fails: Arc<Mutex<Vec<&'static str>>>,
    held: Arc<Mutex<Option<Held>>>,
    _stays: Rc<()>,
}

impl Drop for Logged {
    fn drop(&mut self) {
        assert_eq!(thread::current().id(), self.thread);
        let held = self.held.lock().take_if(|(held, ..)| *held == "closing");
        if let Some((_, reaches, may_go_on)) = held {
            reaches.send(()).unwrap();
            may_go_on.recv_timeout(LIMIT).unwrap();
        }
        self.log.lock().push(format!("close {}", self.number));
        assert!(!self.fails.lock().contains(&"close panics"), "close panics");
    }
}

type Held = (&'static str, mpsc::Sender<()>, mpsc::Receiver<()>);

impl Logs {
    pub(crate) fn hold(&self, what: &'static str) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((reaches, reached), (goes_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
        *self.held.lock() = Some((what, reaches, may_go_on));
        (reached, goes_on)
    }

    pub(crate) fn log_call(&self, what: &'static str, number: usize) -> Result<(), Failure> {
        let held = self.held.lock().take_if(|(held, ..)| *held == what);
        if let Some((_, reaches, may_go_on)) = held {
            reaches.send(()).unwrap();
            may_go_on.recv_timeout(LIMIT).unwrap();
        }
        assert!(!self.fails(&format!("{what} panics")), "{what} panics");
        self.log.lock().push(format!("{what} {number}"));
        if self.fails(what) { Err(Failure::msg(format!("no {what}"))) } else { Ok(()) }
    }

    fn fails(&self, what: &str) -> bool {
        self.fails.lock().contains(&what)
    }

    pub(crate) fn fail(&self, what: &[&'static str]) {
        *self.fails.lock() = what.to_vec();
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock())
    }
}

impl ManageConnection for Logs {
    type Connection = Logged;

    fn open(&self) -> Result<Logged, Failure> {
        let number = 1 + self.opened.fetch_add(1, Ordering::SeqCst);
        self.log_call("open", number)?;
        let (log, fails, held) = (self.log.clone(), self.fails.clone(), self.held.clone());
        Ok(Logged { number, log, thread: thread::current().id(), fails, held, _stays: Rc::new(()) })
    }

    fn check(&self, connection: &mut Logged) -> Result<(), Failure> {
        self.log_call("check", connection.number)
    }

    fn begin(&self, connection: &mut Logged) -> Result<(), Failure> {
        self.log_call("begin", connection.number)
    }

    fn commit(&self, connection: &mut Logged) -> Result<(), Failure> {
        self.log_call("commit", connection.number)
    }

    fn rollback(&self, connection: &mut Logged) -> Result<(), Failure> {
        self.log_call("rollback", connection.number)
    }

    fn in_transaction(&self, _: &mut Logged) -> Option<bool> {
        *self.open.lock()
    }

    fn is_broken(&self, _: &mut Logged) -> bool {
        self.fails("broken")
    }

    fn check_interrupted(&self, connection: &mut Logged, _: u32, error: Option<&Failure>) -> Result<(), Failure> {
        assert_eq!(error.unwrap().to_string(), "interrupted");
        self.log_call("settle", connection.number)
    }

    fn rollback_failed(&self, error: Failure) {
        self.log.lock().push(format!("rollback_failed: {error}"));
    }
}

fn one() -> (ConnectionPool<Logs>, Logs) {
    let logs = Logs::default();
    (ConnectionPool::builder(logs.clone()).max_connections(1).build(), logs)
}

pub(crate) fn run<T: 'static>(f: impl FnOnce() -> deferred_threadpool::Deferred<T>) -> Result<T, Failure> {
    park::run_until(|_| f())
}

#[test]
fn a_connection_is_opened_on_first_use_and_checked_before_later_jobs() {
    let (pool, logs) = one();
    assert!(logs.take().is_empty());
    let numbers: Vec<_> =
        (0..3).map(|_| run(|| pool.run_with_connection(|connection| Ok(connection.number))).unwrap()).collect();
    assert_eq!(numbers, [1, 1, 1]);
    assert_eq!(logs.take(), ["open 1", "check 1", "check 1"]);
}

#[test]
fn a_broken_connection_is_closed_and_another_serves_the_job() {
    let (pool, logs) = one();
    run(|| pool.run_with_connection(|_| Ok(()))).unwrap();
    logs.fail(&["check"]);
    assert_eq!(run(|| pool.run_with_connection(|connection| Ok(connection.number))).unwrap(), 2);
    assert_eq!(logs.take(), ["open 1", "check 1", "close 1", "open 2"]);
}

#[test]
fn a_failed_open_fails_the_job_and_the_next_job_tries_again() {
    let (pool, logs) = one();
    logs.fail(&["open"]);
    assert_eq!(run(|| pool.run_with_connection(|_| Ok(()))).unwrap_err().to_string(), "no open");
    logs.fail(&[]);
    assert_eq!(run(|| pool.run_with_connection(|connection| Ok(connection.number))).unwrap(), 2);
}

#[test]
fn a_transaction_commits_a_value() {
    let (pool, logs) = one();
    assert_eq!(run(|| pool.run_interaction(|_| Ok(5))).unwrap(), 5);
    assert_eq!(logs.take(), ["open 1", "begin 1", "commit 1"]);
}

#[test]
fn a_transaction_is_rolled_back_on_an_error_and_on_a_panic() {
    let (pool, logs) = one();
    let failed = run(|| pool.run_interaction(|_| Err::<(), _>(Failure::msg("mine"))));
    assert_eq!(failed.unwrap_err().to_string(), "mine");
    let panicked = run(|| pool.run_interaction(|_| -> Result<(), _> { panic::resume_unwind(Box::new("mine too")) }));
    assert_eq!(panicked.unwrap_err().downcast_ref::<Panicked>().unwrap().message(), "mine too");
    assert_eq!(logs.take(), ["open 1", "begin 1", "rollback 1", "check 1", "begin 1", "rollback 1"]);
    assert_eq!((pool.threads().stats().failed, pool.threads().stats().panicked), (1, 1));
    assert_eq!(
        run(|| pool.run_with_connection(|connection| Ok(connection.number))).unwrap(),
        1,
        "it is as good as before"
    );
}

#[test]
fn a_panic_outside_of_a_transaction_closes_the_connection() {
    let (pool, logs) = one();
    let panicked = run(|| pool.run_with_connection(|_| -> Result<(), _> { panic::resume_unwind(Box::new("mine")) }));
    assert!(panicked.unwrap_err().check::<Panicked>());
    assert_eq!(logs.take(), ["open 1", "close 1"]);
    assert_eq!(run(|| pool.run_with_connection(|connection| Ok(connection.number))).unwrap(), 2);
}

#[test]
fn the_first_error_is_returned_and_that_of_the_rollback_is_reported() {
    let (pool, logs) = one();
    logs.fail(&["rollback"]);
    let failed = run(|| pool.run_interaction(|_| Err::<(), _>(Failure::msg("mine"))));
    assert_eq!(failed.unwrap_err().to_string(), "mine");
    assert_eq!(logs.take(), ["open 1", "begin 1", "rollback 1", "check 1", "rollback_failed: no rollback", "close 1"]);

    logs.fail(&["commit", "rollback"]);
    assert_eq!(run(|| pool.run_interaction(|_| Ok(()))).unwrap_err().to_string(), "no commit");
    assert_eq!(
        logs.take(),
        ["open 2", "begin 2", "commit 2", "rollback 2", "check 2", "rollback_failed: no rollback", "close 2"]
    );

    logs.fail(&["commit"]);
    assert_eq!(run(|| pool.run_interaction(|_| Ok(()))).unwrap_err().to_string(), "no commit");
    assert_eq!(logs.take(), ["open 3", "begin 3", "commit 3", "rollback 3"]);

    logs.fail(&["begin"]);
    assert_eq!(
        run(|| pool.run_interaction(|_| -> Result<(), _> { unreachable!() })).unwrap_err().to_string(),
        "no begin"
    );
    assert_eq!(logs.take(), ["check 3", "begin 3", "close 3"]);
}

#[test]
fn a_transaction_left_open_is_committed_or_rolled_back_if_known() {
    for (open, fails, expected) in [
        (Some(true), false, vec!["open 1", "commit 1"]),
        (Some(true), true, vec!["open 1", "rollback 1"]),
        (Some(false), false, vec!["open 1"]),
        (Some(false), true, vec!["open 1"]),
        (None, false, vec!["open 1"]),
        (None, true, vec!["open 1", "close 1"]),
    ] {
        let (pool, logs) = one();
        *logs.open.lock() = open;
        let result = run(|| pool.run_with_connection(move |_| if fails { Err(Failure::msg("mine")) } else { Ok(()) }));
        assert_eq!(result.is_err(), fails);
        assert_eq!(logs.take(), expected, "{open:?}, {fails}");
    }

    let (pool, logs) = one();
    *logs.open.lock() = Some(true);
    logs.fail(&["commit"]);
    assert_eq!(run(|| pool.run_with_connection(|_| Ok(()))).unwrap_err().to_string(), "no commit");
    assert_eq!(logs.take(), ["open 1", "commit 1", "rollback 1"]);
    logs.fail(&["rollback"]);
    assert_eq!(
        run(|| pool.run_with_connection(|_| Err::<(), _>(Failure::msg("mine")))).unwrap_err().to_string(),
        "mine"
    );
    assert_eq!(logs.take(), ["check 1", "rollback 1", "check 1", "rollback_failed: no rollback", "close 1"]);
}

#[test]
fn a_panic_of_the_manager_closes_only_its_connection() {
    let (pool, logs) = one();
    for what in ["open", "begin", "commit", "rollback", "check"] {
        logs.fail(&[match what {
            "open" => "open panics",
            "begin" => "begin panics",
            "commit" => "commit panics",
            "rollback" => "rollback panics",
            _ => "check panics",
        }]);
        let fails = what == "rollback";
        let job = || pool.run_interaction(move |_| if fails { Err(Failure::msg("mine")) } else { Ok(()) });
        if what == "check" {
            logs.fail(&[]);
            run(job).unwrap();
            logs.fail(&["check panics"]);
        }
        let failed = run(job).unwrap_err();
        assert!(if fails { failed.to_string() == "mine" } else { failed.check::<Panicked>() }, "{what}: {failed}");
        logs.fail(&[]);
        run(|| pool.run_with_connection(|_| Ok(()))).unwrap();
    }
}

#[test]
fn a_cancelled_transaction_is_rolled_back() {
    let (pool, logs) = one();
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    run(|| {
        let transaction = pool.run_interaction(move |_| {
            begun.send(()).unwrap();
            Ok(released.recv_timeout(LIMIT)?)
        });
        has_begun.recv_timeout(LIMIT).unwrap();
        transaction.cancel();
        release.send(()).unwrap();
        assert!(transaction.try_take().unwrap().unwrap_err().check::<Cancelled>());
        pool.run_with_connection(|_| Ok(()))
    })
    .unwrap();
    assert_eq!(logs.take(), ["open 1", "begin 1", "rollback 1", "check 1"]);
}

#[test]
fn each_thread_closes_its_own_connection_before_the_stop_is_reported() {
    let logs = Logs::default();
    let pool = ConnectionPool::builder(logs.clone()).max_connections(3).build();
    let barrier = Arc::new(std::sync::Barrier::new(3));
    let numbers = run(|| {
        let jobs = (0..3).map(|_| {
            let barrier = barrier.clone();
            pool.run_with_connection(move |connection| {
                barrier.wait();
                Ok(connection.number)
            })
        });
        deferred_threadpool::gather(jobs.collect::<Vec<_>>()).map_err(|first| first.error)
    });
    let mut numbers = numbers.unwrap();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
    run(|| pool.stop_with(Backlog::Run)).unwrap();
    let closed = logs.take().into_iter().filter(|line| line.starts_with("close")).count();
    assert_eq!(closed, 3);
    assert!(run(|| pool.run_with_connection(|_| Ok(()))).unwrap_err().check::<PoolStopped>());
}

#[test]
fn a_manager_without_transactions_returns_an_error() {
    struct Plain;
    impl ManageConnection for Plain {
        type Connection = u8;
        fn open(&self) -> Result<u8, Failure> {
            Ok(7)
        }
    }
    let pool = ConnectionPool::new(Plain);
    assert_eq!(run(|| pool.run_with_connection(|seven| Ok(**seven))).unwrap(), 7);
    assert!(
        run(|| pool.run_interaction(|_| -> Result<(), _> { unreachable!() })).unwrap_err().check::<NoTransactions>()
    );
}

#[test]
fn unless_a_manager_knows_of_open_transactions_an_error_closes_the_connection() {
    struct Opens(Arc<AtomicUsize>);
    impl ManageConnection for Opens {
        type Connection = usize;
        fn open(&self) -> Result<usize, Failure> {
            Ok(self.0.fetch_add(1, Ordering::SeqCst))
        }
    }
    let pool = ConnectionPool::builder(Opens(Arc::default())).max_connections(1).build();
    let number = || run(|| pool.run_with_connection(|number| Ok(**number))).unwrap();
    assert_eq!((number(), number()), (0, 0));
    assert!(run(|| pool.run_with_connection(|_| Err::<(), _>(Failure::msg("mine")))).is_err());
    assert_eq!((number(), number()), (1, 1));
}

#[test]
fn a_transaction_that_passes_its_deadline_is_rolled_back_and_has_timed_out() {
    let (pool, logs) = one();
    let failure = run(|| {
        context::with_deadline(Instant::now() + Duration::from_millis(20), || {
            pool.run_interaction(|_| {
                thread::sleep(Duration::from_millis(40));
                Ok(())
            })
        })
    })
    .unwrap_err();
    assert!(failure.check::<TimedOut>(), "{failure}");
    run(|| pool.stop_with(Backlog::Run)).unwrap();
    assert!(logs.take().iter().any(|line| line.starts_with("rollback")));
}

#[test]
fn connections_are_counted_when_they_are_opened_closed_and_not_opened() {
    let (pool, logs) = one();
    run(|| pool.run_with_connection(|_| Ok(()))).unwrap();
    run(|| pool.run_with_connection(|_| -> Result<(), Failure> { panic!("it is closed") })).unwrap_err();
    run(|| pool.run_with_connection(|_| Ok(()))).unwrap();
    let stats = pool.stats();
    assert_eq!((stats.opened, stats.closed, stats.failed), (2, 1, 0));
    assert_eq!((stats.threads.done, stats.threads.panicked), (2, 1));
    run(|| pool.stop_with(Backlog::Run)).unwrap();
    assert_eq!(pool.stats().closed, 2);
    logs.take();

    struct Fails;
    impl ManageConnection for Fails {
        type Connection = u8;
        fn open(&self) -> Result<u8, Failure> {
            Err(Failure::msg("no database"))
        }
    }
    let pool = ConnectionPool::new(Fails);
    run(|| pool.run_with_connection(|_| Ok(()))).unwrap_err();
    assert_eq!((pool.stats().opened, pool.stats().failed), (0, 1));
}

#[test]
fn a_manager_that_begins_and_cannot_end_transactions_returns_an_error() {
    struct Begins(mpsc::Sender<bool>);
    impl ManageConnection for Begins {
        type Connection = u8;
        fn open(&self) -> Result<u8, Failure> {
            Ok(7)
        }
        fn begin(&self, _: &mut u8) -> Result<(), Failure> {
            Ok(())
        }
        fn rollback_failed(&self, error: Failure) {
            self.0.send(error.check::<NoTransactions>()).unwrap();
        }
    }
    let (sender, events) = mpsc::channel();
    let pool = ConnectionPool::new(Begins(sender));
    assert!(run(|| pool.run_interaction(|_| Ok(()))).unwrap_err().check::<NoTransactions>());
    assert!(events.try_recv().unwrap());
}

pub(crate) struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic::resume_unwind(Box::new("a destructor"));
    }
}

#[test]
fn a_transaction_that_is_cancelled_before_its_closure_begins_never_calls_it() {
    for slow in ["open", "begin"] {
        let (pool, logs) = one();
        let (reached, goes_on) = logs.hold(slow);
        let called = Arc::new(AtomicUsize::new(0));
        let counts = called.clone();
        run(|| {
            let panics = PanicsOnDrop;
            let transaction = pool.run_interaction(move |_| {
                let _panics = &panics;
                Ok(counts.fetch_add(1, Ordering::SeqCst))
            });
            reached.recv_timeout(LIMIT).unwrap();
            transaction.cancel();
            goes_on.send(()).unwrap();
            pool.run_with_connection(|_| Ok(()))
        })
        .unwrap();
        assert_eq!(called.load(Ordering::SeqCst), 0, "{slow}");
        let expected: &[&str] =
            if slow == "open" { &["open 1", "check 1"] } else { &["open 1", "begin 1", "rollback 1", "check 1"] };
        assert_eq!(logs.take(), expected, "{slow}");
    }
}

#[test]
fn a_connection_whose_destructor_panics_after_a_panic_of_its_manager_is_ignored() {
    for what in ["begin panics", "commit panics", "check panics"] {
        let (pool, logs) = one();
        if what == "check panics" {
            run(|| pool.run_with_connection(|_| Ok(()))).unwrap();
        }
        logs.fail(&[what, "close panics"]);
        let failure = run(|| pool.run_interaction(|_| Ok(()))).unwrap_err();
        assert_eq!(failure.downcast_ref::<Panicked>().unwrap().message(), what);
        logs.fail(&[]);
        assert_eq!(run(|| pool.run_with_connection(|connection| Ok(connection.number))).unwrap(), 2);
    }
}

#[test]
fn a_panic_of_a_connections_destructor_fails_no_job_and_delays_no_stop() {
    let (pool, logs) = one();
    logs.fail(&["close panics"]);
    let failed = run(|| pool.run_with_connection(|_| Err::<(), _>(Failure::msg("mine"))));
    assert_eq!(failed.unwrap_err().to_string(), "mine");
    run(|| pool.run_with_connection(|_| Ok(()))).unwrap();
    logs.fail(&["check", "close panics"]);
    assert_eq!(run(|| pool.run_with_connection(|connection| Ok(connection.number))).unwrap(), 3);
    run(|| pool.stop_with(Backlog::Run)).unwrap();
    assert_eq!(logs.take(), ["open 1", "close 1", "open 2", "check 2", "close 2", "open 3", "close 3"]);
}
