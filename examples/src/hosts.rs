//! HTTP hosts on loopback, so that the examples need no internet, and a blocking client for them.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use deferred_smol::Failure;

/// A host that accepts connections and never answers.
///
/// Nothing calls `accept`: the operating system completes the connections by itself, and the client
/// waits for an answer.
#[derive(Debug)]
pub struct SilentHost {
    listener: TcpListener,
}

impl SilentHost {
    /// Starts a silent host on a free port of loopback.
    ///
    /// # Errors
    ///
    /// Returns the error of the operating system if no port can be bound on loopback.
    pub fn start() -> io::Result<SilentHost> {
        Ok(SilentHost { listener: TcpListener::bind("127.0.0.1:0")? })
    }

    /// Returns the URL to request.
    ///
    /// # Errors
    ///
    /// Returns the error of the operating system if it does not return the socket's address.
    pub fn url(&self) -> io::Result<String> {
        Ok(url(self.listener.local_addr()?))
    }
}

/// A host that cannot be reached: a connection attempt waits until the client times out.
///
/// It is a listener on loopback that never accepts and whose backlog is full. Linux then ignores
/// further connection attempts, as if the host were switched off; other systems may refuse them.
#[derive(Debug)]
pub struct UnreachableHost {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl UnreachableHost {
    /// Binds a free port and fills its backlog.
    ///
    /// # Errors
    ///
    /// Returns the error of the operating system if no port can be bound on loopback.
    pub fn start() -> io::Result<UnreachableHost> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let mut queue = Vec::new();
        while queue.len() < 10_000 {
            match TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
                Ok(stream) => queue.push(stream),
                Err(_) => break,
            }
        }
        Ok(UnreachableHost { address, _listener: listener, _queue: queue })
    }

    /// Returns the address that does not answer.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A host that answers every request with the same page, on a thread that ends with the process.
#[derive(Debug)]
pub struct AnsweringHost {
    address: SocketAddr,
}

impl AnsweringHost {
    /// Binds a free port and starts the thread.
    ///
    /// # Errors
    ///
    /// Returns the error of the operating system if no port can be bound on loopback.
    pub fn start(page: String) -> io::Result<AnsweringHost> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that disconnects early needs no handling.
                let _ = answer(stream, &page);
            }
        });
        Ok(AnsweringHost { address })
    }

    /// Returns the address of the host.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL to request.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.address)
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}/")
}

fn answer(mut stream: TcpStream, page: &str) -> io::Result<()> {
    // The head of the request ends with an empty line.
    for line in BufReader::new(&stream).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let length = page.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}")
}

/// Fetches a page with a client that blocks the calling thread, for at most `timeout`.
///
/// # Errors
///
/// Returns the client's error if no page arrives within `timeout`.
pub fn fetch(url: &str, timeout: Duration) -> Result<String, Failure> {
    let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().timeout_global(Some(timeout)).build());
    Ok(agent.get(url).call()?.body_mut().read_to_string()?)
}
