//! An echo server and a client: `cargo run --example quickstart_echo`

use deferred_smol::net::{Protocol, Transport, listen_tcp};
use deferred_smol::smol::io::{AsyncReadExt, AsyncWriteExt};
use deferred_smol::smol::net::TcpStream;
use deferred_smol::{Failure, inline_callbacks, react};

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        transport.write(data);
        Ok(())
    }
}

fn main() -> std::process::ExitCode {
    react(|reactor| {
        let reactor = reactor.clone();
        inline_callbacks(async move {
            let port = listen_tcp(&reactor, "127.0.0.1:0", |_| Echo)?;
            let mut client = TcpStream::connect(port.local_addr().expect("the port is open")).await?;
            client.write_all(b"hello").await?;
            let mut answer = [0; 5];
            client.read_exact(&mut answer).await?;
            println!("the server answered {:?}", String::from_utf8_lossy(&answer));
            Ok(())
        })
    })
}
