//! A server that ends well: it takes no one new, lets those who are being served have their
//! answers, tells everyone, and gives up after a deadline.
//!
//! ```text
//! cargo run --example graceful_shutdown                 by itself, after a second
//! cargo run --example graceful_shutdown -- --forever    at Ctrl-C; try `nc` with the address that it prints
//! ```
//!
//! A client sends how many milliseconds its work takes, on a line, and gets a line when that is
//! done. When the loop is to stop, whoever stops it, three clients are there: one whose work is
//! done in time, one whose work is not, and one that asks for nothing. The pieces are
//! [`Phase::Before`], which the loop waits for; a [`Gate`], through which all work goes and which
//! knows when none is left; and [`Port::shut_down`], which lets the connections go.

use std::process::ExitCode;
use std::time::Duration;

use deferred_examples::{Story, forever};
use deferred_smol::net::{ConnectionLost, LineProtocol, Lines, Port, Protocol, Transport, connect_tcp, listen_tcp};
use deferred_smol::{CancelHandle, Deferred, Failure, Gate, Phase, Reactor, SystemEvent, inline_callbacks, react};

/// How long work that has begun may still take.
const DEADLINE: Duration = Duration::from_secs(1);

/// Who serves one client.
struct Work {
    story: Story,
    gate: Gate,
    /// Its last piece of work.
    busy: Option<CancelHandle>,
}

impl LineProtocol for Work {
    fn line_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
        let millis: u64 = std::str::from_utf8(line)?.trim().parse()?;
        transport.pause_producing(); // one piece after the other
        let reactor = transport.reactor().clone();
        let work = self.gate.run(move || reactor.sleep(Duration::from_millis(millis)));
        let (answers, story) = (transport.clone(), self.story);
        let mut work = work.add_both(move |result| -> Result<(), Failure> {
            match result {
                Ok(()) => answers.write(format!("done after {millis} ms\n").as_bytes()),
                Err(failure) => {
                    story.say(format_args!("work of {millis} ms: {failure:#}"));
                    answers.write(format!("not done: {failure:#}\n").as_bytes());
                }
            }
            answers.resume_producing();
            Ok(())
        });
        self.busy = Some(work.cancel_handle());
        Ok(())
    }

    fn connection_lost(&mut self, reason: &ConnectionLost) {
        // Whoever is gone needs no answer.
        if let Some(work) = self.busy.take() {
            work.cancel();
        }
        self.story.say(format_args!("a client: {reason}"));
    }
}

/// What the loop does before it stops.
fn end(port: Port, gate: &Gate, reactor: &Reactor, story: Story) -> Deferred<()> {
    story.say(format_args!("the server is to stop; {} clients, {} pieces of work", port.len(), gate.count()));
    port.stop_listening();
    for client in port.connections() {
        client.write(b"the server shuts down\n");
    }
    let waits = gate.close().add_timeout(DEADLINE, reactor);
    waits.add_both(move |in_time| {
        story.say(format_args!("all work was done in time: {}", in_time.is_ok()));
        // Whoever still works is given up: `connection_lost` cancels that.
        port.shut_down(DEADLINE).map(move |aborted| story.say(format_args!("nobody is left; cut off: {aborted}")))
    })
}

/// A client of this example: says what it hears.
struct Client {
    name: &'static str,
    request: &'static str,
    story: Story,
}

impl Protocol for Client {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.write(self.request.as_bytes());
        Ok(())
    }

    fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
        for line in String::from_utf8_lossy(data).lines() {
            self.story.say(format_args!("{} hears: {line}", self.name));
        }
        Ok(())
    }
}

fn clients(reactor: Reactor, port: Port, story: Story) -> Deferred<()> {
    inline_callbacks(async move {
        let Some(address) = port.local_addr() else { return Err(Failure::msg("it has no address")) };
        let connect =
            |name, request| connect_tcp(&reactor, address, Duration::from_secs(5), Client { name, request, story });
        connect("the quick one", "1500\n").await?;
        connect("the slow one", "60000\n").await?;
        connect("the idle one", "").await?;
        reactor.sleep(Duration::from_secs(1)).await?;
        let (again, late) = (reactor.clone(), story);
        reactor.call_later(Duration::from_millis(100), move || {
            let refused =
                connect_tcp(&again, address, DEADLINE, Client { name: "the late one", request: "", story: late });
            refused.add_both(move |result| -> Result<(), Failure> {
                late.say(format_args!("the late one is refused: {}", result.is_err()));
                Ok(())
            })
        });
        Ok(())
    })
}

fn main() -> ExitCode {
    let story = Story::begin();
    react(|reactor| {
        let gate = Gate::new();
        let passes = gate.clone();
        let work = move |_| Lines::new(Work { story, gate: passes.clone(), busy: None });
        let Ok(port) = listen_tcp(reactor, "127.0.0.1:0", work) else {
            return Deferred::fail(Failure::msg("no port is free"));
        };
        story.say(format_args!("listening on {:?}", port.local_addr()));
        let (ends, loops) = (port.clone(), reactor.clone());
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || end(ends, &gate, &loops, story));
        if !forever() {
            return clients(reactor.clone(), port, story);
        }
        Deferred::never().map(|never| match never {}) // until Ctrl-C
    })
}
