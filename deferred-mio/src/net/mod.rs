//! Network code in callbacks, on the sockets of this loop: all of [`deferred_net`], and the functions that
//! create connections.
//!
//! # Examples
//!
//! A server and a client on one loop:
//!
//! ```
//! use std::time::Duration;
//! use deferred_mio::net::{Protocol, Transport, connect_tcp, listen_tcp};
//! use deferred_mio::{Failure, Resolver, Deferred, run_until};
//!
//! struct Shout;
//!
//! impl Protocol for Shout {
//!     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
//!         transport.write(&data.to_ascii_uppercase());
//!         Ok(())
//!     }
//! }
//!
//! struct Ask(Option<Resolver<String>>);
//!
//! impl Protocol for Ask {
//!     fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
//!         transport.write(b"hello");
//!         Ok(())
//!     }
//!
//!     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
//!         if let Some(resolver) = self.0.take() {
//!             resolver.callback(std::str::from_utf8(data)?.to_owned());
//!         }
//!         transport.lose_connection();
//!         Ok(())
//!     }
//! }
//!
//! let answer = run_until(|reactor| {
//!     let port = listen_tcp(reactor, "127.0.0.1:0", |_| Shout).unwrap();
//!     let (answer, resolver) = Deferred::new();
//!     connect_tcp(reactor, port.local_addr().unwrap(), Duration::from_secs(5), Ask(Some(resolver)))
//!         .add_callback(move |_| answer)
//! });
//! assert_eq!(answer.unwrap(), "HELLO");
//! ```

mod listener;
mod socket;
mod stream;
mod udp;

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
#[cfg(unix)]
use std::path::Path;
use std::thread;
use std::time::Duration;

use deferred_core::{Deferred, NoReactor, Reactor, RemoteFuture};
pub use deferred_net::*;
pub use listener::TcpListener;
#[cfg(unix)]
pub use listener::UnixListener;
use mio::net::{TcpListener as MioListener, TcpStream as MioStream};
#[cfg(unix)]
use mio::net::{UnixListener as MioUnixListener, UnixStream as MioUnixStream};
use socket::Stream;
pub use stream::TcpStream;
#[cfg(unix)]
pub use stream::UnixStream;
pub use udp::UdpSocket;

use crate::source::Source;

/// Listens on a TCP address, for example `"127.0.0.1:8000"`; with port 0 the system chooses one.
/// `factory` creates the protocol of each connection from the address of its peer. See
/// [`listen_with`] for the details.
///
/// Twisted's `listenTCP`.
///
/// # Errors
///
/// Returns an error, which names the address, if the address is invalid or in use. Returns an error
/// if the reactor is closed.
///
/// # Examples
///
/// ```
/// use deferred_mio::net::{Protocol, Transport, listen_tcp};
/// use deferred_mio::{Failure, run};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
///         transport.write(data);
///         Ok(())
///     }
/// }
///
/// run(|reactor| {
///     let port = listen_tcp(reactor, "127.0.0.1:0", |_| Echo).unwrap();
///     println!("listening on {}", port.local_addr().unwrap());
///     # reactor.stop();
/// });
/// ```
#[doc(alias = "listenTCP")]
#[doc(alias = "ServerFactory")]
#[doc(alias = "TCP4ServerEndpoint")]
#[track_caller]
pub fn listen_tcp<P: Protocol>(
    reactor: &Reactor,
    address: impl ToSocketAddrs + fmt::Debug,
    factory: impl FnMut(SocketAddr) -> P + 'static,
) -> io::Result<Port> {
    let bind = || accept_tcp(reactor, bind_tcp(&address)?);
    listen_with(reactor, bind, factory)
}

fn bind_tcp(address: &(impl ToSocketAddrs + fmt::Debug)) -> io::Result<MioListener> {
    first_that_works(address, MioListener::bind).map_err(|error| error_with_address("listen on", address, error))
}

/// Tries the addresses of a name one after the other.
fn first_that_works<T>(address: &impl ToSocketAddrs, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut failed = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    for address in address.to_socket_addrs()? {
        match bind(address) {
            Ok(bound) => return Ok(bound),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Returns the reactor with which a coroutine registers a socket.
fn current_reactor() -> io::Result<Reactor> {
    Reactor::current().ok_or_else(|| io::Error::other(NoReactor::new()))
}

/// Like [`listen_tcp`], but on a listening socket, for example one that was inherited or has
/// special options.
///
/// # Errors
///
/// Returns an error if the socket cannot be registered with the loop, or if the reactor is closed.
#[doc(alias = "adoptStreamPort")]
#[track_caller]
pub fn listen_on_tcp<P: Protocol>(
    reactor: &Reactor,
    listener: std::net::TcpListener,
    factory: impl FnMut(SocketAddr) -> P + 'static,
) -> io::Result<Port> {
    let bind = || {
        listener.set_nonblocking(true)?;
        accept_tcp(reactor, MioListener::from_std(listener))
    };
    listen_with(reactor, bind, factory)
}

/// Returns the address of the socket, and a function that accepts its connections.
fn accept_tcp(
    reactor: &Reactor,
    listener: MioListener,
) -> io::Result<(Option<SocketAddr>, impl AsyncFnMut() -> Accepted<MioStream> + use<>)> {
    let address = listener.local_addr().ok();
    let listener = Source::new(reactor, listener)?;
    let accept = async move || {
        let (socket, peer) = poll_fn(|context| listener.poll_read(context, |listener| listener.accept())).await?;
        Ok((listener.connected_beside(socket)?, peer))
    };
    Ok((address, accept))
}

type Accepted<T> = io::Result<(Source<T>, SocketAddr)>;

/// Listens on a Unix socket at `path`, which must not exist and is not removed afterwards.
///
/// Twisted's `listenUNIX`.
///
/// # Errors
///
/// Returns an error, which names the path, if `path` exists or the socket cannot be created.
/// Returns an error if the reactor is closed.
#[doc(alias = "listenUNIX")]
#[doc(alias = "UNIXServerEndpoint")]
#[cfg(unix)]
#[track_caller]
pub fn listen_unix<P: Protocol>(
    reactor: &Reactor,
    path: impl AsRef<Path>,
    mut factory: impl FnMut() -> P + 'static,
) -> io::Result<Port> {
    let path = path.as_ref();
    let bind = || {
        let bound = MioUnixListener::bind(path).map_err(|error| error_with_address("listen on", path, error))?;
        let listener = Source::new(reactor, bound)?;
        let accept = async move || {
            let (socket, peer) = poll_fn(|context| listener.poll_read(context, |listener| listener.accept())).await?;
            Ok((listener.connected_beside(socket)?, peer))
        };
        Ok((None, accept))
    };
    listen_with(reactor, bind, move |_| factory())
}

/// Connects to a TCP address, for example `"example.org:80"`. A thread of its own looks up the name;
/// several addresses are tried one after the other. When the connection is established,
/// `protocol.connection_made` is called, and the returned Deferred fires.
///
/// Twisted's `connectTCP`. The returned Deferred replaces the factory.
///
/// # Errors
///
/// The returned Deferred fails with [`TimedOut`](deferred_core::TimedOut) if there is no connection
/// after `timeout`, which includes the lookup and all attempts. Otherwise it fails with the error
/// of the lookup or of the last address that was tried, whose text includes that address.
///
/// # Cancellation
///
/// A cancel ends the attempt. `protocol` is dropped without a call.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
/// use deferred_mio::net::{Protocol, Transport, connect_tcp};
/// use deferred_mio::{Failure, run_until};
///
/// struct Print;
///
/// impl Protocol for Print {
///     fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
///         transport.write(b"GET / HTTP/1.0\r\n\r\n");
///         Ok(())
///     }
///
///     fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
///         print!("{}", String::from_utf8_lossy(data));
///         Ok(())
///     }
/// }
///
/// run_until(|reactor| {
///     connect_tcp(reactor, "127.0.0.1:8000", Duration::from_secs(10), Print)
///         .add_callback(|transport| transport.closed())
/// })?;
/// # Ok::<(), Failure>(())
/// ```
#[doc(alias = "connectTCP")]
#[doc(alias = "ClientFactory")]
#[doc(alias = "TCP4ClientEndpoint")]
#[track_caller]
#[must_use = "the result of the connect is only in this Deferred"]
pub fn connect_tcp<P: Protocol>(
    reactor: &Reactor,
    address: impl ToSocketAddrs + fmt::Debug + Send + 'static,
    timeout: Duration,
    protocol: P,
) -> Deferred<Transport> {
    let name = format!("{address:?}");
    let owner = reactor.clone();
    let connect = connect_any(name, resolve(address), async move |address| {
        wait_connected(Source::new(&owner, MioStream::connect(address)?)?).await
    });
    connect_with(reactor, connect, timeout, protocol)
}

/// Connects to the Unix socket at `path`. Otherwise like [`connect_tcp`].
///
/// Twisted's `connectUNIX`.
///
/// # Errors
///
/// Like [`connect_tcp`].
///
/// # Cancellation
///
/// Like [`connect_tcp`].
#[doc(alias = "connectUNIX")]
#[doc(alias = "UNIXClientEndpoint")]
#[cfg(unix)]
#[track_caller]
#[must_use = "the result of the connect is only in this Deferred"]
pub fn connect_unix<P: Protocol>(
    reactor: &Reactor,
    path: impl AsRef<Path> + 'static,
    timeout: Duration,
    protocol: P,
) -> Deferred<Transport> {
    let owner = reactor.clone();
    let connect = async move {
        let connects = async { wait_connected(Source::new(&owner, MioUnixStream::connect(path.as_ref())?)?).await };
        connects.await.map_err(|error| error_with_address("connect to", path.as_ref(), error))
    };
    connect_with(reactor, connect, timeout, protocol)
}

/// Waits until a socket is connected.
async fn wait_connected<T: Stream>(socket: Source<T>) -> io::Result<Source<T>> {
    let connected = |socket: &T| match socket.take_error()? {
        Some(error) => Err(error),
        None => match socket.check_connected() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(io::ErrorKind::WouldBlock.into()),
            checked => checked,
        },
    };
    poll_fn(|context| socket.poll_write(context, connected)).await?;
    Ok(socket)
}

/// Looks up a name in a thread of its own. An address needs no lookup.
async fn resolve(address: impl ToSocketAddrs + Send + 'static) -> io::Result<Vec<SocketAddr>> {
    let any: &dyn Any = &address;
    let literal = any.downcast_ref::<SocketAddr>().copied().or_else(|| {
        let text = any.downcast_ref::<&'static str>().copied().or_else(|| any.downcast_ref::<String>().map(|s| &**s));
        text?.parse().ok()
    });
    if let Some(address) = literal {
        return Ok(vec![address]);
    }
    let (found, completer) = RemoteFuture::new();
    let look_up = move || completer.callback(address.to_socket_addrs().map(Iterator::collect));
    thread::Builder::new().name("deferred-resolve".into()).spawn(look_up)?;
    found.await.map_err(io::Error::other)?
}

/// Creates a connection on a connected TCP socket, which this makes non-blocking.
/// `protocol.connection_made` is called inside this call.
///
/// # Errors
///
/// Returns the error of the system, if it cannot make the socket non-blocking or register it with
/// the loop.
#[track_caller]
pub fn over_tcp<P: Protocol>(reactor: &Reactor, socket: std::net::TcpStream, protocol: P) -> io::Result<Transport> {
    Ok(Transport::over(reactor, TcpStream::from_std(reactor, socket)?.0, protocol))
}

/// Creates a connection on a connected Unix socket, for example one of a pair. Otherwise like
/// [`over_tcp`].
///
/// # Errors
///
/// Like [`over_tcp`].
#[cfg(unix)]
#[track_caller]
pub fn over_unix<P: Protocol>(
    reactor: &Reactor,
    socket: std::os::unix::net::UnixStream,
    protocol: P,
) -> io::Result<Transport> {
    Ok(Transport::over(reactor, UnixStream::from_std(reactor, socket)?.0, protocol))
}
