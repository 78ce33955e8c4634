//! The thread that checks a loop periodically.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::watched::{CurrentCall, Shared};
use super::{Blocked, Watchdog};
use crate::instant::Instant;
use crate::report;

/// The interval of the checks while a call blocks the loop, to detect its end.
const CHECK_INTERVAL: Duration = Duration::from_millis(1);
/// The number of checks that find the loop asleep before the thread sleeps too.
const IDLE_CHECKS: u32 = 40;
const MINUTE: Duration = Duration::from_secs(60);

pub(super) struct Thread {
    shared: Arc<Shared>,
    watchdog: Watchdog,
    /// The times of the reports in the last minute.
    reports: VecDeque<Instant>,
    unreported: u64,
}

/// The call that the last check found.
struct Found {
    current: CurrentCall,
    since: Instant,
    blocks: Blocks,
}

#[derive(Clone, Copy, PartialEq)]
enum Blocks {
    NotYet,
    Reported,
    /// Counted only, because of the limit of reports.
    Counted,
}

impl Thread {
    pub(super) fn start(shared: Arc<Shared>, watchdog: Watchdog) -> io::Result<()> {
        let thread = Thread { shared, watchdog, reports: VecDeque::new(), unreported: 0 };
        thread::Builder::new().name("deferred-watchdog".into()).spawn(move || thread.run())?;
        Ok(())
    }

    fn run(mut self) {
        let mut found: Option<Found> = None;
        let mut idle = 0;
        loop {
            let blocks = found.as_ref().is_some_and(|found| found.blocks != Blocks::NotYet);
            let running = if blocks {
                self.shared.wait(CHECK_INTERVAL)
            } else if idle < IDLE_CHECKS {
                self.shared.wait(self.watchdog.threshold / 4)
            } else {
                self.shared.wait_for_a_turn()
            };
            let current = self.shared.current_call().filter(|_| running);
            idle = if current.is_some() { 0 } else { idle + 1 };
            if let Some(ended) = found.take_if(|found| Some(found.current) != current) {
                self.has_ended(&ended);
            }
            if !running {
                return;
            }
            match (&mut found, current) {
                (None, Some(current)) => found = Some(Found { current, since: Instant::now(), blocks: Blocks::NotYet }),
                (Some(found), _) if found.blocks == Blocks::NotYet => self.check(found),
                _ => {}
            }
        }
    }

    fn check(&mut self, found: &mut Found) {
        if found.since.elapsed() < self.watchdog.threshold {
            return;
        }
        self.shared.count();
        while self.reports.front().is_some_and(|report| report.elapsed() >= MINUTE) {
            self.reports.pop_front();
        }
        if self.reports.len() < self.watchdog.max_reports_per_minute as usize {
            self.reports.push_back(Instant::now());
            found.blocks = Blocks::Reported;
            self.shared.note_reported();
            self.report(found, false);
        } else {
            self.unreported += 1;
            found.blocks = Blocks::Counted;
        }
    }

    fn has_ended(&mut self, found: &Found) {
        if found.blocks == Blocks::Reported {
            self.report(found, true);
        }
    }

    fn report(&mut self, found: &Found, ended: bool) {
        let (kind, at) = self.shared.describe(found.current);
        let unreported = std::mem::take(&mut self.unreported);
        let blocked = Blocked { kind, at, time: found.since.elapsed(), ended, unreported };
        match &self.watchdog.hook {
            Some(hook) => report::send_to(&blocked, hook),
            None => report::send(&blocked),
        }
    }
}
