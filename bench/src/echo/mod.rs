//! Echo over TCP: small messages, one thread that serves, beside a plain smol server with a task per connection, tokio's
//! current-thread runtime, and Twisted where it can be had.
//!
//! Each server is a process on the first processor; the clients are this one, on the second. All are there from the start,
//! and are asked in turn.

mod load;
mod servers;

use std::env;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use load::Clients;

use crate::runner::{Effort, spread};
use crate::twisted;

pub(crate) use servers::run_one;

/// The servers, each with the least of plain smol's requests per second that it must answer.
const SERVERS: [(&str, Option<f64>); 4] =
    [("Protocol", Some(1.0)), ("coroutines", Some(0.9)), ("smol", None), ("tokio", None)];
/// The one that others are compared with.
const PLAIN: usize = 2;
const CONNECTIONS: [usize; 2] = [100, 1000];
/// For what a connection weighs.
const MANY: usize = 9000;

struct Server {
    name: &'static str,
    least: Option<f64>,
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(name: &'static str, least: Option<f64>, command: &mut Command) -> Result<Server, Box<dyn Error>> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().ok_or("it has a standard output")?).read_line(&mut line)?;
        let port: u16 = line.trim().parse().map_err(|_| format!("{name} did not tell its port"))?;
        Ok(Server { name, least, process, address: ([127, 0, 0, 1], port).into() })
    }

    /// Its memory, where the system says so.
    fn resident(&self) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    }

    /// How long its threads have run, where the system says so.
    fn cpu(&self) -> Option<Duration> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id())).ok()?;
        let nanos = threads.filter_map(|thread| {
            let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Some(Duration::from_nanos(nanos.sum()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Of one server with so many connections.
#[derive(Default)]
struct Samples {
    per_second: Vec<f64>,
    median: Vec<f64>,
    late: Vec<f64>,
    cpu: Vec<f64>,
}

fn start_all() -> Result<Vec<Server>, Box<dyn Error>> {
    let this = env::current_exe()?;
    let mut servers = SERVERS
        .iter()
        .map(|&(name, least)| Server::start(name, least, Command::new(&this).args(["--echo-server", name])))
        .collect::<Result<Vec<_>, _>>()?;
    match twisted::python() {
        Ok(python) => {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("twisted/echo.py");
            servers.push(Server::start("Twisted", None, Command::new(python).arg(script))?);
        }
        Err(error) => eprintln!("without Twisted: {error}"),
    }
    Ok(servers)
}

/// A server of ours or in Rust, below `perf`, which counts its system calls until it ends.
fn counted(name: &str, requests: u64) -> Result<(f64, f64), Box<dyn Error>> {
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "--"]).arg(env::current_exe()?);
    perf.args(["--echo-server", name]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process =
        perf.spawn().map_err(|error| format!("perf, which counts system calls, does not run: {error}"))?;
    let mut line = String::new();
    BufReader::new(process.stdout.as_mut().ok_or("it has a standard output")?).read_line(&mut line)?;
    let port: u16 = line.trim().parse().map_err(|_| format!("{name} did not tell its port"))?;
    let mut clients = Clients::connect(([127, 0, 0, 1], port).into(), CONNECTIONS[0])?;
    let mut asked = 0;
    while asked < requests {
        asked += clients.ask(Duration::from_millis(20))?.requests as u64;
    }
    let told = process.wait_with_output()?; // which closes its standard input
    let told = String::from_utf8_lossy(&told.stderr);
    let calls = told.split(',').next().and_then(|count| count.trim().parse().ok());
    Ok((calls.ok_or_else(|| format!("perf cannot count system calls here: {told}"))?, asked as f64))
}

/// System calls per request of each server: those of a process that answers many, less those of one that answers fewer.
pub(crate) fn syscalls() -> Result<(), Box<dyn Error>> {
    for (name, _) in SERVERS {
        let (fewer, more) = (counted(name, 10_000)?, counted(name, 110_000)?);
        let calls = (more.0 - fewer.0) / (more.1 - fewer.1);
        println!("{:<44} {calls:>6.2}", format!("an echo of {} connections, {name}", CONNECTIONS[0]));
    }
    Ok(())
}

/// What each server has in memory, with so many connections of which each has said something.
fn print_resident(servers: &[Server]) -> Result<(), Box<dyn Error>> {
    println!("{:<12} {:>11} {:>12} {:>12}", "server", "connections", "resident MB", "before, MB");
    for server in servers {
        let before = server.resident();
        let mut clients = Clients::connect(server.address, MANY)
            .map_err(|error| format!("{MANY} connections want as many open files, see `ulimit -n`: {error}"))?;
        clients.ask(Duration::ZERO)?;
        let shown =
            |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), |bytes| format!("{:.1}", bytes as f64 / 1e6));
        println!("{:<12} {MANY:>11} {:>12} {:>12}", server.name, shown(server.resident()), shown(before));
    }
    Ok(())
}

/// Measures all servers and prints what they do. Says whether they keep their bars.
pub(crate) fn run(effort: Effort) -> Result<bool, Box<dyn Error>> {
    let (rounds, time) = if effort.is_quick() { (1, 50) } else { (9, 400) };
    let servers = start_all()?;
    crate::runner::Cores::Two.pin_worker();
    // First, while nothing is left of other connections.
    if !effort.is_quick() {
        print_resident(&servers)?;
    }
    println!(
        "{:<12} {:>11} {:>12} {:>9} {:>9} {:>9}  {:<22} bar",
        "server", "connections", "requests/s", "p50 us", "p99 us", "CPU us", "of plain smol's"
    );
    let mut kept = true;
    for connections in CONNECTIONS {
        let mut samples: Vec<_> = servers.iter().map(|_| Samples::default()).collect();
        for round in 0..rounds {
            for turn in 0..servers.len() {
                // Each is the first in one of the rounds.
                let index = (turn + round) % servers.len();
                let (server, samples) = (&servers[index], &mut samples[index]);
                let mut clients = Clients::connect(server.address, connections)?;
                clients.ask(Duration::from_millis(time / 8))?; // to warm it
                let before = server.cpu();
                let load = clients.ask(Duration::from_millis(time))?;
                let micros = |time: Duration| time.as_secs_f64() * 1e6;
                samples.per_second.push(load.per_second());
                samples.median.push(micros(load.percentile(0.5)));
                samples.late.push(micros(load.percentile(0.99)));
                if let (Some(before), Some(after)) = (before, server.cpu()) {
                    samples.cpu.push(micros(after - before) / load.requests as f64);
                }
            }
        }
        for (server, sampled) in servers.iter().zip(&samples) {
            let pairs = sampled.per_second.iter().zip(&samples[PLAIN].per_second);
            let [least, median, greatest] = spread(pairs.map(|(ours, plain)| ours / plain));
            let past = server.least.is_some_and(|bar| median < bar);
            kept &= !past;
            let middle =
                |samples: &[f64]| if samples.is_empty() { f64::NAN } else { spread(samples.iter().copied())[1] };
            println!(
                "{:<12} {:>11} {:>12.0} {:>9.0} {:>9.0} {:>9.2}  {:<22} {}{}",
                server.name,
                connections,
                middle(&sampled.per_second),
                middle(&sampled.median),
                middle(&sampled.late),
                middle(&sampled.cpu),
                format!("{median:.2} ({least:.2}..{greatest:.2})"),
                server.least.map_or_else(|| "none".to_owned(), |bar| format!("{bar:.1}")),
                if past { " missed" } else { "" },
            );
        }
    }
    Ok(kept || effort.is_quick())
}
