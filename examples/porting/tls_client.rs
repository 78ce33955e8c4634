//! A client of an echo server with TLS, whose certificate is checked.

use std::env;
use std::process::ExitCode;

use deferred_mio::net::{ClientEndpoint, on_data, tls};
use deferred_mio::{inline_callbacks, react};

fn main() -> ExitCode {
    let [port, authority] = [1, 2].map(|n| env::args().nth(n).unwrap_or_default());
    react(|reactor| {
        let reactor = reactor.clone();
        inline_callbacks(async move {
            let endpoint = ClientEndpoint::tcp(format!("localhost:{port}")).tls(tls::client_config(authority)?);
            let client = on_data(|transport, data| {
                println!("the server said: {}", String::from_utf8_lossy(data));
                transport.lose_connection();
            })
            .on_made(|transport| transport.write("hello, secret world!"));
            endpoint.connect(&reactor, client).await?.closed().await
        })
    })
}
