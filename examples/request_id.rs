//! A request id in every line of the log, and a deadline for the whole request.
//!
//! A server starts a coroutine for each line that it receives. The id of the request is current in
//! the coroutine, in its timers and in its jobs, without being passed to them. So is a deadline: it
//! ends what still waits when it passes.
//!
//! ```text
//! cargo run --example request_id
//! ```

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use deferred_smol::net::{Protocol, Transport, listen_tcp};
use deferred_smol::{Deferred, Failure, Reactor, context, inline_callbacks, react, report, try_deferred, with_context};
use deferred_threadpool::defer_to_thread;

struct RequestId(u32);

/// Prints a line with the id of the current request, from any thread.
fn log(text: impl std::fmt::Display) {
    match context::get::<RequestId>() {
        Some(id) => println!("request {}: {text}", id.0),
        None => println!("no request: {text}"),
    }
}

/// Answers each line with its length, after a query in a thread that takes as many milliseconds.
struct Server {
    reactor: Reactor,
    next: Rc<Cell<u32>>,
}

impl Protocol for Server {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        let millis: u64 = std::str::from_utf8(data)?.trim().parse()?;
        let (id, transport) = (self.next.replace(self.next.get() + 1), transport.clone());
        let answered = self.reactor.with_timeout(Duration::from_millis(200), || {
            with_context(RequestId(id), || answer(&self.reactor, millis, transport))
        });
        // If nothing handles an error, the report is made in the context of its request.
        drop(answered);
        Ok(())
    }
}

fn answer(reactor: &Reactor, millis: u64, transport: Transport) -> Deferred<()> {
    let reactor = reactor.clone();
    inline_callbacks(async move {
        log(format_args!("query of {millis} ms"));
        reactor.call_later(Duration::from_millis(5), || log("a timer"));
        let found = defer_to_thread(move || {
            log("in a thread");
            thread::sleep(Duration::from_millis(millis));
            Ok(millis * 2)
        });
        let found = match found.await {
            Ok(found) => found.to_string(),
            Err(failure) => {
                log(&failure);
                transport.write(b"too late\n");
                return Err(failure);
            }
        };
        log("answered");
        transport.write(format!("{found}\n").as_bytes());
        Ok(())
    })
}

/// Sends a line, and returns the answer.
fn ask(address: SocketAddr, line: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

fn main() -> ExitCode {
    // The only hook of the program: each report has the id of its request.
    report::set_hook(|report| {
        let text = report.to_string();
        log(format_args!("{}: {}", report.kind(), text.lines().next().unwrap_or_default()));
    });
    react(|reactor| try_deferred(|| serve(reactor)))
}

fn serve(reactor: &Reactor) -> Result<Deferred<()>, Failure> {
    let (server, next) = (reactor.clone(), Rc::new(Cell::new(1)));
    let port = listen_tcp(reactor, "127.0.0.1:0", move |_| Server { reactor: server.clone(), next: next.clone() })?;
    let address = port.local_addr().expect("a TCP port has an address");
    log("the server listens");
    Ok(inline_callbacks(async move {
        for line in ["20", "1000"] {
            // A client, in a thread.
            let answer = defer_to_thread(move || Ok(ask(address, line)?)).await?;
            log(format_args!("the client received {answer:?}"));
        }
        Ok(())
    }))
}
