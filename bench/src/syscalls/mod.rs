//! The system calls of a pool job, of a turn of the loop on smol, and of an echo. `perf` counts
//! those of two processes with different numbers of operations. (strace would change which threads
//! sleep.)

#[cfg(unix)]
mod turns;

use std::env;
use std::error::Error;
use std::process::Command;

use crate::echo;
use crate::plan::{Group, Records, Unavailable};
use crate::record::{Record, Value};
use crate::rows::pool::jobs_in_a_row;
use crate::rows::tokio_driver;
use crate::sample::Effort;

/// A row: its unit and its two sides.
struct Counted {
    row: &'static str,
    unit: &'static str,
    sides: [(&'static str, What); 2],
}

#[derive(Clone, Copy)]
enum What {
    /// Sequential jobs of the pool, on the loop with this name.
    Jobs(&'static str, bool),
    /// Turns with this name, on any core or on one.
    Turns(&'static str, bool),
    /// Requests to the server with this name, on this number of connections.
    Echo(&'static str, usize),
}

const TOKIO: &str = "a task that awaits spawn_blocking";
const SMOL: &str = "plain smol";
const PLAIN_TOKIO: &str = "plain tokio";

const ROWS: [Counted; 18] = [
    jobs("syscalls/a pool job, park", "through park", "park", false),
    jobs("syscalls/a pool job, park, one core", "through park", "park", true),
    jobs("syscalls/a pool job, smol", "through smol", "smol", false),
    jobs("syscalls/a pool job, smol, one core", "through smol", "smol", true),
    turns("syscalls/a tick", "calls per tick", ("a LoopingCall", "ticks"), "plain-ticks"),
    turns(
        "syscalls/a byte through a socket pair",
        "calls per byte",
        ("a coroutine that waits", "bytes"),
        "plain-bytes",
    ),
    turns("syscalls/a byte with a timeout", "calls per byte", ("cancelled each time", "bytes-timeout"), "plain-bytes"),
    echoes("syscalls/an echo, Protocol", "Protocol"),
    echoes("syscalls/an echo, coroutines", "coroutines"),
    jobs("syscalls/a pool job, mio", "through deferred-mio", "mio", false),
    jobs("syscalls/a pool job, mio, one core", "through deferred-mio", "mio", true),
    turns("syscalls/a tick, mio", "calls per tick", ("a LoopingCall", "mio-ticks"), "plain-ticks"),
    turns("syscalls/a slow tick, mio", "calls per tick", ("a LoopingCall", "mio-slow-ticks"), "plain-slow-ticks"),
    Counted {
        row: "syscalls/an echo, mio",
        unit: "calls per request",
        sides: [("Protocol on deferred-mio", What::Echo("mio", 100)), (PLAIN_TOKIO, What::Echo("tokio", 100))],
    },
    Counted {
        row: "syscalls/an echo of one connection, mio",
        unit: "calls per request",
        sides: [("Protocol on deferred-mio", What::Echo("mio", 1)), (PLAIN_TOKIO, What::Echo("tokio", 1))],
    },
    on_tokio("syscalls/a tick, tokio", "calls per tick", "a LoopingCall", ["tokio-ticks", "plain-tokio-ticks"]),
    on_tokio("syscalls/a pool job, tokio", "calls per job", "defer_to_thread", ["tokio-jobs", "plain-tokio-jobs"]),
    on_tokio(
        "syscalls/an await across, tokio",
        "calls per call",
        "ReactorThread::call",
        ["tokio-calls", "plain-tokio-calls"],
    ),
];

const fn jobs(row: &'static str, what: &'static str, name: &'static str, one_core: bool) -> Counted {
    Counted {
        row,
        unit: "calls per job",
        sides: [(what, What::Jobs(name, one_core)), (TOKIO, What::Jobs("tokio", one_core))],
    }
}

const fn turns(
    row: &'static str,
    unit: &'static str,
    (what, name): (&'static str, &'static str),
    plain: &'static str,
) -> Counted {
    Counted { row, unit, sides: [(what, What::Turns(name, false)), (SMOL, What::Turns(plain, false))] }
}

/// The reactor on tokio's driver, beside tokio alone. On one core, since with two it depends on
/// chance which thread sleeps.
const fn on_tokio(row: &'static str, unit: &'static str, what: &'static str, names: [&'static str; 2]) -> Counted {
    Counted { row, unit, sides: [(what, What::Turns(names[0], true)), (PLAIN_TOKIO, What::Turns(names[1], true))] }
}

const fn echoes(row: &'static str, name: &'static str) -> Counted {
    Counted { row, unit: "calls per request", sides: [(name, What::Echo(name, 100)), (SMOL, What::Echo("smol", 100))] }
}

pub(crate) fn group() -> Group {
    Group { rows: ROWS.iter().map(|counted| counted.row.to_owned()).collect(), measure: run }
}

fn run(effort: Effort) -> Records {
    let records = ROWS.iter().filter(|counted| cfg!(unix) || !matches!(counted.sides[0].1, What::Turns(..)));
    records
        .map(|counted| {
            let [ours, peer] = counted.sides.map(|(what, side)| Ok(Value::new(what, count(side, effort)?)));
            ours.and_then(|ours| Ok(Record::once(counted.row, counted.unit, ours, Some(peer?))))
        })
        .collect()
}

/// Returns the system calls of one operation.
fn count(what: What, effort: Effort) -> Result<f64, Box<dyn Error>> {
    let least: u64 = if effort.is_quick() { 500 } else { 10_000 };
    let (times, one_core, name) = match what {
        What::Jobs(name, one_core) => ([2 * least, 12 * least], one_core, name),
        What::Turns(name, false) => ([least / 5, least * 6 / 5], false, name),
        // Some of them are ticks of milliseconds.
        What::Turns(name, true) => ([least / 20, least * 6 / 20], true, name),
        What::Echo(name, connections) => return echo::syscalls(name, connections, [least, 11 * least]),
    };
    let [fewer, more] = times.map(|times| count_process(name, one_core, times));
    Ok((more? - fewer?) / (times[1] - times[0]) as f64)
}

/// Returns the system calls of a process with this number of jobs.
fn count_process(name: &str, one_core: bool, jobs: u64) -> Result<f64, Box<dyn Error>> {
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "--"]).arg(env::current_exe()?);
    perf.args(["--jobs", name, &jobs.to_string()]);
    if one_core {
        perf.arg("--one-core");
    }
    let missing = |error| Unavailable(format!("perf, which counts system calls, does not run: {error}"));
    let output = perf.output().map_err(missing)?;
    let output = String::from_utf8_lossy(&output.stderr);
    let count = output.split(',').next().and_then(|count| count.trim().parse().ok());
    Ok(count.ok_or_else(|| Unavailable(format!("perf cannot count system calls here: {output}")))?)
}

/// Runs the jobs, in the process that is counted.
pub(crate) fn jobs_here(arguments: &[String], one_core: bool) -> Result<(), Box<dyn Error>> {
    let [name, jobs] = arguments else { return Err("--jobs wants a loop and a number".into()) };
    let jobs = jobs.parse()?;
    #[cfg(unix)]
    if turns::run_one(name, jobs) {
        return Ok(());
    }
    if tokio_driver::run_one(name, jobs, one_core) {
        return Ok(());
    }
    Ok(jobs_in_a_row(name, jobs, one_core).ok_or_else(|| format!("unknown loop {name}"))?)
}
