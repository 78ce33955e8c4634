//! A server of lines that starts TLS on request.

use std::env;

use deferred_mio::net::tls::rustls::ServerConnection;
use deferred_mio::net::{on_line, tls};
use deferred_mio::{Failure, serve};

fn main() -> Result<(), Failure> {
    let [port, key, certificate] = [1, 2, 3].map(|n| env::args().nth(n).unwrap_or_default());
    let config = tls::server_config(certificate, key)?;
    serve(format!("127.0.0.1:{port}"), move |_| {
        let config = config.clone();
        on_line(move |transport, line| {
            println!("received: {}", String::from_utf8_lossy(line));
            if line == b"STARTTLS" {
                transport.send_line("READY");
                transport.start_tls(ServerConnection::new(config.clone())?)?;
            }
            Ok(())
        })
    })
}
