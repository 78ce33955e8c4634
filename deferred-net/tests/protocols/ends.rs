//! The ends of the two sides, on connections in memory.

use deferred_core::Clock;
use deferred_net::testing::{Pair, StringTransport};
use deferred_net::{ConnectionLost, Producer, Protocol, Transport, on_data};

use super::{Log, SECOND, text};

/// Stays open when the peer has ended its side.
struct Stays(Log);

impl Protocol for Stays {
    fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), deferred_core::Failure> {
        self.0.note(text(data));
        Ok(())
    }

    fn read_connection_lost(&mut self, _: &Transport) -> Result<(), deferred_core::Failure> {
        self.0.note("ended");
        Ok(())
    }

    fn connection_lost(&mut self, reason: &ConnectionLost) {
        self.0.note(format!("lost: {reason}"));
    }
}

#[test]
fn lose_write_connection_ends_one_side_after_what_was_written() {
    let (clock, log) = (Clock::new(), Log::default());
    let peer = StringTransport::connect(&clock, Stays(log.clone()));
    peer.set_reading(false);
    peer.write("last words");
    peer.lose_write_connection();
    peer.lose_write_connection();
    peer.write("too late");
    peer.flush();
    assert!(!peer.has_ended(), "the peer has not read");
    peer.set_reading(true);
    assert!(peer.has_ended());
    assert_eq!(peer.take_value(), b"last words");
    peer.receive("answer");
    clock.advance(100 * SECOND);
    peer.receive("another");
    peer.end();
    assert_eq!(log.take(), ["answer", "another", "ended", "lost: the connection was closed"]);
    assert!(matches!(peer.lost(), Some(ConnectionLost::Done)));
    assert!(clock.delayed_calls().is_empty());
}

#[test]
fn both_sides_can_end_in_any_order() {
    for order in 0..4 {
        let (clock, log) = (Clock::new(), Log::default());
        let pair = Pair::connect(&clock, Stays(log.clone()), Stays(log.clone()));
        for side in [order & 1, order >> 1] {
            let transport = if side == 0 { &pair.client } else { &pair.server };
            transport.write("x");
            transport.lose_write_connection();
            pair.flush();
        }
        let both = order == 1 || order == 2;
        assert_eq!(pair.client.lost().is_some(), both, "order {order}");
        let expected: &[&str] = if both {
            &["x", "ended", "x", "ended", "lost: the connection was closed", "lost: the connection was closed"]
        } else {
            &["x", "ended"]
        };
        let mut log = log.take();
        log.sort_by_key(|line| (line.starts_with("lost"), 0));
        assert_eq!(log, expected, "order {order}");
    }
}

#[test]
fn lose_connection_after_lose_write_connection_waits_for_the_peer_shortly() {
    let (clock, log) = (Clock::new(), Log::default());
    let peer = StringTransport::connect(&clock, Stays(log.clone()));
    peer.lose_write_connection();
    peer.flush();
    peer.lose_connection();
    peer.receive("ignored");
    assert!(peer.lost().is_none());
    clock.advance(2 * SECOND);
    peer.flush();
    assert!(matches!(peer.lost(), Some(ConnectionLost::Done)));
    assert_eq!(log.take(), ["lost: the connection was closed"]);
}

/// Ends a connection.
type End = fn(&StringTransport<'_>);

#[test]
fn the_reason_of_a_loss_is_what_waits_gets() {
    let clock = Clock::new();
    let ends: [(End, &str); 4] = [
        (|peer| peer.end(), "Done"),
        (|peer| peer.reset(), "Io"),
        (|peer| peer.abort_connection(), "Aborted"),
        (|peer| peer.set_timeout(Some(SECOND)), "TimedOut"),
    ];
    for (end, expected) in ends {
        let peer = StringTransport::connect(&clock, on_data(|_, _| ()));
        let before = peer.closed();
        peer.set_reading(false);
        peer.write([0; 100_000]);
        let drained = peer.drained();
        if expected == "Done" {
            peer.set_reading(true);
        }
        end(&peer);
        peer.flush();
        clock.advance(SECOND);
        peer.flush();
        let reasons = [before, peer.closed()].map(|closed| format!("{:?}", closed.try_take().unwrap().unwrap()));
        for reason in reasons {
            assert!(reason.starts_with(expected), "{reason}");
        }
        let drained = drained.try_take().unwrap();
        assert_eq!(drained.is_ok(), expected == "Done");
        if let Err(failure) = drained {
            assert!(format!("{:?}", failure.downcast::<ConnectionLost>().unwrap()).starts_with(expected));
            assert!(peer.drained().try_take().unwrap().unwrap_err().check::<ConnectionLost>());
        }
    }
}

/// Writes pieces when it is resumed, and unregisters after the last.
struct Pieces(Transport, std::cell::Cell<u32>);

impl Producer for Pieces {
    fn pause_producing(&self) {}

    fn resume_producing(&self) {
        self.0.write("piece");
        self.1.set(self.1.get() - 1);
        if self.1.get() == 0 {
            self.0.unregister_producer();
        }
    }
}

#[test]
fn an_end_that_was_requested_before_that_of_the_loop_keeps_its_reason() {
    let clock = Clock::new();
    let peer = StringTransport::connect(&clock, on_data(|_, _| ()));
    let transport = Transport::clone(&peer);
    drop(peer);
    transport.abort_connection();
    drop(clock);
    assert!(matches!(transport.lost(), Some(ConnectionLost::Aborted)), "{:?}", transport.lost());
}

#[test]
fn both_ends_wait_for_a_producer() {
    for half in [false, true] {
        let clock = Clock::new();
        let peer = StringTransport::connect(&clock, on_data(|_, _| ()));
        peer.register_pull_producer(Pieces(peer.clone(), 3.into()));
        if half {
            peer.lose_write_connection()
        } else {
            peer.lose_connection()
        }
        peer.flush();
        assert_eq!(peer.value(), b"piecepiecepiece", "half: {half}");
        assert!(peer.has_ended());
    }
}

#[test]
fn the_close_timeout_does_not_count_while_a_producer_has_nothing_to_send() {
    let clock = Clock::new();
    let peer = StringTransport::connect(&clock, on_data(|_, _| ()));
    peer.register_producer(Pieces(peer.clone(), 1.into()));
    peer.lose_connection();
    for _ in 0..100 {
        peer.write("x");
        peer.flush();
        clock.advance(SECOND);
        peer.flush();
    }
    assert!(peer.lost().is_none(), "{:?}", peer.lost());
    // The peer does not read.
    peer.set_reading(false);
    peer.write("x");
    peer.flush();
    clock.advance(30 * SECOND);
    peer.flush();
    assert!(matches!(peer.lost(), Some(ConnectionLost::CloseTimedOut(_))), "{:?}", peer.lost());
}

#[test]
fn a_connection_that_is_a_producer_holds_another_one_only_until_its_peer_has_ended() {
    // An echo server, whose connections are their own producers.
    let clock = Clock::new();
    let echo = on_data(|transport, data| transport.write(data))
        .on_made(|transport| transport.register_producer(transport.clone()));
    let peer = StringTransport::connect(&clock, echo);
    peer.receive("hello");
    peer.end();
    assert_eq!(peer.value(), b"hello");
    assert!(matches!(peer.lost(), Some(ConnectionLost::Done)), "{:?}", peer.lost());

    // A proxy.
    let (from, to) = (
        StringTransport::connect(&clock, Stays(Log::default())),
        StringTransport::connect(&clock, Stays(Log::default())),
    );
    to.register_producer(from.clone());
    to.lose_connection();
    to.flush();
    assert!(!to.has_ended());
    to.write("the rest");
    to.flush();
    assert!(!to.has_ended());
    from.end();
    to.flush();
    assert_eq!(to.value(), b"the rest");
    assert!(to.has_ended());
}
