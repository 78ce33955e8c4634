//! The watcher: a thread that reports a pool whose threads are all busy while jobs wait for too
//! long.
//!
//! A submission to a pool whose threads are all busy starts the watcher, if none runs. The watcher
//! sleeps until the oldest job has waited for too long, checks, and ends when no job waits any
//! more. So a pool that keeps up has no watcher.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use deferred_core::report;

use super::Workers;
use crate::stats::StuckPool;

/// The minimum time between two checks.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

/// The maximum time between two checks, so that the watcher ends soon after its pool was dropped.
const MAX_INTERVAL: Duration = Duration::from_secs(1);

/// A stuck pool.
struct Stuck {
    /// The number of the job that has waited longest.
    oldest: u64,
    /// The number of the next job that will be submitted.
    next: u64,
    report: StuckPool,
}

impl Workers {
    /// Starts the watcher. Returns `false` if the system cannot create a thread.
    #[cold]
    pub(super) fn start_watcher(self: &Arc<Self>) -> bool {
        let watched = Arc::downgrade(self);
        let builder = thread::Builder::new().name(format!("{}-watch", self.config.name));
        builder.spawn(move || watch(&watched)).is_ok()
    }

    /// Checks the pool. Returns the time until the next check, and a report if the pool is stuck.
    /// Returns `None` if no job waits: the watcher must end then.
    fn check(&self) -> Option<(Duration, Option<Stuck>)> {
        let mut state = self.lock();
        let Some(oldest) = state.queue.first() else {
            state.is_watched = false;
            return None;
        };
        let (number, waits, at) = (oldest.number, oldest.info.submitted_at.elapsed(), oldest.info.submitted_on);
        let left = self.config.stuck_after.saturating_sub(waits);
        if !left.is_zero() {
            return Some((left, None));
        }
        let stuck = state.threads.all_busy().then(|| Stuck {
            oldest: number,
            next: state.counts.submitted,
            report: StuckPool {
                name: self.config.name.clone(),
                queued: state.queue.len(),
                oldest_wait: waits,
                oldest_at: at,
                running: state.running(),
            },
        });
        Some((self.config.stuck_after, stuck))
    }

    fn report_stuck(&self, stuck: &StuckPool) {
        match &self.config.on_stuck {
            None => report::send(stuck),
            Some(hook) => report::send_to(stuck, |stuck| hook(stuck)),
        }
    }
}

/// The main function of the watcher.
fn watch(watched: &Weak<Workers>) {
    // Jobs below this number waited at the time of the last report.
    let mut reported = 0;
    loop {
        let Some(workers) = watched.upgrade() else { return };
        let Some((wait, stuck)) = workers.check() else { return };
        match stuck {
            None => reported = 0,
            Some(stuck) if stuck.oldest >= reported => {
                reported = stuck.next;
                workers.lock().counts.stuck += 1;
                workers.report_stuck(&stuck.report);
            }
            Some(_) => {}
        }
        drop(workers);
        thread::sleep(wait.clamp(MIN_INTERVAL, MAX_INTERVAL));
    }
}
