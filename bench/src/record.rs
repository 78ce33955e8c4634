//! Results: a record is a line of the table, and an element of the report of `--json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bounds::Limit;

/// The result of one comparison.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Record {
    pub(crate) row: String,
    /// The unit of the numbers, such as "ns per callback".
    pub(crate) unit: String,
    pub(crate) ours: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<Value>,
    /// Our samples divided by the adjacent ones of the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<Spread>,
    /// Our samples minus the adjacent ones of the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) extra: Option<Spread>,
    /// The growth with a size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) curve: Option<Curve>,
}

/// The result of one side.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Value {
    /// The name of this side.
    pub(crate) what: String,
    /// The median of the samples.
    pub(crate) median: f64,
    /// The number of allocations per unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) allocations: Option<f64>,
    /// The number of instructions per unit, counted by callgrind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instructions: Option<f64>,
    /// Other values, with their units in their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) more: BTreeMap<String, f64>,
}

impl Value {
    pub(crate) fn new(what: impl Into<String>, median: f64) -> Value {
        Value { what: what.into(), median, allocations: None, instructions: None, more: BTreeMap::new() }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) greatest: f64,
}

impl Spread {
    /// Creates the spread of at least one sample.
    pub(crate) fn of(samples: impl IntoIterator<Item = f64>) -> Spread {
        let mut samples: Vec<f64> = samples.into_iter().collect();
        samples.sort_by(f64::total_cmp);
        Spread { least: samples[0], median: samples[samples.len() / 2], greatest: samples[samples.len() - 1] }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Curve {
    /// The name of the size.
    pub(crate) along: String,
    pub(crate) points: Vec<Point>,
    /// The exponents `e` of the growth: ten times the size multiplies the cost of one by 10 to the
    /// power of `e`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) slope: Option<Slope>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Point {
    pub(crate) size: f64,
    pub(crate) ours: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Slope {
    pub(crate) ours: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<f64>,
}

/// Returns the slope of the least-squares line through the logarithms.
pub(crate) fn slope(points: impl IntoIterator<Item = (f64, f64)>) -> f64 {
    let points: Vec<_> = points.into_iter().map(|(size, cost)| (size.ln(), cost.ln())).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    let (sizes, costs) = (mean(|point| point.0), mean(|point| point.1));
    let both: f64 = points.iter().map(|(size, cost)| (size - sizes) * (cost - costs)).sum();
    both / points.iter().map(|(size, _)| (size - sizes).powi(2)).sum::<f64>()
}

impl Record {
    /// Creates a record of values that were measured once.
    pub(crate) fn once(row: impl Into<String>, unit: impl Into<String>, ours: Value, peer: Option<Value>) -> Record {
        let pair = peer.as_ref().map(|peer| (ours.median, peer.median));
        Record {
            row: row.into(),
            unit: unit.into(),
            ours,
            peer,
            ratio: pair.map(|(ours, peer)| Spread::of([ours / peer])),
            extra: pair.map(|(ours, peer)| Spread::of([ours - peer])),
            curve: None,
        }
    }

    /// Creates a record from samples; those at the same index were taken next to each other.
    pub(crate) fn paired(
        row: impl Into<String>,
        unit: impl Into<String>,
        (ours, ours_samples): (&str, &[f64]),
        (peer, peer_samples): (&str, &[f64]),
    ) -> Record {
        let pairs = || ours_samples.iter().zip(peer_samples);
        let median = |samples: &[f64]| Spread::of(samples.iter().copied()).median;
        Record {
            row: row.into(),
            unit: unit.into(),
            ours: Value::new(ours, median(ours_samples)),
            peer: Some(Value::new(peer, median(peer_samples))),
            ratio: Some(Spread::of(pairs().map(|(ours, peer)| ours / peer))),
            extra: Some(Spread::of(pairs().map(|(ours, peer)| ours - peer))),
            curve: None,
        }
    }

    /// Creates a record of how a value grows with the size.
    pub(crate) fn curve(row: &str, unit: &str, ours: &str, peer: &str, along: &str, points: Vec<Point>) -> Record {
        // Only the largest sizes count, because other costs dominate at small sizes.
        const DECADES: usize = 3;
        let last = &points[points.len().saturating_sub(DECADES)..];
        let peers: Option<Vec<_>> = last.iter().map(|point| Some((point.size, point.peer?))).collect();
        let slope = (last.len() > 1)
            .then(|| Slope { ours: slope(last.iter().map(|point| (point.size, point.ours))), peer: peers.map(slope) });
        // The largest size that was measured on both sides.
        let compared = points.iter().rev().find(|point| point.peer.is_some()).unwrap_or(&points[points.len() - 1]);
        let peer = compared.peer.map(|median| Value::new(peer, median));
        let mut record = Record::once(row, unit, Value::new(ours, compared.ours), peer);
        record.curve = Some(Curve { along: along.into(), points, slope });
        record
    }
}

/// Prints the heading of the table.
pub(crate) fn print_header() {
    println!(
        "{:<44} {:>10} {:>10}  {:<26} {:>13} {:>15}  {:<17} sides",
        "row", "ours", "peer", "ours : peer (min..max)", "allocations", "instructions", "bound"
    );
}

/// Formats a number with its significant digits.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small < 0.1 && small > 0.0 => format!("{value:.4}"),
        _ => format!("{value:.2}"),
    }
}

fn pair(of: impl Fn(&Value) -> Option<f64>, record: &Record) -> String {
    let ours = of(&record.ours).map(number);
    let peer = record.peer.as_ref().and_then(of).map(number);
    match (ours, peer) {
        (None, None) => String::new(),
        (ours, peer) => format!("{} / {}", ours.as_deref().unwrap_or("-"), peer.as_deref().unwrap_or("-")),
    }
}

/// Prints a line, and another one for a growth.
pub(crate) fn print(record: &Record, limits: &[Limit], slack: f64) {
    let spread = |spread: Spread, unit| {
        let [least, median, greatest] = [spread.least, spread.median, spread.greatest].map(number);
        if least == greatest { format!("{median}{unit}") } else { format!("{median}{unit} ({least}..{greatest})") }
    };
    let shows_extra = limits.iter().any(|limit| matches!(limit, Limit::Extra(_)));
    let compared = match (record.extra.filter(|_| shows_extra), record.ratio) {
        (Some(extra), _) => spread(extra, " more"),
        (_, Some(ratio)) => spread(ratio, ""),
        _ => String::new(),
    };
    let bounds = limits
        .iter()
        .map(|limit| format!("{}{}", limit.shown(slack), if limit.keeps(record, slack) { "" } else { " passed" }));
    let bound = bounds.collect::<Vec<_>>().join(", ");
    let peer = record.peer.as_ref();
    println!(
        "{:<44} {:>10} {:>10}  {compared:<26} {:>13} {:>15}  {bound:<17} {}{}, {}",
        record.row,
        number(record.ours.median),
        peer.map_or_else(String::new, |peer| number(peer.median)),
        pair(|value| value.allocations, record),
        pair(|value| value.instructions, record),
        record.ours.what,
        peer.map_or_else(String::new, |peer| format!(" / {}", peer.what)),
        record.unit,
    );
    if let Some(curve) = &record.curve {
        let points = curve.points.iter().map(|point| {
            let peer = point.peer.map_or_else(String::new, |peer| format!(" / {}", number(peer)));
            format!("{}: {}{peer}", point.size, number(point.ours))
        });
        let slope = curve.slope.map_or_else(String::new, |slope| {
            let peer = slope.peer.map_or_else(String::new, |peer| format!(" / {peer:.2}"));
            format!("; slope {:.2}{peer}", slope.ours)
        });
        println!("    of {} {}{slope}", points.collect::<Vec<_>>().join(", "), curve.along);
    }
}
