//! The clients: many connections on one thread, each with one pending message.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

const MESSAGE: [u8; 32] = *b"a small message of 32 bytes, ok?";

struct Client {
    stream: TcpStream,
    sent: Instant,
    received: usize,
}

/// The result of a sample.
pub(super) struct Load {
    pub(super) requests: usize,
    pub(super) took: Duration,
    /// The latency of each request, sorted.
    latencies: Vec<Duration>,
}

impl Load {
    pub(super) fn percentile(&self, part: f64) -> Duration {
        self.latencies[((self.latencies.len() - 1) as f64 * part) as usize]
    }
}

/// A number of connections that send requests.
pub(super) struct Clients {
    poll: Poll,
    clients: Vec<Client>,
}

impl Clients {
    pub(super) fn connect(server: SocketAddr, connections: usize) -> io::Result<Clients> {
        let poll = Poll::new()?;
        let mut clients = Vec::new();
        for key in 0..connections {
            let stream = std::net::TcpStream::connect(server)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(key), Interest::READABLE)?;
            clients.push(Client { stream, sent: Instant::now(), received: 0 });
        }
        Ok(Clients { poll, clients })
    }

    pub(super) fn ask(&mut self, time: Duration) -> io::Result<Load> {
        let begun = Instant::now();
        let mut latencies = Vec::with_capacity(1 << 20);
        for client in &mut self.clients {
            client.send()?;
        }
        let (mut events, mut buffer) = (Events::with_capacity(1024), [0; 64]);
        let mut under_way = self.clients.len();
        while under_way > 0 {
            self.poll.poll(&mut events, Some(Duration::from_secs(10)))?;
            if events.is_empty() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not answer"));
            }
            let now = Instant::now();
            let over = now - begun >= time;
            for event in &events {
                let client = &mut self.clients[event.token().0];
                // The buffer is larger than the pending data, so one read returns all of it.
                client.received += match client.stream.read(&mut buffer) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error),
                };
                if client.received == MESSAGE.len() {
                    latencies.push(now - client.sent);
                    if over {
                        under_way -= 1;
                        client.received = 0;
                    } else {
                        client.send()?;
                    }
                }
            }
        }
        let took = begun.elapsed();
        latencies.sort_unstable();
        Ok(Load { requests: latencies.len(), took, latencies })
    }
}

impl Client {
    fn send(&mut self) -> io::Result<()> {
        self.received = 0;
        self.sent = Instant::now();
        // The message fits into the send buffer.
        self.stream.write_all(&MESSAGE)
    }
}
