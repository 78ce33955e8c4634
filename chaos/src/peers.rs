//! Users of sockets: protocols of the loops, and threads with plain sockets that behave badly.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use deferred_smol::Failure;
use deferred_smol::net::{ConnectionLost, Producer, Protocol, Transport};
use fastrand::Rng;
use socket2::SockRef;

use crate::actor::Actor;
use crate::jobs;
use crate::ledger::{Ledger, Token, panics};

const PIECE: [u8; 16 << 10] = [b'x'; 16 << 10];
/// The number of received bytes after which a connection no longer answers.
const ENOUGH: usize = 1 << 20;

/// The protocol of a connection's end, whose action is drawn at each callback.
pub(crate) struct Peer {
    actor: Rc<Actor>,
    random: Rng,
    token: Token,
    /// If `true`, this end sends first.
    begins: bool,
    received: usize,
    made: u32,
    lost: u32,
}

impl Peer {
    pub(crate) fn new(actor: &Rc<Actor>, begins: bool) -> Peer {
        let (random, token) = (actor.fork(), actor.ledger.token("protocol"));
        Peer { actor: actor.clone(), random, token, begins, received: 0, made: 0, lost: 0 }
    }

    /// Checks that a callback is allowed now.
    fn called(&self, what: &str) {
        if self.made != 1 || self.lost != 0 {
            self.actor
                .ledger
                .problem(format!("{what} after {} connection_made, {} connection_lost", self.made, self.lost));
        }
    }

    /// Performs a random operation on the connection.
    fn act(&mut self, transport: &Transport) -> Result<(), Failure> {
        let millis = Duration::from_micros(self.random.u64(..3000));
        match self.random.u8(..48) {
            0 => return Err(Failure::msg("chaos")),
            1 => panics(),
            2 => transport.abort_connection(),
            3 | 4 => transport.lose_connection(),
            5 => (0..self.random.u32(..64)).for_each(|_| transport.write(PIECE)),
            6 => {
                transport.pause_producing();
                let resumed = transport.clone();
                transport.reactor().call_later(millis, move || resumed.resume_producing());
            }
            7 => transport.pause_producing(),
            8 => transport.resume_producing(),
            9 => transport.set_idle_timeout(self.random.bool().then_some(millis)),
            10 => transport.set_timeout(self.random.bool().then_some(millis)),
            11 => transport.reset_timeout(),
            12 => transport.set_close_timeout(millis),
            13 => transport.set_write_limit(self.random.usize(..1 << 20)),
            14 => transport.set_high_water(self.random.usize(..1 << 18)),
            15 => transport.register_producer(ChunkProducer::new(&self.actor, transport, false)),
            16 => transport.register_pull_producer(ChunkProducer::new(&self.actor, transport, true)),
            17 => transport.unregister_producer(),
            18 => drop(self.actor.ledger.watch("drained", transport.drained())),
            19 => drop(self.actor.ledger.watch("closed", transport.closed())),
            20 => drop(self.actor.watch_some("drained or cancelled", transport.drained())),
            21..27 => {
                // A thread computes the answer.
                let answers = transport.clone();
                drop(self.actor.watch_some("answer", self.actor.job()).add_callback(move |()| {
                    answers.write(&PIECE[..100]);
                    Ok(())
                }));
            }
            27 => self.actor.act(),
            _ => transport.write(&PIECE[..self.random.usize(1..1000)]),
        }
        Ok(())
    }
}

impl Protocol for Peer {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.made += 1;
        if self.made != 1 || self.lost != 0 {
            self.called("connection_made");
        }
        if self.begins {
            transport.write(&PIECE[..self.random.usize(1..100)]);
        }
        if self.random.bool() { self.act(transport) } else { Ok(()) }
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.called("data_received");
        self.received += data.len();
        if self.received > ENOUGH {
            transport.lose_connection();
            return Ok(());
        }
        self.act(transport)
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.called("read_connection_lost");
        match self.random.u8(..4) {
            0 => self.act(transport), // and keeps writing
            _ => {
                transport.lose_connection();
                Ok(())
            }
        }
    }

    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.called("reading_resumed");
        if self.random.u8(..8) == 0 { self.act(transport) } else { Ok(()) }
    }

    fn connection_lost(&mut self, _: &ConnectionLost) {
        self.called("connection_lost");
        self.lost += 1;
        self.actor.ledger.lost.fetch_add(1, Ordering::Relaxed);
        match self.random.u8(..16) {
            0 => panics(),
            1 => self.actor.act(),
            _ => {}
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // A protocol whose connection was never established gets no callback.
        if self.made != self.lost {
            let Peer { made, lost, .. } = self;
            self.actor.ledger.problem(format!("a protocol got {made} connection_made and {lost} connection_lost"));
        }
        let _ = &self.token;
    }
}

/// A producer that writes chunks, all at once or one at each call.
struct ChunkProducer {
    actor: Rc<Actor>,
    transport: Transport,
    pulls: bool,
    left: Cell<u32>,
    stopped: Cell<bool>,
}

impl ChunkProducer {
    fn new(actor: &Rc<Actor>, transport: &Transport, pulls: bool) -> ChunkProducer {
        let left = Cell::new(actor.below(40));
        ChunkProducer { actor: actor.clone(), transport: transport.clone(), pulls, left, stopped: Cell::new(false) }
    }
}

impl Producer for ChunkProducer {
    fn pause_producing(&self) {
        if self.actor.below(50) == 0 {
            panics();
        }
    }

    fn resume_producing(&self) {
        if self.stopped.get() {
            self.actor.ledger.problem("a producer that was stopped is resumed");
        }
        match self.left.get() {
            0 => self.transport.unregister_producer(),
            left => {
                self.left.set(left - 1);
                self.transport.write(PIECE);
            }
        }
        if !self.pulls && self.actor.below(50) == 0 {
            panics();
        }
    }

    fn stop_producing(&self) {
        if self.stopped.replace(true) {
            self.actor.ledger.problem("a producer is stopped twice");
        }
    }
}

/// A peer with a plain socket that behaves badly.
pub(crate) fn rude(ledger: &Arc<Ledger>, addresses: [SocketAddr; 2], mut random: Rng) {
    let _token = ledger.token("rude peer");
    for _ in 0..random.u32(1..4) {
        thread::sleep(Duration::from_micros(random.u64(..2000)));
        // A loop that has ended refuses or resets connections.
        let Ok(mut stream) = TcpStream::connect_timeout(&addresses[random.usize(..2)], Duration::from_secs(5)) else {
            continue;
        };
        let _ = stream.set_read_timeout(Some(Duration::from_micros(random.u64(1..3000))));
        let _ = stream.set_write_timeout(Some(Duration::from_micros(random.u64(1..3000))));
        let mut buffer = [0; 4096];
        match random.u8(..8) {
            0 => {} // closes at once
            1 => {
                let _ = stream.write_all(b"reset");
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
            2 => {
                let _ = stream.write_all(b"half");
                let _ = stream.shutdown(Shutdown::Write);
                while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
            }
            3 => {
                // Floods and never reads.
                for _ in 0..64 {
                    if stream.write_all(&PIECE).is_err() {
                        break;
                    }
                }
            }
            4 => {
                for _ in 0..20 {
                    let _ = stream.write(b"d");
                    jobs::pause(&mut random);
                }
            }
            5 => {
                let _ = stream.shutdown(Shutdown::Read);
                let _ = stream.write_all(b"does not read");
            }
            6 => {
                // Leaves data unread, which resets the connection.
                let _ = stream.write_all(b"unread");
                thread::sleep(Duration::from_micros(random.u64(..2000)));
            }
            _ => {
                for _ in 0..10 {
                    if stream.write_all(b"ping").is_err() || !stream.read(&mut buffer).is_ok_and(|length| length > 0) {
                        break;
                    }
                }
            }
        }
    }
}
