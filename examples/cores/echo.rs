//! An echo server on several reactors, whose connections are distributed in two ways.

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use deferred_mio::net::{FromFn, ServerEndpoint, Transport, on_data};
use deferred_mio::{Failure, Reactor, ReactorThread, start_thread};

/// The number of connections that a reactor has served, which the reactor keeps.
#[derive(Default)]
struct Served(Cell<usize>);

/// The reactors of a server, and the thread that accepts, if there is one.
pub(crate) struct Server {
    address: SocketAddr,
    reactors: Vec<ReactorThread<()>>,
    acceptor: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

/// Creates the protocol of a connection.
fn echo(reactor: &Reactor) -> FromFn {
    let served = &reactor.extension(Served::default).0;
    served.set(served.get() + 1);
    on_data(|transport, data| transport.write(data))
}

/// Starts reactors that all listen on one address, among which the system distributes the
/// connections.
pub(crate) fn reuse_port(reactors: usize) -> Result<Server, Failure> {
    let (first, address) = listen("127.0.0.1:0".to_owned())?; // which chooses the port
    let mut all = vec![first];
    for _ in 1..reactors {
        all.push(listen(address.to_string())?.0);
    }
    Ok(Server { address, reactors: all, acceptor: None })
}

fn listen(address: String) -> Result<(ReactorThread<()>, SocketAddr), Failure> {
    let (sender, bound) = mpsc::channel();
    let start = move |reactor: &Reactor| {
        let endpoint = ServerEndpoint::tcp(address).reuse_port(true);
        let port = endpoint.listen(reactor, |transport| echo(transport.reactor()))?;
        let _ = sender.send(port.local_addr()); // the caller waits for it
        Ok::<_, Failure>(())
    };
    let reactor = start_thread(start).wait()?;
    let address = bound.recv().ok().flatten();
    Ok((reactor, address.ok_or_else(|| Failure::msg("the socket has no address"))?))
}

/// Starts reactors, and a thread that accepts connections and hands them over in turn.
pub(crate) fn hand_over(reactors: usize) -> Result<Server, Failure> {
    let start = |_| start_thread(|_| Ok(())).wait();
    let reactors = (0..reactors).map(start).collect::<Result<Vec<_>, _>>()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let ends = Arc::new(AtomicBool::new(false));
    let (end, all) = (ends.clone(), reactors.clone());
    let accept = move || {
        for (connection, reactor) in listener.incoming().zip(all.iter().cycle()) {
            if end.load(Ordering::Relaxed) {
                break;
            }
            let Ok(connection) = connection else { continue };
            // The post. If the reactor has ended, the connection is closed.
            let _ = reactor.handle().call_from_thread_with(move |reactor| {
                Transport::over_tcp(reactor, connection, echo(reactor))?;
                Ok::<_, Failure>(())
            });
        }
    };
    Ok(Server { address, reactors, acceptor: Some((ends, thread::spawn(accept))) })
}

impl Server {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops all threads. Returns the number of connections of each reactor.
    pub(crate) fn stop(self) -> Result<Vec<usize>, Failure> {
        if let Some((ends, thread)) = self.acceptor {
            ends.store(true, Ordering::Relaxed);
            drop(TcpStream::connect(self.address)); // wakes the thread
            thread.join().map_err(|_| Failure::msg("the thread that accepts has panicked"))?;
        }
        let mut served = Vec::new();
        for reactor in &self.reactors {
            let count = reactor.call(|_| {
                let reactor = Reactor::current().ok_or_else(|| Failure::msg("a call of a reactor has one"))?;
                Ok(reactor.extension(Served::default).0.get())
            });
            served.push(count.wait()?);
            reactor.stop().wait()?;
        }
        Ok(served)
    }
}
