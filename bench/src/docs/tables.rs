//! Tables in Markdown.

use std::collections::BTreeSet;
use std::error::Error;

use crate::record::{self, Record, Spread, Value};
use crate::run::Report;

/// Returns the table of this kind with the rows whose names begin with `prefix`.
pub(super) fn table(kind: &str, prefix: &str, report: &Report) -> Result<String, Box<dyn Error>> {
    if kind == "machine" {
        return Ok(machine(report));
    }
    let records = records(prefix, report)?;
    match kind {
        "rows" => Ok(rows(&records)),
        "growth" => Ok(growth(&records)),
        "values" => Ok(values(&records)),
        _ => Err("no kind of table is called so".into()),
    }
}

fn records<'a>(prefix: &str, report: &'a Report) -> Result<Vec<&'a Record>, Box<dyn Error>> {
    let records: Vec<_> = report.records.iter().filter(|record| record.row.starts_with(prefix)).collect();
    if records.is_empty() { Err("no row begins so".into()) } else { Ok(records) }
}

/// Returns the ratios of the rows of the first report, in all reports.
pub(super) fn beside(prefix: &str, reports: &[Report]) -> Result<String, Box<dyn Error>> {
    let heads = ["", "instructions: ours, peer"].map(str::to_owned);
    let mut text = line(heads.into_iter().chain((1..=reports.len()).map(|number| format!("ratio ({number})"))));
    text.push_str(&format!("| --- | --- |{}\n", " --- |".repeat(reports.len())));
    for record in records(prefix, &reports[0])?.iter().filter(|record| record.ratio.is_some()) {
        let instructions = pair(record, |value| value.instructions);
        let ratios = reports.iter().map(|report| {
            let same = report.records.iter().find(|other| other.row == record.row);
            same.and_then(|same| same.ratio).map_or_else(String::new, spread)
        });
        text.push_str(&line([record.row.clone(), instructions].into_iter().chain(ratios)));
    }
    Ok(text)
}

fn spread(ratio: Spread) -> String {
    let [least, median, greatest] = [ratio.least, ratio.median, ratio.greatest].map(number);
    if least == greatest { median } else { format!("{median} ({least}..{greatest})") }
}

fn machine(report: &Report) -> String {
    let machine = &report.machine;
    format!(
        "{}, {} processors, {}; {}; {}.\n",
        machine.processor, machine.processors, machine.system, machine.rust, machine.date
    )
}

fn line(cells: impl IntoIterator<Item = String>) -> String {
    format!("| {} |\n", cells.into_iter().collect::<Vec<_>>().join(" | "))
}

/// Returns the part of the name after the slash.
fn short(record: &Record) -> String {
    record.row.split_once('/').map_or(&*record.row, |(_, name)| name).to_owned()
}

/// Formats our value and the peer's, as far as both exist.
fn pair(record: &Record, of: impl Fn(&Value) -> Option<f64>) -> String {
    let shown = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), rounded);
    match (of(&record.ours), record.peer.as_ref()) {
        (None, _) => String::new(),
        (ours, Some(peer)) => format!("{}, {}", shown(ours), shown(of(peer))),
        (ours, None) => shown(ours),
    }
}

/// Formats counts, most of which are integers.
fn rounded(value: f64) -> String {
    if value.fract().abs() < 0.005 { format!("{value:.0}") } else { number(value) }
}

/// A column: its heading, and the value in it.
type Column = (&'static str, fn(&Value) -> Option<f64>);

/// Formats rows, one line each, with both sides.
fn rows(records: &[&Record]) -> String {
    let has = |(_, of): &Column| records.iter().any(|record| of(&record.ours).is_some());
    let columns: [Column; 2] =
        [("allocations", |value| value.allocations), ("instructions", |value| value.instructions)];
    let columns: Vec<_> = columns.into_iter().filter(has).collect();
    let heads = ["", "ours", "peer", "ratio", "unit"].into_iter().chain(columns.iter().map(|(head, _)| *head));
    let mut text = line(heads.map(str::to_owned));
    text.push_str(&format!("| --- | ---: | ---: | --- | --- |{}\n", " --- |".repeat(columns.len())));
    for record in records {
        let peer = record.peer.as_ref();
        // Sides that are already in the name are not repeated.
        let named = record.row.contains(&record.ours.what) && peer.is_some_and(|peer| record.row.contains(&peer.what));
        let beside = peer.map_or_else(String::new, |peer| format!("; beside {}", peer.what));
        let what = if named { String::new() } else { format!(": {}{beside}", record.ours.what) };
        let ratio = record.ratio.map_or_else(String::new, spread);
        let cells = [
            format!("**{}**{what}", short(record)),
            number(record.ours.median),
            peer.map_or_else(String::new, |peer| number(peer.median)),
            ratio,
            record.unit.clone(),
        ];
        text.push_str(&line(cells.into_iter().chain(columns.iter().map(|(_, of)| pair(record, of)))));
    }
    text
}

/// Formats growth rows, one line each, with the cost at each size.
fn growth(records: &[&Record]) -> String {
    let mut text = line(["", "", "at each size: ours, peer", "slope: ours, peer"].map(str::to_owned));
    text.push_str("| --- | --- | --- | --- |\n");
    for record in records {
        let Some(curve) = &record.curve else { continue };
        let points = curve.points.iter().map(|point| {
            let peer = point.peer.map_or_else(String::new, |peer| format!(", {}", number(peer)));
            format!("{}: {}{peer}", thousands(point.size), number(point.ours))
        });
        let slope = curve.slope.map_or_else(String::new, |slope| {
            let peer = slope.peer.map_or_else(String::new, |peer| format!(", {peer:.2}"));
            format!("{:.2}{peer}", slope.ours)
        });
        let peer = record.peer.as_ref().map_or("", |peer| peer.what.as_str());
        text.push_str(&line([
            format!("**{}**, {}", short(record), record.unit),
            format!("beside {peer}"),
            points.collect::<Vec<_>>().join("; "),
            slope,
        ]));
    }
    text
}

fn number(value: f64) -> String {
    if value.abs() < 1000.0 { record::number(value) } else { thousands(value) }
}

pub(super) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Formats values, one line for each side, with all that was measured.
fn values(records: &[&Record]) -> String {
    let mut seen = BTreeSet::new();
    let sides = records.iter().flat_map(|record| [Some(&record.ours), record.peer.as_ref()]).flatten();
    let values: Vec<_> = sides.filter(|value| seen.insert(&value.what)).collect();
    let heads: BTreeSet<_> = values.iter().flat_map(|value| value.more.keys()).collect();
    let unit = records[0].unit.clone();
    let mut text = line([String::new(), unit].into_iter().chain(heads.iter().map(|head| (*head).clone())));
    text.push_str(&format!("| --- | ---: |{}\n", " ---: |".repeat(heads.len())));
    for value in values {
        let more = heads.iter().map(|head| value.more.get(*head).copied().map_or_else(String::new, number));
        text.push_str(&line([value.what.clone(), number(value.median)].into_iter().chain(more)));
    }
    text
}
