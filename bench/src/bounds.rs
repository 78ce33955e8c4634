//! The bounds of rows: `bounds.toml` contains the limit of each row and its reason.

use std::collections::BTreeMap;
use std::error::Error;

use serde::Deserialize;

use crate::record::Record;

/// The contents of the file at build time.
const FILE: &str = include_str!("../bounds.toml");

/// A limit of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    /// The maximum of our instructions per unit.
    Instructions(f64),
    /// The maximum of our allocations per unit.
    Allocations(f64),
    /// The maximum of our median divided by the peer's.
    Ratio(f64),
    /// The minimum of our median divided by the peer's, for values of which more is better.
    Least(f64),
    /// The maximum of the best ratio of two samples, with a tolerance of the spread.
    Best(f64),
    /// The maximum of our median minus the peer's.
    Extra(f64),
    /// The maximum of our value.
    Most(f64),
    /// The maximum exponent of our growth.
    Slope(f64),
}

/// The limits of a row, as they are in the file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bound {
    instructions: Option<f64>,
    allocations: Option<f64>,
    ratio: Option<f64>,
    least: Option<f64>,
    best: Option<f64>,
    extra: Option<f64>,
    most: Option<f64>,
    slope: Option<f64>,
    /// The reason for the numbers, for a later change.
    why: String,
}

impl Bound {
    fn limits(&self) -> Vec<Limit> {
        let limits = [
            self.instructions.map(Limit::Instructions),
            self.allocations.map(Limit::Allocations),
            self.ratio.map(Limit::Ratio),
            self.least.map(Limit::Least),
            self.best.map(Limit::Best),
            self.extra.map(Limit::Extra),
            self.most.map(Limit::Most),
            self.slope.map(Limit::Slope),
        ];
        limits.into_iter().flatten().collect()
    }
}

impl Limit {
    /// Returns `true` if the value does not depend on the machine, so that it is measured only
    /// once.
    pub(crate) fn is_counted(self) -> bool {
        matches!(self, Limit::Instructions(_) | Limit::Allocations(_))
    }

    /// Returns `true` if the record keeps the limit, which `slack` widens unless it is counted. A
    /// value that was not measured does not keep it.
    pub(crate) fn keeps(self, record: &Record, slack: f64) -> bool {
        let (measured, most) = match self {
            Limit::Instructions(most) => (record.ours.instructions, most),
            // The fraction is memory that grows once in a while, such as that of a queue.
            Limit::Allocations(most) => (record.ours.allocations, most + 0.1),
            Limit::Least(least) => return record.ratio.is_some_and(|ratio| ratio.median >= least / slack),
            Limit::Ratio(most) => (record.ratio.map(|ratio| ratio.median), most * slack),
            Limit::Best(most) => (record.ratio.map(|ratio| ratio.least), most * slack),
            Limit::Extra(most) => (record.extra.map(|extra| extra.median), most * slack),
            Limit::Most(most) => (Some(record.ours.median), most * slack),
            // A slope is already an exponent.
            Limit::Slope(most) => {
                (record.curve.as_ref().and_then(|curve| curve.slope).map(|slope| slope.ours), most + slack.log10())
            }
        };
        measured.is_some_and(|measured| measured <= most)
    }

    pub(crate) fn shown(self, slack: f64) -> String {
        match self {
            Limit::Instructions(most) => format!("{most} instructions"),
            Limit::Allocations(most) => format!("{most} allocations"),
            Limit::Ratio(most) => format!("{:.2}", most * slack),
            Limit::Least(least) => format!("least {:.2}", least / slack),
            Limit::Best(most) => format!("best {:.2}", most * slack),
            Limit::Extra(most) => format!("{:.2} more", most * slack),
            Limit::Most(most) => format!("most {}", most * slack),
            Limit::Slope(most) => format!("slope {:.2}", most + slack.log10()),
        }
    }
}

pub(crate) struct Bounds(BTreeMap<String, Bound>);

impl Bounds {
    pub(crate) fn read() -> Result<Bounds, Box<dyn Error>> {
        let bounds: BTreeMap<String, Bound> = toml::from_str(FILE)?;
        let wrong = bounds.iter().find(|(_, bound)| bound.why.trim().is_empty() || bound.limits().is_empty());
        match wrong {
            Some((row, _)) => Err(format!("bounds.toml: {row} has no reason or no limit").into()),
            None => Ok(Bounds(bounds)),
        }
    }

    /// Returns the limits of a row.
    pub(crate) fn of(&self, row: &str) -> Vec<Limit> {
        self.0.get(row).map_or_else(Vec::new, Bound::limits)
    }

    /// Returns an error for the first bound without a row.
    pub(crate) fn must_be_of(&self, rows: &[String]) -> Result<(), Box<dyn Error>> {
        match self.0.keys().find(|row| !rows.contains(row)) {
            Some(row) => Err(format!("bounds.toml: no row has the name {row}").into()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;
    use crate::record::{Point, Value};

    fn record(ours: f64, peer: f64) -> Record {
        Record::once("a/row", "ns", Value::new("ours", ours), Some(Value::new("peer", peer)))
    }

    #[test]
    fn each_bound_is_of_a_row_and_has_a_reason() {
        let rows: Vec<_> = plan::all().iter().flat_map(plan::Entry::rows).collect();
        Bounds::read().and_then(|bounds| bounds.must_be_of(&rows)).unwrap();
    }

    #[test]
    fn row_names_are_unique() {
        let mut rows: Vec<_> = plan::all().iter().flat_map(plan::Entry::rows).collect();
        rows.sort();
        let all = rows.len();
        rows.dedup();
        assert_eq!(rows.len(), all);
    }

    #[test]
    fn a_bound_without_a_row_is_reported() {
        let message = Bounds::read().unwrap().must_be_of(&["a/row".to_owned()]).unwrap_err().to_string();
        assert!(message.contains("no row has the name"), "{message}");
    }

    #[test]
    fn a_row_passes_at_its_bound_and_slack_widens_the_bound() {
        let record = record(6.0, 10.0);
        for (limit, less) in [
            (Limit::Ratio(0.6), Limit::Ratio(0.59)),
            (Limit::Best(0.6), Limit::Best(0.59)),
            (Limit::Most(6.0), Limit::Most(5.9)),
        ] {
            assert!(limit.keeps(&record, 1.0), "{limit:?}");
            assert!(!less.keeps(&record, 1.0), "{less:?}");
            assert!(less.keeps(&record, 1.1), "{less:?}");
        }
        assert!(Limit::Least(0.6).keeps(&record, 1.0));
        assert!(!Limit::Least(0.61).keeps(&record, 1.0));
        assert!(Limit::Least(0.61).keeps(&record, 1.1));
        assert!(Limit::Extra(-4.0).keeps(&record, 1.0));
        assert!(!Limit::Extra(-4.1).keeps(&record, 1.0));
    }

    #[test]
    fn counts_are_not_widened_and_a_row_may_have_several_limits() {
        let mut record = record(6.0, 10.0);
        assert!(!Limit::Instructions(9e9).keeps(&record, 1.0), "not counted");
        record.ours.instructions = Some(560.0);
        record.ours.allocations = Some(1.01);
        assert!(Limit::Instructions(560.0).keeps(&record, 1.0));
        assert!(!Limit::Instructions(559.0).keeps(&record, 2.0));
        assert!(Limit::Allocations(1.0).keeps(&record, 1.0));
        assert!(!Limit::Allocations(0.0).keeps(&record, 2.0));
        let bound: Bound = toml::from_str("instructions = 1\nratio = 0.5\nwhy = \"it is so\"").unwrap();
        assert_eq!(bound.limits(), [Limit::Instructions(1.0), Limit::Ratio(0.5)]);
        assert!(toml::from_str::<Bound>("instruction = 1\nwhy = \"a typing error\"").is_err());
    }

    #[test]
    fn a_slope_is_that_of_the_last_three_sizes() {
        // The first value is an outlier. From 10 on, each decade doubles the cost.
        let points = [(1.0, 100.0), (10.0, 3.0), (100.0, 6.0), (1000.0, 12.0)];
        let points = points.map(|(size, ours)| Point { size, ours, peer: None });
        let record = Record::curve("a/row", "ns", "ours", "", "sizes", points.to_vec());
        assert!(Limit::Slope(0.302).keeps(&record, 1.0));
        assert!(!Limit::Slope(0.300).keeps(&record, 1.0));
        // Each tenfold size adds a tenth to the value.
        assert!(Limit::Slope(0.260).keeps(&record, 1.11));
    }

    #[test]
    fn a_bound_on_a_value_that_was_not_measured_fails() {
        let record = Record::once("a/row", "ns", Value::new("ours", 1.0), None);
        assert!(!Limit::Ratio(9.0).keeps(&record, 1.0));
        assert!(!Limit::Slope(9.0).keeps(&record, 1.0));
    }
}
