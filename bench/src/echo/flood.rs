//! A quiet client beside many that flood: the time until its answer, and the longest turn of the
//! loop.
//!
//! Servers on smol's own sockets are not measured: they are never suspended while their peer has
//! more data, so only the first connection that floods is served.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::Server;
use super::load::Clients;
use crate::record::{Record, Value};
use crate::sample::Effort;

const PEERS: usize = 64;
const OURS: &str = "Protocol";
const OTHERS: [&str; 2] = ["tokio", super::TWISTED];
const TURN: &str = "echo/flood: the longest turn";

fn row(peer: &str) -> String {
    format!("echo/flood: {OURS} beside {peer}")
}

pub(super) fn rows() -> impl Iterator<Item = String> {
    OTHERS.into_iter().map(row).chain([TURN.to_owned()])
}

/// Connections that write as much as they can and read the answers, on one thread.
struct Flood {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl Flood {
    fn start(server: SocketAddr) -> Flood {
        let ends = Arc::new(AtomicBool::new(false));
        let end = ends.clone();
        Flood { ends, thread: thread::spawn(move || flood(server, &end)) }
    }

    fn end(self) -> io::Result<()> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn flood(server: SocketAddr, ends: &AtomicBool) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut streams = Vec::new();
    for key in 0..PEERS {
        let stream = std::net::TcpStream::connect(server)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(key), Interest::READABLE | Interest::WRITABLE)?;
        streams.push(stream);
    }
    let (mut events, mut buffer) = (Events::with_capacity(PEERS), vec![0; 256 << 10]);
    while !ends.load(Ordering::Relaxed) {
        poll.poll(&mut events, Some(Duration::from_millis(10)))?;
        for event in &events {
            let stream = &mut streams[event.token().0];
            // Continues until both directions would block, because readiness is reported once.
            let would_block = |result: io::Result<usize>| match result {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => Ok(false),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
                Err(error) => Err(error),
            };
            while !would_block(stream.read(&mut buffer))? {}
            while !would_block(stream.write(&buffer))? && !ends.load(Ordering::Relaxed) {
                while !would_block(stream.read(&mut buffer))? {}
            }
        }
    }
    Ok(())
}

/// Returns the 99th percentile of the time a quiet client waits, in milliseconds.
fn late(server: &Server, time: Duration) -> Result<f64, Box<dyn Error>> {
    let flood = Flood::start(server.address);
    let mut quiet = Clients::connect(server.address, 1)?;
    quiet.ask(time / 4)?; // until the flood has started
    let load = quiet.ask(time);
    flood.end()?;
    Ok(load?.percentile(0.99).as_secs_f64() * 1e3)
}

/// Measures each server in turn. The watched server prints its longest turn when it ends.
pub(super) fn run(servers: &[Server], effort: Effort) -> Result<Vec<Record>, Box<dyn Error>> {
    let (rounds, time) = if effort.is_quick() { (1, 100) } else { (5, 1000) };
    let mut samples = BTreeMap::<_, Vec<f64>>::new();
    for _ in 0..rounds {
        for server in servers.iter().filter(|server| server.name == OURS || OTHERS.contains(&server.name)) {
            let late = late(server, Duration::from_millis(time));
            samples.entry(server.name).or_default().push(late.map_err(|error| format!("{}: {error}", server.name))?);
        }
    }
    let mut records = Vec::new();
    for peer in OTHERS {
        if let (Some(mine), Some(theirs)) = (samples.get(OURS), samples.get(peer)) {
            records.push(Record::paired(row(peer), "ms, 99th percentile", (OURS, mine), (peer, theirs)));
        }
    }
    records.push(Record::once(TURN, "ms", Value::new(OURS, turn(Duration::from_millis(time))?), None));
    Ok(records)
}

/// Returns the longest turn of a loop that is flooded for `time`, in milliseconds.
fn turn(time: Duration) -> Result<f64, Box<dyn Error>> {
    let mut server = Server::start_ours(super::WATCHED)?;
    late(&server, time)?;
    drop(server.process.stdin.take()); // ends the server
    let mut line = String::new();
    BufReader::new(server.process.stdout.as_mut().ok_or("it has a standard output")?).read_line(&mut line)?;
    let micros: f64 = line.trim().parse().map_err(|_| "the server did not print its longest turn")?;
    Ok(micros / 1e3)
}
