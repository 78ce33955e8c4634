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

    let mut run = Run { options, bounds, records: Vec::new(), past: BTreeSet::new(), failed: Vec::new() };
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
                Ok(()) => passed_on.push("--instructions"),
                Err(error) => eprintln!("without instructions: {error}"),
            }
        }
        for entry in entries {
            for record in self.measure(entry, &passed_on, |_| true) {
                if !self.keeps(&record) {
                    self.past.insert(record.row.clone());
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
                if self.keeps(&record) {
                    self.past.remove(&record.row);
                }
            }
        }
    }

    /// Measures an entry, prints the selected records, and returns them.
    fn measure(&mut self, entry: &Entry, passed_on: &[&str], wants: impl Fn(&str) -> bool) -> Vec<Record> {
        let mut records = Vec::new();
        let available = plan::measure_apart(entry, passed_on, |record| {
            if self.options.wants(&record.row) && wants(&record.row) {
                record::print(&record, self.bounds.of(&record.row), self.options.slack);
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

    fn keeps(&self, record: &Record) -> bool {
        self.bounds.of(&record.row).is_none_or(|limit| limit.keeps(record, self.options.slack))
    }

    fn verdict(self) -> Result<(), Box<dyn Error>> {
        let mut wrong = self.failed;
        if self.options.check && !self.past.is_empty() {
            let past: Vec<_> = self.past.into_iter().collect();
            wrong.push(format!("past their bounds in each of {ROUNDS} rounds: {}", past.join("; ")));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
    }
}
