//! Who makes connections.

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
use super::socket::Socket;
use super::{Protocol, Transport, naming};

/// Connects to a TCP address, for example `"example.org:80"`, whose name is looked up in a thread
/// of smol's; several addresses are tried one after the other. When the connection is there,
/// `protocol` hears of it, and the Deferred fires.
///
/// Twisted's `connectTCP`; what it does there in a factory is done by whoever has the Deferred.
///
/// # Errors
///
/// [`TimedOut`](deferred_core::TimedOut), if there is no connection after `timeout`, of everything
/// together. The error of the last address that was tried, with that address in its text.
///
/// # Cancellation
///
/// It is given up, and nobody hears of it but the Deferred.
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
#[track_caller]
#[must_use = "the error is in the Deferred"]
pub fn connect_tcp<P: Protocol>(
    reactor: &Reactor,
    address: impl AsyncToSocketAddrs + fmt::Debug + 'static,
    timeout: Duration,
    protocol: P,
) -> Deferred<Transport> {
    let (at, kept) = (Location::caller(), reactor.clone());
    let connects = reactor.ensure_deferred_at(at, async move {
        let name = format!("{address:?}");
        let resolved = resolve(address).await.map_err(|error| naming("look up", &name, error))?;
        let mut failed = io::Error::new(io::ErrorKind::NotFound, format!("the name {name} has no address"));
        for address in resolved {
            match Async::<TcpStream>::connect(address).await {
                Ok(socket) => return Ok(connection::start(&kept, Socket::Tcp(socket), protocol, at, |_| None)),
                Err(error) => failed = naming("connect to", &address.to_string(), error),
            }
        }
        Err(failed.into())
    });
    connects.add_timeout(timeout, reactor)
}

/// Connects to the Unix socket at `path`; as [`connect_tcp`].
///
/// Twisted's `connectUNIX`.
///
/// # Errors
///
/// As [`connect_tcp`].
///
/// # Cancellation
///
/// As [`connect_tcp`].
#[cfg(unix)]
#[track_caller]
#[must_use = "the error is in the Deferred"]
pub fn connect_unix<P: Protocol>(
    reactor: &Reactor,
    path: impl AsRef<Path> + 'static,
    timeout: Duration,
    protocol: P,
) -> Deferred<Transport> {
    let (at, kept) = (Location::caller(), reactor.clone());
    let connects = reactor.ensure_deferred_at(at, async move {
        let name = format!("{:?}", path.as_ref());
        let connected = Async::<UnixStream>::connect(path).await;
        let socket = connected.map_err(|error| naming("connect to", &name, error))?;
        Ok(connection::start(&kept, Socket::Unix(socket), protocol, at, |_| None))
    });
    connects.add_timeout(timeout, reactor)
}

impl Transport {
    /// A connection on a TCP socket that was made elsewhere. `protocol` hears of it in here.
    #[track_caller]
    pub fn over_tcp<P: Protocol>(reactor: &Reactor, socket: Async<TcpStream>, protocol: P) -> Transport {
        connection::start(reactor, Socket::Tcp(socket), protocol, Location::caller(), |_| None)
    }

    /// A connection on a Unix socket that was made elsewhere, for example one of a pair. `protocol`
    /// hears of it in here.
    #[cfg(unix)]
    #[track_caller]
    pub fn over_unix<P: Protocol>(reactor: &Reactor, socket: Async<UnixStream>, protocol: P) -> Transport {
        connection::start(reactor, Socket::Unix(socket), protocol, Location::caller(), |_| None)
    }
}
