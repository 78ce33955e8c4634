//! The context of connections, and of futures that `spawn` runs.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;

use crate::adapter::net::{ConnectionLost, Protocol, Transport, connect_tcp, listen_tcp};
use crate::adapter::{Failure, context, run_until, spawn, with_context, yield_now};

use super::{LONG, MS};

struct Id(u32);

fn id() -> u32 {
    context::get::<Id>().map_or(0, |id| id.0)
}

#[derive(Clone, Default)]
struct Ids(Rc<RefCell<Vec<(&'static str, u32)>>>);

impl Ids {
    fn add(&self, event: &'static str) {
        self.0.borrow_mut().push((event, id()));
    }
}

/// A protocol that logs the id of each callback, and sends back what it receives once.
struct Logs(Ids, bool);

impl Protocol for Logs {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.0.add("made");
        if self.1 {
            transport.write(b"hello");
        }
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.0.add("data");
        if self.1 {
            transport.lose_connection()
        } else {
            transport.write(data)
        }
        Ok(())
    }

    fn connection_lost(&mut self, _: &ConnectionLost) {
        self.0.add("lost");
    }
}

#[test]
fn callbacks_of_a_protocol_have_the_context_of_the_listen_or_the_connect() {
    let (server, client) = (Ids::default(), Ids::default());
    run_until(|reactor| {
        let (accepts, connects) = (server.clone(), client.clone());
        let port =
            with_context(Id(1), || listen_tcp(reactor, "127.0.0.1:0", move |_| Logs(accepts.clone(), false)).unwrap());
        let address = port.local_addr().unwrap();
        with_context(Id(2), || connect_tcp(reactor, address, LONG, Logs(connects, true)))
            .add_callback(|transport| transport.closed())
            .add_callback(move |_| port.shut_down(LONG))
    })
    .unwrap();
    assert_eq!(server.0.take(), [("made", 1), ("data", 1), ("lost", 1)]);
    assert_eq!(client.0.take(), [("made", 2), ("data", 2), ("lost", 2)]);
}

#[test]
fn a_cancelled_future_of_spawn_is_dropped_in_its_context() {
    struct AtDrop(mpsc::Sender<u32>);
    impl Drop for AtDrop {
        fn drop(&mut self) {
            self.0.send(id()).unwrap();
        }
    }
    let (sender, ids) = mpsc::channel();
    run_until(|reactor| {
        let at_drop = AtDrop(sender);
        let spawned = with_context(Id(7), || {
            spawn(async move {
                let _at_drop = at_drop;
                std::future::pending::<Result<(), Failure>>().await
            })
        });
        let reactor = reactor.clone();
        reactor.clone().sleep(5 * MS).add_callback(move |()| {
            spawned.cancel();
            drop(spawned.add_errback(|_| Ok(())));
            reactor.sleep(5 * MS)
        })
    })
    .unwrap();
    assert_eq!(ids.recv_timeout(LONG), Ok(7));
}

#[test]
fn a_future_of_spawn_has_the_context_in_each_poll() {
    let seen = run_until(|_| {
        with_context(Id(5), || {
            spawn(async {
                let before = id();
                yield_now().await;
                Ok((before, id()))
            })
        })
    });
    assert_eq!(seen.unwrap(), (5, 5));
}
