//! `connect_with`: the connecting to a server; and transports on connected sockets.

use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::time::Duration;

use deferred_core::{Deferred, Reactor};

use super::connection;
use super::error::error_with_address;
use super::socket::Socket;
use super::{Protocol, Transport};

/// Creates a connection on the socket that `connect` returns: for adapters, whose `connect_tcp` and
/// similar functions call it. When the socket is connected, `protocol.connection_made` is called,
/// and the returned Deferred fires.
///
/// # Errors
///
/// The returned Deferred fails with [`TimedOut`](deferred_core::TimedOut) after `timeout`, or with
/// the error of `connect`.
///
/// # Cancellation
///
/// A cancel drops `connect`. `protocol` is dropped without a call.
#[track_caller]
#[must_use = "the result of the connect is only in this Deferred"]
pub fn connect_with<S: Socket, P: Protocol>(
    reactor: &Reactor,
    connect: impl Future<Output = io::Result<S>> + 'static,
    timeout: Duration,
    protocol: P,
) -> Deferred<Transport> {
    let (at, owner) = (Location::caller(), reactor.clone());
    let connects = reactor.ensure_deferred_at(at, async move {
        let socket = connect.await?;
        Ok(connection::start(&owner, socket, protocol, at, |_| None))
    });
    connects.add_timeout(timeout, reactor)
}

/// Looks up a name, and connects to the addresses one after the other, until one succeeds: for
/// adapters.
///
/// # Errors
///
/// Returns the error of the lookup or of the last address that was tried. Its text includes the
/// name or the address.
pub async fn connect_any<S>(
    name: String,
    lookup: impl Future<Output = io::Result<Vec<SocketAddr>>>,
    connect: impl AsyncFn(SocketAddr) -> io::Result<S>,
) -> io::Result<S> {
    let addresses = lookup.await.map_err(|error| error_with_address("look up", format_args!("{name}"), error))?;
    let mut failed = io::Error::new(io::ErrorKind::NotFound, format!("the name {name} has no address"));
    for address in addresses {
        match connect(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = error_with_address("connect to", address, error),
        }
    }
    Err(failed)
}

impl Transport {
    /// Creates a connection on a connected socket. `protocol.connection_made` is called inside this
    /// call. The adapters have functions for the sockets of their executors, such as `over_tcp`.
    #[track_caller]
    pub fn over<P: Protocol>(reactor: &Reactor, socket: impl Socket, protocol: P) -> Transport {
        connection::start(reactor, socket, protocol, Location::caller(), |_| None)
    }
}
