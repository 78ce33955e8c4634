//! `on_data`, `on_line` and `on_datagram`: protocols that are closures.

use std::fmt;
use std::net::SocketAddr;

use deferred_core::Failure;

use super::{ConnectionLost, DatagramProtocol, LineProtocol, Lines, Protocol, Transport, UdpTransport};

/// Returns a protocol that calls `f` for incoming data, as
/// [`data_received`](Protocol::data_received). `f` returns `()` or a `Result<(), Failure>`; an
/// error aborts the connection.
///
/// # Examples
///
/// A server that echoes:
///
/// ```
/// use deferred_mio::net::{listen_tcp, on_data};
/// use deferred_mio::run;
///
/// run(|reactor| {
///     # reactor.stop();
///     listen_tcp(reactor, "127.0.0.1:0", |_| on_data(|transport, data| transport.write(data)))
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn on_data<R: CallbackResult>(mut f: impl FnMut(&Transport, &[u8]) -> R + 'static) -> FromFn {
    FromFn {
        received: Box::new(move |transport, data| f(transport, data).into_result()),
        made: None,
        read_lost: None,
        lost: None,
    }
}

/// Returns a protocol that calls `f` for each line, as
/// [`line_received`](LineProtocol::line_received). `f` returns `()` or a `Result<(), Failure>`; an
/// error aborts the connection.
///
/// # Examples
///
/// A client that asks for a line, and prints the answer:
///
/// ```no_run
/// use std::time::Duration;
/// use deferred_mio::net::{connect_tcp, on_line};
/// use deferred_mio::run_until;
///
/// run_until(|reactor| {
///     let asks = on_line(|transport, line| {
///         println!("{}", String::from_utf8_lossy(line));
///         transport.lose_connection();
///     })
///     .on_made(|transport| transport.send_line("the time, please"));
///     connect_tcp(reactor, "127.0.0.1:8000", Duration::from_secs(10), asks).add_callback(|transport| transport.closed())
/// })?;
/// # Ok::<(), deferred_mio::Failure>(())
/// ```
pub fn on_line<R: CallbackResult>(f: impl FnMut(&Transport, &[u8]) -> R + 'static) -> Lines<FromFn> {
    Lines::new(on_data(f))
}

/// The protocol of [`on_data`] and [`on_line`].
pub struct FromFn {
    received: Box<OnReceived>,
    made: Option<Box<OnMade>>,
    read_lost: Option<Box<OnMade>>,
    lost: Option<Box<OnLost>>,
}

type OnReceived = dyn FnMut(&Transport, &[u8]) -> Result<(), Failure>;
type OnMade = dyn FnOnce(&Transport) -> Result<(), Failure>;
type OnLost = dyn FnOnce(&ConnectionLost);

impl FromFn {
    /// Sets a function to call when the connection is established.
    #[must_use]
    pub fn on_made<R: CallbackResult>(mut self, f: impl FnOnce(&Transport) -> R + 'static) -> FromFn {
        self.made = Some(Box::new(|transport| f(transport).into_result()));
        self
    }

    /// Sets a function to call when the peer has ended its side, in place of a
    /// [`lose_connection`](Transport::lose_connection). See
    /// [`Protocol::read_connection_lost`].
    #[must_use]
    pub fn on_read_lost<R: CallbackResult>(mut self, f: impl FnOnce(&Transport) -> R + 'static) -> FromFn {
        self.read_lost = Some(Box::new(|transport| f(transport).into_result()));
        self
    }

    /// Sets a function to call when the connection has ended.
    #[must_use]
    pub fn on_lost(mut self, f: impl FnOnce(&ConnectionLost) + 'static) -> FromFn {
        self.lost = Some(Box::new(f));
        self
    }

    fn call_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.made.take().map_or(Ok(()), |made| made(transport))
    }

    fn call_read_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        match self.read_lost.take() {
            Some(read_lost) => read_lost(transport),
            None => {
                transport.lose_connection();
                Ok(())
            }
        }
    }

    fn call_lost(&mut self, reason: &ConnectionLost) {
        if let Some(lost) = self.lost.take() {
            lost(reason);
        }
    }
}

impl Lines<FromFn> {
    /// Like [`FromFn::on_made`].
    #[must_use]
    pub fn on_made<R: CallbackResult>(self, f: impl FnOnce(&Transport) -> R + 'static) -> Lines<FromFn> {
        self.map_protocol(|protocol| protocol.on_made(f))
    }

    /// Like [`FromFn::on_read_lost`].
    #[must_use]
    pub fn on_read_lost<R: CallbackResult>(self, f: impl FnOnce(&Transport) -> R + 'static) -> Lines<FromFn> {
        self.map_protocol(|protocol| protocol.on_read_lost(f))
    }

    /// Like [`FromFn::on_lost`].
    #[must_use]
    pub fn on_lost(self, f: impl FnOnce(&ConnectionLost) + 'static) -> Lines<FromFn> {
        self.map_protocol(|protocol| protocol.on_lost(f))
    }
}

impl Protocol for FromFn {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.call_made(transport)
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        (self.received)(transport, data)
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.call_read_lost(transport)
    }

    fn connection_lost(&mut self, reason: &ConnectionLost) {
        self.call_lost(reason);
    }
}

impl LineProtocol for FromFn {
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.call_made(transport)
    }

    fn line_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
        (self.received)(transport, line)
    }

    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.call_read_lost(transport)
    }

    fn connection_lost(&mut self, reason: &ConnectionLost) {
        self.call_lost(reason);
    }
}

impl fmt::Debug for FromFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFn").finish_non_exhaustive()
    }
}

/// Creates a datagram protocol whose only callback is `f`, which is called for each datagram, with
/// its sender.
///
/// An error or panic of a closure is reported as unhandled, and the socket continues.
///
/// # Examples
///
/// ```no_run
/// use deferred_mio::net::{listen_udp, on_datagram};
/// use deferred_mio::run;
///
/// run(|reactor| {
///     let echo = on_datagram(|transport, data, sender| {
///         transport.send_to(data, sender)?;
///         Ok(())
///     });
///     listen_udp(reactor, "127.0.0.1:9999", echo)
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn on_datagram<R: CallbackResult>(
    mut f: impl FnMut(&UdpTransport, &[u8], SocketAddr) -> R + 'static,
) -> DatagramFn {
    DatagramFn {
        received: Box::new(move |transport, data, sender| f(transport, data, sender).into_result()),
        started: None,
        refused: None,
    }
}

/// A datagram protocol that consists of closures: the result of [`on_datagram`].
#[must_use = "it is passed to `listen_udp`"]
pub struct DatagramFn {
    received: Box<OnDatagram>,
    started: Option<Box<OnSocket>>,
    refused: Option<Box<OnSocket>>,
}

type OnDatagram = dyn FnMut(&UdpTransport, &[u8], SocketAddr) -> Result<(), Failure>;
type OnSocket = dyn FnMut(&UdpTransport) -> Result<(), Failure>;

impl DatagramFn {
    /// Sets a function to call first. See [`DatagramProtocol::started`].
    pub fn on_started<R: CallbackResult>(mut self, mut f: impl FnMut(&UdpTransport) -> R + 'static) -> DatagramFn {
        self.started = Some(Box::new(move |transport| f(transport).into_result()));
        self
    }

    /// Sets a function to call when no program receives at the other end. See
    /// [`DatagramProtocol::connection_refused`].
    pub fn on_refused<R: CallbackResult>(mut self, mut f: impl FnMut(&UdpTransport) -> R + 'static) -> DatagramFn {
        self.refused = Some(Box::new(move |transport| f(transport).into_result()));
        self
    }
}

impl DatagramProtocol for DatagramFn {
    fn started(&mut self, transport: &UdpTransport) -> Result<(), Failure> {
        self.started.as_mut().map_or(Ok(()), |f| f(transport))
    }

    fn datagram_received(&mut self, transport: &UdpTransport, data: &[u8], sender: SocketAddr) -> Result<(), Failure> {
        (self.received)(transport, data, sender)
    }

    fn connection_refused(&mut self, transport: &UdpTransport) -> Result<(), Failure> {
        self.refused.as_mut().map_or(Ok(()), |f| f(transport))
    }
}

impl fmt::Debug for DatagramFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramFn").finish_non_exhaustive()
    }
}

/// The types that a closure of a protocol returns: `()` or `Result<(), Failure>`.
#[diagnostic::on_unimplemented(
    message = "a closure of a protocol cannot return `{Self}`",
    label = "return `()` or a `Result<(), Failure>`"
)]
pub trait CallbackResult {
    /// Converts `self` into the result of a callback.
    ///
    /// # Errors
    ///
    /// Returns the error of the closure.
    fn into_result(self) -> Result<(), Failure>;
}

impl CallbackResult for () {
    fn into_result(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl CallbackResult for Result<(), Failure> {
    fn into_result(self) -> Result<(), Failure> {
        self
    }
}
