//! Deferred beside its peers, in one run.
//!
//! ```text
//! cargo run --release -p deferred-bench                     every row
//! cargo run --release -p deferred-bench -- --only PART      the rows whose name contains PART
//! cargo run --release -p deferred-bench -- --quick          fewer and shorter samples: it runs, the figures are rough
//! cargo run --profile one-unit -p deferred-bench -- --slack 1.1
//!                                                           with codegen-units = 1; each bar a tenth higher
//! ```
//!
//! Each row has two sides that do the same visible work. Their samples are taken in turn, so that a slow moment of the
//! machine meets both; each ratio is of two samples next to each other, and the table shows their median, least and
//! greatest. A row that is past its bar is measured again, up to three times, and the best counts; one that stays past
//! it makes the exit code 1, unless `--quick` was given.
//!
//! - `rows`: one function a row;
//! - `runner`: takes the samples and prints them;
//! - `count`: the allocator that counts.

mod count;
mod rows;
mod runner;

use std::env;
use std::process::ExitCode;

use runner::{Effort, Row};

struct Options {
    only: Option<String>,
    effort: Effort,
    slack: f64,
}

const USAGE: &str = "the options are --only PART, --quick and --slack FACTOR";

fn options() -> Result<Options, String> {
    let mut options = Options { only: None, effort: Effort::FULL, slack: 1.0 };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--only" => options.only = Some(arguments.next().ok_or("--only wants a part of a row's name")?),
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

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    let wanted = |name: &str| options.only.as_ref().is_none_or(|part| name.contains(part.as_str()));
    let rows: Vec<Row> = rows::all().into_iter().filter(|row| wanted(row.name)).collect();
    let sizes: Vec<_> = rows::sizes().into_iter().filter(|size| wanted(size.name)).collect();
    if rows.is_empty() && sizes.is_empty() {
        eprintln!("no row has that in its name");
        return ExitCode::from(2);
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its figures mean nothing");
    }
    let mut past = runner::run_sizes(&sizes);
    past.extend(runner::run(&rows, options.effort, options.slack));
    if past.is_empty() || options.effort.is_quick() {
        return ExitCode::SUCCESS;
    }
    eprintln!("past their bars: {}", past.join(", "));
    ExitCode::FAILURE
}
