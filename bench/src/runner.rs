//! Takes samples of both sides of a row in turn, and prints what they say.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

use crate::count;

/// One comparison.
pub(crate) struct Row {
    /// What `--only` looks at.
    pub(crate) name: &'static str,
    /// One operation is that many of `unit`.
    pub(crate) per: u32,
    pub(crate) unit: &'static str,
    pub(crate) ours: Side,
    pub(crate) peer: Side,
    pub(crate) bar: Bar,
}

/// How slow our side may be.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    /// At most that many times the peer's time.
    Ratio(f64),
    /// At most that many nanoseconds a unit more than the peer.
    Extra(f64),
    /// At most that many times the peer's time in the best of the rounds: not more beyond their spread.
    Beyond(f64),
    /// It is measured, and that is all.
    None,
}

/// On which processors a row runs, of those that there are.
#[derive(Clone, Copy)]
pub(crate) enum Cores {
    Any,
    /// All of it on the first.
    One,
    /// This thread on the first, its workers on the second.
    Two,
}

impl Cores {
    /// Threads that are started later start there too.
    pub(crate) fn pin_this(self) {
        if !matches!(self, Cores::Any) {
            pin(0);
        }
    }

    /// What a worker calls when it starts.
    pub(crate) fn pin_worker(self) {
        if let Cores::Two = self {
            pin(1);
        }
    }
}

fn pin(index: usize) {
    // Asked once, by whoever is not pinned yet: later it says where this thread may run.
    static CORES: OnceLock<Vec<core_affinity::CoreId>> = OnceLock::new();
    let cores = CORES.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default());
    if let Some(core) = cores.get(index) {
        core_affinity::set_for_current(*core);
    }
}

/// What one side does, as often as it is told.
pub(crate) struct Side {
    pub(crate) what: &'static str,
    run: Box<dyn Fn(u64) -> Duration>,
}

impl Side {
    /// The loop is compiled around `operation`, so that it costs both sides the same.
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

    /// Counts the time of all processors that this process uses, instead of what passes.
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

    /// With this thread pinned.
    pub(crate) fn on(self, cores: Cores) -> Side {
        let run = self.run;
        let pinned = move |times| {
            cores.pin_this();
            run(times)
        };
        Side { what: self.what, run: Box::new(pinned) }
    }

    /// How often it must run for a sample of at least `sample`.
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

/// What a thing of ours weighs.
pub(crate) struct Size {
    pub(crate) name: &'static str,
    /// Bytes, all told, and allocations.
    pub(crate) weigh: fn() -> (u64, u64),
    /// At most that many bytes.
    pub(crate) bar: u64,
}

/// How long a run may take.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Effort {
    rounds: usize,
    sample: Duration,
}

impl Effort {
    pub(crate) const FULL: Effort = Effort { rounds: 15, sample: Duration::from_millis(20) };
    pub(crate) const QUICK: Effort = Effort { rounds: 3, sample: Duration::from_millis(2) };

    pub(crate) fn is_quick(self) -> bool {
        self == Effort::QUICK
    }
}

/// What was measured, in nanoseconds a unit.
struct Measured {
    ours: f64,
    peer: f64,
    /// Least, median, greatest.
    ratio: [f64; 3],
    extra: [f64; 3],
    allocations: [f64; 2],
}

/// Measures and prints a row. Says whether it keeps its bar.
pub(crate) fn run(row: &Row, effort: Effort, slack: f64) -> bool {
    let measured = measure(row, effort);
    print_row(row, &measured, slack);
    measured.keeps(row.bar, slack)
}

pub(crate) fn print_header() {
    println!(
        "{:<34} {:>9} {:>9}  {:<26} {:>11}  {:<14}  sides",
        "row", "ours ns", "peer ns", "ours : peer (min..max)", "allocations", "bar"
    );
}

/// Weighs and prints; gives the names of those past their bars.
pub(crate) fn run_sizes(sizes: &[Size]) -> Vec<&'static str> {
    let mut past = Vec::new();
    for size in sizes {
        let (bytes, allocations) = (size.weigh)();
        let exceeded = bytes > size.bar;
        println!(
            "{:<34} {bytes:>5} bytes in {allocations} allocations  (bar {}{})",
            size.name,
            size.bar,
            if exceeded { " exceeded" } else { "" }
        );
        past.extend(exceeded.then_some(size.name));
    }
    past
}

fn measure(row: &Row, effort: Effort) -> Measured {
    let times = [row.ours.calibrate(effort.sample), row.peer.calibrate(effort.sample)];
    let sample = |side: &Side, times: u64| (side.run)(times).as_secs_f64() * 1e9 / (times as f64 * f64::from(row.per));
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for round in 0..effort.rounds {
        // Whoever goes first may find the machine colder: so that is each side in turn.
        if round % 2 == 0 {
            ours.push(sample(&row.ours, times[0]));
            peer.push(sample(&row.peer, times[1]));
        } else {
            peer.push(sample(&row.peer, times[1]));
            ours.push(sample(&row.ours, times[0]));
        }
    }
    let pairs = || ours.iter().zip(&peer);
    Measured {
        ratio: spread(pairs().map(|(ours, peer)| ours / peer)),
        extra: spread(pairs().map(|(ours, peer)| ours - peer)),
        ours: spread(ours.iter().copied())[1],
        peer: spread(peer.iter().copied())[1],
        allocations: [row.ours.allocations(), row.peer.allocations()],
    }
}

impl Measured {
    fn keeps(&self, bar: Bar, slack: f64) -> bool {
        match bar {
            Bar::Ratio(most) => self.ratio[1] <= most * slack,
            Bar::Extra(most) => self.extra[1] <= most * slack,
            Bar::Beyond(most) => self.ratio[0] <= most * slack,
            Bar::None => true,
        }
    }
}

/// Least, median, greatest.
pub(crate) fn spread(samples: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut samples: Vec<f64> = samples.collect();
    samples.sort_by(f64::total_cmp);
    [samples[0], samples[samples.len() / 2], samples[samples.len() - 1]]
}

fn print_row(row: &Row, measured: &Measured, slack: f64) {
    let shown = |[least, median, greatest]: [f64; 3], unit| format!("{median:.2}{unit} ({least:.2}..{greatest:.2})");
    let (compared, bar) = match row.bar {
        Bar::Ratio(most) => (shown(measured.ratio, ""), format!("{:.2}", most * slack)),
        Bar::Extra(most) => (shown(measured.extra, " ns more"), format!("{:.2} ns", most * slack)),
        Bar::Beyond(most) => (shown(measured.ratio, ""), format!("{:.2} spread", most * slack)),
        Bar::None => (shown(measured.ratio, ""), "none".to_owned()),
    };
    println!(
        "{:<34} {:>9.2} {:>9.2}  {:<26} {:>5.1} {:>5.1}  {:<14}  {} / {}, per {}",
        row.name,
        measured.ours,
        measured.peer,
        compared,
        measured.allocations[0],
        measured.allocations[1],
        format!("{bar}{}", if measured.keeps(row.bar, slack) { "" } else { " exceeded" }),
        row.ours.what,
        row.peer.what,
        row.unit,
    );
}
