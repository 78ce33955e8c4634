//! Measures deferred beside its peers in one run. `--help` lists the options, and
//! `docs/performance.md` shows the results.
//!
//! Each row has two sides that do the same visible work. Their samples are taken in turn, so that a
//! slow phase of the machine affects both. Each ratio is of two adjacent samples, and the table has
//! their median, minimum and maximum. `bounds.toml` contains the limit of each row and its reason;
//! `--check` compares.
//!
//! - `rows`: one function for each row, or two for a growth row; `twisted`, `echo`, `syscalls` and
//!   `banks` use other processes as peers;
//! - `run`: the options, the rounds and the output; `plan`: the list of measurements, and the
//!   process of each;
//! - `sample`: the samples; `count`: a counting allocator; `instructions`: counts by callgrind;
//! - `record`: a result and its line of the table; `bounds`: the limits of rows;
//! - `machine`: the machine; `docs`: the tables and plots of the documentation.
//!
//! `bench/compile.py` measures what a call site costs to compile.

mod banks;
mod bounds;
mod count;
mod docs;
mod echo;
mod instructions;
mod machine;
mod plan;
mod record;
mod rows;
mod run;
mod sample;
mod syscalls;
mod twisted;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use sample::Effort;

/// Measures deferred beside its peers, and prints a table
#[derive(Parser)]
struct Options {
    /// Measure only rows whose name contains this; may be repeated
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// Write the report to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Take fewer and shorter samples; the numbers are rough
    #[arg(long, conflicts_with = "check")]
    quick: bool,
    /// Measure rows that exceed their bounds again, up to three rounds, and fail if one still does
    #[arg(long)]
    check: bool,
    /// Widen each bound by this factor, such as 1.1
    #[arg(long, default_value_t = 1.0)]
    slack: f64,
    /// Measure nothing; fill the tables and draw the plots of docs/performance.md from a report of
    /// `--json`; further reports, of other machines, are compared with it
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["check", "json", "only", "quick"])]
    docs: Option<Vec<PathBuf>>,
    /// Measure the entry with this name in this process
    #[arg(long, hide = true)]
    entry: Option<String>,
    /// Count the instructions of that entry too
    #[arg(long, hide = true)]
    instructions: bool,
    /// Repeat one side of a row in this process: its name, the side and the number of operations
    #[arg(long, hide = true, num_args = 3)]
    repeat: Option<Vec<String>>,
    /// Run the server with this name in this process
    #[arg(long, hide = true)]
    echo_server: Option<String>,
    /// Run this number of jobs on the loop with this name in this process
    #[arg(long, hide = true, num_args = 2)]
    jobs: Option<Vec<String>>,
    #[arg(long, hide = true)]
    one_core: bool,
}

impl Options {
    fn effort(&self) -> Effort {
        if self.quick { Effort::QUICK } else { Effort::FULL }
    }

    fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| row.contains(part.as_str()))
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(name) = &options.entry {
        return plan::measure_here(name, options.effort(), options.instructions);
    }
    let done = match &options {
        Options { repeat: Some(repeat), .. } => instructions::repeat(repeat),
        Options { jobs: Some(jobs), .. } => syscalls::jobs_here(jobs, options.one_core),
        Options { echo_server: Some(name), .. } => echo::run_one(name),
        Options { docs: Some(paths), .. } => docs::write(paths),
        _ => run::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
