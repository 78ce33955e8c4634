//! TLS that starts in the middle of a connection, in memory.

use std::cell::RefCell;
use std::io::Read;
use std::rc::Rc;

use deferred_core::testing::Reports;
use deferred_net::tls::rustls::{ClientConnection, ServerConnection};

use super::super::{LONG, Log, MS, pattern};
use super::{localhost, server, trusting};
use crate::adapter::net::testing::{Pair, StringTransport};
use crate::adapter::net::{
    ConnectionLost, FrameProtocol, Framed, Framing, LineProtocol, Lines, Transport, connect_tcp, on_data, on_line,
};
use crate::adapter::{Clock, Failure, run_until};

/// A server of lines that starts TLS on request.
struct StartsTls(Log);

impl LineProtocol for StartsTls {
    fn line_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
        self.0.note(format!("{}: {}", if transport.is_tls() { "tls" } else { "plain" }, String::from_utf8_lossy(line)));
        transport.send_line([b"you said ", line].concat());
        if line == b"STARTTLS" {
            transport.start_tls(ServerConnection::new(server())?)?;
        }
        Ok(())
    }

    fn connection_lost(&mut self, reason: &ConnectionLost) {
        self.0.note(format!("lost: {reason}"));
    }
}

#[test]
fn tls_starts_in_the_middle_after_what_was_written_before() {
    let (log, answers) = (Log::default(), Log::default());
    let clock = Clock::new();
    let noted = answers.clone();
    let client = on_line(move |transport, line| {
        noted.note(format!("{}: {}", if transport.is_tls() { "tls" } else { "plain" }, String::from_utf8_lossy(line)));
        if line == b"you said STARTTLS" {
            transport.start_tls(ClientConnection::new(trusting(), localhost()).unwrap()).unwrap();
            transport.send_line("secret");
            transport.lose_write_connection();
        }
    })
    .on_made(|transport| transport.send_line("hello"));
    let pair = Pair::connect(&clock, client, Lines::new(StartsTls(log.clone())));
    pair.client.send_line("STARTTLS");
    pair.flush();
    assert_eq!(log.take(), ["plain: hello", "plain: STARTTLS", "tls: secret", "lost: the connection was closed"]);
    assert_eq!(answers.take(), ["plain: you said hello", "plain: you said STARTTLS", "tls: you said secret"]);
    assert!(matches!(pair.client.lost(), Some(ConnectionLost::Done)));
}

#[test]
fn the_end_of_the_handshake_fires_what_waits_for_it() {
    let clock = Clock::new();
    let pair = Pair::connect(&clock, on_data(|_, _| ()), on_data(|_, _| ()));
    let session = || ClientConnection::new(trusting(), localhost()).unwrap();
    assert!(pair.client.secured().try_take().unwrap().is_err(), "it was not started");
    pair.client.start_tls(session()).unwrap();
    assert!(pair.client.start_tls(session()).unwrap_err().to_string().contains("already started"));
    pair.server.start_tls(ServerConnection::new(server()).unwrap()).unwrap();
    let (client, server) = (pair.client.secured(), pair.server.secured());
    pair.flush();
    client.try_take().unwrap().unwrap();
    server.try_take().unwrap().unwrap();
    pair.client.secured().try_take().unwrap().unwrap();
    pair.client.abort_connection();
    pair.flush();
    assert!(pair.client.start_tls(session()).is_err());
    assert!(pair.client.secured().try_take().unwrap().unwrap_err().check::<ConnectionLost>());

    let pair = Pair::connect(&clock, on_data(|_, _| ()), on_data(|_, _| ()));
    pair.client.start_tls(session()).unwrap();
    let waits = pair.client.secured();
    pair.server.write(b"not a handshake");
    pair.flush();
    let failure = waits.try_take().unwrap().unwrap_err();
    assert!(failure.check::<ConnectionLost>(), "{failure}");
}

#[test]
fn lines_that_follow_the_request_for_tls_are_not_trusted() {
    let clock = Clock::new();
    for attack in ["STARTTLS\r\nMAIL FROM", "STARTTLS\r\nMAIL FROM:<x>\r\n"] {
        let log = Log::default();
        let reports = Reports::collect();
        let peer = StringTransport::connect(&clock, Lines::new(StartsTls(log.clone())));
        peer.receive(attack);
        let log = log.take();
        assert_eq!(log[..1], ["plain: STARTTLS"]);
        assert!(log[1].contains("are not encrypted"), "{log:?}");
        assert!(reports.take().is_empty(), "it is no defect of the server");
    }
}

#[test]
fn pieces_of_any_size_give_the_same_data() {
    let clock = Clock::new();
    let mut random = 1_u64;
    let mut next = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for _ in 0..20 {
        let received = Rc::new(RefCell::new(Vec::new()));
        let all = received.clone();
        let receives = on_data(move |_, data| all.borrow_mut().extend_from_slice(data));
        let pair = Pair::connect(&clock, on_data(|_, _| ()), receives);
        pair.client.start_tls(ClientConnection::new(trusting(), localhost()).unwrap()).unwrap();
        pair.server.start_tls(ServerConnection::new(server()).unwrap()).unwrap();
        let sent = pattern(next(200_000));
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(next(rest.len().min(40_000)) + 1);
            rest = more;
            pair.client.write(piece);
            match next(3) {
                0 => pair.flush(),
                1 => pair.server.pause_producing(),
                _ => pair.server.resume_producing(),
            }
        }
        pair.server.resume_producing();
        pair.flush();
        assert!(*received.borrow() == sent);
    }
}

/// Two connections in memory, on both of which TLS was requested.
fn secured<'c>(clock: &'c Clock, log: &Log) -> Pair<'c> {
    let noted = log.clone();
    let protocol = move |name: &'static str| {
        let [data, lost] = [noted.clone(), noted.clone()];
        on_data(move |_, received| data.note(format!("{name}: {}", String::from_utf8_lossy(received))))
            .on_lost(move |reason| lost.note(format!("{name} lost: {reason}")))
    };
    let pair = Pair::connect(clock, protocol("client"), protocol("server"));
    pair.client.start_tls(ClientConnection::new(trusting(), localhost()).unwrap()).unwrap();
    pair.server.start_tls(ServerConnection::new(server()).unwrap()).unwrap();
    pair
}

#[test]
fn a_half_close_in_the_handshake_follows_it() {
    let (clock, log) = (Clock::new(), Log::default());
    let pair = secured(&clock, &log);
    pair.server.lose_write_connection();
    pair.client.write("secret");
    pair.flush();
    let mut log = log.take();
    log.sort();
    assert_eq!(log[1..], ["server lost: the connection was closed", "server: secret"]);
}

#[test]
fn a_handshake_that_does_not_end_is_limited() {
    let (clock, log) = (Clock::new(), Log::default());
    let noted = log.clone();
    let peer = StringTransport::connect(
        &clock,
        on_data(|_, _| ()).on_lost(move |reason| noted.note(format!("lost: {reason}"))),
    );
    peer.write(vec![0; 100]);
    peer.set_high_water(10);
    peer.write("more");
    let drained = peer.drained();
    peer.start_tls(ClientConnection::new(trusting(), localhost()).unwrap()).unwrap();
    peer.flush();
    assert!(drained.try_take().unwrap().is_ok(), "all that precedes it is sent");
    clock.advance(30_000 * MS);
    peer.flush();
    assert_eq!(log.take(), ["lost: the timeout of 30s has elapsed"]);
}

#[test]
fn the_last_answer_is_received_although_a_write_fails() {
    let (clock, log) = (Clock::new(), Log::default());
    let pair = secured(&clock, &log);
    pair.flush();
    pair.client.pause_producing();
    pair.server.write("413 too large");
    pair.flush();
    pair.server.abort_connection();
    pair.flush();
    log.take();
    pair.client.resume_producing();
    pair.client.write("much more");
    pair.flush();
    let log = log.take();
    assert_eq!(log[0], "client: 413 too large", "{log:?}");
}

/// A protocol that starts TLS a moment after it was asked for, while reading is paused.
struct StartsLater(Log);

impl StartsLater {
    fn received(&self, transport: &Transport, data: &[u8]) {
        self.0.note(String::from_utf8_lossy(data));
        if data == b"STARTTLS" {
            transport.pause_producing();
            let later = transport.clone();
            transport.reactor().call_later(MS, move || {
                later.start_tls(ServerConnection::new(server()).unwrap()).unwrap();
                later.resume_producing();
            });
        }
    }
}

impl LineProtocol for StartsLater {
    fn line_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
        self.received(transport, line);
        Ok(())
    }
}

impl FrameProtocol for StartsLater {
    fn frame_received(&mut self, transport: &Transport, frame: &[u8]) -> Result<(), Failure> {
        self.received(transport, frame);
        Ok(())
    }
}

#[test]
fn data_that_waits_when_tls_starts_is_not_trusted() {
    let clock = Clock::new();
    for frames in [false, true] {
        let log = Log::default();
        let peer = if frames {
            StringTransport::connect(&clock, Framed::new(Framing::Netstring, StartsLater(log.clone())))
        } else {
            StringTransport::connect(&clock, Lines::new(StartsLater(log.clone())))
        };
        peer.receive(if frames { "8:STARTTLS,4:EVIL," } else { "STARTTLS\r\nEVIL\r\n" });
        clock.advance(MS);
        peer.flush();
        assert_eq!(log.take(), ["STARTTLS"]);
        let lost = peer.lost().map(|lost| lost.to_string()).unwrap_or_default();
        assert!(lost.contains("are not encrypted"), "{lost}");
    }
}

#[test]
fn data_for_tls_is_not_sent_in_plain_text_at_the_end_of_the_loop() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let received = std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = listener.accept().unwrap().0.read_to_end(&mut all);
        all
    });
    run_until(|reactor| {
        connect_tcp(reactor, address, LONG, on_data(|_, _| ())).map(|transport| {
            transport.write("STARTTLS");
            transport.start_tls(ClientConnection::new(trusting(), localhost()).unwrap()).unwrap();
            transport.write("a secret");
        })
    })
    .unwrap();
    let received = received.join().unwrap();
    assert!(!received.windows(8).any(|window| window == b"a secret"), "{received:?}");
}
