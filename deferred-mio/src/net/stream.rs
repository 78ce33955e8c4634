//! `TcpStream` and `UnixStream`, for coroutines.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
#[cfg(unix)]
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use deferred_core::Reactor;
#[cfg(unix)]
use deferred_net::{begin_connect_unix, error_with_address};
use deferred_net::{connect_any, resolve};
use futures_io::{AsyncRead, AsyncWrite};

use super::current_reactor;
use super::socket::wait_connected;
use crate::source::Source;

/// A TCP connection, for a coroutine that awaits its data.
///
/// It implements the `futures` traits `AsyncRead` and `AsyncWrite`, as does a reference to it, so
/// that one coroutine can read while another one writes. Two that read at the same time, or two
/// that write, would miss wake-ups. After 32 reads or writes in a row that did not have to wait, a
/// coroutine is suspended for one turn of the loop, so a peer that sends without a pause does not
/// stop the others.
///
/// # Cancellation
///
/// A cancel while a coroutine waits for data or for room loses no data: what `read` has returned
/// was received, and what `write` has returned was sent.
///
/// # Examples
///
/// ```
/// use deferred_mio::net::{TcpListener, TcpStream};
/// use deferred_mio::{inline_callbacks, run_until};
/// use futures::io::{AsyncReadExt, AsyncWriteExt};
///
/// let answer = run_until(|_| {
///     inline_callbacks(async {
///         let listener = TcpListener::bind("127.0.0.1:0")?;
///         let mut client = TcpStream::connect(listener.local_addr()?).await?;
///         let (mut server, _) = listener.accept().await?;
///         server.write_all(b"hello").await?;
///         let mut answer = [0; 5];
///         client.read_exact(&mut answer).await?;
///         Ok(answer)
///     })
/// });
/// assert_eq!(&answer.unwrap(), b"hello");
/// ```
pub struct TcpStream(pub(super) Source<mio::net::TcpStream>);

impl TcpStream {
    /// Connects to a TCP address, for example `"example.org:80"`, as
    /// [`connect_tcp`](super::connect_tcp).
    ///
    /// # Errors
    ///
    /// Returns the error of the lookup or of the last address that was tried, whose text includes
    /// that address; or [`NoReactor`](deferred_core::NoReactor) as the source of an error, outside
    /// of a reactor.
    ///
    /// # Cancellation
    ///
    /// A cancel ends the attempt and closes the socket. A lookup that runs ends by itself.
    pub async fn connect(address: impl ToSocketAddrs + fmt::Debug + Send + 'static) -> io::Result<TcpStream> {
        let (name, reactor) = (format!("{address:?}"), current_reactor()?);
        let connect =
            async |address| wait_connected(Source::new(&reactor, mio::net::TcpStream::connect(address)?)?).await;
        connect_any(&reactor, &name, resolve(&reactor, address), connect).await.map(TcpStream)
    }

    /// Returns a stream on a connected socket of the standard library, which this makes
    /// non-blocking, for the loop of `reactor`.
    ///
    /// # Errors
    ///
    /// Returns the error of the system, if it cannot make the socket non-blocking or register it
    /// with the loop.
    pub fn from_std(reactor: &Reactor, socket: std::net::TcpStream) -> io::Result<TcpStream> {
        socket.set_nonblocking(true)?;
        Source::connected(reactor, mio::net::TcpStream::from_std(socket)).map(TcpStream)
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get().peer_addr()
    }

    /// Returns the address of this side.
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get().local_addr()
    }

    /// Sets whether small writes are sent at once.
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    pub fn set_nodelay(&self, no_delay: bool) -> io::Result<()> {
        self.0.get().set_nodelay(no_delay)
    }
}

/// A connection on a Unix socket, for a coroutine that awaits its data. Like [`TcpStream`].
#[cfg(unix)]
pub struct UnixStream(pub(super) Source<mio::net::UnixStream>);

#[cfg(unix)]
impl UnixStream {
    /// Connects to the Unix socket at `path`.
    ///
    /// # Errors
    ///
    /// Returns an error, which names the path, if the connection is refused.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        let reactor = current_reactor()?;
        let connects = async {
            let socket = begin_connect_unix(&reactor, path.as_ref()).await?;
            wait_connected(Source::new(&reactor, mio::net::UnixStream::from_std(socket))?).await
        };
        let connected = connects.await.map_err(|error| error_with_address("connect to", path.as_ref(), error));
        connected.map(UnixStream)
    }

    /// Returns a stream on a connected socket of the standard library, which this makes
    /// non-blocking, for the loop of `reactor`.
    ///
    /// # Errors
    ///
    /// Like [`TcpStream::from_std`].
    pub fn from_std(reactor: &Reactor, socket: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
        socket.set_nonblocking(true)?;
        Source::connected(reactor, mio::net::UnixStream::from_std(socket)).map(UnixStream)
    }
}

macro_rules! streams {
    ($($type:ty),*) => {$(
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                ready!(self.0.poll_may_read(context));
                self.0.poll_read_into(context, buffer)
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
                ready!(self.0.poll_may_write(context));
                self.0.poll_write_from(context, data)
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.0.get().shutdown(Shutdown::Write))
            }
        }
    )*};
}

macro_rules! stream {
    ($name:ident) => {
        streams!($name, &$name);

        impl $name {
            /// Ends one or both sides of the connection.
            ///
            /// # Errors
            ///
            /// Returns the error of the system.
            pub fn shutdown(&self, side: Shutdown) -> io::Result<()> {
                self.0.get().shutdown(side)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.get().fmt(f)
            }
        }
    };
}

stream!(TcpStream);
#[cfg(unix)]
stream!(UnixStream);
