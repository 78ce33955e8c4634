//! `connect_tcp` and `connect_unix`: the connecting to a server; and transports on connected
//! sockets.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::panic::Location;
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use deferred_core::{Deferred, Reactor};
use futures_io::{AsyncRead, AsyncWrite};
use socket2::{Domain, Type};

use super::attempts::connect_any;
use super::connection;
#[cfg(unix)]
use super::error::error_with_address;
use super::network::network_of;
use super::resolve::resolve;
use super::socket::Socket;
use super::stream_socket::StreamSocket;
use super::{ConnectionLost, Protocol, Transport};

/// The delay before another attempt, if the backlog of a Unix socket is full.
#[cfg(unix)]
const FULL_DELAY: Duration = Duration::from_millis(10);

/// Connects to a TCP address, for example `"example.org:80"`. A thread looks up the
/// [name](resolve). If it has several addresses, the attempts overlap, as [`connect_any`]
/// describes. When the connection is established, `protocol.connection_made` is called, and the
/// returned Deferred fires.
///
/// Twisted's `connectTCP`. The returned Deferred replaces the factory.
///
/// # Errors
///
/// The returned Deferred fails with [`TimedOut`](deferred_core::TimedOut) if there is no connection
/// after `timeout`, which includes the lookup and all attempts. It fails with [`ConnectionLost`] if
/// `connection_made` fails or aborts the connection. Otherwise it fails with the error of the lookup
/// or of the last address that was tried, whose text includes that address.
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
#[doc(alias = "HostnameEndpoint")]
#[track_caller]
#[must_use = "the result of the connect is only in this Deferred"]
pub fn connect_tcp<P: Protocol>(
    reactor: &Reactor,
    address: impl ToSocketAddrs + fmt::Debug + Send + 'static,
    timeout: Duration,
    protocol: P,
) -> Deferred<Transport> {
    let owner = reactor.clone();
    connect_with(reactor, Location::caller(), async move { open_tcp(&owner, address, None).await }, timeout, protocol)
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
    connect_with(reactor, Location::caller(), async move { open_unix(&owner, path.as_ref()).await }, timeout, protocol)
}

/// Starts a connection on the transport that `connect` returns.
pub(super) fn connect_with<P: Protocol>(
    reactor: &Reactor,
    at: &'static Location<'static>,
    connect: impl Future<Output = io::Result<Transport>> + 'static,
    timeout: Duration,
    protocol: P,
) -> Deferred<Transport> {
    let connects = reactor.ensure_deferred_at(at, async move {
        let transport = connect.await?;
        connection::start(&transport, protocol, at, None);
        match transport.lost() {
            Some(why @ (ConnectionLost::Failed(_) | ConnectionLost::Aborted)) => Err(why.into()),
            _ => Ok(transport),
        }
    });
    connects.add_timeout(timeout, reactor)
}

/// Connects to the first address that works.
pub(super) async fn open_tcp(
    reactor: &Reactor,
    address: impl ToSocketAddrs + fmt::Debug + Send + 'static,
    from: Option<SocketAddr>,
) -> io::Result<Transport> {
    let name = format!("{address:?}");
    let transport = connect_any(reactor, &name, resolve(reactor, address), async |address| {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(socket2::Protocol::TCP))?;
        if let Some(from) = from {
            socket.bind(&from.into())?;
        }
        socket.set_nonblocking(true)?;
        begun(socket.connect(&address.into()))?;
        connected(network_of(reactor)?.tcp_stream(reactor, socket.into())?).await
    });
    let transport = transport.await?;
    without_delay(&transport);
    Ok(transport)
}

#[cfg(unix)]
pub(super) async fn open_unix(reactor: &Reactor, path: &Path) -> io::Result<Transport> {
    let opens = async {
        let socket = begin_connect_unix(reactor, path).await?;
        connected(network_of(reactor)?.unix_stream(reactor, socket)?).await
    };
    opens.await.map_err(|error| error_with_address("connect to", path, error))
}

/// Creates a non-blocking Unix socket, and begins to connect it to `path`: for adapters.
///
/// # Errors
///
/// Returns the error of the system.
#[cfg(unix)]
#[doc(hidden)]
pub async fn begin_connect_unix(reactor: &Reactor, path: &Path) -> io::Result<UnixStream> {
    loop {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match begun(socket.connect(&socket2::SockAddr::unix(path)?)) {
            // The backlog of the server is full, and the system does not report when it has room.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                reactor.sleep(FULL_DELAY).await.map_err(io::Error::other)?;
            }
            result => return result.map(|()| socket.into()),
        }
    }
}

/// Returns the error of a connect, unless it has only not ended yet.
fn begun(result: io::Result<()>) -> io::Result<()> {
    #[cfg(unix)]
    let in_progress = |error: &io::Error| {
        let errno = rustix::io::Errno::from_io_error(error);
        errno == Some(rustix::io::Errno::INPROGRESS) || errno == Some(rustix::io::Errno::INTR)
    };
    #[cfg(not(unix))]
    let in_progress = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    match result {
        Err(error) if in_progress(&error) => Ok(()),
        result => result,
    }
}

/// Waits until a socket is connected.
pub(super) async fn connected(transport: Transport) -> io::Result<Transport> {
    poll_fn(|context| transport.state.socket.poll_connected(context)).await?;
    Ok(transport)
}

/// Sends small writes at once. Without it small messages are slower, which is no error.
pub(super) fn without_delay(transport: &Transport) {
    let _ = transport.with_socket(|socket| socket.set_tcp_nodelay(true));
}

impl Transport {
    /// Creates a connection on a stream of any kind, for example on one of another crate. Bytes of
    /// the stream are what the peer sends; its end, and what is written, are those of a socket.
    /// `protocol.connection_made` is called inside this call.
    ///
    /// The stream wakes the loop, so any executor can poll it. Its methods must not block. On such
    /// a connection the methods for addresses and options of the socket fail with
    /// [`Unsupported`](io::ErrorKind::Unsupported).
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_mio::net::{Protocol, TcpStream, Transport};
    /// use deferred_mio::{Deferred, inline_callbacks, Reactor};
    ///
    /// /// Connects as a coroutine, and continues as a protocol.
    /// fn connect(reactor: &Reactor, protocol: impl Protocol) -> Deferred<Transport> {
    ///     let reactor = reactor.clone();
    ///     inline_callbacks(async move {
    ///         let stream = TcpStream::connect("127.0.0.1:8000").await?;
    ///         Ok(Transport::over(&reactor, stream, protocol))
    ///     })
    /// }
    /// ```
    #[track_caller]
    pub fn over<P: Protocol>(
        reactor: &Reactor,
        stream: impl AsyncRead + AsyncWrite + 'static,
        protocol: P,
    ) -> Transport {
        Transport::over_socket(reactor, StreamSocket::new(stream), protocol)
    }

    /// Creates a connection on a [`Socket`], for example one that an adapter implements. Otherwise
    /// like [`over`](Self::over).
    #[track_caller]
    pub fn over_socket<P: Protocol>(reactor: &Reactor, socket: impl Socket, protocol: P) -> Transport {
        let transport = Transport::new(reactor, socket);
        connection::start(&transport, protocol, Location::caller(), None);
        transport
    }

    /// Creates a connection on a connected TCP socket, which this makes non-blocking.
    /// `protocol.connection_made` is called inside this call.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if the socket cannot be registered with the loop.
    #[track_caller]
    pub fn over_tcp<P: Protocol>(reactor: &Reactor, socket: TcpStream, protocol: P) -> io::Result<Transport> {
        let transport = network_of(reactor)?.tcp_stream(reactor, socket)?;
        without_delay(&transport);
        connection::start(&transport, protocol, Location::caller(), None);
        Ok(transport)
    }

    /// Creates a connection on a connected Unix socket, for example one of a pair. Otherwise like
    /// [`over_tcp`](Self::over_tcp).
    ///
    /// # Errors
    ///
    /// Like [`over_tcp`](Self::over_tcp).
    #[cfg(unix)]
    #[track_caller]
    pub fn over_unix<P: Protocol>(reactor: &Reactor, socket: UnixStream, protocol: P) -> io::Result<Transport> {
        let transport = network_of(reactor)?.unix_stream(reactor, socket)?;
        connection::start(&transport, protocol, Location::caller(), None);
        Ok(transport)
    }
}
