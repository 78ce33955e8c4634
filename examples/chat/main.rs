//! A chat on one loop: names, rooms, notices of who comes and goes, and an end of which everyone is
//! told.
//!
//! ```text
//! cargo run --release --example chat                    with a thousand clients, who check what they hear
//! cargo run --release --example chat -- --forever       for you, at 127.0.0.1:4000, until Ctrl-C; several `nc` are enough
//! ```
//!
//! The server (`server.rs`) is one thread and has no lock: each client is a protocol of lines, and
//! what they share is in an `Rc`. One who does not read holds up nobody: what it does not take
//! waits for it, up to a limit, and then it has to leave.
//!
//! The clients (`load.rs`) are a loop of their own in another thread: a hundred in each of ten
//! rooms, each of whom says five things and hears what the others say, and a room where somebody
//! talks much and somebody never reads.

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
        eprintln!("this wants 2500 open files; try `ulimit -n 2500` first");
        return ExitCode::FAILURE;
    }
    let story = Story::begin();
    let mut clients = None;
    let code = react(|reactor| {
        let chat = Chat::new();
        let guests = chat.clone();
        let address = if forever() { "127.0.0.1:4000" } else { "127.0.0.1:0" };
        let port = match listen_tcp(reactor, address, move |_| guests.guest()) {
            Ok(port) => port,
            Err(error) => return Deferred::fail(error),
        };
        let Some(address) = port.local_addr() else { return Deferred::fail(Failure::msg("it has no address")) };
        story.say(format_args!("the chat is open at {address}"));

        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || {
            story.say(format_args!("the chat closes; {} are told", chat.len()));
            chat.tell_everyone("the chat closes, goodbye");
            let closed = port.shut_down(Duration::from_secs(5));
            closed.map(move |aborted| story.say(format_args!("everyone is gone, {aborted} without a goodbye")))
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
