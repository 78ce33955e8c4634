//! A quiet client beside many that flood: how long it waits for its answer, and how long a turn of the loop takes.

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
pub(super) const TURN: &str = "echo/flood: the longest turn";

pub(super) fn row(ours: &str, peer: &str) -> String {
    format!("echo/flood: {ours} beside {peer}")
}

/// Connections that write as much as they can, and read what comes back; one thread.
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
            // Until the system has no more to give and to take: it tells once.
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

/// What a quiet client of this server waits, 99 times of 100, in milliseconds.
fn late(server: &Server, time: Duration) -> Result<f64, Box<dyn Error>> {
    let flood = Flood::start(server.address);
    let mut quiet = Clients::connect(server.address, 1)?;
    quiet.ask(time / 4)?; // until the flood is there
    let load = quiet.ask(time);
    flood.end()?;
    Ok(load?.percentile(0.99).as_secs_f64() * 1e3)
}

/// Asks each server in turn. The one that is watched tells its longest turn when it ends.
pub(super) fn run(
    servers: &[Server],
    pairs: impl Iterator<Item = (&'static str, &'static str)>,
    effort: Effort,
) -> Result<Vec<Record>, Box<dyn Error>> {
    let (rounds, time) = if effort.is_quick() { (1, 100) } else { (5, 1000) };
    let mut samples = vec![Vec::new(); servers.len()];
    for _ in 0..rounds {
        for (server, samples) in servers.iter().zip(&mut samples) {
            samples.push(late(server, Duration::from_millis(time))?);
        }
    }
    let of = |name: &str| servers.iter().position(|server| server.name == name).map(|number| &samples[number][..]);
    let mut records = Vec::new();
    for (ours, peer) in pairs {
        if let (Some(mine), Some(theirs)) = (of(ours), of(peer)) {
            records.push(Record::paired(row(ours, peer), "ms, 99th percentile", (ours, mine), (peer, theirs)));
        }
    }
    records.push(Record::once(TURN, "ms", Value::new("Protocol", turn(Duration::from_millis(time))?), None));
    Ok(records)
}

/// The longest turn of a loop that is flooded for so long, in milliseconds.
fn turn(time: Duration) -> Result<f64, Box<dyn Error>> {
    let mut server = Server::start_ours(super::WATCHED)?;
    late(&server, time)?;
    drop(server.process.stdin.take()); // which ends it
    let mut line = String::new();
    BufReader::new(server.process.stdout.as_mut().ok_or("it has a standard output")?).read_line(&mut line)?;
    let micros: f64 = line.trim().parse().map_err(|_| "the server did not tell its longest turn")?;
    Ok(micros / 1e3)
}
