//! Takes the samples of both sides of a row in turn.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

use crate::count;
use crate::record::{Point, Record, Spread, Value};

/// A comparison of times.
pub(crate) struct Row {
    /// The name, which `--only` and `bounds.toml` use.
    pub(crate) name: &'static str,
    /// The number of units of one operation.
    pub(crate) per: u32,
    pub(crate) unit: &'static str,
    pub(crate) ours: Side,
    pub(crate) peer: Side,
}

/// The processors on which a row runs.
#[derive(Clone, Copy)]
pub(crate) enum Cores {
    Any,
    /// All threads run on the first processor.
    One,
    /// The loop's thread runs on the first processor, its workers on the second.
    Two,
}

impl Cores {
    /// Pins this thread. Threads that it starts later are pinned too.
    pub(crate) fn pin_this(self) {
        if !matches!(self, Cores::Any) {
            pin(0);
        }
    }

    /// Pins the calling worker thread to its processor.
    pub(crate) fn pin_worker(self) {
        if let Cores::Two = self {
            pin(1);
        }
    }
}

fn pin(index: usize) {
    // Initialized by the first thread, before it is pinned: afterwards the function returns only
    // the processors on which this thread may run.
    static CORES: OnceLock<Vec<core_affinity::CoreId>> = OnceLock::new();
    let cores = CORES.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default());
    if let Some(core) = cores.get(index) {
        core_affinity::set_for_current(*core);
    }
}

/// A side of a row, which repeats its operation.
pub(crate) struct Side {
    pub(crate) what: &'static str,
    run: Box<dyn Fn(u64) -> Duration>,
}

impl Side {
    /// Creates a side. The loop is compiled around `operation`, so that it costs both sides the
    /// same.
    pub(crate) fn new(what: &'static str, operation: impl Fn() + 'static) -> Side {
        let run = move |times| {
            let start = Instant::now();
            for _ in 0..times {
                operation();
            }
            start.elapsed()
        };
        Side { what, run: Box::new(run) }
    }

    /// Like [`new`](Self::new), but measures the CPU time of this process instead of wall time.
    pub(crate) fn cpu(what: &'static str, operation: impl Fn() + 'static) -> Side {
        let run = move |times| {
            let start = ProcessTime::now();
            for _ in 0..times {
                operation();
            }
            start.elapsed()
        };
        Side { what, run: Box::new(run) }
    }

    /// Runs the operation `times` times.
    pub(crate) fn repeat(&self, times: u64) {
        (self.run)(times);
    }

    /// Returns this side with its thread pinned.
    pub(crate) fn on(self, cores: Cores) -> Side {
        let run = self.run;
        let pinned = move |times| {
            cores.pin_this();
            run(times)
        };
        Side { what: self.what, run: Box::new(pinned) }
    }

    /// Returns the number of operations of a sample of at least `sample`.
    fn calibrate(&self, sample: Duration) -> u64 {
        let mut times = 1;
        loop {
            let took = (self.run)(times);
            if took >= sample {
                return times;
            }
            let factor = sample.as_secs_f64() / took.as_secs_f64().max(1e-9);
            times = (times as f64 * factor.clamp(1.2, 10.0)).ceil() as u64;
        }
    }

    fn allocations(&self) -> f64 {
        let times = if (self.run)(1) < Duration::from_micros(500) { 100 } else { 1 };
        let (_, _, allocations) = count::count(|| (self.run)(times));
        allocations as f64 / times as f64
    }
}

/// A comparison of memory.
pub(crate) struct Size {
    pub(crate) name: &'static str,
    pub(crate) ours: Weight,
    pub(crate) peer: Option<Weight>,
}

/// The name of a side, and a function that returns the bytes (with overhead) and the allocations.
pub(crate) type Weight = (&'static str, fn() -> (f64, f64));

/// A comparison of the growth of cost.
pub(crate) struct Growth {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// The name of the size.
    pub(crate) along: &'static str,
    pub(crate) sizes: &'static [u64],
    /// The sizes that are measured.
    pub(crate) ours: fn(u64) -> Side,
    /// `None` if the peer cannot handle the size.
    pub(crate) peer: fn(u64) -> Option<Side>,
}

/// The duration of a run.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Effort {
    rounds: usize,
    sample: Duration,
    /// The time after which a row starts no further round.
    most: Duration,
}

impl Effort {
    pub(crate) const FULL: Effort =
        Effort { rounds: 15, sample: Duration::from_millis(20), most: Duration::from_secs(20) };
    pub(crate) const QUICK: Effort =
        Effort { rounds: 3, sample: Duration::from_millis(2), most: Duration::from_millis(100) };

    pub(crate) fn is_quick(self) -> bool {
        self == Effort::QUICK
    }
}

/// Returns the time of one unit in nanoseconds, in adjacent samples of both sides.
fn samples(ours: &Side, peer: &Side, per: f64, effort: Effort) -> [Vec<f64>; 2] {
    let times = [ours, peer].map(|side| side.calibrate(effort.sample));
    let sample = |side: &Side, times: u64| (side.run)(times).as_secs_f64() * 1e9 / (times as f64 * per);
    let mut samples = [Vec::new(), Vec::new()];
    let begin = Instant::now();
    for round in 0..effort.rounds {
        // The first side may find the machine colder, so the sides alternate.
        let (first, second) = if round % 2 == 0 { (0, 1) } else { (1, 0) };
        for index in [first, second] {
            samples[index].push(sample([ours, peer][index], times[index]));
        }
        if begin.elapsed() > effort.most {
            break;
        }
    }
    samples
}

impl Row {
    pub(crate) fn measure(&self, effort: Effort) -> Record {
        let per = f64::from(self.per);
        let [ours, peer] = samples(&self.ours, &self.peer, per, effort);
        let unit = format!("ns per {}", self.unit);
        let mut record = Record::paired(self.name, unit, (self.ours.what, &ours), (self.peer.what, &peer));
        record.ours.allocations = Some(self.ours.allocations() / per);
        if let Some(value) = &mut record.peer {
            value.allocations = Some(self.peer.allocations() / per);
        }
        record
    }

    pub(crate) fn side(&self, name: &str) -> Option<&Side> {
        match name {
            "ours" => Some(&self.ours),
            "peer" => Some(&self.peer),
            _ => None,
        }
    }
}

impl Size {
    pub(crate) fn measure(&self) -> Record {
        let value = |(what, weigh): Weight| {
            let (bytes, allocations) = weigh();
            Value { allocations: Some(allocations), ..Value::new(what, bytes) }
        };
        Record::once(self.name, "bytes", value(self.ours), self.peer.map(value))
    }
}

impl Growth {
    pub(crate) fn measure(&self, effort: Effort) -> Record {
        let sizes = if effort.is_quick() { &self.sizes[..2] } else { self.sizes };
        let (mut what, mut peers) = ("", "");
        let points = sizes.iter().map(|&size| {
            let (ours, peer) = ((self.ours)(size), (self.peer)(size));
            what = ours.what;
            // A side without a peer is its own peer, so that the samples are taken in the same way.
            let [mine, theirs] = samples(&ours, peer.as_ref().unwrap_or(&ours), size as f64, effort);
            peers = peer.as_ref().map_or(peers, |peer| peer.what);
            Point { size: size as f64, ours: Spread::of(mine).median, peer: peer.map(|_| Spread::of(theirs).median) }
        });
        let points = points.collect();
        Record::curve(self.name, &format!("ns per {}", self.unit), what, peers, self.along, points)
    }
}
