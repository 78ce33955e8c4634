//! The report of a replay.

use std::fmt;

use serde_json::Value as Json;

/// The results of one file.
///
/// Its [`Display`](fmt::Display) prints the differences, if any, then one line with the counts.
#[derive(Debug)]
pub struct Report {
    /// The file's name, without its directory.
    pub name: String,
    /// The number of scenarios that produced exactly the recorded rows.
    pub passed: usize,
    /// The first differences of the other scenarios, in the order of the file.
    pub differences: Vec<Difference>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        writeln!(f, "{}: {} passed, {} failed", self.name, self.passed, self.differences.len())
    }
}

/// The first row in which a scenario differs from its recording.
///
/// The rows are those of the trace, then one for each final result or unhandled error.
#[derive(Debug, PartialEq)]
pub struct Difference {
    /// The scenario.
    pub id: String,
    /// Counted from 0.
    pub row: usize,
    /// The recorded row; `None` if the recording has ended.
    pub expected: Option<Json>,
    /// The row of the replay; `None` if the replay has ended.
    pub ours: Option<Json>,
}

impl Difference {
    /// Returns the first difference between two lists of rows, if any.
    pub(crate) fn find(id: &str, expected: &[Json], ours: &[Json]) -> Option<Self> {
        (0..expected.len().max(ours.len())).find(|&row| expected.get(row) != ours.get(row)).map(|row| Self {
            id: id.to_owned(),
            row,
            expected: expected.get(row).cloned(),
            ours: ours.get(row).cloned(),
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |row: &Option<Json>| row.as_ref().map_or("(no more rows)".to_owned(), Json::to_string);
        writeln!(f, "{} differs in row {}", self.id, self.row)?;
        writeln!(f, "  expected: {}", show(&self.expected))?;
        write!(f, "  ours:     {}", show(&self.ours))
    }
}

/// The reason why a file could not be replayed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read, or is not UTF-8 text.
    Unreadable {
        /// Its path.
        file: String,
        /// The error of the operating system.
        cause: std::io::Error,
    },
    /// A line is not in the format.
    Malformed {
        /// File and line.
        place: String,
        /// A description of the problem.
        why: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, cause } => write!(f, "{file}: {cause}"),
            Self::Malformed { place, why } => write!(f, "{place}: {why}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { cause, .. } => Some(cause),
            Self::Malformed { .. } => None,
        }
    }
}
