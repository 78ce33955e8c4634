//! The four banks, measured by the example of that name.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::process::Command;

use crate::plan::{Group, Records, Unavailable};
use crate::record::{Record, Value};
use crate::sample::Effort;
use crate::twisted;

/// The names of the banks in the example's output. The loop is ours.
const BANKS: [&str; 8] = [
    "one window and a queue",
    "a process for each customer",
    "ten threads",
    "the loop in Twisted",
    "the loop in asyncio",
    "the loop in gevent",
    "the loop in Tornado",
    OURS,
];
const OURS: &str = "the loop";

fn row(bank: &str) -> String {
    format!("banks/{OURS}, beside {bank}")
}

pub(crate) fn group() -> Group {
    let peers = BANKS.iter().filter(|bank| **bank != OURS);
    Group { rows: peers.map(|bank| row(bank)).collect(), measure: run }
}

/// Runs the example.
fn run(effort: Effort) -> Records {
    if effort.is_quick() {
        return Err(Unavailable("the banks are open for half a minute, and that is not quick".to_owned()).into());
    }
    let mut example = Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    example.args(["run", "-q", "--release", "-p", "deferred-examples", "--example", "banks", "--", "--csv"]);
    example.current_dir(env!("CARGO_MANIFEST_DIR"));
    match twisted::python(effort) {
        Ok(python) => drop(example.env("PYTHON", python)),
        Err(error) => eprintln!("banks: {error}"),
    }
    let output = example.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let mut banks = read(&String::from_utf8(output.stdout)?)?;
    let ours = banks.remove(OURS).ok_or("the output of the example has no row for the loop")?;
    let record =
        |(name, value): (String, Value)| Record::once(row(&name), "customers per second", ours.clone(), Some(value));
    Ok(banks.into_iter().map(record).collect())
}

/// Parses the output: a line for each bank, with its name and the columns that the first line
/// names.
fn read(text: &str) -> Result<BTreeMap<String, Value>, Box<dyn Error>> {
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let heads = lines.next().ok_or("the example says nothing")?;
    let bank = |line: Vec<&str>| {
        let [name, served, rest @ ..] = &line[..] else { return Err("a bank without a number".into()) };
        let mut value = Value::new(*name, served.parse()?);
        let more = heads.iter().skip(2).zip(rest);
        value.more.extend(more.filter_map(|(head, number)| Some(((*head).to_owned(), number.parse().ok()?))));
        Ok(((*name).to_owned(), value))
    };
    lines.map(bank).collect()
}
