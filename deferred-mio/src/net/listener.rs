//! `TcpListener` and `UnixListener`, for coroutines.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
#[cfg(unix)]
use std::path::Path;

use deferred_net::{bind_first, error_with_address};

use super::current_reactor;
use super::stream::TcpStream;
#[cfg(unix)]
use super::stream::UnixStream;
use crate::source::Source;

/// A TCP socket on which a coroutine accepts connections.
///
/// # Examples
///
/// See [`TcpStream`].
pub struct TcpListener(Source<mio::net::TcpListener>);

impl TcpListener {
    /// Listens on a TCP address, for example `"127.0.0.1:8000"`, with the current reactor.
    ///
    /// # Errors
    ///
    /// Returns an error, which names the address, if the address is invalid or in use; or an error
    /// if there is no current reactor.
    pub fn bind(address: impl ToSocketAddrs + fmt::Debug) -> io::Result<TcpListener> {
        let bound = bind_first(&address, mio::net::TcpListener::bind)
            .map_err(|error| error_with_address("listen on", &address, error))?;
        Source::new(&current_reactor()?, bound).map(TcpListener)
    }

    /// Waits for a connection. One coroutine can wait at a time.
    ///
    /// # Errors
    ///
    /// Returns the error of the system, for example if the process has too many open files.
    ///
    /// # Cancellation
    ///
    /// A cancel loses no connection.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (socket, peer) = self.0.read_with(|listener| listener.accept()).await?;
        Ok((TcpStream(self.0.connected_beside(socket)?), peer))
    }

    /// Returns the address of the socket.
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get().local_addr()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.get().fmt(f)
    }
}

/// A Unix socket on which a coroutine accepts connections.
#[cfg(unix)]
pub struct UnixListener(Source<mio::net::UnixListener>);

#[cfg(unix)]
impl UnixListener {
    /// Listens on a Unix socket at `path`, which must not exist and is not removed afterwards, with
    /// the current reactor.
    ///
    /// # Errors
    ///
    /// Returns an error, which names the path, if `path` exists or the socket cannot be created; or
    /// an error if there is no current reactor.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        let path = path.as_ref();
        let bound = mio::net::UnixListener::bind(path).map_err(|error| error_with_address("listen on", path, error))?;
        Source::new(&current_reactor()?, bound).map(UnixListener)
    }

    /// Waits for a connection. One coroutine can wait at a time.
    ///
    /// # Errors
    ///
    /// Returns the error of the system, for example if the process has too many open files.
    ///
    /// # Cancellation
    ///
    /// A cancel loses no connection.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        let (socket, _) = self.0.read_with(|listener| listener.accept()).await?;
        Ok(UnixStream(self.0.connected_beside(socket)?))
    }
}

#[cfg(unix)]
impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.get().fmt(f)
    }
}
