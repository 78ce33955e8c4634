//! Runs random programs on the model engine and on the real one, and compares the traces: the order
//! and the arguments of callbacks, the order of drops, the reported errors with their locations,
//! and the values that are still alive.
//!
//! ```text
//! cargo run --release -p deferred-differ                       100,000 programs from a random seed, which is printed
//! cargo run --release -p deferred-differ -- --programs 1000000
//! cargo run --release -p deferred-differ -- --seed 7           repeats the programs of this seed
//! ```
//!
//! The first program on which the two engines differ is shrunk as far as they still differ, and
//! printed with both traces. About a quarter of all programs end in a cycle that leaks on both
//! engines (a callback that captures its own Deferred's resolver), so the numbers of live values
//! are compared, not asserted to be zero.
//!
//! - `program`: the type of programs, their generation, and their shrinking;
//! - `play`, and its `values`: the execution of programs; both are included once for each engine;
//! - `trace`: the recorded events.

#![forbid(unsafe_code)]

mod program;
mod trace;

mod on_core {
    use deferred_core as deferred;
    include!("values.rs"); // its macros must be defined before their use
    include!("play.rs");
}

mod on_model {
    use deferred_model as deferred;
    include!("values.rs"); // its macros must be defined before their use
    include!("play.rs");
}

use std::process::ExitCode;
use std::{env, thread};

use fastrand::Rng;
use program::{Op, generate, shrink};
use trace::{Event, Trace, What};

const USAGE: &str = "the options are --programs N, --seed N, --only N (the Nth program) and --verbose";

struct Options {
    programs: u64,
    seed: u64,
    only: Option<u64>,
    verbose: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options { programs: 100_000, seed: fastrand::u64(..1 << 32), only: None, verbose: false };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let number = arguments.next().and_then(|number| number.parse().ok());
            number.ok_or_else(|| format!("{argument} wants a number"))
        };
        match argument.as_str() {
            "--programs" => options.programs = number()?,
            "--seed" => options.seed = number()?,
            "--only" => options.only = Some(number()?),
            "--verbose" => options.verbose = true,
            _ => return Err(format!("unknown argument {argument}; {USAGE}")),
        }
    }
    Ok(options)
}

/// Runs `work` on a thread with a large stack. A program may recurse as deep as its budget of
/// operations allows, for example through a canceller that cancels its own Deferred; without
/// optimization this takes more stack than a thread usually has.
fn on_a_large_stack<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let thread = thread::Builder::new().stack_size(64 << 20).spawn(work).expect("a thread");
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Plays a program on both engines; returns the trace of the model and the trace of the real
/// engine.
fn both(program: &[Op]) -> (Trace, Trace) {
    (on_model::play(program), on_core::play(program))
}

fn differ((model, core): &(Trace, Trace)) -> bool {
    let broken = |trace: &Trace| trace.iter().any(|event| matches!(event.what, What::DroppedTwice | What::Corrupt));
    model != core || broken(model) || broken(core)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    on_a_large_stack(move || run(&options))
}

fn run(options: &Options) -> ExitCode {
    println!("seed {}", options.seed);
    let (mut played, mut events, mut leaking) = (0_u64, 0, 0_u64);
    for number in 0..options.programs {
        if options.only.is_some_and(|only| only != number) {
            continue;
        }
        let mut rng = Rng::with_seed(options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number));
        let program = generate(&mut rng);
        if options.verbose {
            println!("program {number}: {program:#?}");
        }
        let traces = both(&program);
        played += 1;
        events += traces.1.len();
        leaking += u64::from(traces.1.last().is_some_and(|live| live.a > 0));
        if differ(&traces) {
            report(options.seed, number, program);
            return ExitCode::FAILURE;
        }
    }
    println!("{played} programs, the same on both engines; {events} events, {leaking} programs leak by right");
    ExitCode::SUCCESS
}

fn report(seed: u64, number: u64, program: Vec<Op>) {
    println!("program {number} of seed {seed} differs; making it smaller ...");
    let program = shrink(program, |program| differ(&both(program)));
    let traces = both(&program);
    if !differ(&traces) {
        println!("it no longer does when it is run again: something outlives a program");
        return;
    }
    let (model, core) = traces;
    println!("{program:#?}");
    let same = model.iter().zip(&core).take_while(|(model, core)| model == core).count();
    print_trace("the plain engine", &model, same);
    print_trace("the fast engine", &core, same);
}

fn print_trace(name: &str, trace: &[Event], same: usize) {
    println!("{name}:");
    for (at, Event { what, a, b }) in trace.iter().enumerate() {
        let mark = if at == same { "  <- from here on they differ" } else { "" };
        println!("    {what:?} {a} {b}{mark}");
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use program::{End, Stage};

    use super::*;

    #[test]
    fn random_programs_behave_alike_on_both_engines_and_drop_all_once() {
        on_a_large_stack(|| {
            let seed = fastrand::u64(..1 << 32);
            for number in 0..3000 {
                let program = generate(&mut Rng::with_seed(seed.wrapping_add(number)));
                assert!(!differ(&both(&program)), "seed {seed}, program {number}: {program:#?}");
            }
        });
    }

    #[test]
    fn a_failing_program_is_shrunk() {
        let panics = |op: &Op| matches!(op, Op::Add(_, stage) if matches!(stage.end, End::Panic));
        let fails = |program: &[Op]| program.iter().any(panics);
        let mut rng = Rng::with_seed(1);
        let program = std::iter::repeat_with(|| generate(&mut rng)).find(|program| fails(program)).unwrap();
        let shrunk = shrink(program, fails);
        let [Op::Add(_, stage)] = &shrunk[..] else { panic!("{shrunk:?}") };
        let Stage { body, hold, bomb, .. } = Rc::as_ref(stage);
        assert!(body.is_empty() && hold.is_none() && !bomb);
    }

    #[test]
    fn a_trace_with_a_double_drop_or_a_corrupt_value_fails_even_if_both_agree() {
        for what in [What::DroppedTwice, What::Corrupt] {
            let trace = vec![Event { what, a: 1, b: 0 }];
            assert!(differ(&(trace.clone(), trace)));
        }
        assert!(!differ(&both(&[])));
    }
}
