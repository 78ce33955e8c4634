//! Random rounds of pools, loops and sockets: submits, cancels, timeouts, panics, resizes and three
//! kinds of stop; two loops, either of which may end first, threads without a loop, and peers that
//! reset, half-close, flood or never read.
//!
//! ```text
//! cargo run --release -p deferred-chaos                        for a minute, from a random seed, which is printed
//! cargo run --release -p deferred-chaos -- --rounds 10000
//! cargo run --release -p deferred-chaos -- --seed 7 --only 41  repeats this round of this seed for a minute
//! ```
//!
//! The test checks for each round that every closure, value and protocol is dropped once, that
//! every Deferred fires once, that every connection is made and lost once, that the statistics of
//! the pools add up, that the library does not panic, and that threads, file descriptors and heap
//! return to what they were. A round that takes more than a minute hangs, and its unfinished
//! operations are printed. Because of threads, a round never runs exactly the same way twice.
//!
//! - `round`: one round, from its seed;
//! - `actor`: the operations of a loop; `jobs`: its jobs in pools; `peers`: well and badly behaved
//!   users of sockets;
//! - `ledger`: the counters; `census`: the resources of the process.

#![forbid(unsafe_code)]

mod actor;
mod census;
mod jobs;
mod ledger;
mod peers;
mod round;

use std::process::{ExitCode, exit};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};
use std::{env, panic, thread};

use census::Census;
use ledger::Ledger;

const USAGE: &str = "the options are --rounds N, --seconds N, --seed N and --only N (the Nth round)";
/// The maximum duration of a round.
const LIMIT: Duration = Duration::from_secs(60);
/// The number of rounds after which all permanent resources of the process exist.
const FIRST: u64 = 20;

struct Options {
    rounds: Option<u64>,
    time: Duration,
    seed: u64,
    only: Option<u64>,
}

fn options() -> Result<Options, String> {
    let mut options =
        Options { rounds: None, time: Duration::from_secs(60), seed: fastrand::u64(..1 << 32), only: None };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{argument} wants a value"))?;
        let number: u64 = value.parse().map_err(|_| format!("{argument} wants a number"))?;
        match argument.as_str() {
            "--rounds" => options.rounds = Some(number),
            "--seconds" => options.time = Duration::from_secs(number),
            "--seed" => options.seed = number,
            "--only" => options.only = Some(number),
            _ => return Err(format!("unknown argument {argument}; {USAGE}")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    println!("seed {}", options.seed);
    let panicked = collect_panics();
    deferred_smol::report::set_hook(|_| ());
    let (begun, mut first) = (Instant::now(), None);
    let (mut fired, mut lost) = (0, 0);
    for number in 0.. {
        if options.rounds.map_or(begun.elapsed() > options.time, |rounds| number == rounds) {
            println!(
                "{number} rounds, nothing wrong with any; {fired} Deferreds have fired, {lost} connections were lost"
            );
            break;
        }
        if number == FIRST {
            first = Some(Census::now());
        }
        let seed = options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(options.only.unwrap_or(number));
        let ledger = play(seed, number);
        let left = left(&ledger);
        let mut problems = ledger.problems();
        problems.extend(left);
        problems.append(&mut panicked.lock().unwrap_or_else(PoisonError::into_inner));
        fired += ledger.fired.load(std::sync::atomic::Ordering::Relaxed);
        lost += ledger.lost.load(std::sync::atomic::Ordering::Relaxed);
        drop(ledger);
        problems.extend(first.and_then(Census::grown));
        if !problems.is_empty() {
            println!("round {} of seed {} goes wrong:", options.only.unwrap_or(number), options.seed);
            problems.iter().for_each(|problem| println!("- {problem}"));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Returns the values that were not dropped. A loop does not wait for the threads of its default
/// pool, which may still run a job.
fn left(ledger: &Ledger) -> Option<String> {
    let begun = Instant::now();
    while begun.elapsed() < census::SETTLES {
        ledger.alive()?;
        thread::sleep(Duration::from_micros(100));
    }
    ledger.alive().map(|alive| format!("not dropped: {alive}"))
}

/// Collects the messages of unintended panics from now on.
fn collect_panics() -> Arc<Mutex<Vec<String>>> {
    let panicked = Arc::new(Mutex::new(Vec::new()));
    let messages = panicked.clone();
    panic::set_hook(Box::new(move |panic| {
        messages.lock().unwrap_or_else(PoisonError::into_inner).push(panic.to_string());
    }));
    panicked
}

/// Runs one round on a new thread, so that a hang is detected.
fn play(seed: u64, number: u64) -> Arc<Ledger> {
    let ledger = Arc::new(Ledger::default());
    let (sender, ended) = mpsc::channel();
    let kept = ledger.clone();
    let plays = thread::spawn(move || {
        round::play(&kept, seed);
        drop(kept);
        let _ = sender.send(());
    });
    // If the sender was dropped, the round panicked, which has been recorded.
    if ended.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
        println!("round {number} hangs; it has not brought to an end: {}", ledger.alive().unwrap_or_default());
        ledger.notes().iter().chain(&ledger.problems()).for_each(|problem| println!("- {problem}"));
        exit(1);
    }
    if plays.join().is_err() {
        ledger.problem("the round panics");
    }
    ledger
}
