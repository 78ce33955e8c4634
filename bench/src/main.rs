//! Deferred beside its peers, in one run.
//!
//! ```text
//! cargo run --release -p deferred-bench                     every row
//! cargo run --release -p deferred-bench -- --only PART      the rows whose name contains PART
//! cargo run --release -p deferred-bench -- --twisted        the shapes of Twisted's own benchmarks, beside Twisted
//! cargo run --release -p deferred-bench -- --syscalls       system calls of the pool, of turns and of an echo, by perf
//! cargo run --release -p deferred-bench -- --echo           echo over TCP, beside smol, tokio and Twisted
//! cargo run --release -p deferred-bench -- --banks          the example of that name, with its chart in docs
//! cargo run --release -p deferred-bench -- --quick          fewer and shorter samples: it runs, the figures are rough
//! cargo run --profile one-unit -p deferred-bench -- --slack 1.1
//!                                                           with codegen-units = 1; each bar a tenth higher
//! ```
//!
//! Each row has two sides that do the same visible work. Their samples are taken in turn, so that a slow moment of the
//! machine meets both; each ratio is of two samples next to each other, and the table shows their median, least and
//! greatest. Each row has a process of its own, since what other rows leave of the heap counts: the same row may take
//! half as long again behind another one. A row that is past its bar is measured again after all others, up to three
//! times, and the best counts; one that stays past it makes the exit code 1, unless `--quick` was given.
//!
//! - `rows`: one function a row;
//! - `runner`: takes the samples and prints them;
//! - `count`: the allocator that counts;
//! - `twisted`: the shapes of Twisted's own benchmarks;
//! - `banks`: the chart of the four banks;
//! - `echo`: servers and clients over TCP;
//! - `syscalls`: how often the pool asks the system.

mod banks;
mod count;
mod echo;
mod rows;
mod runner;
mod syscalls;
mod twisted;

use std::env;
use std::error::Error;
use std::process::{Command, ExitCode};

use runner::{Effort, print_header};

struct Options {
    only: String,
    /// The row with this name, in this process.
    row: Option<String>,
    effort: Effort,
    slack: f64,
    twisted: bool,
    syscalls: bool,
    echo: bool,
    banks: bool,
    /// The server with this name, in this process.
    echo_server: Option<String>,
    /// So many jobs on the loop with this name, in this process.
    jobs: Option<(String, u64)>,
    one_core: bool,
}

/// The exit code of a row that is past its bar. Whatever else goes wrong has another.
const PAST: i32 = 3;

const USAGE: &str = "the options are --only PART, --quick, --slack FACTOR, --banks, --echo, --syscalls and --twisted";

fn options() -> Result<Options, String> {
    let mut options = Options {
        only: String::new(),
        row: None,
        effort: Effort::FULL,
        slack: 1.0,
        twisted: false,
        syscalls: false,
        echo: false,
        banks: false,
        echo_server: None,
        jobs: None,
        one_core: false,
    };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--only" => options.only = arguments.next().ok_or("--only wants a part of a row's name")?,
            "--row" => options.row = arguments.next(),
            "--twisted" => options.twisted = true,
            "--syscalls" => options.syscalls = true,
            "--banks" => options.banks = true,
            "--echo" => options.echo = true,
            "--echo-server" => options.echo_server = arguments.next(),
            "--one-core" => options.one_core = true,
            "--jobs" => {
                let name = arguments.next().ok_or("--jobs wants a loop's name")?;
                let jobs = arguments.next().and_then(|jobs| jobs.parse().ok());
                options.jobs = Some((name, jobs.ok_or("--jobs wants a number")?));
            }
            "--quick" => options.effort = Effort::QUICK,
            "--slack" => {
                let factor = arguments.next().and_then(|factor| factor.parse().ok());
                options.slack = factor.ok_or("--slack wants a factor, such as 1.1")?;
            }
            other => return Err(format!("unknown argument {other}; {USAGE}")),
        }
    }
    Ok(options)
}

/// Measures one row and prints it. Says whether it keeps its bar.
fn run_row(name: &str, options: &Options) -> Result<bool, Box<dyn Error>> {
    let row = rows::all().into_iter().find(|row| row.name == name).ok_or("no row has that name")?;
    Ok(runner::run(&row, options.effort, options.slack))
}

/// Runs this program for one row.
fn run_apart(name: &str) -> Result<bool, Box<dyn Error>> {
    let status = Command::new(env::current_exe()?).args(env::args().skip(1)).args(["--row", name]).status()?;
    match status.code() {
        Some(0) => Ok(true),
        Some(PAST) => Ok(false),
        _ => Err(format!("{name}: {status}").into()),
    }
}

fn run_all(options: &Options) -> Result<bool, Box<dyn Error>> {
    let mut names: Vec<_> =
        rows::all().iter().map(|row| row.name).filter(|name| name.contains(&options.only)).collect();
    let sizes: Vec<_> = rows::sizes().into_iter().filter(|size| size.name.contains(&options.only)).collect();
    if names.is_empty() && sizes.is_empty() {
        return Err("no row has that in its name".into());
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its figures mean nothing");
    }
    let mut past = runner::run_sizes(&sizes);
    if !names.is_empty() {
        print_header();
    }
    for attempt in 0..if options.effort.is_quick() { 1 } else { 4 } {
        if attempt > 0 && !names.is_empty() {
            println!("again, those past their bars:");
        }
        let mut missed = Vec::new();
        for name in names {
            if !run_apart(name)? {
                missed.push(name);
            }
        }
        names = missed;
    }
    past.extend(names);
    if past.is_empty() || options.effort.is_quick() {
        return Ok(true);
    }
    Err(format!("past their bars: {}", past.join(", ")).into())
}

fn main() -> ExitCode {
    let kept = options().map_err(Into::into).and_then(|options| match (&options.row, &options.jobs) {
        (Some(name), _) => run_row(name, &options),
        (_, Some((name, jobs))) => syscalls::jobs(name, *jobs, options.one_core),
        _ if options.echo_server.is_some() => {
            echo::run_one(options.echo_server.as_deref().unwrap_or_default()).map(|()| true)
        }
        _ if options.banks => banks::run().map(|()| true),
        _ if options.echo => echo::run(options.effort),
        _ if options.twisted => twisted::run().map(|()| true),
        _ if options.syscalls => syscalls::run(),
        _ => run_all(&options),
    });
    match kept {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(PAST as u8),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
