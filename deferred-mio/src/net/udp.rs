//! `UdpSocket`, for coroutines.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use deferred_net::{bind_first, error_with_address};

use super::current_reactor;
use crate::source::Source;

/// A UDP socket, for a coroutine that awaits datagrams.
///
/// One coroutine can wait for a datagram at a time, and one for room to send. A cancel while it
/// waits loses no datagram.
///
/// # Examples
///
/// ```
/// use deferred_mio::net::UdpSocket;
/// use deferred_mio::{inline_callbacks, run_until};
///
/// let length = run_until(|_| {
///     inline_callbacks(async {
///         let (here, there) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
///         here.send_to(b"hello", there.local_addr()?).await?;
///         let (length, _sender) = there.recv_from(&mut [0; 100]).await?;
///         Ok(length)
///     })
/// });
/// assert_eq!(length.unwrap(), 5);
/// ```
pub struct UdpSocket(Source<mio::net::UdpSocket>);

impl UdpSocket {
    /// Binds to a UDP address, for example `"127.0.0.1:0"`, with the current reactor.
    ///
    /// # Errors
    ///
    /// Returns an error, which names the address, if the address is invalid or in use; or an error
    /// if there is no current reactor.
    pub fn bind(address: impl ToSocketAddrs + fmt::Debug) -> io::Result<UdpSocket> {
        let bound = bind_first(&address, mio::net::UdpSocket::bind)
            .map_err(|error| error_with_address("bind to", &address, error))?;
        let socket = Source::connected(&current_reactor()?, bound)?;
        Ok(UdpSocket(socket))
    }

    /// Sets the only peer of this socket, for [`send`](Self::send) and [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    pub fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        self.0.get().connect(peer)
    }

    /// Sends a datagram. Returns its length.
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    pub async fn send_to(&self, data: &[u8], peer: SocketAddr) -> io::Result<usize> {
        self.0.write_with(|socket| socket.send_to(data, peer)).await
    }

    /// Waits for a datagram. Returns its length and its sender. What exceeds `buffer` is lost.
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.read_with(|socket| socket.recv_from(buffer)).await
    }

    /// Sends a datagram to the [connected](Self::connect) peer. Returns its length.
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    pub async fn send(&self, data: &[u8]) -> io::Result<usize> {
        self.0.write_with(|socket| socket.send(data)).await
    }

    /// Waits for a datagram of the [connected](Self::connect) peer. Returns its length. What
    /// exceeds `buffer` is lost.
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_with(|socket| socket.recv(buffer)).await
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

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.get().fmt(f)
    }
}
