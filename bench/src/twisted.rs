//! The programs of Twisted's own benchmarks, on deferred and on Twisted in the same run.
//!
//! `twisted/shapes.py` contains the peer's side. Twisted is installed from the Python package index
//! into a directory in `target`.

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use deferred_core::{Clock, Deferred, Failure, inline_callbacks};

use crate::plan::{Group, Records, Unavailable};
use crate::record::{Record, Spread};
use crate::sample::Effort;

/// The name of the row, the name of the function in shapes.py, and our function.
type Shape = (&'static str, &'static str, fn());

const SHAPES: [Shape; 9] = [
    ("twisted/await 1000 ready", "await_1000_ready", await_1000_ready),
    ("twisted/await 20, fired later", "await_20_unfired", await_20_unfired),
    ("twisted/4 callbacks, fired first", "chain_4_fired_first", chain_4_fired_first),
    ("twisted/4 callbacks, fired last", "chain_4_fired_last", chain_4_fired_last),
    ("twisted/an error handled", "errback_chain", errback_chain),
    ("twisted/2 returned, already fired", "chained_already_fired", chained_already_fired),
    ("twisted/3 returned, not fired", "chained_not_fired", chained_not_fired),
    ("twisted/100 timers in order", "timers_100_in_order", timers_100_in_order),
    ("twisted/100 timers reversed", "timers_100_reversed", timers_100_reversed),
];

fn add(value: u64) -> Result<u64, Failure> {
    Ok(black_box(value) + 1)
}

fn await_1000_ready() {
    let deferred = inline_callbacks(async {
        let mut total = 0;
        for _ in 0..1000 {
            total += Deferred::<u64>::succeed(black_box(1)).await?;
        }
        Ok(total)
    });
    black_box(deferred.try_take().ok());
}

fn await_20_unfired() {
    let (deferreds, resolvers): (Vec<_>, Vec<_>) = (0..20).map(|_| Deferred::<u64>::new()).unzip();
    let deferred = inline_callbacks(async move {
        let mut total = 0;
        for deferred in deferreds {
            total += deferred.await?;
        }
        Ok(total)
    });
    for resolver in resolvers {
        resolver.callback(black_box(1));
    }
    black_box(deferred.try_take().ok());
}

fn chain_4_fired_first() {
    let (deferred, resolver) = Deferred::<u64>::new();
    resolver.callback(black_box(1));
    let deferred = deferred.add_callback(add).add_callback(add).add_callback(add).add_callback(add);
    black_box(deferred.try_take().ok());
}

fn chain_4_fired_last() {
    let (deferred, resolver) = Deferred::<u64>::new();
    let deferred = deferred.add_callback(add).add_callback(add).add_callback(add).add_callback(add);
    resolver.callback(black_box(1));
    black_box(deferred.try_take().ok());
}

fn errback_chain() {
    let (deferred, resolver) = Deferred::<u64>::new();
    let deferred = deferred
        .add_callback(|value| Err::<u64, _>(Failure::msg(value.to_string())))
        .add_errback(|failure| Err(Failure::msg(failure.to_string())))
        .add_errback(|_| Ok(0));
    resolver.callback(black_box(1));
    black_box(deferred.try_take().ok());
}

fn chained_already_fired() {
    let (first, resolver) = Deferred::<u64>::new();
    let ((second, resolve_second), (third, resolve_third)) = (Deferred::<u64>::new(), Deferred::<u64>::new());
    resolve_second.callback(2);
    resolve_third.callback(3);
    let first = first.add_callback(move |_| second).add_callback(move |_| third);
    resolver.callback(black_box(1));
    black_box(first.try_take().ok());
}

fn chained_not_fired() {
    let [(first, one), (second, two), (third, three), (fourth, four)] = [(); 4].map(|()| Deferred::<u64>::new());
    let second = second.add_callback(move |_| third);
    let first = first.add_callback(move |_| second).add_callback(move |_| fourth);
    one.callback(black_box(1));
    two.callback(2);
    three.callback(3);
    four.callback(4);
    black_box(first.try_take().ok());
}

fn timers(delays: impl Iterator<Item = u64>) {
    thread_local! {
        static CLOCK: Clock = Clock::new();
    }
    CLOCK.with(|clock| {
        for delay in delays {
            clock.call_later(Duration::from_secs(delay), || ());
        }
        for _ in 0..100 {
            clock.advance(Duration::from_secs(1));
        }
    });
}

fn timers_100_in_order() {
    timers(1..=100);
}

fn timers_100_reversed() {
    timers((1..=100).rev());
}

fn sample(shape: fn(), times: u32) -> f64 {
    let begin = Instant::now();
    for _ in 0..times {
        shape();
    }
    begin.elapsed().as_nanos() as f64 / f64::from(times)
}

fn measure(shape: fn(), at_least: Duration) -> f64 {
    let mut times = 1;
    while sample(shape, times) * f64::from(times) < at_least.as_nanos() as f64 {
        times *= 2;
    }
    Spread::of((0..5).map(|_| sample(shape, times))).median
}

pub(crate) fn group() -> Group {
    Group { rows: SHAPES.iter().map(|(row, ..)| (*row).to_owned()).collect(), measure: run }
}

/// Measures all programs on both sides in turn.
fn run(effort: Effort) -> Records {
    let python = python(effort)?;
    let (rounds, at_least) = if effort.is_quick() { (1, 1) } else { (5, 20) };
    let mut samples = SHAPES.map(|_| (Vec::new(), Vec::new()));
    for _ in 0..rounds {
        let theirs = theirs(&python, at_least)?;
        for ((_, key, shape), (ours, peer)) in SHAPES.iter().zip(&mut samples) {
            ours.push(measure(*shape, Duration::from_millis(at_least)));
            peer.push(*theirs.get(*key).ok_or("shapes.py has no such shape")?);
        }
    }
    let records = SHAPES
        .iter()
        .zip(&samples)
        .map(|((row, ..), (ours, peer))| Record::paired(*row, "ns per run", ("deferred", ours), ("Twisted", peer)));
    Ok(records.collect())
}

/// Runs the Twisted side of all rows, and returns its times.
fn theirs(python: &Path, at_least: u64) -> Result<BTreeMap<String, f64>, Box<dyn Error>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("twisted/shapes.py");
    let output = Command::new(python).arg(script).arg(at_least.to_string()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Returns a Python with Twisted, gevent and Tornado, which it installs if needed, unless the run is
/// quick.
pub(crate) fn python(effort: Effort) -> Result<PathBuf, Box<dyn Error>> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/twisted");
    let python = home.join("bin/python");
    let has_all = |python: &Path| {
        let imported = Command::new(python).args(["-c", "import gevent, tornado, twisted"]).output();
        imported.is_ok_and(|output| output.status.success())
    };
    if !python.exists() || !has_all(&python) {
        if effort.is_quick() {
            return Err(Unavailable(
                "Twisted and its peers are not installed yet, and --quick does not install them".to_owned(),
            )
            .into());
        }
        eprintln!("installing Twisted, gevent and Tornado for the other side");
        let made = Command::new("python3").args(["-m", "venv"]).arg(&home).status();
        let installed =
            Command::new(&python).args(["-m", "pip", "install", "--quiet", "twisted", "gevent", "tornado"]).status();
        if ![made, installed].iter().all(|status| status.as_ref().is_ok_and(|status| status.success())) {
            let why = "Twisted, gevent and Tornado could not be installed: this wants python3 with venv, and the package index";
            return Err(Unavailable(why.to_owned()).into());
        }
    }
    Ok(python)
}
