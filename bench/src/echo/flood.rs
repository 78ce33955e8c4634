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
const OURS: [&str; 2] = ["Protocol", super::MIO];
const OTHERS: [&str; 2] = ["tokio", super::TWISTED];
const TURN: &str = "echo/flood: the longest turn";
/// The number of bytes that a client sends before it reads the answers, in the bounded flood.
const BOUND: usize = 16 << 10;

/// A kind of flood: its rows, and the most bytes of a client on their way.
const KINDS: [(&str, usize); 2] = [("flood", usize::MAX), ("bounded flood", BOUND)];

fn row(kind: &str, ours: &str, peer: &str) -> String {
    format!("echo/{kind}: {ours} beside {peer}")
}

pub(super) fn rows() -> impl Iterator<Item = String> {
    let pairs = || OURS.into_iter().flat_map(|ours| OTHERS.map(|peer| (ours, peer)));
    let rows = KINDS.into_iter().flat_map(move |(kind, _)| pairs().map(move |(ours, peer)| row(kind, ours, peer)));
    rows.chain([TURN.to_owned()])
}

/// Connections that write as much as they can and read the answers, on one thread.
struct Flood {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl Flood {
    fn start(server: SocketAddr, bound: usize) -> Flood {
        let ends = Arc::new(AtomicBool::new(false));
        let end = ends.clone();
        Flood { ends, thread: thread::spawn(move || flood(server, bound, &end)) }
    }

    fn end(self) -> io::Result<()> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// A client of the flood.
struct Client {
    stream: TcpStream,
    /// The number of bytes that were sent and not answered.
    on_their_way: usize,
}

impl Client {
    /// Reads and writes until both would block, because readiness is reported once.
    fn exchange(&mut self, bound: usize, buffer: &mut [u8], ends: &AtomicBool) -> io::Result<()> {
        let would_block = |result: io::Result<usize>| match result {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        };
        while !ends.load(Ordering::Relaxed) {
            while let Some(read) = would_block(self.stream.read(buffer))? {
                self.on_their_way = self.on_their_way.saturating_sub(read);
            }
            let allowed = bound.saturating_sub(self.on_their_way).min(buffer.len());
            if allowed == 0 {
                return Ok(());
            }
            match would_block(self.stream.write(&buffer[..allowed]))? {
                Some(written) => self.on_their_way = self.on_their_way.saturating_add(written),
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

fn flood(server: SocketAddr, bound: usize, ends: &AtomicBool) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let (mut clients, mut buffer) = (Vec::new(), vec![0; 256 << 10]);
    for key in 0..PEERS {
        let stream = std::net::TcpStream::connect(server)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(key), Interest::READABLE | Interest::WRITABLE)?;
        clients.push(Client { stream, on_their_way: 0 });
    }
    let mut events = Events::with_capacity(PEERS);
    while !ends.load(Ordering::Relaxed) {
        poll.poll(&mut events, Some(Duration::from_millis(10)))?;
        for event in &events {
            clients[event.token().0].exchange(bound, &mut buffer, ends)?;
        }
    }
    Ok(())
}

/// Returns the 99th percentile of the time a quiet client waits, in milliseconds.
fn late(server: &Server, bound: usize, time: Duration) -> Result<f64, Box<dyn Error>> {
    let flood = Flood::start(server.address, bound);
    let mut quiet = Clients::connect(server.address, 1)?;
    quiet.ask(time / 4)?; // until the flood has started
    let load = quiet.ask(time);
    flood.end()?;
    Ok(load?.percentile(0.99).as_secs_f64() * 1e3)
}

/// Measures each server in turn. The watched server prints its longest turn when it ends.
pub(super) fn run(servers: &[Server], effort: Effort) -> Result<Vec<Record>, Box<dyn Error>> {
    let (rounds, time) = if effort.is_quick() { (1, 100) } else { (5, 1000) };
    let mut records = Vec::new();
    for (kind, bound) in KINDS {
        let mut samples = BTreeMap::<_, Vec<f64>>::new();
        for _ in 0..rounds {
            for server in servers.iter().filter(|server| OURS.contains(&server.name) || OTHERS.contains(&server.name)) {
                let late = late(server, bound, Duration::from_millis(time));
                let late = late.map_err(|error| format!("{}: {error}", server.name))?;
                samples.entry(server.name).or_default().push(late);
            }
        }
        for (ours, peer) in OURS.into_iter().flat_map(|ours| OTHERS.map(|peer| (ours, peer))) {
            if let (Some(mine), Some(theirs)) = (samples.get(ours), samples.get(peer)) {
                records.push(Record::paired(
                    row(kind, ours, peer),
                    "ms, 99th percentile",
                    (ours, mine),
                    (peer, theirs),
                ));
            }
        }
    }
    records.push(Record::once(TURN, "ms", Value::new(OURS[0], turn(Duration::from_millis(time))?), None));
    Ok(records)
}

/// Returns the longest turn of a loop that is flooded for `time`, in milliseconds.
fn turn(time: Duration) -> Result<f64, Box<dyn Error>> {
    let mut server = Server::start_ours(super::WATCHED)?;
    late(&server, usize::MAX, time)?;
    drop(server.process.stdin.take()); // ends the server
    let mut line = String::new();
    BufReader::new(server.process.stdout.as_mut().ok_or("it has a standard output")?).read_line(&mut line)?;
    let micros: f64 = line.trim().parse().map_err(|_| "the server did not print its longest turn")?;
    Ok(micros / 1e3)
}
