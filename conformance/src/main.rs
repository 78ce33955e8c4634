//! `deferred-conformance [--handles] FILE...`: replays each file and prints the scenarios that
//! differ.
//!
//! Exits with 0 if all scenarios passed, with 1 if one differed, and with 2 if the command or a
//! file was invalid.

use std::path::PathBuf;
use std::process::ExitCode;

use deferred_conformance::{Handles, replay_file};

const USAGE: &str = "usage: deferred-conformance [--handles] FILE...
  replays recorded programs (plain or .gz; see FORMAT.md) and prints which scenarios differ
  --handles  take a cancel handle for every name, not only for those that a step cancels";

fn main() -> ExitCode {
    let mut handles = Handles::WhereCancelled;
    let mut files = Vec::new();
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some("--handles") => handles = Handles::Everywhere,
            Some("--help" | "-h") => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            Some(option) if option.starts_with('-') => {
                return usage(&format!("unknown option {option}"));
            }
            _ => files.push(PathBuf::from(argument)),
        }
    }
    if files.is_empty() {
        return usage("no file given");
    }

    let mut worst = 0;
    for file in &files {
        match replay_file(file, handles) {
            Ok(report) => {
                print!("{report}");
                worst = worst.max(u8::from(!report.differences.is_empty()));
            }
            Err(error) => {
                eprintln!("{error}");
                worst = 2;
            }
        }
    }
    ExitCode::from(worst)
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("{problem}\n{USAGE}");
    ExitCode::from(2)
}
