//! A chat server on one loop: names, rooms, notices when clients join and leave, and a goodbye to
//! all at shutdown.
//!
//! ```text
//! cargo run --release --example chat                    with a thousand clients that check what they receive
//! cargo run --release --example chat -- --forever       on 127.0.0.1:4000 until Ctrl-C; connect with `nc`
//! ```
//!
//! The server (`server.rs`) is one thread and has no lock: each client is a protocol of lines, and
//! the state that they share is in an `Rc`. A client that does not read does not delay the others:
//! its lines are buffered up to a limit, and then it is disconnected.
//!
//! The clients (`load.rs`) run on a loop in another thread: a hundred in each of ten rooms, each of
//! which sends five lines and receives those of the others, and a room in which one client sends a
//! lot and one never reads.

mod load;
mod server;

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use deferred_examples::{Story, forever};
use deferred_smol::net::listen_tcp;
use deferred_smol::{Deferred, Failure, Phase, SystemEvent, react};

use server::Chat;

fn main() -> ExitCode {
    // Both ends of each connection are in this process.
    if !rlimit::increase_nofile_limit(8192).is_ok_and(|files| files >= 2500) {
        eprintln!("this example needs 2500 open files; run `ulimit -n 2500` first");
        return ExitCode::FAILURE;
    }
    let story = Story::begin();
    let mut clients = None;
    let code = react(|reactor| {
        let chat = Chat::new();
        let protocols = chat.clone();
        let address = if forever() { "127.0.0.1:4000" } else { "127.0.0.1:0" };
        let port = match listen_tcp(reactor, address, move |_| protocols.protocol()) {
            Ok(port) => port,
            Err(error) => return Deferred::fail(error),
        };
        let Some(address) = port.local_addr() else { return Deferred::fail(Failure::msg("the port has no address")) };
        story.say(format_args!("the chat is open at {address}"));

        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || {
            story.say(format_args!("the chat closes; notifying {} clients", chat.len()));
            chat.announce("the chat closes, goodbye");
            let closed = port.shut_down(Duration::from_secs(5));
            closed.map(move |aborted| {
                story.say(format_args!("all clients have left, {aborted} of them without the goodbye"))
            })
        });

        if forever() {
            return Deferred::never().map(|never| match never {}); // until Ctrl-C
        }
        let (done, resolver) = reactor.remote();
        clients = Some(thread::spawn(move || load::run(address, resolver, story)));
        done
    });
    match clients.map(thread::JoinHandle::join) {
        Some(Ok(Err(failure))) => {
            eprintln!("the clients: {failure:#}");
            ExitCode::FAILURE
        }
        Some(Err(_)) => ExitCode::FAILURE,
        _ => code,
    }
}
