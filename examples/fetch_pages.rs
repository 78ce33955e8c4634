//! A hundred pages: at most ten requests at once, at most two hundred begun in a second, failed
//! ones tried again, and a deadline for all.
//!
//! The server is in this program. It refuses every fifth request, and closes every seventh
//! connection without an answer.
//!
//! ```text
//! cargo run --example fetch_pages
//! ```

use std::cell::Cell;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use deferred_smol::net::{Transport, listen_tcp, on_line};
use deferred_smol::smol::io::{AsyncReadExt, AsyncWriteExt};
use deferred_smol::smol::net::TcpStream;
use deferred_smol::{Backoff, Deferred, Failure, Instant, Reactor, concurrent, inline_callbacks, react};

/// A limit of the number of calls that begin in a second.
struct Rate {
    reactor: Reactor,
    interval: Duration,
    /// The time of the next turn.
    next: Cell<Instant>,
}

impl Rate {
    fn per_second(reactor: &Reactor, number: u32) -> Rate {
        let interval = Duration::from_secs(1) / number;
        Rate { reactor: reactor.clone(), interval, next: Cell::new(reactor.now()) }
    }

    /// Waits for the next turn. A cancelled turn is not given to another call.
    fn turn(&self) -> Deferred<()> {
        let now = self.reactor.now();
        let turn = self.next.get().max(now);
        self.next.set(turn + self.interval);
        self.reactor.sleep(turn - now)
    }
}

/// Makes one request.
async fn request(server: SocketAddr, page: u32) -> Result<String, Failure> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(format!("GET /{page} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.0 200") => Ok(body.to_owned()),
        Some((head, _)) => Err(Failure::msg(format!("the server answered: {head}"))),
        None => Err(Error::from(ErrorKind::UnexpectedEof).into()),
    }
}

/// Fetches a page, with several attempts. Each waits for its turn.
fn fetch(reactor: &Reactor, rate: Rc<Rate>, server: SocketAddr, page: u32) -> Deferred<String> {
    let backoff = Backoff::new(Duration::from_millis(10)).max_attempts(10);
    let (limit, clock) = (Duration::from_secs(1), reactor.clone());
    let page_of = reactor.retry(backoff, move |_| {
        let rate = rate.clone();
        let attempt = inline_callbacks(async move {
            rate.turn().await?;
            request(server, page).await
        });
        attempt.add_timeout(limit, &clock)
    });
    page_of.map_err(move |failure| failure.wrap_msg(format!("page {page}")))
}

fn serve(reactor: &Reactor) -> std::io::Result<SocketAddr> {
    let requests = Rc::new(Cell::new(0));
    let port = listen_tcp(reactor, "127.0.0.1:0", move |_| {
        let number = requests.replace(requests.get() + 1) + 1;
        on_line(move |transport: &Transport, line| {
            if let Some(path) = line.strip_prefix(b"GET ") {
                let page = String::from_utf8_lossy(path.split(|byte| *byte == b' ').next().unwrap_or(b"")).into_owned();
                match number {
                    _ if number % 7 == 0 => {}
                    _ if number % 5 == 0 => transport.write("HTTP/1.0 503 Service Unavailable\r\n\r\n"),
                    _ => transport.write(format!("HTTP/1.0 200 OK\r\n\r\nthe page {page}")),
                }
                transport.lose_connection();
            }
        })
    })?;
    Ok(port.local_addr().expect("a TCP port has an address"))
}

fn main() -> ExitCode {
    react(|reactor| {
        let reactor = reactor.clone();
        inline_callbacks(async move {
            let server = serve(&reactor)?;
            let rate = Rc::new(Rate::per_second(&reactor, 200));
            let clock = reactor.clone();
            // Each result is a value, so that one error does not end the others. A cancel still does.
            let all = concurrent(10)
                .map(1..=100, move |page| fetch(&reactor, rate.clone(), server, page).add_both(Ok::<_, Failure>));
            let results = all.map_err(Failure::from).add_timeout(Duration::from_secs(20), &clock).await?;
            let (pages, errors): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
            errors.iter().filter_map(|result| result.as_ref().err()).for_each(|failure| println!("{failure:#}"));
            println!("{} pages, {} errors", pages.len(), errors.len());
            Ok(())
        })
    })
}
