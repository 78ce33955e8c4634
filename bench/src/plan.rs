//! The list of measurements, and the process of each.
//!
//! Each entry runs in its own process, because the heap that others leave matters: the same row may
//! take half as long again after another one. The process prints its records as JSON, one on each
//! line.

use std::env;
use std::error::Error;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use crate::record::Record;
use crate::rows::database;
use crate::sample::{Effort, Growth, Row, Size};
use crate::{banks, echo, instructions, rows, syscalls, twisted};

pub(crate) type Records = Result<Vec<Record>, Box<dyn Error>>;

/// A unit of measurement.
pub(crate) enum Entry {
    Row(Row),
    Size(Size),
    Growth(Growth),
    /// A measurement with several rows.
    Group(Group),
}

pub(crate) struct Group {
    pub(crate) rows: Vec<String>,
    pub(crate) measure: fn(Effort) -> Records,
}

/// The error of a measurement that needs a program that is not installed, such as Python.
#[derive(Debug)]
pub(crate) struct Unavailable(pub(crate) String);

impl fmt::Display for Unavailable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Error for Unavailable {}

/// Returns all entries in the order of the table.
pub(crate) fn all() -> Vec<Entry> {
    let mut entries = rows::all();
    entries.extend(
        [twisted::group(), database::group(), echo::group(), syscalls::group(), banks::group()].map(Entry::Group),
    );
    entries
}

impl Entry {
    pub(crate) fn rows(&self) -> Vec<String> {
        match self {
            Entry::Row(row) => vec![row.name.to_owned()],
            Entry::Size(size) => vec![size.name.to_owned()],
            Entry::Growth(growth) => vec![growth.name.to_owned()],
            Entry::Group(group) => group.rows.clone(),
        }
    }
}

/// The exit code of a process whose entry is unavailable. Other errors have other codes.
const UNAVAILABLE: u8 = 4;

/// Measures one entry in this process. The name of the entry is that of its first row.
pub(crate) fn measure_here(name: &str, effort: Effort, counts: bool) -> ExitCode {
    let entry = all().into_iter().find(|entry| entry.rows().first().is_some_and(|row| row == name));
    let records = match entry {
        Some(Entry::Row(row)) => {
            let mut record = row.measure(effort);
            // The measured times remain valid without the instruction counts.
            if let Err(error) = if counts { instructions::add_to(&mut record, &row) } else { Ok(()) } {
                eprintln!("{name}: {error}");
            }
            Ok(vec![record])
        }
        Some(Entry::Size(size)) => Ok(vec![size.measure()]),
        Some(Entry::Growth(growth)) => Ok(vec![growth.measure(effort)]),
        Some(Entry::Group(group)) => (group.measure)(effort),
        None => Err("unknown row".into()),
    };
    let printed = records.and_then(|records| {
        records.iter().try_for_each(|record| {
            println!("{}", serde_json::to_string(record)?);
            Ok(())
        })
    });
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            if error.is::<Unavailable>() { ExitCode::from(UNAVAILABLE) } else { ExitCode::FAILURE }
        }
    }
}

/// Measures an entry in another process, and passes on each record as it arrives. Returns `true` if
/// the entry was available.
pub(crate) fn measure_apart(
    entry: &Entry,
    options: &[&str],
    mut each: impl FnMut(Record),
) -> Result<bool, Box<dyn Error>> {
    let rows = entry.rows();
    let mut process =
        Command::new(env::current_exe()?).args(["--entry", &rows[0]]).args(options).stdout(Stdio::piped()).spawn()?;
    for line in BufReader::new(process.stdout.take().ok_or("it has a standard output")?).lines() {
        each(serde_json::from_str(&line?)?);
    }
    let status = process.wait()?;
    match status.code() {
        Some(0) => Ok(true),
        Some(code) if code == i32::from(UNAVAILABLE) => Ok(false),
        _ => Err(format!("{}: {status}", rows[0]).into()),
    }
}
