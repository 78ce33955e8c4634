//! `Protocol`: the callbacks of a connection.

use deferred_core::Failure;

use super::{ConnectionLost, Transport};

/// The callbacks of one connection. All of them run on the loop's thread, one after the other.
///
/// [`connection_made`](Self::connection_made) is called first, once;
/// [`connection_lost`](Self::connection_lost) last, once, in every case; and
/// [`data_received`](Self::data_received) in between, for incoming data. State that several
/// connections share is in an `Rc`. A connection that begins with TLS is established after the
/// handshake: if that fails, the protocol is dropped without a call.
///
/// A callback that fails or panics aborts the connection: data that was not sent is dropped. To
/// answer before the end, write, call [`lose_connection`](Transport::lose_connection) and return
/// `Ok(())`. The error is reported as unhandled, once, after `connection_lost`.
///
/// Twisted's `Protocol`. Operations on the connection are methods of the [`Transport`], which is an
/// argument of each callback.
///
/// # Examples
///
/// ```
/// use deferred_smol::net::{Protocol, Transport};
/// use deferred_smol::Failure;
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
///         transport.write(data);
///         Ok(())
///     }
/// }
/// ```
pub trait Protocol: 'static {
    /// Called when the connection is established. It can write, and store clones of the transport.
    ///
    /// # Errors
    ///
    /// An error aborts the connection.
    #[doc(alias = "connectionMade")]
    fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// Called for incoming data of at least one byte. The boundaries of the peer's writes are not
    /// preserved: [`Lines`](super::Lines) finds line ends. By default the data is ignored.
    ///
    /// # Errors
    ///
    /// An error aborts the connection.
    #[doc(alias = "dataReceived")]
    fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
        let _ = (transport, data);
        Ok(())
    }

    /// Called when the peer has ended its side; the peer may still read. By default this [loses the
    /// connection](Transport::lose_connection) after the buffered data is sent. Otherwise the next
    /// write detects a peer that is gone altogether.
    ///
    /// Twisted's `readConnectionLost`.
    ///
    /// # Errors
    ///
    /// An error aborts the connection.
    #[doc(alias = "readConnectionLost")]
    #[doc(alias = "IHalfCloseableProtocol")]
    fn read_connection_lost(&mut self, transport: &Transport) -> Result<(), Failure> {
        transport.lose_connection();
        Ok(())
    }

    /// Called when reading continues after a [`pause_producing`](Transport::pause_producing),
    /// before new data is read. It is for a protocol that has buffered data.
    ///
    /// # Errors
    ///
    /// An error aborts the connection.
    fn reading_resumed(&mut self, transport: &Transport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// Called when the connection has ended. No other callback follows, and data that is still
    /// written to a [`Transport`] is dropped.
    #[doc(alias = "connectionLost")]
    fn connection_lost(&mut self, reason: &ConnectionLost) {
        let _ = reason;
    }
}
