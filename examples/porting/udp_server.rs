//! A server that echoes datagrams.

use std::env;

use deferred_mio::net::{listen_udp, on_datagram};
use deferred_mio::run;

fn main() -> std::io::Result<()> {
    let port = env::args().nth(1).unwrap_or_default();
    let echo = on_datagram(|transport, data, sender| {
        println!("received b'{}'", data.escape_ascii());
        Ok(transport.send_to(data, sender)?)
    });
    run(|reactor| listen_udp(reactor, format!("127.0.0.1:{port}"), echo)).map(drop)
}
