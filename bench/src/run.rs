//! Measures the selected rows, prints each result, and reports rows that exceed their bounds.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::File;

use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;
use crate::machine::Machine;
use crate::plan::{self, Entry};
use crate::record::{self, Record};
use crate::{Options, instructions};

/// The report that `--json` writes.
#[derive(Deserialize, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) records: Vec<Record>,
}

/// The number of rounds in which a row must exceed its bound before it fails.
const ROUNDS: usize = 3;

/// The option with which the process of an entry counts instructions too.
const COUNTS: &str = "--instructions";

pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let bounds = Bounds::read()?;
    let mut entries = plan::all();
    bounds.must_be_of(&entries.iter().flat_map(Entry::rows).collect::<Vec<_>>())?;
    entries.retain(|entry| entry.rows().iter().any(|row| options.wants(row)));
    if entries.is_empty() {
        return Err("no row has that in its name".into());
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its figures mean nothing");
    }
    // Opened now, so that an unwritable file is reported before the measurement.
    let json = options.json.as_ref().map(|path| {
        File::create(path).map_err(|error| format!("{}: {error}; --json wants a file to write", path.display()))
    });
    let json = json.transpose()?;

    let mut run =
        Run { options, bounds, records: Vec::new(), past: BTreeSet::new(), counted: Vec::new(), failed: Vec::new() };
    record::print_header();
    run.first(&entries);
    if let Some(file) = json {
        serde_json::to_writer_pretty(file, &Report { machine: Machine::this(), records: run.records.clone() })?;
    }
    for _ in 1..if options.check { ROUNDS } else { 1 } {
        run.again(&entries);
    }
    run.verdict()
}

struct Run<'a> {
    options: &'a Options,
    bounds: Bounds,
    records: Vec<Record>,
    /// The rows that exceeded their bounds in every round.
    past: BTreeSet<String>,
    /// The rows that exceeded a limit that is counted, which no other round would change.
    counted: Vec<String>,
    /// The errors of measurements.
    failed: Vec<String>,
}

impl Run<'_> {
    fn first(&mut self, entries: &[Entry]) {
        let mut passed_on = Vec::new();
        if self.options.quick {
            passed_on.push("--quick");
        } else {
            match instructions::available() {
                Ok(()) => passed_on.push(COUNTS),
                Err(error) if self.options.check => self.failed.push(error.to_string()),
                Err(error) => eprintln!("without instructions: {error}"),
            }
        }
        let counts = passed_on.contains(&COUNTS);
        for entry in entries {
            for record in self.measure(entry, &passed_on, |_| true) {
                if !self.keeps(&record, false) {
                    self.past.insert(record.row.clone());
                }
                if counts && !self.keeps(&record, true) {
                    self.counted.push(record.row.clone());
                }
                self.records.push(record);
            }
        }
    }

    /// Measures the rows that exceeded their bounds again. Their instruction counts would be the
    /// same.
    fn again(&mut self, entries: &[Entry]) {
        if !self.past.is_empty() {
            println!("again, those past their bounds:");
        }
        let past = self.past.clone();
        for entry in entries.iter().filter(|entry| entry.rows().iter().any(|row| past.contains(row))) {
            for record in self.measure(entry, &[], |row| past.contains(row)) {
                if self.keeps(&record, false) {
                    self.past.remove(&record.row);
                }
            }
        }
    }

    /// Measures an entry, prints the selected records, and returns them.
    fn measure(&mut self, entry: &Entry, passed_on: &[&str], wants: impl Fn(&str) -> bool) -> Vec<Record> {
        let mut records = Vec::new();
        let counts = passed_on.contains(&COUNTS);
        let available = plan::measure_apart(entry, passed_on, |record| {
            if self.options.wants(&record.row) && wants(&record.row) {
                let mut limits = self.bounds.of(&record.row);
                limits.retain(|limit| counts || !limit.is_counted());
                record::print(&record, &limits, self.options.slack);
                records.push(record);
            }
        });
        match available {
            Ok(true) => {}
            Ok(false) => println!("without {}", entry.rows().join(", ")),
            Err(error) => self.failed.push(error.to_string()),
        }
        records
    }

    /// Returns `true` if the record keeps its limits: those that are counted, or the others.
    fn keeps(&self, record: &Record, counted: bool) -> bool {
        let limits = self.bounds.of(&record.row);
        limits.iter().filter(|limit| limit.is_counted() == counted).all(|limit| limit.keeps(record, self.options.slack))
    }

    fn verdict(self) -> Result<(), Box<dyn Error>> {
        let mut wrong = self.failed;
        if self.options.check && !self.past.is_empty() {
            let past: Vec<_> = self.past.into_iter().collect();
            wrong.push(format!("past their bounds in each of {ROUNDS} rounds: {}", past.join("; ")));
        }
        if self.options.check && !self.counted.is_empty() {
            wrong.push(format!("more instructions or allocations than their bounds: {}", self.counted.join("; ")));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
    }
}
