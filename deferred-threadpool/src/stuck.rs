//! A pool whose threads are all busy while jobs wait for too long.
//!
//! Whoever gives a job to a pool that is busy starts a watcher, if there is none: a thread that
//! sleeps until the oldest job has waited for too long, looks, and ends when nothing waits any
//! more. So a pool that keeps up has no watcher, and one that is busy now and then starts one that
//! seldom.

use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use crate::job::guarded;
use crate::stats::RunningJob;
use crate::workers::Workers;

/// Every thread of a pool is busy, and a job has waited for too long: what
/// [`on_stuck`](crate::ThreadPoolBuilder::on_stuck) hears.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StuckPool {
    /// The pool's name.
    pub name: String,
    /// How many jobs wait.
    pub queued: usize,
    /// How long the first of them has waited,
    pub oldest_wait: Duration,
    /// and where it was given to the pool.
    pub oldest_at: &'static Location<'static>,
    /// What each thread runs.
    pub running: Vec<RunningJob>,
}

impl fmt::Display for StuckPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the pool {} is stuck: {} jobs wait, the first (of {}) for {:.1?}, and each of its {} threads is busy",
            self.name,
            self.queued,
            self.oldest_at,
            self.oldest_wait,
            self.running.len()
        )?;
        self.running.iter().try_for_each(|job| write!(f, "\n    with the job of {job}"))
    }
}

/// What the watcher finds.
pub(crate) struct Stuck {
    /// The number of the job that has waited longest,
    pub(crate) oldest: u64,
    /// and that of the next one to come.
    pub(crate) next: u64,
    pub(crate) report: StuckPool,
}

/// Starts the watcher. False if there is no thread for it.
#[cold]
pub(crate) fn watch(workers: &Arc<Workers>) -> bool {
    let watched = Arc::downgrade(workers);
    let builder = thread::Builder::new().name(format!("{}-watch", workers.config.name));
    builder.spawn(move || look_on(&watched)).is_ok()
}

fn look_on(watched: &Weak<Workers>) {
    // Jobs below this number waited when it was told.
    let mut told = 0;
    loop {
        let Some(workers) = watched.upgrade() else { return };
        let Some((wait, stuck)) = workers.look() else { return };
        match stuck {
            None => told = 0,
            Some(stuck) if stuck.oldest >= told => {
                told = stuck.next;
                tell(&workers, &stuck.report);
            }
            Some(_) => {}
        }
        drop(workers);
        thread::sleep(wait.clamp(SHORTEST, LONGEST));
    }
}

/// It looks no more often than this.
const SHORTEST: Duration = Duration::from_millis(1);

/// It looks that often, so as to end soon after a pool that was dropped.
const LONGEST: Duration = Duration::from_secs(1);

fn tell(workers: &Workers, report: &StuckPool) {
    match &workers.config.on_stuck {
        None => eprintln!("deferred: {report}"),
        Some(hook) => guarded(|| hook(report)),
    }
}
