//! A server that sends a quote and closes.

use std::env;

use deferred_mio::net::on_data;
use deferred_mio::{Failure, serve};

fn main() -> Result<(), Failure> {
    let port = env::args().nth(1).unwrap_or_default();
    let quote = "An apple a day keeps the doctor away";
    serve(format!("127.0.0.1:{port}"), move |_| {
        on_data(|_, _| ()).on_made(move |transport| {
            transport.send_line(quote);
            transport.lose_connection();
        })
    })
}
