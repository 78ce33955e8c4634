//! Sockets that an adapter implements: what becomes of a connection whose socket panics.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use deferred_core::testing::Reports;
use deferred_core::{Failure, Reactor};
use deferred_net::{ConnectionLost, Protocol, Socket, Transport};

#[derive(Clone, Copy, PartialEq)]
enum Panics {
    Read,
    Write,
    Finish,
    Drop,
}

/// A socket without a peer, which panics in one place.
struct Broken {
    at: Panics,
    /// Used in the destructor.
    transport: Rc<RefCell<Option<Transport>>>,
}

impl Broken {
    fn check(&self, at: Panics) {
        assert!(self.at != at, "the socket");
    }
}

impl Socket for Broken {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        self.check(Panics::Read);
        Poll::Pending
    }

    fn read_now(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn poll_write(&mut self, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.check(Panics::Write);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(Panics::Finish);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        if let Some(transport) = &*self.transport.borrow() {
            assert!(transport.peer_addr().is_err());
            transport.write(b"nothing is sent");
            transport.abort_connection();
        }
        self.check(Panics::Drop);
    }
}

struct Log(Rc<RefCell<Vec<String>>>);

impl Protocol for Log {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.write(b"hello");
        Ok(())
    }

    fn data_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }

    fn connection_lost(&mut self, reason: &ConnectionLost) {
        self.0.borrow_mut().push(reason.to_string());
    }
}

#[test]
fn a_socket_that_panics_loses_its_connection_once_and_is_reported() {
    let lost_by_panic = "a callback has failed: panicked: the socket";
    for (at, reason) in [
        (Panics::Read, lost_by_panic),
        (Panics::Write, lost_by_panic),
        (Panics::Finish, lost_by_panic),
        (Panics::Drop, "the connection was aborted"),
    ] {
        let reports = Reports::collect();
        let (lost, itself) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(None)));
        let reactor = Reactor::new();
        let transport = Transport::over_socket(&reactor, Broken { at, transport: itself.clone() }, Log(lost.clone()));
        itself.replace(Some(transport.clone()));
        match at {
            Panics::Finish => transport.lose_connection(),
            Panics::Drop => transport.abort_connection(),
            Panics::Read | Panics::Write => {}
        }
        let closed = transport.closed();
        for _ in 0..5 {
            let _ = reactor.turn(Waker::noop());
        }
        assert_eq!(*lost.borrow(), [reason]);
        assert!(closed.is_ready());
        let reports = reports.take();
        assert_eq!(reports.len(), 1, "{reports:?}");
        assert!(reports[0].contains("the socket"), "{reports:?}");
        itself.take();
    }
}
