//! The customers.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use deferred_smol::net::{ConnectionLost, Protocol, Transport, connect_tcp};
use deferred_smol::{Failure, Reactor, inline_callbacks, run_until};

use crate::{COUNTS, LOOKS_UP, SPEAKS, WARM_UP};

/// So many are in the bank, or in front of it, at any time.
pub(crate) const AT_ONCE: usize = 500;
const WISH: &[u8] = b"ten in small notes\n";
/// Nobody waits longer than that, and then somebody else comes.
const PATIENCE: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(10);

/// One after the other: when he is served, the next one comes.
struct Customer {
    served: Rc<Cell<usize>>,
    bank: SocketAddr,
    answer: usize,
}

impl Protocol for Customer {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let (first, rest) = WISH.split_at(4);
        transport.write(first);
        let speaks = transport.clone();
        transport.reactor().call_later(SPEAKS, move || speaks.write(rest));
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.answer += data.len();
        if self.answer == WISH.len() {
            self.served.set(self.served.get() + 1);
            come(transport.reactor(), self.bank, self.served.clone());
            transport.lose_connection();
        }
        Ok(())
    }

    fn connection_lost(&mut self, _: &ConnectionLost) {}
}

/// A customer comes.
fn come(reactor: &Reactor, bank: SocketAddr, served: Rc<Cell<usize>>) {
    let customer = Customer { served: served.clone(), bank, answer: 0 };
    let connects = connect_tcp(reactor, bank, PATIENCE, customer);
    let (again, loops) = (served, reactor.clone());
    drop(connects.map(drop).add_errback(move |_| {
        // Another one comes a little later.
        loops.clone().call_later(PAUSE, move || come(&loops, bank, again));
        Ok(())
    }));
}

/// How many were served in the time that counts, and what is seen of the bank when that begins and
/// when it ends.
pub(crate) fn visit<T: 'static>(bank: SocketAddr, look: impl Fn() -> T + 'static) -> Result<(usize, [T; 2]), Failure> {
    run_until(|reactor| {
        let served = Rc::new(Cell::new(0));
        for n in 0..AT_ONCE {
            // Not in step, or they would be counted in waves.
            let (loops, served) = (reactor.clone(), served.clone());
            let delay = (SPEAKS + LOOKS_UP).mul_f64(n as f64 / AT_ONCE as f64);
            reactor.call_later(delay, move || come(&loops, bank, served));
        }
        let reactor = reactor.clone();
        inline_callbacks(async move {
            reactor.sleep(WARM_UP).await?;
            let (before, seen) = (served.get(), look());
            reactor.sleep(COUNTS).await?;
            Ok((served.get() - before, [seen, look()]))
        })
    })
}
