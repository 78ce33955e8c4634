//! Network code in callbacks, on the sockets of this loop: all of [`deferred_net`].
//!
//! The drivers of this crate install their sockets in the reactor, so the functions of
//! `deferred_net` use them. [`install`] is for a program that creates connections before its driver
//! has the reactor. For coroutines there are
//! [`TcpStream`], [`TcpListener`], [`UdpSocket`] and, on Unix, those of Unix sockets.

mod listener;
mod socket;
mod stream;
mod udp;

use std::io;

use deferred_core::{NoReactor, Reactor};
pub use deferred_net::*;
pub use listener::TcpListener;
#[cfg(unix)]
pub use listener::UnixListener;
use socket::MioNetwork;
pub use stream::TcpStream;
#[cfg(unix)]
pub use stream::UnixStream;
pub use udp::UdpSocket;

/// Makes the sockets of this crate those of `reactor`, in place of others. The drivers of this
/// crate do this for a reactor that has none. On another driver, call [`poll`](crate::poll) now and
/// then.
pub fn install(reactor: &Reactor) {
    install_network(reactor, MioNetwork);
}

pub(crate) fn install_default(reactor: &Reactor) {
    install_default_network(reactor, MioNetwork);
}

/// Creates a connection on the stream of a coroutine. `protocol.connection_made` is called inside
/// this call.
#[track_caller]
pub fn over_tcp<P: Protocol>(reactor: &Reactor, stream: TcpStream, protocol: P) -> Transport {
    let _ = stream.set_nodelay(true); // without it small messages are only slower
    Transport::over_socket(reactor, stream.0, protocol)
}

/// Creates a connection on the stream of a coroutine. `protocol.connection_made` is called inside
/// this call.
#[cfg(unix)]
#[track_caller]
pub fn over_unix<P: Protocol>(reactor: &Reactor, stream: UnixStream, protocol: P) -> Transport {
    Transport::over_socket(reactor, stream.0, protocol)
}

/// Returns the reactor with which a coroutine registers a socket.
fn current_reactor() -> io::Result<Reactor> {
    Reactor::current().ok_or_else(|| io::Error::other(NoReactor::new()))
}
