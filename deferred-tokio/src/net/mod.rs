//! Network code in callbacks, on tokio's sockets: all of [`deferred_net`], and the functions that
//! create connections.
//!
//! # Examples
//!
//! A server and a client on one loop:
//!
//! ```
//! use std::time::Duration;
//! use deferred_tokio::net::{Protocol, Transport, connect_tcp, listen_tcp};
//! use deferred_tokio::{Failure, Resolver, Deferred, run_until};
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

mod socket;

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use deferred_core::{Deferred, Reactor};
pub use deferred_net::*;
use socket::TokioSocket;
use tokio::net::{self, TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;

/// Listens on a TCP address, for example `"127.0.0.1:8000"`; with port 0 the system chooses one.
/// `factory` creates the protocol of each connection from the address of its peer. See
/// [`listen_with`] for the details.
///
/// Twisted's `listenTCP`.
///
/// # Errors
///
/// Returns an error, which names the address, if the address is invalid or in use. Returns an error
/// if the reactor is closed, or if this thread is not in a tokio runtime.
///
/// # Examples
///
/// ```
/// use deferred_tokio::net::{Protocol, Transport, listen_tcp};
/// use deferred_tokio::{Failure, run};
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
    let bind = || {
        let bound = std::net::TcpListener::bind(&address);
        accept_tcp(bound.map_err(|error| error_with_address("listen on", &address, error))?)
    };
    listen_with(reactor, bind, factory)
}

/// Like [`listen_tcp`], but on a listening socket, for example one that was inherited or has
/// special options.
///
/// # Errors
///
/// Returns an error if the reactor is closed, or if this thread is not in a tokio runtime.
#[doc(alias = "adoptStreamPort")]
#[track_caller]
pub fn listen_on_tcp<P: Protocol>(
    reactor: &Reactor,
    listener: std::net::TcpListener,
    factory: impl FnMut(SocketAddr) -> P + 'static,
) -> io::Result<Port> {
    listen_with(reactor, || accept_tcp(listener), factory)
}

/// Returns the address of the socket, and a function that accepts its connections.
fn accept_tcp(
    listener: std::net::TcpListener,
) -> io::Result<(Option<SocketAddr>, impl AsyncFnMut() -> Accepted<TcpStream>)> {
    check_runtime()?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr().ok();
    let listener = TcpListener::from_std(listener)?;
    Ok((address, async move || listener.accept().await.map(|(socket, peer)| (TokioSocket(socket), peer))))
}

type Accepted<T> = io::Result<(TokioSocket<T>, SocketAddr)>;

/// Listens on a Unix socket at `path`, which must not exist and is not removed afterwards.
///
/// Twisted's `listenUNIX`.
///
/// # Errors
///
/// Returns an error, which names the path, if `path` exists or the socket cannot be created.
/// Returns an error if the reactor is closed, or if this thread is not in a tokio runtime.
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
        check_runtime()?;
        let listener = UnixListener::bind(path).map_err(|error| error_with_address("listen on", path, error))?;
        Ok((None, async move || listener.accept().await.map(|(socket, peer)| (TokioSocket(socket), peer))))
    };
    listen_with(reactor, bind, move |_| factory())
}

/// Connects to a TCP address, for example `"example.org:80"`. A thread of the runtime looks up the
/// name; several addresses are tried one after the other. When the connection is established,
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
/// use deferred_tokio::net::{Protocol, Transport, connect_tcp};
/// use deferred_tokio::{Failure, run_until};
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
    address: impl net::ToSocketAddrs + fmt::Debug + 'static,
    timeout: Duration,
    protocol: P,
) -> Deferred<Transport> {
    let name = format!("{address:?}");
    let lookup = async move {
        check_runtime()?;
        net::lookup_host(address).await.map(Iterator::collect)
    };
    let connect = connect_any(name, lookup, async |address| TcpStream::connect(address).await.map(TokioSocket));
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
    let connect = async move {
        check_runtime()?;
        let connected = UnixStream::connect(path.as_ref()).await;
        connected.map(TokioSocket).map_err(|error| error_with_address("connect to", path.as_ref(), error))
    };
    connect_with(reactor, connect, timeout, protocol)
}

/// Creates a connection on a connected TCP socket. `protocol.connection_made` is called inside this
/// call.
#[track_caller]
pub fn over_tcp<P: Protocol>(reactor: &Reactor, socket: TcpStream, protocol: P) -> Transport {
    Transport::over(reactor, TokioSocket(socket), protocol)
}

/// Creates a connection on a connected Unix socket, for example one of a pair.
/// `protocol.connection_made` is called inside this call.
#[cfg(unix)]
#[track_caller]
pub fn over_unix<P: Protocol>(reactor: &Reactor, socket: UnixStream, protocol: P) -> Transport {
    Transport::over(reactor, TokioSocket(socket), protocol)
}

/// Returns an error outside of a runtime, where a socket cannot be registered.
fn check_runtime() -> io::Result<()> {
    Handle::try_current().map(drop).map_err(|_| {
        io::Error::other(
            "no tokio runtime: call this inside `deferred_tokio::run`, in a task, or while a runtime is entered by \
             `Runtime::enter`",
        )
    })
}
