//! The customers of a bank.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use deferred_smol::net::{ConnectionLost, Protocol, Transport, connect_tcp};
use deferred_smol::{Failure, Reactor, inline_callbacks, run_until};

use crate::{LOOKS_UP, MEASURED, SPEAKS, WARM_UP};

/// The number of customers that are connected, or connecting, at any time.
pub(crate) const CUSTOMERS: usize = 500;
const WISH: &[u8] = b"ten in small notes\n";
/// The time after which a customer gives up and another one replaces it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time before a failed connection is replaced by another customer.
const PAUSE: Duration = Duration::from_millis(10);

/// A customer; when it has been served, the next one connects.
struct Customer {
    served: Rc<Cell<usize>>,
    bank: SocketAddr,
    answer: usize,
}

impl Protocol for Customer {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let (first, rest) = WISH.split_at(4);
        transport.write(first);
        let speaker = transport.clone();
        transport.reactor().call_later(SPEAKS, move || speaker.write(rest));
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.answer += data.len();
        if self.answer == WISH.len() {
            self.served.set(self.served.get() + 1);
            connect(transport.reactor(), self.bank, self.served.clone());
            transport.lose_connection();
        }
        Ok(())
    }

    fn connection_lost(&mut self, _: &ConnectionLost) {}
}

/// Connects a customer.
fn connect(reactor: &Reactor, bank: SocketAddr, served: Rc<Cell<usize>>) {
    let customer = Customer { served: served.clone(), bank, answer: 0 };
    let connects = connect_tcp(reactor, bank, PATIENCE, customer);
    let reactor = reactor.clone();
    drop(connects.map(drop).add_errback(move |_| {
        // Another customer connects a little later.
        reactor.clone().call_later(PAUSE, move || connect(&reactor, bank, served));
        Ok(())
    }));
}

/// Runs the customers. Returns the number served while the bank was measured, and the results of
/// `look` before and after.
pub(crate) fn visit<T: 'static>(bank: SocketAddr, look: impl Fn() -> T + 'static) -> Result<(usize, [T; 2]), Failure> {
    run_until(|reactor| {
        let served = Rc::new(Cell::new(0));
        for n in 0..CUSTOMERS {
            // The customers start at different times; otherwise they would be served in waves.
            let (loops, served) = (reactor.clone(), served.clone());
            let delay = (SPEAKS + LOOKS_UP).mul_f64(n as f64 / CUSTOMERS as f64);
            reactor.call_later(delay, move || connect(&loops, bank, served));
        }
        let reactor = reactor.clone();
        inline_callbacks(async move {
            reactor.sleep(WARM_UP).await?;
            let (before, seen) = (served.get(), look());
            reactor.sleep(MEASURED).await?;
            Ok((served.get() - before, [seen, look()]))
        })
    })
}
