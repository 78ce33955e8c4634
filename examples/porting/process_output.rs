//! The output of a process, as a Deferred.

use std::process::{Command, ExitCode};

use deferred_mio::net::process::process_output;
use deferred_mio::react;

fn main() -> ExitCode {
    let mut command = Command::new("/bin/echo");
    command.args(["a", "quote"]);
    react(|reactor| {
        process_output(reactor, command, "").add_callbacks(
            |output| println!("echo said: {}", String::from_utf8_lossy(&output.stdout).trim()),
            |failure| println!("there is no quote: {failure}"),
        )
    })
}
