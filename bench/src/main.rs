//! Deferred beside its peers, in one run: what `--help` says, and `docs/performance.md` shows.
//!
//! Each row has two sides that do the same visible work. Their samples are taken in turn, so that a
//! slow moment of the machine meets both; each ratio is of two samples next to each other, and the
//! table shows their median, least and greatest. `bounds.toml` says of a row how far it may go, and
//! why; `--check` compares.
//!
//! - `rows`: one function a row, or two of a growth; `twisted`, `echo`, `syscalls` and `banks` have
//!   processes for peers;
//! - `run`: measures what the options want, and says what is past its bound;
//! - `plan`: what there is to measure, and in which process;
//! - `sample`: takes the samples; `count` is the allocator that counts, `instructions` asks
//!   callgrind;
//! - `record`: what was measured, and its line of the table; `bounds`: how far it may go;
//! - `machine`: where; `docs`: the tables and plots of the documentation.

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

/// Deferred beside its peers: measures every row, and prints one table.
#[derive(Parser)]
struct Options {
    /// The rows whose name contains this, which may be given more than once
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// Write all of it there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer and shorter samples: it runs, and the figures are rough
    #[arg(long, conflicts_with = "check")]
    quick: bool,
    /// Measure those past their bounds again, up to three rounds, and fail if one stays there
    #[arg(long)]
    check: bool,
    /// Widen each bound by this factor, such as 1.1
    #[arg(long, default_value_t = 1.0)]
    slack: f64,
    /// Measure nothing: fill the tables and draw the plots of docs/performance.md from what
    /// `--json` wrote
    #[arg(long, value_name = "FILE", conflicts_with_all = ["check", "json", "only", "quick"])]
    docs: Option<PathBuf>,
    /// The entry with this name, in this process
    #[arg(long, hide = true)]
    entry: Option<String>,
    /// With it: count the instructions of the entry too
    #[arg(long, hide = true)]
    instructions: bool,
    /// One side of a row so often, in this process: the name, the side and how often
    #[arg(long, hide = true, num_args = 3)]
    repeat: Option<Vec<String>>,
    /// The server with this name, in this process
    #[arg(long, hide = true)]
    echo_server: Option<String>,
    /// So many jobs on the loop with this name, in this process
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
        Options { docs: Some(path), .. } => docs::write(path),
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
