//! A client of a UDP server, on a connected socket.

use std::env;
use std::net::SocketAddr;

use deferred_mio::net::{DatagramProtocol, UdpTransport, listen_udp};
use deferred_mio::{Failure, run};

struct Helloer;

impl DatagramProtocol for Helloer {
    fn started(&mut self, transport: &UdpTransport) -> Result<(), Failure> {
        let port = env::args().nth(1).unwrap_or_default();
        transport.connect(format!("127.0.0.1:{port}").parse()?)?;
        transport.send("hello")?;
        Ok(())
    }

    fn datagram_received(&mut self, transport: &UdpTransport, data: &[u8], _: SocketAddr) -> Result<(), Failure> {
        println!("received b'{}'", data.escape_ascii());
        transport.reactor().stop();
        Ok(())
    }

    fn connection_refused(&mut self, transport: &UdpTransport) -> Result<(), Failure> {
        println!("no one listening");
        transport.reactor().stop();
        Ok(())
    }
}

fn main() -> std::io::Result<()> {
    run(|reactor| listen_udp(reactor, "127.0.0.1:0", Helloer)).map(drop)
}
