//! Many concurrent connections.

use std::cell::Cell;
use std::rc::Rc;

use crate::adapter::net::{ConnectionLost, Protocol, Transport, connect_tcp};
use crate::adapter::{Deferred, Failure, concurrent, gather, run_until};

use super::{Echo, LONG, listen};

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
