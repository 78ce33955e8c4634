//! Ends before all data is sent, and the last writes before that of the loop.

use std::io::{ErrorKind, Read};
use std::thread;

use super::end::one;
use super::{LONG, MS, pattern, read_all};
use crate::adapter::net::{Transport, connect_tcp, on_data};
use crate::adapter::run_until;

#[test]
fn a_peer_that_does_not_get_everything_gets_a_reset_and_not_an_end() {
    /// More than the systems buffer.
    const MUCH: usize = 50_000_000;
    /// Returns the error that a peer gets which reads everything.
    fn outcome(mut stream: std::net::TcpStream) -> Option<ErrorKind> {
        thread::sleep(100 * MS); // until the connection has ended
        stream.read_to_end(&mut Vec::new()).err().map(|error| error.kind())
    }
    let cut: [fn(&Transport); 4] = [
        |transport| transport.abort_connection(),
        |transport| {
            transport.write(pattern(12_000_000));
            transport.abort_connection();
        },
        |transport| {
            transport.write(pattern(MUCH));
            transport.set_timeout(Some(20 * MS));
        },
        |transport| {
            transport.write(pattern(MUCH));
            transport.set_close_timeout(20 * MS);
            transport.lose_connection();
        },
    ];
    for (case, cut) in cut.into_iter().enumerate() {
        let (_, outcome) = one(
            move |transport, reactor| {
                let transport = transport.clone();
                reactor.call_later(5 * MS, move || cut(&transport));
            },
            outcome,
        );
        assert_eq!(outcome, Some(ErrorKind::ConnectionReset), "case {case}");
    }
    let complete: [fn(&Transport); 3] = [
        |transport| transport.lose_connection(),
        |transport| transport.set_timeout(Some(20 * MS)),
        |transport| transport.set_idle_timeout(Some(20 * MS)),
    ];
    for (case, complete) in complete.into_iter().enumerate() {
        let (_, outcome) = one(
            move |transport, _| {
                transport.write("complete");
                complete(transport);
            },
            outcome,
        );
        assert_eq!(outcome, None, "case {case}");
    }
}

#[test]
fn what_was_written_before_the_end_of_the_loop_arrives() {
    for closes in [false, true] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let reads = thread::spawn(move || read_all(listener.accept().unwrap().0));
        run_until(|reactor| {
            connect_tcp(reactor, address, LONG, on_data(|_, _| ())).map(move |transport| {
                transport.write("bye");
                if closes {
                    transport.lose_connection();
                }
            })
        })
        .unwrap();
        assert_eq!(reads.join().unwrap(), b"bye", "closes: {closes}");
    }
}
