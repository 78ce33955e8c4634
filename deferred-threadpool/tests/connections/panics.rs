//! Panics of every method, hook and destructor, alone and two at once: each job has its outcome, and
//! the pool goes on.

use std::panic;
use std::process::{self, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, thread};

use deferred_threadpool::{Abandoned, ConnectionPool, Failure, InterruptHandle, ManageConnection, Panicked};

use crate::log::PanicsOnDrop;

/// The points at which user code runs.
const POINTS: [&str; 12] = [
    "open",
    "on_open",
    "interrupt_handle",
    "check",
    "begin",
    "closure",
    "in_transaction",
    "commit",
    "rollback",
    "is_broken",
    "rollback_failed",
    "on_return",
];

/// The destructors.
const DROPS: [&str; 6] = ["", "connection", "captures", "result", "payload", "handle"];

/// A manager whose methods panic at a point.
struct Panics {
    at: &'static str,
    drops: &'static str,
    on: Arc<AtomicBool>,
}

/// A connection, or a handle, whose destructor may panic.
struct Fragile {
    _dropped: Option<PanicsOnDrop>,
}

impl Panics {
    fn at(&self, point: &str) {
        panics(point == self.at && self.on.load(Ordering::Relaxed), self.drops);
    }

    fn fragile(&self, what: &str) -> Fragile {
        Fragile { _dropped: (self.drops == what && self.on.load(Ordering::Relaxed)).then(|| PanicsOnDrop) }
    }
}

fn panics(now: bool, drops: &str) {
    if now && drops == "payload" {
        panic::resume_unwind(Box::new(PanicsOnDrop));
    }
    if now {
        panic::resume_unwind(Box::new("planned"));
    }
}

impl ManageConnection for Panics {
    type Connection = Fragile;

    fn open(&self) -> Result<Fragile, Failure> {
        self.at("open");
        Ok(self.fragile("connection"))
    }

    fn check(&self, _: &mut Fragile) -> Result<(), Failure> {
        self.at("check");
        Ok(())
    }

    fn is_broken(&self, _: &mut Fragile) -> bool {
        self.at("is_broken");
        false
    }

    fn begin(&self, _: &mut Fragile) -> Result<(), Failure> {
        self.at("begin");
        Ok(())
    }

    fn commit(&self, _: &mut Fragile) -> Result<(), Failure> {
        self.at("commit");
        Ok(())
    }

    fn rollback(&self, _: &mut Fragile) -> Result<(), Failure> {
        self.at("rollback");
        if self.at == "rollback_failed" { Err(Failure::msg("no rollback")) } else { Ok(()) }
    }

    fn in_transaction(&self, _: &mut Fragile) -> Option<bool> {
        self.at("in_transaction");
        None
    }

    fn interrupt_handle(&self, _: &mut Fragile) -> Option<InterruptHandle> {
        self.at("interrupt_handle");
        let fragile = self.fragile("handle");
        Some(InterruptHandle::new(move || _ = &fragile))
    }

    fn rollback_failed(&self, _: Failure) {
        self.at("rollback_failed");
    }
}

/// Runs an interaction and another job in which user code panics at a point, and while a destructor
/// panics, and checks the jobs after them.
fn run(at: &'static str, drops: &'static str) {
    let on = Arc::new(AtomicBool::new(true));
    let manager = |on: &Arc<AtomicBool>| Panics { at, drops, on: on.clone() };
    let (opens, returns) = (manager(&on), manager(&on));
    let pool = ConnectionPool::builder(manager(&on))
        .max_connections(1)
        .on_open(move |_| {
            opens.at("on_open");
            Ok(())
        })
        .on_return(move |_| {
            returns.at("on_return");
            Ok(())
        })
        .build();
    for fails in [false, true] {
        for in_transaction in [true, false] {
            on.store(true, Ordering::Relaxed);
            // A closure that panics drops its captures itself: no caller can prevent an abort there.
            let captures = (drops == "captures" && at != "closure").then(|| PanicsOnDrop);
            let closure = move || {
                let _captures = &captures;
                panics(at == "closure", drops);
                if fails { Err(Failure::msg("mine")) } else { Ok((drops == "result").then(|| PanicsOnDrop)) }
            };
            let job = if in_transaction {
                pool.submit_interaction(move |_| closure())
            } else {
                pool.submit_with_connection(move |_| closure())
            };
            match job.wait() {
                Ok(result) => std::mem::forget(result),
                Err(error) => {
                    assert!(!error.check::<Abandoned>(), "{at} {drops}: {error}");
                    let is_first = error.check::<Panicked>() || error.to_string() == "mine";
                    assert!(is_first, "{at} {drops}: {error}");
                    if fails
                        && drops != "captures"
                        && ["commit", "rollback", "is_broken", "rollback_failed", "on_return"].contains(&at)
                    {
                        assert_eq!(error.to_string(), "mine", "{at} {drops}");
                    }
                }
            }
            on.store(false, Ordering::Relaxed);
            assert_eq!(pool.submit_with_connection(|_| Ok(7)).wait().unwrap(), 7, "{at} {drops}");
        }
    }
    pool.submit_close().wait().unwrap();
    assert_eq!(pool.stats().opened, pool.stats().closed, "{at} {drops}");
}

/// The environment variable with the point and the destructor, in the process that must survive.
const CASE: &str = "DEFERRED_TEST_PANICS_AT";

#[test]
fn two_panics_at_once_neither_abort_the_process_nor_lose_a_job() {
    if let Ok(case) = env::var(CASE) {
        let at = POINTS.into_iter().find(|point| *point == case).unwrap();
        DROPS.into_iter().for_each(|drops| run(at, drops));
        process::exit(0);
    }
    let name = "panics::two_panics_at_once_neither_abort_the_process_nor_lose_a_job";
    let run = move |point: &'static str| {
        Command::new(env::current_exe().unwrap()).args(["--exact", name, "--nocapture"]).env(CASE, point).output()
    };
    let processes = POINTS.map(|point| (point, thread::spawn(move || run(point).unwrap())));
    for (point, process) in processes {
        let output = process.join().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{point}: {}{}", text(&output.stdout), text(&output.stderr));
    }
}
