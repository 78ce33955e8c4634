//! The number of instructions that a side executes, counted by callgrind: reproducible, unlike
//! times.

use std::env;
use std::error::Error;
use std::fs;
use std::process::{self, Command};

use crate::plan::{self, Entry};
use crate::record::Record;
use crate::sample::Row;

/// The rows whose thread executes the same instructions in each run: what it does must not depend on
/// how fast another thread is.
const COUNTED: [&str; 9] = [
    "engine/",
    "coroutine/",
    "combine/",
    "sync/",
    "timers/",
    "watchdog/",
    "net/",
    "post/from its own thread",
    "pool/the loop's part of a job",
];

/// The numbers of operations of the two runs. The rest of the process is in both counts.
const TIMES: [u64; 2] = [200, 1200];

/// Checks that valgrind is available.
pub(crate) fn available() -> Result<(), Box<dyn Error>> {
    let asked = Command::new("valgrind").arg("--version").output();
    asked.map_err(|error| format!("valgrind, which counts them, does not run: {error}"))?;
    Ok(())
}

/// Adds the instruction counts of both sides to `record`, if the row is counted.
pub(crate) fn add_to(record: &mut Record, row: &Row) -> Result<(), Box<dyn Error>> {
    // A million of anything takes minutes under callgrind.
    if COUNTED.iter().any(|part| row.name.starts_with(part)) && !row.name.contains("1,000,000") {
        record.ours.instructions = Some(count(row, "ours")?);
        if let Some(peer) = &mut record.peer {
            peer.instructions = Some(count(row, "peer")?);
        }
    }
    Ok(())
}

fn count(row: &Row, side: &str) -> Result<f64, Box<dyn Error>> {
    // A long operation runs fewer times.
    let [fewer, more] = TIMES.map(|times| (times / u64::from(row.per).div_ceil(10)).max(1));
    let times = [fewer, more.max(fewer + 1)];
    let [fewer, more] = times.map(|times| callgrind(row.name, side, times));
    Ok((more? - fewer?) / ((times[1] - times[0]) as f64 * f64::from(row.per)))
}

/// Counts the instructions of the first thread, without those of its workers.
fn callgrind(name: &str, side: &str, times: u64) -> Result<f64, Box<dyn Error>> {
    // A profile for each thread.
    let profiles = env::temp_dir().join(format!("deferred-bench-{}", process::id()));
    fs::create_dir_all(&profiles)?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--separate-threads=yes"]);
    valgrind.arg(format!("--callgrind-out-file={}", profiles.join("thread").display())).arg(env::current_exe()?);
    valgrind.args(["--repeat", name, side, &times.to_string()]);
    let output = valgrind.output()?;
    let first = fs::read_to_string(profiles.join("thread-01"));
    fs::remove_dir_all(&profiles)?;
    let count = first
        .ok()
        .and_then(|profile| profile.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok()));
    count.ok_or_else(|| format!("valgrind did not count: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// Runs an operation repeatedly, in the process that is counted.
pub(crate) fn repeat(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [name, side, times] = arguments else { return Err("--repeat wants a row, a side and a number".into()) };
    let row = plan::all().into_iter().find_map(|entry| match entry {
        Entry::Row(row) if row.name == *name => Some(row),
        _ => None,
    });
    let row = row.ok_or("unknown row")?;
    row.side(side).ok_or("a side is ours or peer")?.repeat(times.parse()?);
    Ok(())
}
