//! Deferred beside its peers, in one run: what `--help` says, and `docs/performance.md` shows.
//!
//! Each row has two sides that do the same visible work. Their samples are taken in turn, so that a slow moment of the
//! machine meets both; each ratio is of two samples next to each other, and the table shows their median, least and
//! greatest. `bounds.toml` says of a row how far it may go, and why; `--check` compares.
//!
//! - `rows`: one function a row, or two of a growth; `twisted`, `echo`, `syscalls` and `banks` have processes for peers;
//! - `plan`: what there is to measure, and in which process;
//! - `runner`: takes the samples; `count` is the allocator that counts, `instructions` asks callgrind;
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
mod runner;
mod syscalls;
mod twisted;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde::{Deserialize, Serialize};

use bounds::Bounds;
use machine::Machine;
use plan::Entry;
use record::Record;
use runner::Effort;

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
    /// Count instructions too, where a row has one thread: valgrind does it, and takes some minutes
    #[arg(long)]
    instructions: bool,
    /// Measure nothing: fill the tables and draw the plots of docs/performance.md from what `--json` wrote
    #[arg(long, value_name = "FILE", conflicts_with_all = ["check", "json", "only", "quick", "instructions"])]
    docs: Option<PathBuf>,
    /// The entry with this name, in this process
    #[arg(long, hide = true)]
    entry: Option<String>,
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

/// What `--json` writes.
#[derive(Deserialize, Serialize)]
struct Report {
    machine: Machine,
    records: Vec<Record>,
}

impl Options {
    fn effort(&self) -> Effort {
        if self.quick { Effort::QUICK } else { Effort::FULL }
    }

    fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| row.contains(part.as_str()))
    }
}

/// How often a row is measured before it is said to be past its bound.
const ROUNDS: usize = 3;

fn run_all(options: &Options) -> Result<(), Box<dyn Error>> {
    let bounds = Bounds::read()?;
    let entries = plan::all();
    bounds.must_be_of(&entries.iter().flat_map(Entry::rows).collect::<Vec<_>>())?;
    let wanted: Vec<_> =
        entries.into_iter().filter(|entry| entry.rows().iter().any(|row| options.wants(row))).collect();
    if wanted.is_empty() {
        return Err("no row has that in its name".into());
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its figures mean nothing");
    }
    // Now, so that nobody waits for what cannot be written.
    let json = options.json.as_ref().map(|path| {
        fs::File::create(path).map_err(|error| format!("{}: {error}; --json wants a file to write", path.display()))
    });
    let json = json.transpose()?;
    let mut passed_on = Vec::new();
    passed_on.extend(options.quick.then_some("--quick"));
    passed_on.extend(options.instructions.then_some("--instructions"));

    let mut report = Report { machine: Machine::this(), records: Vec::new() };
    // Those that have not kept their bounds in any round.
    let mut past = BTreeSet::new();
    record::print_header();
    for round in 0..if options.check { ROUNDS } else { 1 } {
        let again = |entry: &&Entry| round == 0 || entry.rows().iter().any(|row| past.contains(row));
        let again: Vec<_> = wanted.iter().filter(again).collect();
        if round > 0 && !again.is_empty() {
            println!("again, those past their bounds:");
        }
        for entry in again {
            let available = plan::measure_apart(entry, &passed_on, |record| {
                if !options.wants(&record.row) || round > 0 && !past.contains(&record.row) {
                    return;
                }
                let limit = bounds.of(&record.row);
                record::print(&record, limit, options.slack);
                if limit.is_none_or(|limit| limit.keeps(&record, options.slack)) {
                    past.remove(&record.row);
                } else {
                    past.insert(record.row.clone());
                }
                if round == 0 {
                    report.records.push(record);
                }
            })?;
            if !available {
                println!("without {}", entry.rows().join(", "));
            }
        }
    }
    if let Some(file) = json {
        serde_json::to_writer_pretty(file, &report)?;
    }
    if options.check && !past.is_empty() {
        let past: Vec<_> = past.into_iter().collect();
        return Err(format!("past their bounds in each of {ROUNDS} rounds: {}", past.join("; ")).into());
    }
    Ok(())
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
        _ => run_all(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
