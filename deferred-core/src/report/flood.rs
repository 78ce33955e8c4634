//! The limit of reports of one kind and location, for programs without a hook.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::{Level, Report, Reportable, hook, print};
use crate::error::CallSite;
use crate::instant::Instant;

const WINDOW: Duration = Duration::from_secs(60);

/// The number of reports that are only counted after which that is reported first, and then again.
const FIRST_NOTE: u64 = 100;
const NEXT_NOTE: u64 = 1000;

static MAX_PER_MINUTE: AtomicU32 = AtomicU32::new(10);
static COUNTED: Mutex<BTreeMap<Key, Counted>> = Mutex::new(BTreeMap::new());

/// The kind of a report, and the addresses of its locations. They are those of source lines, so the
/// number of keys is limited.
type Key = (&'static str, usize, usize);

/// The reports of one key since the begin of a minute.
struct Counted {
    since: Instant,
    printed: u32,
    /// The number of those that were not printed, and their number is not reported yet.
    omitted: u64,
    /// The number of those that were not printed.
    total: u64,
    location: Option<CallSite>,
}

impl Counted {
    /// Returns a report of the number of those that were only counted, and resets it.
    fn take_omitted(&mut self, kind: &'static str) -> Option<Repeated> {
        let count = std::mem::take(&mut self.omitted);
        (count > 0).then_some(Repeated { kind, location: self.location, count })
    }
}

/// Sets how many reports of one kind and location are printed in a minute, if no hook receives
/// them. Others are counted. Defaults to 10. 0 behaves like 1.
pub fn set_max_per_minute(reports: u32) {
    MAX_PER_MINUTE.store(reports.max(1), Ordering::Relaxed);
}

/// Counts the report. Returns `true` if it should be printed, and adds the numbers of those that
/// were not printed in a minute that is over.
pub(super) fn admit(report: &Report<'_>, omitted: &mut Vec<Repeated>) -> bool {
    let address = |at: Option<CallSite>| at.map_or(0, |at| ptr::from_ref(at).addr());
    // Before the lock: they are user code, and may cause reports.
    let (kind, location) = (report.kind(), report.location());
    let last = report.unhandled().map(|unhandled| unhandled.last_added_at());
    let key = (kind, address(location), address(last));
    let mut counted = COUNTED.lock();
    let now = Instant::now();
    for ((kind, ..), counted) in &mut *counted {
        if counted.omitted > 0 && now - counted.since >= WINDOW {
            omitted.extend(counted.take_omitted(kind));
        }
    }
    let fresh = || Counted { since: now, printed: 0, omitted: 0, total: 0, location };
    let counted = counted.entry(key).or_insert_with(fresh);
    if now - counted.since >= WINDOW {
        *counted = fresh();
    }
    let is_admitted = counted.printed < MAX_PER_MINUTE.load(Ordering::Relaxed);
    if is_admitted {
        counted.printed += 1;
    } else {
        counted.omitted += 1;
        counted.total += 1;
        if counted.total == FIRST_NOTE || counted.omitted == NEXT_NOTE {
            omitted.extend(counted.take_omitted(kind));
        }
    }
    is_admitted
}

/// Reports the numbers of those that were not printed.
pub(super) fn flush() {
    let mut omitted: Vec<Repeated> = Vec::new();
    for ((kind, ..), counted) in &mut *COUNTED.lock() {
        omitted.extend(counted.take_omitted(kind));
    }
    for repeated in &omitted {
        // Not to the hook of this thread: they are those of the process.
        let report = Report::of(repeated);
        hook::guarded(&report, || print::emit(&report));
    }
}

/// The report of reports that were only counted, because there were [too many](super#floods) of
/// them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Repeated {
    /// The kind of the reports.
    pub kind: &'static str,
    /// The location that they are about.
    pub location: Option<&'static Location<'static>>,
    /// Their number.
    pub count: u64,
}

impl fmt::Display for Repeated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repeated { kind, location, count } = self;
        let s = if *count == 1 { "" } else { "s" };
        write!(f, "{count} more report{s} like one above: {kind}")?;
        location.map_or(Ok(()), |at| write!(f, " at {at}"))
    }
}

impl Reportable for Repeated {
    fn kind(&self) -> &'static str {
        "repeated"
    }

    fn level(&self) -> Level {
        Level::Warning
    }

    fn location(&self) -> Option<CallSite> {
        self.location
    }

    fn is_limited(&self) -> bool {
        false
    }
}
