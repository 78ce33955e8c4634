//! The shapes of Twisted's own benchmarks, on this and on Twisted in the same run.
//!
//! `twisted/shapes.py` has the other side. Twisted comes from the package index of Python, into a directory of its own
//! below `target`.

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use deferred_core::{Clock, Deferred, Failure, inline_callbacks};

type Shape = (&'static str, fn());

const SHAPES: [Shape; 9] = [
    ("await_1000_ready", await_1000_ready),
    ("await_20_unfired", await_20_unfired),
    ("chain_4_fired_first", chain_4_fired_first),
    ("chain_4_fired_last", chain_4_fired_last),
    ("errback_chain", errback_chain),
    ("chained_already_fired", chained_already_fired),
    ("chained_not_fired", chained_not_fired),
    ("timers_100_in_order", timers_100_in_order),
    ("timers_100_reversed", timers_100_reversed),
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

fn measure(shape: fn()) -> f64 {
    let mut times = 1;
    while sample(shape, times) * f64::from(times) < 20e6 {
        times *= 2;
    }
    median((0..5).map(|_| sample(shape, times)).collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How often both sides are measured, in turn.
const ROUNDS: usize = 3;

/// Measures all shapes and prints how many times faster this is.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let python = python()?;
    let mut measured = BTreeMap::<&str, (Vec<f64>, Vec<f64>)>::new();
    for _ in 0..ROUNDS {
        let theirs = theirs(&python)?;
        for (name, shape) in SHAPES {
            let sides = measured.entry(name).or_default();
            sides.0.push(measure(shape));
            sides.1.push(*theirs.get(name).ok_or("shapes.py has no such shape")?);
        }
    }
    println!("{:<24} {:>12} {:>12}  factor", "shape", "ours ns", "Twisted ns");
    for (name, _) in SHAPES {
        let (ours, theirs) = measured.remove(name).expect("it was measured");
        let (ours, theirs) = (median(ours), median(theirs));
        println!("{name:<24} {ours:>12.0} {theirs:>12.0}  {:.0}", theirs / ours);
    }
    Ok(())
}

/// Runs the other side.
fn theirs(python: &Path) -> Result<BTreeMap<String, f64>, Box<dyn Error>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("twisted/shapes.py");
    let output = Command::new(python).arg(script).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let pairs = text.trim().trim_start_matches('{').trim_end_matches('}').split(", ").map(|pair| {
        let (name, value) = pair.split_once(": ").ok_or("no number behind a name")?;
        Ok((name.trim_matches('"').to_owned(), value.parse()?))
    });
    pairs.collect()
}

/// A Python that has Twisted.
pub(crate) fn python() -> Result<PathBuf, Box<dyn Error>> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/twisted");
    let python = home.join("bin/python");
    let has_twisted = |python: &Path| {
        Command::new(python).args(["-c", "import twisted"]).status().is_ok_and(|status| status.success())
    };
    if !python.exists() || !has_twisted(&python) {
        eprintln!("installing Twisted for the other side");
        let made = Command::new("python3").args(["-m", "venv"]).arg(&home).status()?;
        let installed = Command::new(&python).args(["-m", "pip", "install", "--quiet", "twisted"]).status()?;
        if !made.success() || !installed.success() {
            return Err("Twisted could not be installed: this wants python3 with venv, and the package index".into());
        }
    }
    Ok(python)
}
