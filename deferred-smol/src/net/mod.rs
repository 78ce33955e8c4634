//! Network code in callbacks, on smol's sockets: all of [`deferred_net`].
//!
//! The drivers of this crate install their sockets in the reactor, so the functions of
//! `deferred_net` use them. [`install`] is for a program that creates connections before its driver
//! has the reactor.

mod socket;

use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;

use deferred_core::Reactor;
pub use deferred_net::*;
use smol::Async;
use socket::{SmolNetwork, SmolSocket};

/// Makes smol's sockets those of `reactor`, in place of others. The drivers of this crate do this
/// for a reactor that has none.
pub fn install(reactor: &Reactor) {
    install_network(reactor, SmolNetwork);
}

pub(crate) fn install_default(reactor: &Reactor) {
    install_default_network(reactor, SmolNetwork);
}

/// Creates a connection on a connected TCP socket of smol. `protocol.connection_made` is called
/// inside this call.
#[track_caller]
pub fn over_tcp<P: Protocol>(reactor: &Reactor, socket: Async<TcpStream>, protocol: P) -> Transport {
    let _ = socket.get_ref().set_nodelay(true); // without it small messages are only slower
    Transport::over_socket(reactor, SmolSocket::new(socket), protocol)
}

/// Creates a connection on a connected Unix socket of smol, for example one of a pair.
/// `protocol.connection_made` is called inside this call.
#[cfg(unix)]
#[track_caller]
pub fn over_unix<P: Protocol>(reactor: &Reactor, socket: Async<UnixStream>, protocol: P) -> Transport {
    Transport::over_socket(reactor, SmolSocket::new(socket), protocol)
}
