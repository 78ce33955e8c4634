//! Echo over TCP: small messages and a single-threaded server, beside a plain smol server with a
//! task per connection, tokio's current-thread runtime, and Twisted if available.
//!
//! Each server is a process on the first processor; the clients are this process, on the second.
//! All servers run from the start and are measured in turn. Finally, a quiet client is measured
//! beside others that flood.

mod flood;
mod load;
mod servers;

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use load::Clients;

use crate::plan::{Group, Records, Unavailable};
use crate::record::{Record, Spread, Value};
use crate::sample::{Cores, Effort};
use crate::twisted;

pub(crate) use servers::run_one;

/// Our servers and their peers. Each pair is a row for each number of connections, and one for
/// memory.
const OURS: [&str; 3] = ["Protocol", MIO, "coroutines"];
/// A protocol on the driver deferred-mio. The other servers of ours are on smol.
const MIO: &str = "mio";
const PEERS: [&str; 3] = ["smol", "tokio", TWISTED];
const TWISTED: &str = "Twisted";
/// The server with a protocol and a watchdog, which prints its longest turn at the end.
const WATCHED: &str = "Protocol, watched";
const CONNECTIONS: [usize; 2] = [100, 1000];
/// The number of connections for the memory row.
const MANY: usize = 9000;

struct Server {
    name: &'static str,
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(name: &'static str, command: &mut Command) -> Result<Server, Box<dyn Error>> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().ok_or("it has a standard output")?).read_line(&mut line)?;
        let port: u16 = line.trim().parse().map_err(|_| format!("{name} did not print its port"))?;
        Ok(Server { name, process, address: ([127, 0, 0, 1], port).into() })
    }

    fn start_ours(name: &'static str) -> Result<Server, Box<dyn Error>> {
        Server::start(name, Command::new(env::current_exe()?).args(["--echo-server", name]))
    }

    /// Returns the resident memory of the server, if the system reports it.
    fn resident(&self) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    }

    /// Returns the CPU time of the server, if the system reports it.
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

/// Starts all available servers.
fn start_all(effort: Effort) -> Result<Vec<Server>, Box<dyn Error>> {
    let mut servers = Vec::new();
    for name in OURS.into_iter().chain(PEERS).filter(|name| *name != TWISTED) {
        servers.push(Server::start_ours(name)?);
    }
    match twisted::python(effort) {
        Ok(python) => {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("twisted/echo.py");
            servers.push(Server::start(TWISTED, Command::new(python).arg(script))?);
        }
        Err(error) => eprintln!("echo: {error}"),
    }
    Ok(servers)
}

/// Runs a Rust server under `perf`, which counts its system calls until it ends.
fn counted(name: &str, connections: usize, requests: u64) -> Result<(f64, f64), Box<dyn Error>> {
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "--"]).arg(env::current_exe()?);
    perf.args(["--echo-server", name]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process =
        perf.spawn().map_err(|error| Unavailable(format!("perf, which counts system calls, does not run: {error}")))?;
    let mut line = String::new();
    BufReader::new(process.stdout.as_mut().ok_or("it has a standard output")?).read_line(&mut line)?;
    let port: u16 = line.trim().parse().map_err(|_| format!("{name} did not print its port"))?;
    let mut clients = Clients::connect(([127, 0, 0, 1], port).into(), connections)?;
    let mut asked = 0;
    while asked < requests {
        asked += clients.ask(Duration::from_millis(20))?.requests as u64;
    }
    let output = process.wait_with_output()?; // closes its standard input
    let output = String::from_utf8_lossy(&output.stderr);
    let calls = output.split(',').next().and_then(|count| count.trim().parse().ok());
    Ok((calls.ok_or_else(|| Unavailable(format!("perf cannot count system calls here: {output}")))?, asked as f64))
}

/// Returns the number of system calls per request, from two runs with different numbers of
/// requests.
pub(crate) fn syscalls(name: &str, connections: usize, times: [u64; 2]) -> Result<f64, Box<dyn Error>> {
    let (fewer, more) = (counted(name, connections, times[0])?, counted(name, connections, times[1])?);
    Ok((more.0 - fewer.0) / (more.1 - fewer.1))
}

/// Returns the resident memory of each server with `many` connections, each of which has sent a
/// message.
fn resident(servers: &[Server], many: usize) -> BTreeMap<&'static str, Value> {
    let mut resident = BTreeMap::new();
    for server in servers {
        let before = server.resident();
        let asked = Clients::connect(server.address, many).and_then(|mut clients| {
            clients.ask(Duration::ZERO)?;
            Ok(clients)
        });
        let _clients = match asked {
            Ok(clients) => clients,
            Err(error) => {
                eprintln!("echo/memory: {many} connections want as many open files, see `ulimit -n`: {error}");
                return BTreeMap::new();
            }
        };
        if let (Some(before), Some(after)) = (before, server.resident()) {
            let mut value = Value::new(server.name, after as f64 / 1e6);
            value.more.insert("MB before".to_owned(), before as f64 / 1e6);
            resident.insert(server.name, value);
        }
    }
    resident
}

fn time_row(ours: &str, peer: &str, connections: usize) -> String {
    format!("echo/{connections}: {ours} beside {peer}")
}

fn memory_row(ours: &str, peer: &str) -> String {
    format!("echo/memory: {ours} beside {peer}")
}

fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    OURS.into_iter().flat_map(|ours| PEERS.map(|peer| (ours, peer)))
}

pub(crate) fn group() -> Group {
    let times = CONNECTIONS.map(|connections| pairs().map(move |(ours, peer)| time_row(ours, peer, connections)));
    let memory = pairs().map(|(ours, peer)| memory_row(ours, peer));
    Group { rows: times.into_iter().flatten().chain(memory).chain(flood::rows()).collect(), measure: run }
}

fn run(effort: Effort) -> Records {
    let servers = start_all(effort)?;
    Cores::Two.pin_worker();
    // Memory is measured first, before other connections have left anything.
    let memory = resident(&servers, if effort.is_quick() { MANY / 10 } else { MANY });
    let mut records = Vec::new();
    for connections in CONNECTIONS {
        let samples = ask_all(&servers, connections, effort)?;
        for (ours, peer) in pairs() {
            let (Some(mine), Some(theirs)) = (samples.get(ours), samples.get(peer)) else { continue };
            let row = time_row(ours, peer, connections);
            let mut record = Record::paired(row, "us per request", (ours, &mine.each), (peer, &theirs.each));
            record.ours.more = mine.more();
            if let Some(value) = &mut record.peer {
                value.more = theirs.more();
            }
            records.push(record);
        }
    }
    for (ours, peer) in pairs() {
        if let (Some(mine), Some(theirs)) = (memory.get(ours), memory.get(peer)) {
            records.push(Record::once(memory_row(ours, peer), "MB", mine.clone(), Some(theirs.clone())));
        }
    }
    records.extend(flood::run(&servers, effort)?);
    Ok(records)
}

/// The samples of one server and number of connections, in microseconds.
#[derive(Default)]
struct Samples {
    /// The time from one answer to the next, on any connection.
    each: Vec<f64>,
    median: Vec<f64>,
    late: Vec<f64>,
    cpu: Vec<f64>,
}

impl Samples {
    fn more(&self) -> BTreeMap<String, f64> {
        let mut more = BTreeMap::new();
        let named = [("p50 us", &self.median), ("p99 us", &self.late), ("CPU us", &self.cpu)];
        for (name, samples) in named.into_iter().filter(|(_, samples)| !samples.is_empty()) {
            more.insert(name.to_owned(), Spread::of(samples.iter().copied()).median);
        }
        more
    }
}

/// Measures all servers in turn, for several rounds.
fn ask_all(
    servers: &[Server],
    connections: usize,
    effort: Effort,
) -> Result<BTreeMap<&'static str, Samples>, Box<dyn Error>> {
    let (rounds, time) = if effort.is_quick() { (1, 50) } else { (9, 400) };
    let mut samples = BTreeMap::<_, Samples>::new();
    for round in 0..rounds {
        for turn in 0..servers.len() {
            // Each server is the first in one of the rounds.
            let server = &servers[(turn + round) % servers.len()];
            let samples = samples.entry(server.name).or_default();
            let mut clients = Clients::connect(server.address, connections)?;
            clients.ask(Duration::from_millis(time / 8))?; // warm-up
            let before = server.cpu();
            let load = clients.ask(Duration::from_millis(time))?;
            let micros = |time: Duration| time.as_secs_f64() * 1e6;
            samples.each.push(micros(load.took) / load.requests as f64);
            samples.median.push(micros(load.percentile(0.5)));
            samples.late.push(micros(load.percentile(0.99)));
            if let (Some(before), Some(after)) = (before, server.cpu()) {
                samples.cpu.push(micros(after - before) / load.requests as f64);
            }
        }
    }
    Ok(samples)
}
