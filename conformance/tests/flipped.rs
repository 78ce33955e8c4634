//! A recording with one wrong row fails in that row, and nothing else fails.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use deferred_conformance::{Handles, replay_text};
use flate2::read::GzDecoder;
use serde_json::{Value as Json, json};

fn chain() -> Vec<Json> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/chain.jsonl.gz");
    let mut text = String::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Changes one row of each scenario for which `flip` returns the index of that row, and checks that
/// exactly these scenarios fail.
fn assert_flips_are_found(mut flip: impl FnMut(usize, &mut Json) -> Option<usize>) {
    let mut scenarios = chain();
    let mut flipped = Vec::new();
    for (index, scenario) in scenarios.iter_mut().enumerate() {
        if let Some(row) = flip(index, scenario) {
            flipped.push((scenario["id"].as_str().unwrap().to_owned(), row));
        }
    }
    assert!(flipped.len() > 10 && flipped.len() < scenarios.len(), "{} flipped", flipped.len());

    let text: String = scenarios.iter().map(|scenario| format!("{scenario}\n")).collect();
    let report = replay_text("flipped", &text, Handles::WhereCancelled).unwrap();
    let failed: Vec<_> = report.differences.into_iter().map(|it| (it.id, it.row)).collect();
    assert_eq!(failed, flipped);
    assert_eq!(report.passed, scenarios.len() - flipped.len());
}

fn trace(scenario: &mut Json) -> &mut Vec<Json> {
    scenario["trace"].as_array_mut().unwrap()
}

#[test]
fn a_callback_with_another_argument_is_found() {
    assert_flips_are_found(|index, scenario| {
        let rows = trace(scenario);
        let row = rows.iter().rposition(|row| row[0] == "cb").filter(|_| index % 3 == 0)?;
        rows[row][2] = json!({ "ok": "something else" });
        Some(row)
    });
}

#[test]
fn a_row_too_few_or_too_many_is_found() {
    assert_flips_are_found(|index, scenario| {
        let rows = trace(scenario);
        let row = index % rows.len();
        match index % 5 {
            0 if rows.get(row) != rows.get(row + 1) => drop(rows.remove(row)),
            1 => rows.insert(row, json!(["log", -1])),
            _ => return None,
        }
        Some(row)
    });
}

#[test]
fn two_rows_in_the_other_order_are_found() {
    assert_flips_are_found(|index, scenario| {
        let rows = trace(scenario);
        let row = index % (rows.len() - 1);
        if index % 4 != 0 || rows[row] == rows[row + 1] {
            return None;
        }
        rows.swap(row, row + 1);
        Some(row)
    });
}

#[test]
fn another_final_result_is_found() {
    assert_flips_are_found(|index, scenario| {
        let traced = trace(scenario).len();
        let results = scenario["final"].as_object_mut().filter(|_| index % 3 == 0)?;
        let last = results.len().checked_sub(1)?;
        let outcome = results.values_mut().nth(last)?;
        *outcome = if *outcome == "pending" { json!({ "ok": 1 }) } else { json!("pending") };
        Some(traced + last)
    });
}

#[test]
fn an_unhandled_error_too_few_or_too_many_is_found() {
    assert_flips_are_found(|index, scenario| {
        let traced = trace(scenario).len();
        let errors = scenario["unhandled"].as_array_mut()?;
        if index % 2 == 0 && !errors.is_empty() {
            errors.clear();
            Some(traced)
        } else if index % 3 == 0 {
            // Sorts after every name that occurs.
            errors.push(json!("\"Z\""));
            Some(traced + errors.len() - 1)
        } else {
            None
        }
    });
}
