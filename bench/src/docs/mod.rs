//! Fills the tables and draws the plots of docs/performance.md from the report of `--json`. Reports
//! of other machines may follow, whose ratios stand beside those of the first.
//!
//! In that file a table is between `<!-- KIND PREFIX -->` and `<!-- end -->`. It contains the rows
//! whose names begin with PREFIX. Without other reports, the tables that need them stay unchanged.

mod plots;
mod tables;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use crate::run::Report;

const END: &str = "<!-- end -->";

pub(crate) fn write(reports: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let reports = reports.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let text = docs.join("performance.md");
    fs::write(&text, fill(&fs::read_to_string(&text)?, &reports)?)?;
    plots::draw(&reports[0], &docs)
}

fn read(report: &Path) -> Result<Report, Box<dyn Error>> {
    let message = |error: &dyn Error| format!("{}: {error}; --docs needs a report that --json wrote", report.display());
    let text = fs::read_to_string(report).map_err(|error| message(&error))?;
    Ok(serde_json::from_str(&text).map_err(|error| message(&error))?)
}

/// Parses a marker: the kind of the table and the prefix of its rows.
fn mark(line: &str) -> Option<(&str, &str)> {
    let mark = line.strip_prefix("<!-- ")?.strip_suffix(" -->")?;
    Some(mark.split_once(' ').unwrap_or((mark, "")))
}

/// Returns the text with new tables between the markers.
fn fill(text: &str, reports: &[Report]) -> Result<String, Box<dyn Error>> {
    let mut filled = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        filled.push_str(line);
        filled.push('\n');
        // An end that is read here belongs to a table that stays.
        let Some((kind, prefix)) = mark(line).filter(|_| line != END) else { continue };
        let table = match kind {
            "beside" if reports.len() == 1 => continue,
            "beside" => tables::beside(prefix, reports),
            _ => tables::table(kind, prefix, &reports[0]),
        };
        filled.push_str(&table.map_err(|error| format!("{line}: {error}"))?);
        if !lines.any(|line| line == END) {
            return Err(format!("{line} has no {END}").into());
        }
        filled.push_str(END);
        filled.push('\n');
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::plan;
    use crate::record::{Record, Value};

    fn report() -> Report {
        let record =
            Record::once("part/a row", "ns per thing", Value::new("ours", 1.0), Some(Value::new("theirs", 2.0)));
        Report { machine: Machine::this(), records: vec![record] }
    }

    #[test]
    fn text_between_the_markers_is_replaced_and_the_rest_stays() {
        let text = "before\n<!-- rows part/ -->\nold\n<!-- end -->\nbehind\n";
        let filled = fill(text, &[report()]).unwrap();
        assert!(filled.starts_with("before\n<!-- rows part/ -->\n| "), "{filled}");
        assert!(filled.ends_with("|\n<!-- end -->\nbehind\n"), "{filled}");
        assert!(
            filled.contains("| **a row**: ours; beside theirs | 1.00 | 2.00 | 0.50 |") && !filled.contains("old"),
            "{filled}"
        );
        assert_eq!(fill(&filled, &[report()]).unwrap(), filled);
    }

    #[test]
    fn the_ratios_of_machines_stand_side_by_side_and_stay_without_a_second_report() {
        let text = "<!-- beside part/ -->\nold\n<!-- end -->\n";
        let filled = fill(text, &[report(), report()]).unwrap();
        assert!(filled.contains("| part/a row |  | 0.50 | 0.50 |"), "{filled}");
        assert_eq!(fill(text, &[report()]).unwrap(), text);
    }

    #[test]
    fn each_row_is_in_a_table_of_the_documentation() {
        let text = include_str!("../../../docs/performance.md");
        let tables: Vec<_> = text.lines().filter(|line| *line != END).filter_map(mark).collect();
        for row in plan::all().iter().flat_map(plan::Entry::rows) {
            let stands =
                tables.iter().any(|(kind, prefix)| !["machine", "beside"].contains(kind) && row.starts_with(prefix));
            assert!(stands, "{row}");
        }
    }

    #[test]
    fn an_empty_table_an_unknown_kind_and_a_missing_end_are_reported() {
        for (text, part) in [
            ("<!-- rows other/ -->\n<!-- end -->\n", "no row"),
            ("<!-- something part/ -->\n<!-- end -->\n", "no kind"),
            ("<!-- rows part/ -->\n", "has no <!-- end -->"),
        ] {
            let message = fill(text, &[report()]).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
