//! A client whose own method sends messages.

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use deferred_mio::net::{ClientEndpoint, Transport, on_data};
use deferred_mio::react;

fn send_message(transport: &Transport, message: &str) {
    transport.write(format!("MESSAGE {message}\n"));
}

fn main() -> ExitCode {
    let endpoint = ClientEndpoint::tcp(format!("127.0.0.1:{}", env::args().nth(1).unwrap_or_default()));
    react(|reactor| {
        let greeter = on_data(|_, data| print!("{}", String::from_utf8_lossy(data)));
        endpoint.connect(reactor, greeter).add_callback(|transport| {
            send_message(&transport, "Hello");
            let (later, last) = (transport.clone(), transport.clone());
            let reactor = transport.reactor();
            reactor.call_later(Duration::from_millis(100), move || send_message(&later, "This is sent a moment later"));
            reactor.call_later(Duration::from_millis(200), move || last.lose_connection());
            transport.closed()
        })
    })
}
