//! The memory of a connection.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::task::Poll;

use deferred_smol::net::{Port, Protocol, Transport, listen_tcp};
use deferred_smol::{Drive, Failure, Reactor, drive};

use crate::count;
use crate::sample::Size;

pub(crate) fn sizes() -> Vec<Size> {
    vec![Size { name: "net/an idle connection", ours: ("an echoing Protocol", idle_connection), peer: None }]
}

const CONNECTIONS: u64 = 400;

struct Echo;

impl Protocol for Echo {
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        transport.write(data);
        Ok(())
    }
}

/// Connects clients, each of which has a byte echoed.
fn connect(port: &Port, driver: &mut Drive, streams: &mut Vec<TcpStream>) -> io::Result<()> {
    let address = port.local_addr().expect("it is of TCP");
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(address)?;
        (&stream).write_all(b"x")?;
        stream.set_nonblocking(true)?;
        // One at a time, because nothing accepts while this thread connects.
        smol::block_on(poll_fn(|context| {
            let polled = Pin::new(&mut *driver).poll(context);
            if (&stream).read(&mut [0]).is_ok_and(|length| length == 1) { Poll::Ready(()) } else { polled }
        }));
        streams.push(stream);
    }
    Ok(())
}

fn idle_connection() -> (f64, f64) {
    let owner = Reactor::new();
    let reactor = owner.clone();
    let mut driver = drive(owner);
    let port = listen_tcp(&reactor, "127.0.0.1:0", |_| Echo).expect("loopback has a port");
    let mut streams = Vec::with_capacity(2 * CONNECTIONS as usize);
    // The first connections allocate the state that all share.
    connect(&port, &mut driver, &mut streams).expect("loopback connects");
    let second = || connect(&port, &mut driver, &mut streams);
    let (connected, bytes, allocations) = count::count(second);
    connected.expect("loopback connects");
    (bytes as f64 / CONNECTIONS as f64, allocations as f64 / CONNECTIONS as f64)
}
