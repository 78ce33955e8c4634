//! Many concurrent connections.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use crate::adapter::net::socket2::SockRef;
use crate::adapter::net::{ConnectionLost, Protocol, Transport, connect_tcp};
use crate::adapter::{Deferred, Failure, concurrent, gather, inline_callbacks, run_until};

use super::{Echo, LONG, MS, listen};

/// Sends its number several times, each time after the previous answer, and closes.
struct Asks {
    number: usize,
    left: usize,
    at: usize,
    done: Rc<Cell<usize>>,
}

impl Asks {
    fn text(&self) -> Vec<u8> {
        format!("{} of {};", self.left, self.number).into_bytes()
    }
}

impl Protocol for Asks {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.write(self.text());
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        let text = self.text();
        if !text[self.at..].starts_with(data) {
            return Err(Failure::msg("the answer to another client"));
        }
        self.at += data.len();
        if self.at == text.len() {
            (self.at, self.left) = (0, self.left - 1);
            match self.left {
                0 => transport.lose_connection(),
                _ => transport.write(self.text()),
            }
        }
        Ok(())
    }

    fn connection_lost(&mut self, reason: &ConnectionLost) {
        if self.left == 0 && matches!(reason, ConnectionLost::Done) {
            self.done.set(self.done.get() + 1);
        }
    }
}

#[test]
fn five_hundred_connections_exchange_data_at_once() {
    const CLIENTS: usize = 500;
    let done = Rc::new(Cell::new(0));
    let count = done.clone();
    let left = run_until(|reactor| {
        let (port, address) = listen(reactor, |_| Echo);
        let loops = reactor.clone();
        let connects = concurrent(50).map(0..CLIENTS, move |number| -> Deferred<Transport> {
            let asks = Asks { number, left: 20 + number % 7, at: 0, done: count.clone() };
            connect_tcp(&loops, address, LONG, asks)
        });
        connects.map_err(Failure::from).add_callback(move |transports| {
            let closed: Vec<_> = transports.iter().map(Transport::closed).collect();
            let closed = gather(closed).map_err(Failure::from);
            closed.add_callback(move |_| port.closed().map(move |()| port.len()))
        })
    });
    assert_eq!(left.unwrap(), 0);
    assert_eq!(done.get(), CLIENTS);
}

/// A small generator of random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// The counts of all connections of a test.
#[derive(Default)]
struct Counts {
    made: Cell<u32>,
    lost: Cell<u32>,
    dropped: Cell<u32>,
    calls_after_loss: Cell<u32>,
    random: RefCell<Option<Random>>,
}

/// Does one of many things with each piece of data.
struct Erratic {
    counts: Rc<Counts>,
    made: bool,
    lost: bool,
}

impl Erratic {
    fn called(&self) {
        if !self.made || self.lost {
            self.counts.calls_after_loss.set(self.counts.calls_after_loss.get() + 1);
        }
    }

    fn react(&self, transport: &Transport) {
        let choice = self.counts.random.borrow_mut().as_mut().unwrap().below(40);
        match choice {
            0 => transport.abort_connection(),
            1 => transport.lose_connection(),
            2 => transport.lose_write_connection(),
            3 => {
                transport.pause_producing();
                let again = transport.clone();
                transport.reactor().call_later(MS, move || again.resume_producing());
            }
            4 => transport.set_timeout(Some(3 * MS)),
            5 => transport.write(vec![5; 300_000]),
            6 => transport.register_producer(transport.clone()),
            _ => {}
        }
    }
}

impl Protocol for Erratic {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.made = true;
        self.counts.made.set(self.counts.made.get() + 1);
        transport.set_idle_timeout(Some(2000 * MS));
        transport.set_close_timeout(1000 * MS);
        self.react(transport);
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.called();
        transport.write(data);
        self.react(transport);
        Ok(())
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.called();
        if self.counts.random.borrow_mut().as_mut().unwrap().below(4) > 0 {
            transport.lose_connection();
        }
        Ok(())
    }

    fn connection_lost(&mut self, _: &ConnectionLost) {
        self.called();
        self.lost = true;
        self.counts.lost.set(self.counts.lost.get() + 1);
    }
}

impl Drop for Erratic {
    fn drop(&mut self) {
        self.counts.dropped.set(self.counts.dropped.get() + 1);
        if !self.lost {
            self.counts.calls_after_loss.set(self.counts.calls_after_loss.get() + 1_000_000);
        }
    }
}

/// Makes `count` connections, up to 60 at a time, each of which ends in one of many ways.
fn erratic_clients(address: SocketAddr, count: u32, seed: u64) {
    let mut random = Random(seed);
    let mut open: Vec<TcpStream> = Vec::new();
    let mut made = 0;
    while made < count || !open.is_empty() {
        if made < count && (open.is_empty() || open.len() < 60 && random.below(3) == 0) {
            let Ok(stream) = TcpStream::connect(address) else { continue };
            stream.set_nonblocking(true).unwrap();
            open.push(stream);
            made += 1;
            continue;
        }
        let index = random.below(open.len() as u64) as usize;
        let mut stream = &open[index];
        let mut buffer = vec![7; random.below(5000) as usize];
        match random.below(12) {
            0 => drop(open.swap_remove(index)),
            1 => {
                // A reset.
                let stream = open.swap_remove(index);
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
            2 => drop(stream.shutdown(Shutdown::Write)),
            3 => drop(stream.shutdown(Shutdown::Read)),
            // A flood, which is not read.
            4 => (0..50).for_each(|_| drop(stream.write(&buffer))),
            5..8 => drop(stream.write(&buffer)),
            _ => {
                if matches!(stream.read(&mut buffer), Ok(0)) && !buffer.is_empty() {
                    drop(open.swap_remove(index));
                }
            }
        }
    }
}

#[test]
fn five_thousand_connections_with_random_ends_are_each_lost_once() {
    const THREADS: u32 = 5;
    const EACH: u32 = 1000;
    let counts = Rc::new(Counts::default());
    *counts.random.borrow_mut() = Some(Random(7));
    let shared = counts.clone();
    let (accepted, port_number) = run_until(|reactor| {
        let (port, address) = listen(reactor, move |_| Erratic { counts: shared.clone(), made: false, lost: false });
        let clients: Vec<_> =
            (0..THREADS).map(|seed| thread::spawn(move || erratic_clients(address, EACH, seed.into()))).collect();
        let reactor = reactor.clone();
        inline_callbacks(async move {
            while clients.iter().any(|client| !client.is_finished()) || !port.is_empty() {
                reactor.sleep(MS).await?;
            }
            clients.into_iter().for_each(|client| client.join().unwrap());
            assert_eq!(reactor.delayed_calls().len(), 0, "no timer is left");
            Ok((port.stats().accepted, address.port()))
        })
    })
    .unwrap();
    let (made, lost, dropped) = (counts.made.get(), counts.lost.get(), counts.dropped.get());
    assert_eq!((u64::from(made), made), (accepted, lost));
    assert_eq!((dropped, counts.calls_after_loss.get()), (made, 0));
    assert!(made >= THREADS * EACH - 100, "{made}: a client may be reset before it is accepted");
    assert_eq!(Rc::strong_count(&counts), 1);
    assert_eq!(open_sockets(port_number), 0);
}

/// Returns the number of sockets of this system with that port that are connected.
fn open_sockets(port: u16) -> usize {
    let Ok(table) = std::fs::read_to_string("/proc/net/tcp") else { return 0 };
    let end = format!(":{port:04X}");
    let is_open = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next().unwrap_or_default(), fields.nth(1).unwrap_or_default());
        local.ends_with(&end) && (state == "01" || state == "08")
    };
    table.lines().filter(is_open).count()
}
