//! Writes to a process, and collects its answer.

use std::process::{Command, ExitStatus};

use deferred_mio::net::process::{ProcessProtocol, ProcessTransport, spawn_process};
use deferred_mio::{Failure, Reactor, run};

struct WordCount {
    reactor: Reactor,
    verses: u32,
    data: String,
}

impl ProcessProtocol for WordCount {
    fn process_started(&mut self, process: &ProcessTransport) -> Result<(), Failure> {
        for _ in 0..self.verses {
            process.write("aleph-null bottles of beer on the wall,\n");
            process.write("aleph-null bottles of beer,\n");
            process.write("take one down and pass it around,\n");
            process.write("aleph-null bottles of beer on the wall.\n");
        }
        process.close_stdin();
        Ok(())
    }

    fn out_received(&mut self, _: &ProcessTransport, data: &[u8]) -> Result<(), Failure> {
        self.data.push_str(std::str::from_utf8(data)?);
        Ok(())
    }

    fn out_connection_lost(&mut self, _: &ProcessTransport) -> Result<(), Failure> {
        let mut counts = self.data.split_whitespace();
        let (lines, words) = (counts.next().unwrap_or("none"), counts.next().unwrap_or("none"));
        println!("lines: {lines} words: {words}");
        Ok(())
    }

    fn process_ended(&mut self, status: Option<ExitStatus>) {
        println!("exited, status {}", status.and_then(|status| status.code()).unwrap_or(-1));
        self.reactor.stop();
    }
}

fn main() -> std::io::Result<()> {
    run(|reactor| {
        let protocol = WordCount { reactor: reactor.clone(), verses: 10, data: String::new() };
        spawn_process(reactor, Command::new("wc"), protocol)
    })
    .map(drop)
}
