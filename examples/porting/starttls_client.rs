//! A client of lines that asks for TLS.

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use deferred_mio::net::tls::rustls::{ClientConnection, pki_types::ServerName};
use deferred_mio::net::{connect_tcp, on_line, tls};
use deferred_mio::{inline_callbacks, react};

fn main() -> ExitCode {
    let [port, authority] = [1, 2].map(|n| env::args().nth(n).unwrap_or_default());
    react(|reactor| {
        let reactor = reactor.clone();
        inline_callbacks(async move {
            let config = tls::client_config(authority)?;
            let client = on_line(move |transport, line| {
                println!("received: {}", String::from_utf8_lossy(line));
                if line == b"READY" {
                    let name = ServerName::try_from("localhost")?;
                    transport.start_tls(ClientConnection::new(config.clone(), name)?)?;
                    transport.send_line("secure text");
                    transport.lose_connection();
                }
                Ok(())
            })
            .on_made(|transport| {
                transport.send_line("plain text");
                transport.send_line("STARTTLS");
            });
            let address = format!("localhost:{port}");
            connect_tcp(&reactor, address, Duration::from_secs(30), client).await?.closed().await
        })
    })
}
