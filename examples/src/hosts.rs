//! Hosts on loopback, since an example cannot count on the internet, and a blocking client for
//! them.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use deferred_smol::Failure;

/// A host that takes connections and never answers.
///
/// Nobody accepts here. The system completes the connections by itself, and a client waits for the
/// answer.
#[derive(Debug)]
pub struct SilentHost {
    listener: TcpListener,
}

impl SilentHost {
    /// Begins to be silent, on a free port.
    ///
    /// # Errors
    ///
    /// If loopback gives no port.
    pub fn start() -> io::Result<SilentHost> {
        Ok(SilentHost { listener: TcpListener::bind("127.0.0.1:0")? })
    }

    /// What a client asks for.
    ///
    /// # Errors
    ///
    /// If the system does not tell the port.
    pub fn url(&self) -> io::Result<String> {
        Ok(url(self.listener.local_addr()?))
    }
}

/// A host that cannot be reached: whoever connects waits for an answer that does not come.
///
/// It is a listener on loopback that accepts nobody, and whose queue is full. Linux leaves those
/// who come then without an answer, as a host does that is switched off; other systems may refuse
/// them.
#[derive(Debug)]
pub struct UnreachableHost {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl UnreachableHost {
    /// Fills the queue.
    ///
    /// # Errors
    ///
    /// If loopback gives no port.
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

    /// Where it would be.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A host that answers each request with one page, from a thread of its own that ends with the
/// process.
#[derive(Debug)]
pub struct AnsweringHost {
    address: SocketAddr,
}

impl AnsweringHost {
    /// Begins to answer, on a free port.
    ///
    /// # Errors
    ///
    /// If loopback gives no port.
    pub fn start(page: String) -> io::Result<AnsweringHost> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away in the middle is its own affair.
                let _ = answer(stream, &page);
            }
        });
        Ok(AnsweringHost { address })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client asks for.
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

/// Gets a page with a client that blocks its thread until it has it, and at most for `timeout`.
///
/// # Errors
///
/// If there is no page in that time.
pub fn fetch(url: &str, timeout: Duration) -> Result<String, Failure> {
    let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().timeout_global(Some(timeout)).build());
    Ok(agent.get(url).call()?.body_mut().read_to_string()?)
}
