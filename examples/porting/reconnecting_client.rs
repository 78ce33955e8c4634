//! A client that connects again, until it has lost three connections.

use std::env;
use std::time::Duration;

use deferred_mio::net::{connect_tcp, on_data, stay_connected};
use deferred_mio::{Backoff, run};

fn main() {
    let address = format!("127.0.0.1:{}", env::args().nth(1).unwrap_or_default());
    run(|reactor| {
        let (reactor, mut connections) = (reactor.clone(), 0);
        stay_connected(&reactor.clone(), Backoff::new(Duration::from_millis(100)), move || {
            connections += 1;
            let (is_last, stops) = (connections == 3, reactor.clone());
            let echo = on_data(|_, data| println!("{}", String::from_utf8_lossy(data).trim()))
                .on_made(|_| println!("connected"))
                .on_lost(move |_| {
                    println!("connection lost");
                    if is_last {
                        stops.stop();
                    }
                });
            connect_tcp(&reactor, address.clone(), Duration::from_secs(30), echo)
        });
    });
}
