//! Functions that connect to a server, or take over a connected socket.

use std::fmt;
use std::io;
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::panic::Location;
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use deferred_core::{Deferred, Reactor};
use smol::Async;
use smol::net::{AsyncToSocketAddrs, resolve};

use super::connection;
use super::error::error_with_address;
use super::socket::Socket;
use super::{Protocol, Transport};

/// Connects to a TCP address, for example `"example.org:80"`. A thread of smol looks up the name;
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
/// use deferred_smol::net::{Protocol, Transport, connect_tcp};
/// use deferred_smol::{Failure, run_until};
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
    address: impl AsyncToSocketAddrs + fmt::Debug + 'static,
    timeout: Duration,
    protocol: P,
) -> Deferred<Transport> {
    let (at, owner) = (Location::caller(), reactor.clone());
    let connects = reactor.ensure_deferred_at(at, async move {
        let name = format!("{address:?}");
        let resolved = resolve(address).await.map_err(|error| error_with_address("look up", &name, error))?;
        let mut failed = io::Error::new(io::ErrorKind::NotFound, format!("the name {name} has no address"));
        for address in resolved {
            match Async::<TcpStream>::connect(address).await {
                Ok(socket) => return Ok(connection::start(&owner, Socket::Tcp(socket), protocol, at, |_| None)),
                Err(error) => failed = error_with_address("connect to", &address.to_string(), error),
            }
        }
        Err(failed.into())
    });
    connects.add_timeout(timeout, reactor)
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
    let (at, owner) = (Location::caller(), reactor.clone());
    let connects = reactor.ensure_deferred_at(at, async move {
        let name = format!("{:?}", path.as_ref());
        let connected = Async::<UnixStream>::connect(path).await;
        let socket = connected.map_err(|error| error_with_address("connect to", &name, error))?;
        Ok(connection::start(&owner, Socket::Unix(socket), protocol, at, |_| None))
    });
    connects.add_timeout(timeout, reactor)
}

impl Transport {
    /// Creates a connection on a connected TCP socket. `protocol.connection_made` is called inside
    /// this call.
    #[track_caller]
    pub fn over_tcp<P: Protocol>(reactor: &Reactor, socket: Async<TcpStream>, protocol: P) -> Transport {
        connection::start(reactor, Socket::Tcp(socket), protocol, Location::caller(), |_| None)
    }

    /// Creates a connection on a connected Unix socket, for example one of a pair.
    /// `protocol.connection_made` is called inside this call.
    #[cfg(unix)]
    #[track_caller]
    pub fn over_unix<P: Protocol>(reactor: &Reactor, socket: Async<UnixStream>, protocol: P) -> Transport {
        connection::start(reactor, Socket::Unix(socket), protocol, Location::caller(), |_| None)
    }
}
