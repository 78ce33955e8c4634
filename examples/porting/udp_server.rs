//! A server that echoes datagrams.

use std::env;
use std::net::SocketAddr;

use deferred_mio::net::{DatagramProtocol, UdpTransport, listen_udp};
use deferred_mio::{Failure, run};

struct Echo;

impl DatagramProtocol for Echo {
    fn datagram_received(&mut self, transport: &UdpTransport, data: &[u8], sender: SocketAddr) -> Result<(), Failure> {
        println!("received b'{}'", data.escape_ascii());
        transport.send_to(data, sender)?;
        Ok(())
    }
}

fn main() -> std::io::Result<()> {
    let port = env::args().nth(1).unwrap_or_default();
    run(|reactor| listen_udp(reactor, format!("127.0.0.1:{port}"), Echo)).map(drop)
}
