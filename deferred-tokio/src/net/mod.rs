//! Network code in callbacks, on tokio's sockets: all of [`deferred_net`].
//!
//! The drivers of this crate install their sockets in the reactor, so the functions of
//! `deferred_net` use them. [`install`] is for a program that creates connections before its driver
//! has the reactor.

mod socket;

use deferred_core::Reactor;
pub use deferred_net::*;
use socket::{TokioNetwork, TokioSocket};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// Makes tokio's sockets those of `reactor`, in place of others. The drivers of this crate do this
/// for a reactor that has none. A socket is created in the runtime of the thread.
pub fn install(reactor: &Reactor) {
    install_network(reactor, TokioNetwork);
}

pub(crate) fn install_default(reactor: &Reactor) {
    install_default_network(reactor, TokioNetwork);
}

/// Creates a connection on a connected TCP socket of tokio. `protocol.connection_made` is called
/// inside this call.
#[track_caller]
pub fn over_tcp<P: Protocol>(reactor: &Reactor, socket: TcpStream, protocol: P) -> Transport {
    let _ = socket.set_nodelay(true); // without it small messages are only slower
    Transport::over_socket(reactor, TokioSocket(socket), protocol)
}

/// Creates a connection on a connected Unix socket of tokio, for example one of a pair.
/// `protocol.connection_made` is called inside this call.
#[cfg(unix)]
#[track_caller]
pub fn over_unix<P: Protocol>(reactor: &Reactor, socket: UnixStream, protocol: P) -> Transport {
    Transport::over_socket(reactor, TokioSocket(socket), protocol)
}
