//! A client of a UDP server, on a connected socket.

use std::env;

use deferred_mio::net::{listen_udp, on_datagram};
use deferred_mio::run;

fn main() -> std::io::Result<()> {
    let helloer = on_datagram(|transport, data, _| {
        println!("received b'{}'", data.escape_ascii());
        transport.reactor().stop();
    })
    .on_started(|transport| {
        let port = env::args().nth(1).unwrap_or_default();
        transport.connect(format!("127.0.0.1:{port}").parse()?)?;
        Ok(transport.send("hello")?)
    })
    .on_refused(|transport| {
        println!("no one listening");
        transport.reactor().stop();
    });
    run(|reactor| listen_udp(reactor, "127.0.0.1:0", helloer)).map(drop)
}
