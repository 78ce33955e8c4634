//! A server that echoes.

use std::env;

use deferred_mio::net::on_data;
use deferred_mio::{Failure, serve};

fn main() -> Result<(), Failure> {
    let port = env::args().nth(1).unwrap_or_default();
    serve(format!("127.0.0.1:{port}"), |_| on_data(|transport, data| transport.write(data)))
}
