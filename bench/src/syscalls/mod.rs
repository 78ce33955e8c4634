//! System calls per job of the pool, one job at a time, per turn of the loop on smol, and per echo: `perf` counts those of a process that runs many jobs, less those of
//! one that runs fewer. (strace would change who sleeps.)

#[cfg(unix)]
mod turns;

use std::env;
use std::error::Error;
use std::process::Command;

use crate::rows::pool::jobs_in_a_row;

const FEWER: u64 = 20_000;
const MORE: u64 = 120_000;

/// What is printed.
const LOOPS: [(&str, [Option<f64>; 2]); 3] =
    [("park", [Some(4.1), Some(2.1)]), ("smol", [None, None]), ("tokio", [None, None])];

pub(crate) fn run() -> Result<bool, Box<dyn Error>> {
    println!("{:<8} {:<10} {:>6}  bar", "loop", "cores", "calls");
    let mut kept = true;
    for (name, bars) in LOOPS {
        for (one_core, bar) in [false, true].into_iter().zip(bars) {
            let calls = (count(name, one_core, MORE)? - count(name, one_core, FEWER)?) / (MORE - FEWER) as f64;
            let past = bar.is_some_and(|bar| calls > bar);
            kept &= !past;
            let cores = if one_core { "one" } else { "unpinned" };
            let bar = bar.map_or_else(|| "none".to_owned(), |bar| bar.to_string());
            println!("{name:<8} {cores:<10} {calls:>6.2}  {bar}{}", if past { " exceeded" } else { "" });
        }
    }
    #[cfg(unix)]
    for (what, name) in turns::TURNS {
        let calls = (count(name, false, MORE / 10)? - count(name, false, FEWER / 10)?) / ((MORE - FEWER) / 10) as f64;
        println!("{what:<44} {calls:>6.2}");
    }
    crate::echo::syscalls()?;
    Ok(kept)
}

/// Those of a process that runs so many jobs.
fn count(name: &str, one_core: bool, jobs: u64) -> Result<f64, Box<dyn Error>> {
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "--"]).arg(env::current_exe()?);
    perf.args(["--jobs", name, &jobs.to_string()]);
    if one_core {
        perf.arg("--one-core");
    }
    let output = perf.output().map_err(|error| format!("perf, which counts system calls, does not run: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let count = told.split(',').next().and_then(|count| count.trim().parse().ok());
    count.ok_or_else(|| format!("perf cannot count system calls here: {told}").into())
}

/// The process that is counted.
pub(crate) fn jobs(name: &str, jobs: u64, one_core: bool) -> Result<bool, Box<dyn Error>> {
    #[cfg(unix)]
    if turns::run_one(name, jobs) {
        return Ok(true);
    }
    jobs_in_a_row(name, jobs, one_core).ok_or_else(|| format!("there is no loop {name}"))?;
    Ok(true)
}
