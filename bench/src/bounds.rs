//! What may be claimed: `bounds.toml` says of a row how far it may go, and why.

use std::collections::BTreeMap;
use std::error::Error;

use serde::Deserialize;

use crate::record::Record;

/// The file, as it was when this was built.
const FILE: &str = include_str!("../bounds.toml");

/// How far a row may go.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Limit {
    /// The median of ours divided by the peer's.
    Ratio(f64),
    /// The median of that again: at least so much, where more is better.
    Least(f64),
    /// The best of those: not more beyond their spread.
    Best(f64),
    /// The median of ours less the peer's.
    Extra(f64),
    /// Ours.
    Most(f64),
    /// The exponent with which ours grows.
    Slope(f64),
}

#[derive(Deserialize)]
struct Bound {
    #[serde(flatten)]
    limit: Limit,
    /// The reason for the number, for whoever would change it.
    why: String,
}

impl Limit {
    /// Also when the record has nothing of that kind.
    pub(crate) fn keeps(self, record: &Record, slack: f64) -> bool {
        let (measured, most) = match self {
            Limit::Least(least) => return record.ratio.is_some_and(|ratio| ratio.median >= least / slack),
            Limit::Ratio(most) => (record.ratio.map(|ratio| ratio.median), most * slack),
            Limit::Best(most) => (record.ratio.map(|ratio| ratio.least), most * slack),
            Limit::Extra(most) => (record.extra.map(|extra| extra.median), most * slack),
            Limit::Most(most) => (Some(record.ours.median), most * slack),
            // A slope is an exponent already.
            Limit::Slope(most) => {
                (record.curve.as_ref().and_then(|curve| curve.slope).map(|slope| slope.ours), most + slack.log10())
            }
        };
        measured.is_some_and(|measured| measured <= most)
    }

    pub(crate) fn shown(self, slack: f64) -> String {
        match self {
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
        match bounds.iter().find(|(_, bound)| bound.why.trim().is_empty()) {
            Some((row, _)) => Err(format!("bounds.toml: {row} has no reason").into()),
            None => Ok(Bounds(bounds)),
        }
    }

    pub(crate) fn of(&self, row: &str) -> Option<Limit> {
        self.0.get(row).map(|bound| bound.limit)
    }

    /// Fails with the first bound that would never be looked at.
    pub(crate) fn must_be_of(&self, rows: &[String]) -> Result<(), Box<dyn Error>> {
        match self.0.keys().find(|row| !rows.contains(row)) {
            Some(row) => Err(format!("bounds.toml: there is no row {row}").into()),
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
        let told = Bounds::read().unwrap().must_be_of(&["a/row".to_owned()]).unwrap_err().to_string();
        assert!(told.contains("there is no row"), "{told}");
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
    fn a_slope_is_that_of_the_last_three_sizes() {
        // The first is out of line. From 10 on each decade costs twice as much.
        let points = [(1.0, 100.0), (10.0, 3.0), (100.0, 6.0), (1000.0, 12.0)];
        let points = points.map(|(size, ours)| Point { size, ours, peer: None });
        let record = Record::curve("a/row", "ns", "ours", "", "sizes", points.to_vec());
        assert!(Limit::Slope(0.302).keeps(&record, 1.0));
        assert!(!Limit::Slope(0.300).keeps(&record, 1.0));
        // A tenth more a decade.
        assert!(Limit::Slope(0.260).keeps(&record, 1.11));
    }

    #[test]
    fn a_bound_on_a_value_that_was_not_measured_fails() {
        let record = Record::once("a/row", "ns", Value::new("ours", 1.0), None);
        assert!(!Limit::Ratio(9.0).keeps(&record, 1.0));
        assert!(!Limit::Slope(9.0).keeps(&record, 1.0));
    }
}
