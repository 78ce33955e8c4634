//! Connections: their memory, and what the loop's thread executes for a request and for a line.

use std::cell::{Cell, OnceCell};
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use deferred_smol::net::{LineProtocol, Lines, Port, Protocol, Transport, listen_on_tcp, listen_tcp};
use deferred_smol::{Failure, Reactor, drive};
use smol::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use smol::{Async, LocalExecutor};

use crate::count;
use crate::sample::{Row, Side, Size};

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
fn connect(
    port: &Port,
    driver: &mut (impl Future<Output = ()> + Unpin),
    streams: &mut Vec<TcpStream>,
) -> io::Result<()> {
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

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            name: "net/a request through Protocol",
            per: 1,
            unit: "request",
            ours: Side::new("an echoing Protocol", requests(|listener| serve(listener, || Echo))),
            peer: Side::new("smol: a task that reads and writes", requests(|listener| task(listener, echo))),
        },
        Row {
            name: "net/a line through Lines",
            per: LINES as u32,
            unit: "line",
            ours: Side::new(
                "a LineProtocol",
                lines(|listener, count| serve(listener, move || Lines::new(Counter(count.clone())))),
            ),
            peer: Side::new(
                "smol: read_until of a BufReader",
                lines(|listener, count| task(listener, move |stream| count_lines(stream, count.clone()))),
            ),
        },
    ]
}

const REQUEST: [u8; 32] = [b'x'; 32];
/// The number of lines that arrive together.
const LINES: usize = 1000;
const LINE: &[u8] = b"ten in small notes\r\n";

/// A server in the thread of its client, which polls it until a request is answered.
type Server = Pin<Box<dyn Future<Output = ()>>>;

fn serve<P: Protocol>(listener: TcpListener, mut protocol: impl FnMut() -> P + 'static) -> Server {
    let owner = Reactor::new();
    let reactor = owner.clone();
    let driver = drive(owner);
    Box::pin(async move {
        let port = listen_on_tcp(&reactor, listener, move |_| protocol()).expect("it listens");
        driver.await;
        drop(port);
    })
}

fn task<F: Future<Output = io::Result<()>> + 'static>(
    listener: TcpListener,
    mut serve: impl FnMut(Async<TcpStream>) -> F + 'static,
) -> Server {
    Box::pin(async move {
        let listener = Async::new(listener).expect("it is a socket");
        let executor = LocalExecutor::new();
        let accepts = async {
            loop {
                let (stream, _) = listener.accept().await.expect("a client connects");
                executor.spawn(serve(stream)).detach();
            }
        };
        executor.run(accepts).await
    })
}

async fn echo(mut stream: Async<TcpStream>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).await?;
        stream.write_all(&buffer[..length]).await?;
    }
}

async fn count_lines(stream: Async<TcpStream>, count: Rc<Cell<usize>>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        stream.read_until(b'\n', &mut line).await?;
        count.set(count.get() + 1);
    }
}

struct Counter(Rc<Cell<usize>>);

impl LineProtocol for Counter {
    fn line_received(&mut self, _: &Transport, _: &[u8]) -> Result<(), Failure> {
        self.0.set(self.0.get() + 1);
        Ok(())
    }
}

/// A connection to a server, made when it is first used.
#[derive(Default)]
struct Client(OnceCell<(TcpStream, Cell<Option<Server>>)>);

impl Client {
    /// Writes `data`, and polls the server until `done` returns `true`.
    fn request(&self, data: &[u8], make: impl FnOnce(TcpListener) -> Server, done: impl Fn(&TcpStream) -> bool) {
        let (stream, server) = self.0.get_or_init(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
            let stream = TcpStream::connect(listener.local_addr().expect("it listens")).expect("loopback connects");
            stream.set_nonblocking(true).expect("it is a socket");
            stream.set_nodelay(true).expect("it is a socket");
            (stream, Cell::new(Some(make(listener))))
        });
        let mut polled = server.take().expect("one request at a time");
        (&*stream).write_all(data).expect("the buffer has space");
        smol::block_on(poll_fn(|context: &mut Context<'_>| {
            assert!(polled.as_mut().poll(context).is_pending(), "the server does not end");
            if done(stream) { Poll::Ready(()) } else { Poll::Pending }
        }));
        server.set(Some(polled));
    }
}

fn requests(make: fn(TcpListener) -> Server) -> impl Fn() {
    let client = Client::default();
    move || {
        client.request(&REQUEST, make, |stream| {
            let mut answer = [0; REQUEST.len()];
            (&*stream).read(&mut answer).is_ok_and(|length| length == REQUEST.len())
        });
    }
}

fn lines(make: fn(TcpListener, Rc<Cell<usize>>) -> Server) -> impl Fn() {
    let client = Client::default();
    let count = Rc::new(Cell::new(0));
    let data = LINE.repeat(LINES);
    move || {
        count.set(0);
        client.request(&data, |listener| make(listener, count.clone()), |_| count.get() == LINES);
    }
}
