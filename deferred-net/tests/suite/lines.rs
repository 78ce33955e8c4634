//! `Lines`, which splits the received bytes into lines.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::adapter::net::{ConnectionLost, LineProtocol, Lines, Protocol, Transport};
use crate::adapter::{Failure, run_until, spawn, unblock};

use super::{LONG, Log, MS, client, listen, read_all};

/// Logs the lines, and runs the commands among them.
struct RunsCommands(Log);

impl LineProtocol for RunsCommands {
    fn line_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
        let line = std::str::from_utf8(line)?;
        self.0.note(line);
        match line {
            "pause" => {
                transport.pause_producing();
                let (later, log) = (transport.clone(), self.0.clone());
                transport.reactor().call_later(5 * MS, move || {
                    log.note("(resumed)");
                    later.resume_producing();
                });
            }
            "end" => transport.lose_connection(),
            _ => {}
        }
        Ok(())
    }

    fn line_length_exceeded(&mut self, transport: &Transport, length: usize) -> Result<(), Failure> {
        self.0.note(format!("(too long: {length})"));
        if length > 20 {
            transport.lose_connection();
        }
        Ok(())
    }
}

/// Counts the received bytes.
struct Counts<P>(P, Arc<AtomicUsize>);

impl<P: Protocol> Protocol for Counts<P> {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        let result = self.0.data_received(transport, data);
        self.1.fetch_add(data.len(), Ordering::SeqCst);
        result
    }

    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.0.reading_resumed(transport)
    }
}

/// Returns the log after `pieces` were sent, each of which arrives in a separate read unless
/// reading is paused.
fn lines_of(pieces: &[&[u8]]) -> Vec<String> {
    let log = Log::default();
    let noted = log.clone();
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let arrived = Arc::new(AtomicUsize::new(0));
    run_until(|reactor| {
        let count = arrived.clone();
        let (port, address) =
            listen(reactor, move |_| Counts(Lines::new(RunsCommands(noted.clone())).max_length(10), count.clone()));
        let talks = client(address, move |mut stream| {
            let mut sent = 0;
            for piece in pieces {
                if stream.write_all(&piece).is_err() {
                    break;
                }
                sent += piece.len();
                for _ in 0..200 {
                    if arrived.load(Ordering::SeqCst) == sent {
                        break;
                    }
                    std::thread::sleep(MS);
                }
            }
            let _ = stream.shutdown(std::net::Shutdown::Write);
            read_all(stream)
        });
        spawn(async move { Ok(unblock(|| talks.join().unwrap()).await) }).add_callback(move |_| port.closed())
    })
    .unwrap();
    log.take()
}

#[test]
fn lines_end_with_a_newline_and_a_carriage_return_before_it_is_removed() {
    assert_eq!(lines_of(&[b"one\ntwo\r\n\n\r\nfi\rve\n"]), ["one", "two", "", "", "fi\rve"]);
    assert_eq!(lines_of(&[b"o", b"n", b"e\r", b"\ntwo", b"\nno end"]), ["one", "two"]);
}

#[test]
fn a_line_may_have_the_maximum_length_and_no_more() {
    assert_eq!(lines_of(&[b"0123456789\r\nnext\n"]), ["0123456789", "next"]);
    assert_eq!(lines_of(&[b"0123456789", b"\r", b"\nnext\n"]), ["0123456789", "next"]);
    assert_eq!(lines_of(&[b"0123456789a\nnext\n"]), ["(too long: 11)", "next"]);
    // A line without an end is not buffered.
    assert_eq!(lines_of(&[b"0123456789abcdefghijklmnop", b"qrstuvwxyz\nnext\n"]), ["(too long: 26)"]);
    assert_eq!(lines_of(&[b"0123456789ab", b"cd\nnext\n"]), ["(too long: 12)", "cd", "next"]);
}

#[test]
fn while_reading_is_paused_no_buffered_line_is_delivered() {
    let expected = ["one", "pause", "(resumed)", "two", "pause", "(resumed)", "three"];
    assert_eq!(lines_of(&[b"one\npause\ntwo\npause\nthree\n"]), expected);
    assert_eq!(lines_of(&[b"one\npause\ntw", b"o\npause\nthree", b"\n"]), expected);
}

#[test]
fn after_the_end_no_line_is_delivered() {
    assert_eq!(lines_of(&[b"one\nend\ntwo\n", b"three\n"]), ["one", "end"]);
}

#[test]
fn lines_are_the_same_however_the_bytes_are_split() {
    struct Collects(Rc<RefCell<Vec<Vec<u8>>>>);
    impl LineProtocol for Collects {
        fn line_received(&mut self, _: &Transport, line: &[u8]) -> Result<(), Failure> {
            self.0.borrow_mut().push(line.to_vec());
            Ok(())
        }
    }
    let mut random = 7_u64;
    let mut next = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let lines: Vec<Vec<u8>> = (0..3000).map(|_| (0..next(90)).map(|_| b'a' + next(26) as u8).collect()).collect();
    let text: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\r\n"[..]].concat()).collect();
    let mut cuts: Vec<usize> = (0..300).map(|_| next(text.len())).collect();
    cuts.sort_unstable();
    let received = Rc::new(RefCell::new(Vec::new()));
    let collects = received.clone();
    run_until(|reactor| {
        let (port, address) = listen(reactor, move |_| Lines::new(Collects(collects.clone())));
        let talks = client(address, move |mut stream| {
            stream.set_nodelay(true).unwrap();
            let mut from = 0;
            for to in cuts.into_iter().chain([text.len()]) {
                stream.write_all(&text[from..to]).unwrap();
                from = to;
                if from % 5 == 0 {
                    std::thread::sleep(MS / 10);
                }
            }
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            read_all(stream)
        });
        spawn(async move { Ok(unblock(|| talks.join().unwrap()).await) })
            .add_callback(move |_| port.closed())
            .add_timeout(LONG, reactor)
    })
    .unwrap();
    assert!(*received.borrow() == lines);
}

#[test]
fn many_lines_with_a_pause_after_each_arrive_in_order() {
    struct Pauses(Rc<RefCell<Vec<usize>>>);
    impl LineProtocol for Pauses {
        fn line_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
            self.0.borrow_mut().push(std::str::from_utf8(line)?.parse()?);
            transport.pause_producing();
            let later = transport.clone();
            transport.reactor().call_later(MS / 1000, move || later.resume_producing());
            Ok(())
        }
    }
    let got = Rc::<RefCell<Vec<usize>>>::default();
    let lines = got.clone();
    run_until(|reactor| {
        let (port, address) = listen(reactor, move |_| Lines::new(Pauses(lines.clone())));
        let talks = client(address, |mut stream| {
            (0..3000).for_each(|number| writeln!(stream, "{number}").unwrap());
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            read_all(stream)
        });
        spawn(async move { Ok(unblock(|| talks.join().unwrap()).await) }).map(|_| drop(port))
    })
    .unwrap();
    assert_eq!(*got.borrow(), (0..3000).collect::<Vec<_>>());
}

#[test]
fn by_default_a_line_of_more_than_16_kib_loses_the_connection() {
    struct Plain(Log);
    impl LineProtocol for Plain {
        fn line_received(&mut self, _: &Transport, line: &[u8]) -> Result<(), Failure> {
            self.0.note(line.len().to_string());
            Ok(())
        }
    }
    let log = Log::default();
    let noted = log.clone();
    run_until(|reactor| {
        let (port, address) = listen(reactor, move |_| Lines::new(Plain(noted.clone())));
        let talks = client(address, |mut stream| {
            for length in [16_384, 16_385] {
                stream.write_all(&vec![b'x'; length]).unwrap();
                stream.write_all(b"\nnext\n").unwrap();
            }
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            read_all(stream)
        });
        spawn(async move { Ok(unblock(|| talks.join().unwrap()).await) }).add_callback(move |_| port.closed())
    })
    .unwrap();
    assert_eq!(log.take(), ["16384", "4"]);
}

#[test]
fn a_line_protocol_has_connection_made_and_connection_lost() {
    struct Greets(Log);
    impl LineProtocol for Greets {
        fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
            transport.write(b"hello\r\n");
            Ok(())
        }
        fn line_received(&mut self, transport: &Transport, _: &[u8]) -> Result<(), Failure> {
            transport.abort_connection();
            Ok(())
        }
        fn connection_lost(&mut self, reason: &ConnectionLost) {
            self.0.note(reason.to_string());
        }
    }
    let log = Log::default();
    let noted = log.clone();
    run_until(|reactor| {
        let (port, address) = listen(reactor, move |_| Lines::new(Greets(noted.clone())));
        let talks = client(address, |mut stream| {
            let mut greeting = [0; 7];
            stream.read_exact(&mut greeting).unwrap();
            stream.write_all(b"goodbye\n").unwrap();
            greeting
        });
        spawn(async move { Ok(unblock(|| talks.join().unwrap()).await) }).add_callback(move |greeting| {
            assert_eq!(&greeting, b"hello\r\n");
            port.closed()
        })
    })
    .unwrap();
    assert_eq!(log.take(), ["the connection was aborted"]);
}
