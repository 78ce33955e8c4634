//! Servers on several cores: a reactor for each.
//!
//! ```text
//! cargo run --release --example cores
//! ```
//!
//! A reactor stays on its thread, and so do its connections. To use more cores, a server has one
//! reactor for each, and the connections are distributed among them, in one of two ways:
//!
//! - each reactor listens on the same address (`SO_REUSEPORT`), and the system distributes the
//!   connections: no thread is special, and nothing is handed over (`echo.rs`);
//! - one thread accepts, and hands each connection over by a post (`echo.rs`): it can choose the
//!   reactor, for example the one with the fewest connections, and works on every system.
//!
//! Connections of different reactors share nothing. In the chat (`chat.rs`) the members of a room are
//! on all reactors: each line is delivered to the members of its own reactor, and sent once to each of
//! the others.
//!
//! The printed figures were measured on the machine that runs it, where the clients (`load.rs`) take
//! as much time as the servers: no figure is promised. docs/performance.md says what each step
//! costs, and how it would go on with more cores and more machines.

mod chat;
mod echo;
mod load;

use std::process::ExitCode;
use std::thread;

use deferred_examples::Story;
use deferred_mio::Failure;
use echo::Server;

/// The number of connections of each measurement.
const CONNECTIONS: usize = 64;
/// The number of requests of each connection.
const REQUESTS: usize = 500;

fn main() -> ExitCode {
    let story = Story::begin();
    let cores = thread::available_parallelism().map_or(2, usize::from).max(2);
    story.say(format_args!("{cores} cores, {CONNECTIONS} connections, {REQUESTS} requests of each"));
    match run(&story, cores) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("the servers: {failure:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(story: &Story, cores: usize) -> Result<(), Failure> {
    measure(story, "one reactor", echo::reuse_port(1)?)?;
    measure(story, "a reactor for each core, which listens", echo::reuse_port(cores)?)?;
    measure(story, "a reactor for each core, to which connections are handed over", echo::hand_over(cores)?)?;

    let chat = chat::Chat::start(cores)?;
    let received = load::talk(chat.address(), CONNECTIONS)?;
    story.say(format_args!("chat: {CONNECTIONS} members on {cores} reactors received {received} lines"));
    let members = chat.members()?;
    story.say(format_args!("chat: members on each reactor: {members:?}"));
    chat.stop()
}

/// Measures a server of several reactors.
fn measure(story: &Story, what: &str, server: Server) -> Result<(), Failure> {
    let (answers, took) = load::ask(server.address(), CONNECTIONS, REQUESTS)?;
    let each = server.stop()?;
    let per_second = answers as f64 / took.as_secs_f64();
    story.say(format_args!("{what}: {answers} answers, {per_second:.0} a second; connections of each: {each:?}"));
    Ok(())
}
