//! A client that sends a message, prints the answer and closes.

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use deferred_mio::net::{connect_tcp, on_data};
use deferred_mio::react;

fn main() -> ExitCode {
    let address = format!("127.0.0.1:{}", env::args().nth(1).unwrap_or_default());
    react(|reactor| {
        let client = on_data(|transport, data| {
            println!("the server said: {}", String::from_utf8_lossy(data).trim());
            transport.lose_connection();
        })
        .on_made(|transport| transport.write("hello, world!"))
        .on_lost(|_| println!("connection lost"));
        connect_tcp(reactor, address, Duration::from_secs(30), client)
            .add_callback(|transport| transport.closed().map(drop))
            .add_errback(|_| println!("connection failed"))
    })
}
