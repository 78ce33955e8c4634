//! TLS under [`Protocol`], with [rustls].
//!
//! [`listen_tls`] and [`connect_tls`] create connections that begin with TLS;
//! [`Transport::start_tls`] adds it in the middle. A protocol on TLS is the same as one on TCP: it
//! gets and writes decrypted data, buffered data counts and is limited in the same way, and the
//! ends of the two sides are separate, also on TLS 1.2.
//!
//! - A peer that ends its side without the announcement of TLS (`close_notify`) may have been cut
//!   off by an attacker: the reason of the loss is an [`Io`](crate::ConnectionLost::Io) error of the
//!   kind `UnexpectedEof`.
//! - An invalid certificate, or any other error of TLS, is an `Io` error with a [`rustls::Error`].
//!   The peer gets an alert.
//! - The renegotiation of TLS 1.2 is refused.
//!
//! rustls needs a cryptography provider. Choose one by a feature of rustls in your own
//! `Cargo.toml`: `rustls = { version = "0.23", default-features = false, features = ["ring"] }`.
//! [`server_config`] and [`client_config`] read certificates and keys from files.

mod files;
mod layer;
mod stream;

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use deferred_core::{Deferred, Failure, Reactor};
pub use files::{client_config, server_config};
pub(crate) use layer::MaybeTls;
pub use rustls;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use crate::bind::{BindOptions, bind_tcp};
use crate::connect::{connect_with, connected, open_tcp, without_delay};
use crate::listen::accept_on;
use crate::network::network_of;
use crate::transport_state::TlsStage;
use crate::waiters::push_waiter;
use crate::{ConnectionLost, Port, Protocol, Transport};

/// The time in which the peer must complete the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Like [`listen_tcp`](crate::listen_tcp), but with TLS. `connection_made` is called after the
/// handshake, when the [certificates](Transport::peer_certificates) of the client are checked. A
/// client that does not complete the handshake within 30 seconds, or not correctly, is
/// disconnected; its protocol is dropped without a call.
///
/// Twisted's `listenSSL`.
///
/// # Errors
///
/// Returns the same errors as [`listen_tcp`](crate::listen_tcp), and an error if `config` is not
/// usable.
#[doc(alias = "listenSSL")]
#[doc(alias = "SSL4ServerEndpoint")]
#[doc(alias = "wrapServerTLS")]
#[track_caller]
pub fn listen_tls<P: Protocol>(
    reactor: &Reactor,
    address: impl ToSocketAddrs + fmt::Debug,
    config: Arc<ServerConfig>,
    mut factory: impl FnMut(SocketAddr) -> P + 'static,
) -> io::Result<Port> {
    let session = move || ServerConnection::new(config.clone()).map_err(io::Error::other);
    drop(session()?);
    let network = network_of(reactor)?;
    let listener = bind_tcp(&address, BindOptions::default())?;
    let address = listener.local_addr()?;
    let listener = network.tcp_listener(reactor, listener)?;
    Ok(accept_on(reactor, Location::caller(), listener, Some(address), move |transport, peer| {
        without_delay(transport);
        begin(transport, session()?);
        Ok(factory(peer.unwrap_or(address)))
    }))
}

/// Begins a connection of a server with TLS.
pub(crate) fn begin(transport: &Transport, session: ServerConnection) {
    transport.add_tls(session.into());
    limit_handshake(transport);
}

/// Ends a connection whose handshake is not complete in time.
fn limit_handshake(transport: &Transport) {
    if !transport.state.has_close_timer() {
        transport.state.set_close_timer(HANDSHAKE_TIMEOUT, || ConnectionLost::TimedOut(HANDSHAKE_TIMEOUT));
    }
}

/// Like [`connect_tcp`](crate::connect_tcp), but with TLS. The certificate of the server is checked
/// for the host in `address`, which is `"host:port"`; if the certificate has another name, use
/// [`ClientEndpoint::server_name`](crate::ClientEndpoint::server_name). `connection_made` is called
/// after the handshake.
///
/// Twisted's `connectSSL`, and its `wrapClientTLS` with `optionsForClientTLS`.
///
/// # Errors
///
/// Like [`connect_tcp`](crate::connect_tcp). Fails with an `io::Error` with a [`rustls::Error`] if
/// the handshake fails, for example because of an invalid certificate.
///
/// # Cancellation
///
/// Like [`connect_tcp`](crate::connect_tcp).
///
/// # Examples
///
/// ```no_run
/// use std::sync::Arc;
/// use std::time::Duration;
/// use deferred_net::tls::rustls::ClientConfig;
/// use deferred_net::{connect_tls, on_data};
/// use deferred_smol::run_until;
///
/// fn get(config: Arc<ClientConfig>) {
///     let page = run_until(|reactor| {
///         let prints = on_data(|_, data| print!("{}", String::from_utf8_lossy(data)))
///             .on_made(|transport| transport.write("GET / HTTP/1.0\r\nHost: example.org\r\n\r\n"));
///         connect_tls(reactor, "example.org:443", config, Duration::from_secs(10), prints)
///             .add_callback(|transport| transport.closed())
///     });
/// }
/// ```
#[doc(alias = "connectSSL")]
#[doc(alias = "SSL4ClientEndpoint")]
#[doc(alias = "wrapClientTLS")]
#[doc(alias = "optionsForClientTLS")]
#[track_caller]
#[must_use = "the result of the connect is only in this Deferred"]
pub fn connect_tls<P: Protocol>(
    reactor: &Reactor,
    address: impl Into<String>,
    config: Arc<ClientConfig>,
    timeout: Duration,
    protocol: P,
) -> Deferred<Transport> {
    let (address, owner) = (address.into(), reactor.clone());
    let connect = async move {
        let name = server_name(&address)?;
        let transport = open_tcp(&owner, address, None).await?;
        secure(transport, ClientConnection::new(config, name)).await
    };
    connect_with(reactor, Location::caller(), connect, timeout, protocol)
}

/// Completes the handshake of a client.
pub(crate) async fn secure(
    transport: Transport,
    session: Result<ClientConnection, rustls::Error>,
) -> io::Result<Transport> {
    transport.add_tls(session.map_err(io::Error::other)?.into());
    let transport = connected(transport).await?;
    transport.state.tls.set(TlsStage::Established);
    Ok(transport)
}

/// Returns the host of an address, as the name of the server.
pub(crate) fn server_name(address: &str) -> io::Result<ServerName<'static>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(host.to_owned()).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("the address {address:?} has no name of a server to check: it should be \"host:port\""),
        )
    })
}

impl Transport {
    /// Starts TLS on this connection, after the data that was written before, which is sent as it
    /// is. `session` is a [`ClientConnection`] or [`ServerConnection`]. Later writes are encrypted,
    /// and all incoming data is decrypted. If the handshake fails, or is not complete within 30
    /// seconds, the connection is lost.
    ///
    /// Call this when the peer must send nothing more before TLS, as after `STARTTLS`. Data that
    /// has arrived with the same read as the call is not encrypted, and must not be trusted:
    /// [`Lines`](crate::Lines) and [`Framed`](crate::Framed) lose a connection on which any has.
    ///
    /// Twisted's `startTLS`.
    ///
    /// # Errors
    ///
    /// Returns an error if TLS was started before, or if the connection has ended.
    #[doc(alias = "startTLS")]
    pub fn start_tls(&self, session: impl Into<Connection>) -> io::Result<()> {
        if self.lost().is_some() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if self.state.tls.get() != TlsStage::Plain {
            return Err(io::Error::other("TLS was already started on this connection"));
        }
        let plain = self.unsent();
        self.state.cold().tls_start = Some((Box::new(session.into()), plain));
        self.state.tls.set(TlsStage::Starting);
        self.state.not_lines.set(true);
        limit_handshake(self);
        self.state.touch();
        Ok(())
    }

    /// Returns a Deferred that fires when the handshake is complete. It is ready at once in a
    /// connection of [`listen_tls`] or [`connect_tls`].
    ///
    /// Twisted's `IHandshakeListener.handshakeCompleted`.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with [`ConnectionLost`] if the handshake fails or the connection
    /// ends, and with an error if TLS was not [started](Self::start_tls).
    ///
    /// # Cancellation
    ///
    /// A cancel ends only the wait.
    #[doc(alias = "handshakeCompleted")]
    #[must_use = "the Deferred only waits; the call has no other effect"]
    pub fn secured(&self) -> Deferred<()> {
        if let Some(lost) = self.lost() {
            return Deferred::fail(lost);
        }
        match self.state.tls.get() {
            TlsStage::Plain => Deferred::fail(Failure::msg("TLS was not started on this connection")),
            TlsStage::Established => Deferred::succeed(()),
            TlsStage::Starting | TlsStage::Handshake => {
                let (deferred, resolver) = Deferred::new();
                push_waiter(&mut self.state.cold().secured, resolver);
                deferred
            }
        }
    }

    /// Calls `f` with the TLS session. Returns `None` if there is none.
    pub fn with_tls<T>(&self, f: impl FnOnce(&Connection) -> T) -> Option<T> {
        let (mut f, mut value) = (Some(f), None);
        self.state.socket.with_tls(&mut |session| value = f.take().map(|f| f(session)));
        value
    }

    /// Returns the certificates of the peer, its own first. `None` without TLS, or if the peer has
    /// sent none. They were checked as the configuration requires.
    ///
    /// Twisted's `getPeerCertificate`.
    #[doc(alias = "getPeerCertificate")]
    #[must_use]
    pub fn peer_certificates(&self) -> Option<Vec<CertificateDer<'static>>> {
        self.with_tls(|session| {
            session.peer_certificates().map(|all| all.iter().map(|one| one.clone().into_owned()).collect())
        })?
    }

    /// Returns the protocol that ALPN has chosen, for example `b"h2"`.
    ///
    /// Twisted's `negotiatedProtocol`.
    #[doc(alias = "negotiatedProtocol")]
    #[must_use]
    pub fn alpn_protocol(&self) -> Option<Vec<u8>> {
        self.with_tls(|session| session.alpn_protocol().map(<[u8]>::to_vec))?
    }

    /// Adds TLS at the beginning, or after all plain data.
    pub(crate) fn add_tls(&self, session: Connection) {
        self.state.socket.start_tls(session);
        self.state.flushes.set(true);
        self.state.tls.set(TlsStage::Handshake);
        let is_raw = self.state.cold().raw_left > 0;
        self.state.not_lines.set(is_raw);
    }
}
