//! A server that streams numbers, as fast as its client reads.

use std::cell::Cell;
use std::env;
use std::rc::Rc;

use deferred_mio::net::{Producer, Transport, on_line};
use deferred_mio::{Failure, serve};

struct Numbers {
    transport: Transport,
    goal: u64,
    produced: Cell<u64>,
    paused: Cell<bool>,
}

impl Producer for Numbers {
    fn pause_producing(&self) {
        self.paused.set(true);
    }

    fn resume_producing(&self) {
        self.paused.set(false);
        while !self.paused.get() && self.produced.get() != self.goal {
            let produced = self.produced.replace(self.produced.get() + 1);
            self.transport.send_line((produced * 7919 % 10007).to_string());
        }
        if self.produced.get() == self.goal {
            self.transport.unregister_producer();
            self.transport.lose_connection();
        }
    }

    fn stop_producing(&self) {
        self.produced.set(self.goal);
    }
}

fn main() -> Result<(), Failure> {
    let port = env::args().nth(1).unwrap_or_default();
    serve(format!("127.0.0.1:{port}"), |_| {
        on_line(|transport, line| {
            let goal = std::str::from_utf8(line)?.trim().parse()?;
            let (produced, paused) = (Cell::new(0), Cell::new(true));
            let numbers = Rc::new(Numbers { transport: transport.clone(), goal, produced, paused });
            transport.register_producer(numbers.clone());
            numbers.resume_producing();
            Ok(())
        })
        .on_made(|transport| transport.send_line("How many numbers do you want?"))
    })
}
