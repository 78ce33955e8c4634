//! Random programs over the whole public interface of deferred-core: Deferreds, coroutines,
//! combinators, locks and queues, and timers on a clock; with cancels, pauses, panics in callbacks,
//! cancellers and destructors, nested turns, and values that are held in wrong places or leaked.
//!
//! ```text
//! cargo run --release -p deferred-fuzzer                          100,000 programs from a random seed, which is printed
//! cargo run --release -p deferred-fuzzer -- --programs 1000000
//! cargo run --release -p deferred-fuzzer -- --seed 7 --only 41    plays and prints this program of this seed
//! ```
//!
//! The fuzzer checks for each program that every value is dropped once, that no panic propagates
//! out of the library, that permits are conserved, that every Deferred ends after everything is
//! cancelled and the clock is closed, and that the thread works afterwards: a dropped resolver
//! fires at once, and one dropped in a callback right after it.
//!
//! The programs run in a child process, so that an abort is found too. The first program that fails
//! is shrunk as far as it still fails, and printed.
//!
//! - `program`: the type of programs, and their generation;
//! - `world`, `play`: the state of a program, and its execution; `ledger`: the counters;
//! - `check`: plays one program and returns the problems.

#![forbid(unsafe_code)]

mod check;
mod ledger;
mod play;
mod program;
mod world;

use std::collections::HashSet;
use std::process::{Command, ExitCode, Stdio};
use std::rc::Rc;
use std::{env, thread};

use fastrand::Rng;
use program::{Program, generate};

const USAGE: &str = "the options are --programs N, --seed N and --only N (the Nth program)";
/// The number of programs that a process plays between two lines of output.
const STRIDE: u64 = 500;

#[derive(Clone)]
struct Options {
    programs: u64,
    seed: u64,
    only: Option<u64>,
    /// The number of the first program, in the child process.
    from: Option<u64>,
    /// The operations that are left out.
    without: Vec<usize>,
}

fn options() -> Result<Options, String> {
    let mut options =
        Options { programs: 100_000, seed: fastrand::u64(..1 << 32), only: None, from: None, without: Vec::new() };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{argument} wants a value"))?;
        let number = || value.parse().map_err(|_| format!("{argument} wants a number"));
        match argument.as_str() {
            "--programs" => options.programs = number()?,
            "--seed" => options.seed = number()?,
            "--only" => options.only = Some(number()?),
            "--from" => options.from = Some(number()?),
            "--without" => options.without = value.split(',').filter_map(|number| number.parse().ok()).collect(),
            _ => return Err(format!("unknown argument {argument}; {USAGE}")),
        }
    }
    Ok(options)
}

fn program(seed: u64, number: u64) -> Program {
    generate(&mut Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number)))
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match options.from {
        Some(from) => on_a_large_stack(move || play_from(&options, from)),
        None => run(&options),
    }
}

/// Runs `work` on a thread with a large stack: a program may recurse as deep as its budget allows.
fn on_a_large_stack<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let thread = thread::Builder::new().stack_size(64 << 20).spawn(work).expect("a thread");
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Plays programs in the child process until one fails. Its number is the last line of the output.
fn play_from(options: &Options, from: u64) -> ExitCode {
    std::panic::set_hook(Box::new(|_| ())); // the programs panic on purpose
    let without: Rc<HashSet<usize>> = Rc::new(options.without.iter().copied().collect());
    for number in from..options.programs {
        if number % STRIDE == 0 || options.only.is_some() {
            println!("at {number}");
        }
        let problems = check::play(&program(options.seed, number), without.clone());
        if !problems.is_empty() {
            println!("failed {number}");
            problems.iter().for_each(|problem| eprintln!("{problem}"));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Runs a child process that plays these programs; returns whether it succeeded, its last line, and
/// its standard error.
fn played(options: &Options, from: u64, to: u64) -> (bool, String, String) {
    let without: Vec<_> = options.without.iter().map(usize::to_string).collect();
    let mut command = Command::new(env::current_exe().expect("this program has a path"));
    command.args(["--seed", &options.seed.to_string(), "--from", &from.to_string(), "--programs", &to.to_string()]);
    if options.only.is_some() {
        command.args(["--only", "0"]);
    }
    if !without.is_empty() {
        command.args(["--without", &without.join(",")]);
    }
    let output = command.stdin(Stdio::null()).output().expect("this program can be run");
    let lines = String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned();
    (output.status.success(), lines, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn run(options: &Options) -> ExitCode {
    println!("seed {}", options.seed);
    let found = match options.only {
        Some(only) => Some(only).filter(|_| !played(options, only, only + 1).0),
        None => find(options),
    };
    if let Some(number) = found {
        println!("program {number} of seed {} fails; making it smaller ...", options.seed);
        let smallest = shrink(&Options { only: Some(number), ..options.clone() }, number);
        let without: HashSet<usize> = smallest.without.iter().copied().collect();
        check::print(&program(options.seed, number), &without);
        let (_, _, errors) = played(&smallest, number, number + 1);
        println!("{}", errors.trim_end());
        return ExitCode::FAILURE;
    }
    match options.only {
        Some(only) => check::print(&program(options.seed, only), &HashSet::new()),
        None => println!("{} programs, nothing wrong with any", options.programs),
    }
    ExitCode::SUCCESS
}

/// Returns the number of the first program that fails.
fn find(options: &Options) -> Option<u64> {
    let (well, last, _) = played(options, 0, options.programs);
    if well {
        return None;
    }
    let number = |line: &str| line.split(' ').nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
    if last.starts_with("failed") {
        return Some(number(&last));
    }
    // A later program of this stride ended the process.
    let from = number(&last);
    let each = Options { only: Some(0), ..options.clone() };
    let (_, last, _) = played(&each, from, options.programs);
    Some(number(&last))
}

/// Leaves out operations that are not needed for the failure: first halves, finally single
/// operations.
fn shrink(options: &Options, number: u64) -> Options {
    let length = program(options.seed, number).length;
    let mut smallest = options.clone();
    let mut width = length.div_ceil(2).max(1);
    loop {
        let mut smaller = false;
        for from in (0..length).step_by(width) {
            let mut without = smallest.without.clone();
            without.extend((from..(from + width).min(length)).filter(|op| !smallest.without.contains(op)));
            if without.len() == smallest.without.len() {
                continue;
            }
            let candidate = Options { without, ..smallest.clone() };
            if !played(&candidate, number, number + 1).0 {
                smallest = candidate;
                smaller = true;
            }
        }
        if width == 1 && !smaller {
            return smallest;
        }
        width = (width / 2).max(1);
    }
}
