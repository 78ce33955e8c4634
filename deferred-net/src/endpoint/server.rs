//! `ServerEndpoint`: an address to listen on, with options.

use std::fmt;
use std::io;
use std::panic::Location;
#[cfg(unix)]
use std::path::PathBuf;
use std::str::FromStr;
#[cfg(feature = "rustls")]
use std::sync::Arc;

use deferred_core::Reactor;
#[cfg(feature = "rustls")]
use rustls::{ServerConfig, ServerConnection};

use super::parse::{Description, InvalidEndpoint, host_and_port};
#[cfg(unix)]
use crate::bind::bind_unix;
use crate::bind::{BindOptions, bind_tcp};
use crate::connect::without_delay;
use crate::listen::accept_on;
use crate::network::network_of;
use crate::{Port, Protocol, Transport};

/// An address to listen on, with options. It does nothing until [`listen`](Self::listen).
///
/// As a text it is `tcp:8000`, `tcp:8000:interface=127.0.0.1`, `tcp6:8000`, `unix:/run/server`, or,
/// with the feature `rustls`, `ssl:443:privateKey=key.pem:certKey=certificates.pem`. Options are
/// `backlog=` and, for Unix sockets, `mode=` (octal). A backslash quotes a colon, as in
/// `tcp:8000:interface=\:\:1`. The files of `ssl:` are read when the text is parsed, which panics
/// if rustls has no cryptography provider.
///
/// Twisted's `serverFromString`, and its classes of server endpoints.
///
/// # Examples
///
/// ```
/// use deferred_mio::net::{ServerEndpoint, on_data};
/// use deferred_mio::run;
///
/// run(|reactor| {
///     # reactor.stop();
///     let endpoint: ServerEndpoint = "tcp:0:interface=127.0.0.1".parse()?;
///     let port = endpoint.backlog(4096).listen(reactor, |_| on_data(|transport, data| transport.write(data)))?;
///     println!("listening on {}", port.local_addr().unwrap());
///     Ok::<_, deferred_mio::Failure>(())
/// })?;
/// # Ok::<(), deferred_mio::Failure>(())
/// ```
#[doc(alias = "serverFromString")]
#[doc(alias = "IStreamServerEndpoint")]
#[doc(alias = "TCP4ServerEndpoint")]
#[doc(alias = "TCP6ServerEndpoint")]
#[doc(alias = "UNIXServerEndpoint")]
#[derive(Clone)]
#[must_use = "an endpoint does nothing until `listen`"]
pub struct ServerEndpoint {
    address: Address,
    options: BindOptions,
    #[cfg(feature = "rustls")]
    tls: Option<Arc<ServerConfig>>,
}

#[derive(Clone)]
enum Address {
    Tcp(String),
    #[cfg(unix)]
    Unix(PathBuf),
}

impl ServerEndpoint {
    /// Creates an endpoint on a TCP address, for example `"127.0.0.1:8000"`.
    pub fn tcp(address: impl Into<String>) -> ServerEndpoint {
        ServerEndpoint::new(Address::Tcp(address.into()))
    }

    /// Creates an endpoint on a Unix socket at `path`.
    #[cfg(unix)]
    pub fn unix(path: impl Into<PathBuf>) -> ServerEndpoint {
        ServerEndpoint::new(Address::Unix(path.into()))
    }

    fn new(address: Address) -> ServerEndpoint {
        ServerEndpoint {
            address,
            options: BindOptions::default(),
            #[cfg(feature = "rustls")]
            tls: None,
        }
    }

    /// Sets the maximum number of connections that wait to be accepted. Defaults to 1,024. The
    /// system may have a lower limit, on Linux `net.core.somaxconn`.
    pub fn backlog(mut self, connections: u32) -> ServerEndpoint {
        self.options.backlog = i32::try_from(connections).unwrap_or(i32::MAX);
        self
    }

    /// Allows several sockets on the address, of this process or others of the same user, among
    /// which the system distributes the connections (`SO_REUSEPORT`): one for each core.
    pub fn reuse_port(mut self, allow: bool) -> ServerEndpoint {
        self.options.reuse_port = allow;
        self
    }

    /// Sets the permissions of the file of a Unix socket, for example `0o660`. By default they are
    /// those of the process.
    #[cfg(unix)]
    pub fn mode(mut self, mode: u32) -> ServerEndpoint {
        self.options.mode = Some(mode);
        self
    }

    /// Begins each connection with TLS, as [`listen_tls`](crate::listen_tls).
    #[cfg(feature = "rustls")]
    pub fn tls(mut self, config: Arc<ServerConfig>) -> ServerEndpoint {
        self.tls = Some(config);
        self
    }

    /// Listens. `factory` creates the protocol of each connection, from its transport. See
    /// [`listen_tcp`](crate::listen_tcp) for the details.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`listen_tcp`](crate::listen_tcp), and an error if the
    /// configuration of TLS is not usable.
    #[track_caller]
    pub fn listen<P: Protocol>(
        &self,
        reactor: &Reactor,
        mut factory: impl FnMut(&Transport) -> P + 'static,
    ) -> io::Result<Port> {
        let network = network_of(reactor)?;
        let prepare = self.prepare()?;
        let at = Location::caller();
        match &self.address {
            Address::Tcp(address) => {
                let bound = bind_tcp(&**address, self.options)?;
                let address = bound.local_addr()?;
                let listener = network.tcp_listener(reactor, bound)?;
                Ok(accept_on(reactor, at, listener, Some(address), move |transport, _| {
                    without_delay(transport);
                    prepare(transport)?;
                    Ok(factory(transport))
                }))
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let (bound, file) = bind_unix(path, self.options)?;
                let listener = network.unix_listener(reactor, bound)?;
                let port = accept_on(reactor, at, listener, None, move |transport, _| {
                    prepare(transport)?;
                    Ok(factory(transport))
                });
                port.set_file(file);
                Ok(port)
            }
        }
    }

    /// Returns a function that begins a connection.
    #[cfg(feature = "rustls")]
    fn prepare(&self) -> io::Result<impl Fn(&Transport) -> io::Result<()> + 'static> {
        let config = self.tls.clone();
        let session = move || config.clone().map(ServerConnection::new).transpose().map_err(io::Error::other);
        session()?; // an error of the configuration
        Ok(move |transport: &Transport| {
            if let Some(session) = session()? {
                crate::tls::begin(transport, session);
            }
            Ok(())
        })
    }

    #[cfg(not(feature = "rustls"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "with TLS it needs both")]
    fn prepare(&self) -> io::Result<impl Fn(&Transport) -> io::Result<()> + 'static> {
        Ok(|_: &Transport| Ok(()))
    }
}

impl FromStr for ServerEndpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<ServerEndpoint, InvalidEndpoint> {
        let mut parts = Description::parse(text)?;
        let kind = parts.kind.clone();
        let mut endpoint = match &*kind {
            kind @ ("tcp" | "tcp4" | "tcp6") => {
                let every = if kind == "tcp6" { "::" } else { "0.0.0.0" };
                let port = parts.require("port")?;
                let port = parts.number("port", &port)?;
                let interface = parts.take("interface").filter(|interface| !interface.is_empty());
                ServerEndpoint::tcp(host_and_port(interface.as_deref().unwrap_or(every), port))
            }
            #[cfg(feature = "rustls")]
            "ssl" => {
                let port = parts.require("port")?;
                let port = parts.number("port", &port)?;
                let key = parts.require("privateKey")?;
                let certificates = parts.take("certKey").unwrap_or_else(|| key.clone());
                let config = crate::tls::server_config(certificates, key);
                let config = config.map_err(|error| parts.invalid(error.to_string()))?;
                let interface = parts.option("interface").filter(|interface| !interface.is_empty());
                ServerEndpoint::tcp(host_and_port(interface.as_deref().unwrap_or("0.0.0.0"), port)).tls(config)
            }
            #[cfg(unix)]
            "unix" => {
                let endpoint = ServerEndpoint::unix(parts.require("address")?);
                match parts.option("mode") {
                    None => endpoint,
                    Some(mode) => {
                        let bits = u32::from_str_radix(&mode, 8);
                        endpoint.mode(bits.map_err(|error| parts.invalid(format!("mode is {mode:?}: {error}")))?)
                    }
                }
            }
            #[cfg(not(feature = "rustls"))]
            "ssl" => return Err(parts.invalid("TLS needs the crate feature `rustls`")),
            kind => {
                return Err(
                    parts.invalid(format!("the kind {kind:?} is unknown; `tcp`, `tcp6`, `ssl` and `unix` are known"))
                );
            }
        };
        if let Some(backlog) = parts.option("backlog") {
            endpoint = endpoint.backlog(parts.number("backlog", &backlog)?);
        }
        parts.finish()?;
        Ok(endpoint)
    }
}

impl fmt::Debug for ServerEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address: &dyn fmt::Debug = match &self.address {
            Address::Tcp(address) => address,
            #[cfg(unix)]
            Address::Unix(path) => path,
        };
        f.debug_struct("ServerEndpoint").field("address", address).finish_non_exhaustive()
    }
}
