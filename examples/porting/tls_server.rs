//! An echo server with TLS, whose endpoint is a text.

use std::env;

use deferred_mio::net::{ServerEndpoint, on_data};
use deferred_mio::{Failure, run};

fn main() -> Result<(), Failure> {
    let [port, key, certificate] = [1, 2, 3].map(|n| env::args().nth(n).unwrap_or_default());
    let description = format!("ssl:{port}:privateKey={key}:certKey={certificate}:interface=127.0.0.1");
    let endpoint: ServerEndpoint = description.parse()?;
    run(|reactor| endpoint.listen(reactor, |_| on_data(|transport, data| transport.write(data))))?;
    Ok(())
}
