//! Protocols that are closures, and small methods of transports.

use std::collections::HashSet;

use deferred_core::testing::Reports;
use deferred_core::{Clock, Failure};
use deferred_net::testing::{Pair, StringTransport};
use deferred_net::{ConnectionLost, Protocol, on_data, on_line};

use super::{Log, text};

#[test]
fn the_closures_are_called_in_the_order_of_a_protocol() {
    let (clock, log) = (Clock::new(), Log::default());
    let [made, received, lost] = [log.clone(), log.clone(), log.clone()];
    let protocol = on_data(move |transport, data| {
        received.note(text(data));
        transport.write("answer");
    })
    .on_made(move |_| made.note("made"))
    .on_lost(move |reason| lost.note(format!("lost: {reason}")));
    let peer = StringTransport::connect(&clock, protocol);
    peer.receive("one");
    peer.receive("two");
    peer.end();
    assert_eq!(log.take(), ["made", "one", "two", "lost: the connection was closed"]);
    assert_eq!(peer.value(), b"answeranswer");
}

#[test]
fn the_end_of_the_peer_is_a_closure_too() {
    let (clock, log) = (Clock::new(), Log::default());
    let noted = log.clone();
    let peer = StringTransport::connect(&clock, on_data(|_, _| ()).on_read_lost(move |_| noted.note("ended")));
    peer.end();
    peer.write("still open");
    peer.flush();
    assert_eq!(log.take(), ["ended"]);
    assert_eq!(peer.value(), b"still open");
    assert!(peer.lost().is_none());
    let peer =
        StringTransport::connect(&clock, on_line(|_, _| ()).on_read_lost(|transport| transport.abort_connection()));
    peer.end();
    assert!(matches!(peer.lost(), Some(ConnectionLost::Aborted)));
}

#[test]
fn an_error_of_a_closure_loses_the_connection_and_is_reported() {
    let clock = Clock::new();
    let fails = || Err::<(), _>(Failure::msg("no"));
    for (data, line) in [(true, false), (false, true), (false, false)] {
        let reports = Reports::collect();
        let peer = match (data, line) {
            (true, _) => StringTransport::connect(&clock, on_data(move |_, _| fails())),
            (_, true) => StringTransport::connect(&clock, on_line(move |_, _| fails())),
            _ => StringTransport::connect(&clock, on_data(|_, _| ()).on_made(move |_| fails())),
        };
        peer.receive("x\n");
        assert!(matches!(peer.lost(), Some(ConnectionLost::Failed(_))), "{:?}", peer.lost());
        assert_eq!(reports.take().len(), 1);
    }
}

#[test]
fn settings_of_lines_keep_the_closures() {
    let (clock, log) = (Clock::new(), Log::default());
    let [made, received, lost] = [log.clone(), log.clone(), log.clone()];
    let lines = on_line(move |_, line| received.note(text(line)))
        .on_made(move |transport| {
            made.note("made");
            transport.send_line("hello");
        })
        .max_length(3)
        .on_lost(move |_| lost.note("lost"));
    let peer = StringTransport::connect(&clock, lines);
    peer.receive("abc\r\nabcd\r\nabc\r\n");
    assert_eq!(peer.value(), b"hello\r\n");
    peer.end();
    assert_eq!(log.take(), ["made", "abc", "lost"]);
}

#[test]
fn data_is_ignored_by_default() {
    struct Nothing;
    impl Protocol for Nothing {}
    let clock = Clock::new();
    let peer = StringTransport::connect(&clock, Nothing);
    peer.receive("x");
    assert!(peer.lost().is_none());
}

#[test]
#[expect(clippy::mutable_key_type, reason = "the hash is that of the address, which does not change")]
fn transports_are_equal_if_their_connection_is_the_same() {
    let clock = Clock::new();
    let pair = Pair::connect(&clock, on_data(|_, _| ()), on_data(|_, _| ()));
    assert_eq!(pair.client, pair.client.clone());
    assert_ne!(pair.client, pair.server);
    let all: HashSet<_> = [&pair.client, &pair.server, &pair.client].into_iter().cloned().collect();
    assert_eq!(all.len(), 2);
    assert_eq!(pair.client.peer_addr().unwrap(), pair.server.local_addr().unwrap());
    assert!(pair.client.set_keepalive(None).is_err(), "there is no socket");
}
