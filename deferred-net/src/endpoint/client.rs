//! `ClientEndpoint`: an address to connect to, with options.

use std::fmt;
use std::net::SocketAddr;
use std::panic::Location;
#[cfg(unix)]
use std::path::PathBuf;
use std::str::FromStr;
#[cfg(feature = "rustls")]
use std::sync::Arc;
use std::time::Duration;

use deferred_core::{Deferred, Reactor};
#[cfg(feature = "rustls")]
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

use super::parse::{Description, InvalidEndpoint, host_and_port};
#[cfg(unix)]
use crate::connect::open_unix;
use crate::connect::{connect_with, open_tcp};
use crate::{Protocol, Transport};

/// The default of [`ClientEndpoint::timeout`], as in Twisted.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An address to connect to, with options. It does nothing until [`connect`](Self::connect).
///
/// As a text it is `tcp:example.org:80`, `unix:/run/server`, or, with the feature `rustls`,
/// `ssl:example.org:443:trustRoots=certificates.pem`. Options are `timeout=` (in seconds) and, for
/// TCP, `bindAddress=`. A backslash quotes a colon, as in `tcp:\:\:1:80`. The files of `ssl:` are
/// read when the text is parsed, which panics if rustls has no cryptography provider.
///
/// Twisted's `clientFromString`, and its classes of client endpoints.
///
/// # Examples
///
/// ```no_run
/// use deferred_mio::net::{ClientEndpoint, on_line};
/// use deferred_mio::{Failure, run_until};
///
/// run_until(|reactor| {
///     let endpoint: ClientEndpoint = "tcp:127.0.0.1:8000:timeout=5".parse().unwrap();
///     let prints = on_line(|_, line| println!("{}", String::from_utf8_lossy(line)));
///     endpoint.connect(reactor, prints).add_callback(|transport| transport.closed())
/// })?;
/// # Ok::<(), Failure>(())
/// ```
#[doc(alias = "clientFromString")]
#[doc(alias = "IStreamClientEndpoint")]
#[doc(alias = "TCP4ClientEndpoint")]
#[doc(alias = "UNIXClientEndpoint")]
#[derive(Clone)]
#[must_use = "an endpoint does nothing until `connect`"]
pub struct ClientEndpoint {
    address: Address,
    timeout: Duration,
    from: Option<SocketAddr>,
    #[cfg(feature = "rustls")]
    tls: Option<(Arc<ClientConfig>, Option<ServerName<'static>>)>,
}

#[derive(Clone)]
enum Address {
    Tcp(String),
    #[cfg(unix)]
    Unix(PathBuf),
}

impl ClientEndpoint {
    /// Creates an endpoint of a TCP address, for example `"example.org:80"`.
    pub fn tcp(address: impl Into<String>) -> ClientEndpoint {
        ClientEndpoint::new(Address::Tcp(address.into()))
    }

    /// Creates an endpoint of the Unix socket at `path`.
    #[cfg(unix)]
    pub fn unix(path: impl Into<PathBuf>) -> ClientEndpoint {
        ClientEndpoint::new(Address::Unix(path.into()))
    }

    fn new(address: Address) -> ClientEndpoint {
        ClientEndpoint {
            address,
            timeout: TIMEOUT,
            from: None,
            #[cfg(feature = "rustls")]
            tls: None,
        }
    }

    /// Sets the time that a connect may take. Defaults to 30 seconds.
    pub fn timeout(mut self, timeout: Duration) -> ClientEndpoint {
        self.timeout = timeout;
        self
    }

    /// Sets the address of this side of a TCP connection.
    pub fn bind_address(mut self, address: SocketAddr) -> ClientEndpoint {
        self.from = Some(address);
        self
    }

    /// Begins a connection with TLS, as [`connect_tls`](crate::connect_tls). The certificate is
    /// checked for the host of the address, or for a [`server_name`](Self::server_name).
    #[cfg(feature = "rustls")]
    pub fn tls(mut self, config: Arc<ClientConfig>) -> ClientEndpoint {
        self.tls = Some((config, self.tls.and_then(|(_, name)| name)));
        self
    }

    /// Sets the name for which TLS checks the certificate. Call it after [`tls`](Self::tls).
    #[cfg(feature = "rustls")]
    pub fn server_name(mut self, name: ServerName<'static>) -> ClientEndpoint {
        if let Some((_, checked)) = &mut self.tls {
            *checked = Some(name);
        }
        self
    }

    /// Connects. See [`connect_tcp`](crate::connect_tcp) for the details.
    ///
    /// # Errors
    ///
    /// Like [`connect_tcp`](crate::connect_tcp), or `connect_tls`.
    ///
    /// # Cancellation
    ///
    /// Like [`connect_tcp`](crate::connect_tcp).
    #[track_caller]
    #[must_use = "the result of the connect is only in this Deferred"]
    pub fn connect<P: Protocol>(&self, reactor: &Reactor, protocol: P) -> Deferred<Transport> {
        let (endpoint, owner) = (self.clone(), reactor.clone());
        let connect = async move { endpoint.open(&owner).await };
        connect_with(reactor, Location::caller(), connect, self.timeout, protocol)
    }

    /// Like [`connect`](Self::connect), for a protocol that is a handle: one that can be cloned,
    /// and whose clones share their state. The returned Deferred fires with such a clone, whose own
    /// methods the program can call.
    ///
    /// Twisted's `connectProtocol`.
    ///
    /// # Errors
    ///
    /// Like [`connect`](Self::connect).
    ///
    /// # Cancellation
    ///
    /// Like [`connect`](Self::connect).
    ///
    /// # Examples
    ///
    /// A client with a method, whose answers are Deferreds:
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::collections::VecDeque;
    /// use std::rc::Rc;
    /// use deferred_mio::net::{ClientEndpoint, LineProtocol, Lines, Transport, listen_tcp, on_line};
    /// use deferred_mio::{Deferred, Failure, Resolver, run_until};
    ///
    /// #[derive(Clone, Default)]
    /// struct Client(Rc<State>);
    ///
    /// #[derive(Default)]
    /// struct State {
    ///     transport: RefCell<Option<Transport>>,
    ///     waiting: RefCell<VecDeque<Resolver<Vec<u8>>>>,
    /// }
    ///
    /// impl Client {
    ///     fn ask(&self, question: &str) -> Deferred<Vec<u8>> {
    ///         let (answer, resolver) = Deferred::new();
    ///         self.0.waiting.borrow_mut().push_back(resolver);
    ///         self.0.transport.borrow().as_ref().expect("it is connected").send_line(question);
    ///         answer
    ///     }
    /// }
    ///
    /// impl LineProtocol for Client {
    ///     fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
    ///         *self.0.transport.borrow_mut() = Some(transport.clone());
    ///         Ok(())
    ///     }
    ///
    ///     fn line_received(&mut self, _: &Transport, line: &[u8]) -> Result<(), Failure> {
    ///         let waiting = self.0.waiting.borrow_mut().pop_front(); // ends the borrow before the callbacks
    ///         if let Some(resolver) = waiting {
    ///             resolver.callback(line.to_vec());
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let answer = run_until(|reactor| {
    ///     let port = listen_tcp(reactor, "127.0.0.1:0", |_| on_line(|transport, line| transport.send_line(line))).unwrap();
    ///     let endpoint = ClientEndpoint::tcp(port.local_addr().unwrap().to_string());
    ///     endpoint.connect_protocol(reactor, Lines::new(Client::default())).add_callback(|client| client.get_ref().ask("hello"))
    /// });
    /// assert_eq!(answer.unwrap(), b"hello");
    /// ```
    #[doc(alias = "connectProtocol")]
    #[track_caller]
    #[must_use = "the result of the connect is only in this Deferred"]
    pub fn connect_protocol<P: Protocol + Clone>(&self, reactor: &Reactor, protocol: P) -> Deferred<P> {
        let handle = protocol.clone();
        self.connect(reactor, protocol).map(|_| handle)
    }

    async fn open(&self, reactor: &Reactor) -> std::io::Result<Transport> {
        let opened = match &self.address {
            Address::Tcp(address) => open_tcp(reactor, address.clone(), self.from).await,
            #[cfg(unix)]
            Address::Unix(path) => open_unix(reactor, path).await,
        };
        #[cfg(feature = "rustls")]
        if let Some((config, name)) = &self.tls {
            let name = match (name, &self.address) {
                (Some(name), _) => name.clone(),
                (None, Address::Tcp(address)) => crate::tls::server_name(address)?,
                #[cfg(unix)]
                (None, Address::Unix(_)) => crate::tls::server_name("")?,
            };
            return crate::tls::secure(opened?, ClientConnection::new(config.clone(), name)).await;
        }
        opened
    }
}

#[cfg(feature = "rustls")]
fn with_tls(endpoint: ClientEndpoint, parts: &mut Description<'_>) -> Result<ClientEndpoint, InvalidEndpoint> {
    let Some(trusted) = parts.option("trustRoots").or_else(|| parts.option("caCertsDir")) else {
        return Err(parts.invalid(
            "name the file or folder of the trusted certificates, with `trustRoots=`; or write a `tcp:` endpoint and \
             call `tls(config)`",
        ));
    };
    let config = crate::tls::client_config(trusted).map_err(|error| parts.invalid(error.to_string()))?;
    Ok(endpoint.tls(config))
}

#[cfg(not(feature = "rustls"))]
fn with_tls(_: ClientEndpoint, parts: &mut Description<'_>) -> Result<ClientEndpoint, InvalidEndpoint> {
    Err(parts.invalid("TLS needs the crate feature `rustls`"))
}

impl FromStr for ClientEndpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<ClientEndpoint, InvalidEndpoint> {
        let mut parts = Description::parse(text)?;
        let kind = parts.kind.clone();
        let mut endpoint = match &*kind {
            kind @ ("tcp" | "ssl" | "tls") => {
                let host = parts.require("host")?;
                let port = parts.require("port")?;
                let endpoint = ClientEndpoint::tcp(host_and_port(&host, parts.number("port", &port)?));
                let endpoint = if kind == "tcp" { endpoint } else { with_tls(endpoint, &mut parts)? };
                match parts.option("bindAddress") {
                    None => endpoint,
                    Some(from) => endpoint.bind_address(SocketAddr::new(parts.number("bindAddress", &from)?, 0)),
                }
            }
            #[cfg(unix)]
            "unix" => ClientEndpoint::unix(parts.require("path")?),
            kind => {
                return Err(parts.invalid(format!("the kind {kind:?} is unknown; `tcp`, `ssl` and `unix` are known")));
            }
        };
        if let Some(timeout) = parts.option("timeout") {
            let seconds: f64 = parts.number("timeout", &timeout)?;
            let timeout = Duration::try_from_secs_f64(seconds);
            endpoint =
                endpoint.timeout(timeout.map_err(|error| parts.invalid(format!("timeout is {seconds}: {error}")))?);
        }
        parts.finish()?;
        Ok(endpoint)
    }
}

impl fmt::Debug for ClientEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address: &dyn fmt::Debug = match &self.address {
            Address::Tcp(address) => address,
            #[cfg(unix)]
            Address::Unix(path) => path,
        };
        f.debug_struct("ClientEndpoint")
            .field("address", address)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
