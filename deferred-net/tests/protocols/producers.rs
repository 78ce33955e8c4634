//! Producers that end, are replaced, or fail, on connections in memory.

use std::io::{self, Read};
use std::rc::Rc;
use std::sync::mpsc;

use deferred_core::Clock;
use deferred_core::testing::{Reports, success_result_of};
use deferred_net::testing::StringTransport;
use deferred_net::{ConnectionLost, Producer, Transport, on_data};

use super::{Log, SECOND};

fn open(clock: &Clock) -> StringTransport<'_> {
    StringTransport::connect(clock, on_data(|_, _| ()))
}

/// Notes what is called.
struct Notes(Log, &'static str);

impl Producer for Notes {
    fn pause_producing(&self) {
        self.0.note(format!("{} paused", self.1));
    }

    fn resume_producing(&self) {
        self.0.note(format!("{} resumed", self.1));
    }

    fn stop_producing(&self) {
        self.0.note(format!("{} stopped", self.1));
    }
}

#[test]
fn a_connection_that_ends_as_a_producer_lets_the_other_one_end() {
    let ends: [fn(&StringTransport<'_>); 5] = [
        |producer| producer.end(),
        |producer| producer.reset(),
        |producer| producer.lose_connection(),
        |producer| producer.abort_connection(),
        |producer| producer.stop_producing(),
    ];
    for (case, end) in ends.into_iter().enumerate() {
        for half in [false, true] {
            let clock = Clock::new();
            let (to, from) = (open(&clock), open(&clock));
            to.register_producer(Transport::clone(&from));
            if half {
                to.lose_write_connection()
            } else {
                to.lose_connection()
            }
            to.flush();
            assert!(!to.has_ended(), "its producer may still write");
            end(&from);
            to.flush();
            assert!(to.has_ended(), "end {case}, half: {half}");
        }
    }
}

#[test]
fn a_paused_producer_that_is_replaced_is_resumed() {
    let (clock, log) = (Clock::new(), Log::default());
    let peer = open(&clock);
    peer.set_reading(false);
    peer.register_producer(Notes(log.clone(), "first"));
    peer.write(vec![0; 100_000]);
    peer.register_producer(Notes(log.clone(), "second"));
    assert_eq!(log.take(), ["first paused", "first resumed"]);
    peer.write([0]);
    peer.set_reading(true);
    peer.flush();
    peer.abort_connection();
    peer.flush();
    assert_eq!(log.take(), ["second paused", "second resumed", "second stopped"]);
}

#[test]
fn a_higher_mark_resumes_what_waits() {
    let (clock, log) = (Clock::new(), Log::default());
    let peer = open(&clock);
    peer.set_reading(false);
    peer.register_producer(Notes(log.clone(), "it"));
    peer.write(vec![0; 100_000]);
    let mut drained = peer.drained();
    peer.flush();
    assert!(drained.peek().is_none());
    peer.set_high_water(1 << 20);
    peer.flush();
    assert_eq!(log.take(), ["it paused", "it resumed"]);
    success_result_of(drained);
    success_result_of(peer.drained());
}

/// Panics when it is paused, or when it is resumed.
struct Panics(bool);

impl Producer for Panics {
    fn pause_producing(&self) {
        assert!(!self.0, "a defect");
    }

    fn resume_producing(&self) {
        panic!("a defect");
    }
}

#[test]
fn a_producer_that_panics_loses_the_connection_and_not_the_caller() {
    for in_write in [true, false] {
        let clock = Clock::new();
        let reports = Reports::collect();
        let peer = open(&clock);
        peer.set_reading(false);
        peer.register_producer(Panics(in_write));
        peer.write(vec![0; 100_000]);
        if !in_write {
            peer.register_producer(Notes(Log::default(), "second"));
        }
        peer.flush();
        assert!(matches!(peer.lost(), Some(ConnectionLost::Failed(_))), "{:?}", peer.lost());
        assert!(reports.take()[0].contains("a defect"));
    }
}

/// A file whose bytes the test provides.
struct Fed(mpsc::Receiver<Vec<u8>>);

impl Read for Fed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Ok(bytes) = self.0.recv() else { return Ok(0) };
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

#[test]
fn two_files_are_sent_one_after_the_other() {
    let clock = Clock::new();
    let peer = open(&clock);
    let (bytes, file) = mpsc::channel();
    let first = peer.send_file(Fed(file));
    let second = peer.send_file(&b"second"[..]);
    peer.lose_connection();
    peer.flush();
    bytes.send(b"first, ".to_vec()).unwrap();
    bytes.send(b"slowly, ".to_vec()).unwrap();
    drop(bytes);
    assert_eq!(super::streams::wait(&peer, first).unwrap(), 15);
    assert_eq!(super::streams::wait(&peer, second).unwrap(), 6);
    peer.flush();
    assert_eq!(peer.value(), b"first, slowly, second");
    assert!(peer.has_ended());
}

#[test]
fn a_file_does_not_replace_a_producer() {
    let (clock, log) = (Clock::new(), Log::default());
    let peer = open(&clock);
    let mine = Rc::new(Notes(log.clone(), "mine"));
    peer.register_producer(mine.clone());
    let failure = super::streams::wait(&peer, peer.send_file(&b"x"[..])).unwrap_err();
    assert_eq!(failure.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::ResourceBusy, "{failure}");
    peer.abort_connection();
    peer.flush();
    assert_eq!(log.take(), ["mine stopped"]);

    // A producer that is registered meanwhile stays.
    let peer = open(&clock);
    let (bytes, file) = mpsc::channel();
    let sends = peer.send_file(Fed(file));
    peer.register_producer(mine);
    drop(bytes);
    assert_eq!(super::streams::wait(&peer, sends).unwrap(), 0);
    clock.advance(SECOND);
    peer.abort_connection();
    peer.flush();
    assert_eq!(log.take(), ["mine stopped"]);
}
