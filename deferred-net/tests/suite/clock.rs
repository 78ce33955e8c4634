//! Connections of a reactor with manual time.

use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use super::{Echo, LONG, client, listen, pattern, read_all};
use crate::adapter::{Clock, net, without_driver};

#[test]
fn a_clock_serves_connections_when_it_is_advanced() {
    without_driver(|pause| {
        let clock = Clock::new();
        net::install(&clock);
        let (port, address) = listen(&clock, |_| Echo);
        let sent = pattern(3_000_000);
        let expected = sent.clone();
        let talks = client(address, move |mut stream| {
            let reader = stream.try_clone().unwrap();
            let reads = thread::spawn(move || read_all(reader));
            stream.write_all(&sent).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            reads.join().unwrap()
        });
        let begun = Instant::now();
        while !talks.is_finished() || !port.is_empty() {
            assert!(begun.elapsed() < LONG, "no data arrived");
            clock.advance(Duration::from_micros(1));
            pause(&clock);
        }
        assert!(talks.join().unwrap() == expected);
    });
}
