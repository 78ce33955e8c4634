//! A server that shuts down in order: it refuses new clients, finishes the requests that are
//! running, notifies its clients, and cancels the rest after a deadline.
//!
//! ```text
//! cargo run --example graceful_shutdown                 stops by itself after a second
//! cargo run --example graceful_shutdown -- --forever    stops at Ctrl-C; connect with `nc` to the printed address
//! ```
//!
//! A client sends a line with the duration of a piece of work in milliseconds, and receives a line
//! when the work is done. When the loop stops, whatever stops it, three clients are connected: one
//! whose work finishes in time, one whose work does not, and one without work. The example uses
//! [`Phase::Before`], which makes the loop wait for a Deferred before it stops; a [`Gate`], which
//! counts the work that is running; and [`Port::shut_down`], which closes the connections.

use std::process::ExitCode;
use std::time::Duration;

use deferred_examples::{Story, forever};
use deferred_smol::net::{ConnectionLost, LineProtocol, Lines, Port, Protocol, Transport, connect_tcp, listen_tcp};
use deferred_smol::{CancelHandle, Deferred, Failure, Gate, Phase, Reactor, SystemEvent, inline_callbacks, react};

/// The time that running work has to finish.
const DEADLINE: Duration = Duration::from_secs(1);

/// The protocol that serves one client.
struct Work {
    story: Story,
    gate: Gate,
    /// Cancels the work that is running.
    busy: Option<CancelHandle>,
}

impl LineProtocol for Work {
    fn line_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
        let millis: u64 = std::str::from_utf8(line)?.trim().parse()?;
        transport.pause_producing(); // one piece of work at a time
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
        // Nothing waits for the answer of a closed connection.
        if let Some(work) = self.busy.take() {
            work.cancel();
        }
        self.story.say(format_args!("a client: {reason}"));
    }
}

/// The trigger that runs before the loop stops.
fn shut_down(port: Port, gate: &Gate, reactor: &Reactor, story: Story) -> Deferred<()> {
    story.say(format_args!("the server stops; {} clients, {} pieces of work", port.len(), gate.count()));
    port.stop_listening();
    for client in port.connections() {
        client.write(b"the server shuts down\n");
    }
    let finished = gate.close().add_timeout(DEADLINE, reactor);
    finished.add_both(move |in_time| {
        story.say(format_args!("all work finished in time: {}", in_time.is_ok()));
        // `connection_lost` cancels the work that is still running.
        port.shut_down(DEADLINE)
            .map(move |aborted| story.say(format_args!("all connections are closed; aborted: {aborted}")))
    })
}

/// A client of this example, which prints the lines that it receives.
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
            self.story.say(format_args!("{} received: {line}", self.name));
        }
        Ok(())
    }
}

fn clients(reactor: Reactor, port: Port, story: Story) -> Deferred<()> {
    inline_callbacks(async move {
        let Some(address) = port.local_addr() else { return Err(Failure::msg("the port has no address")) };
        let connect =
            |name, request| connect_tcp(&reactor, address, Duration::from_secs(5), Client { name, request, story });
        connect("the quick client", "1500\n").await?;
        connect("the slow client", "60000\n").await?;
        connect("the idle client", "").await?;
        reactor.sleep(Duration::from_secs(1)).await?;
        let (late_reactor, late_story) = (reactor.clone(), story);
        reactor.call_later(Duration::from_millis(100), move || {
            let refused = connect_tcp(
                &late_reactor,
                address,
                DEADLINE,
                Client { name: "the late client", request: "", story: late_story },
            );
            refused.add_both(move |result| -> Result<(), Failure> {
                late_story.say(format_args!("the late client was refused: {}", result.is_err()));
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
        let shared_gate = gate.clone();
        let work = move |_| Lines::new(Work { story, gate: shared_gate.clone(), busy: None });
        let Ok(port) = listen_tcp(reactor, "127.0.0.1:0", work) else {
            return Deferred::fail(Failure::msg("no port is free"));
        };
        story.say(format_args!("listening on {:?}", port.local_addr()));
        let (stopping_port, stopping_reactor) = (port.clone(), reactor.clone());
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || {
            shut_down(stopping_port, &gate, &stopping_reactor, story)
        });
        if !forever() {
            return clients(reactor.clone(), port, story);
        }
        Deferred::never().map(|never| match never {}) // until Ctrl-C
    })
}
