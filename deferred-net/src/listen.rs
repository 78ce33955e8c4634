//! `listen_with`: the accepting of connections.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use deferred_core::driver::YieldNow;
use deferred_core::{Failure, Panicked, Reactor};

use super::Protocol;
use super::connection;
use super::error::ignore_cancel;
use super::port::{Port, PortState};
use super::socket::Socket;

/// The number of connections that are accepted before other tasks run.
const ACCEPT_BATCH: usize = 64;
/// The delay after an error of the system, which may have no more file descriptors.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Creates a port on a listening socket: for adapters, whose `listen_tcp` and similar functions
/// call it. `bind` returns the address of that socket and a function that accepts a connection.
/// `factory` creates the protocol of each connection from the address of its peer.
///
/// Connections are accepted in the turns of the loop. A panic of `factory` closes its connection
/// and is reported. If a connection cannot be accepted, for example because the process has too
/// many open files, accepting continues after a short delay.
///
/// # Errors
///
/// Returns the error of `bind`. Returns an error, without a call of `bind`, if the reactor is
/// closed.
#[track_caller]
pub fn listen_with<S, A, F, P>(
    reactor: &Reactor,
    bind: impl FnOnce() -> io::Result<(Option<SocketAddr>, F)>,
    mut factory: impl FnMut(A) -> P + 'static,
) -> io::Result<Port>
where
    S: Socket,
    F: AsyncFnMut() -> io::Result<(S, A)> + 'static,
    P: Protocol,
{
    let at = Location::caller();
    refuse_closed(reactor)?;
    let (address, mut accept) = bind()?;
    let state = Rc::new(PortState::new(reactor, address, at));
    let port = state.clone();
    let mut accepting = reactor.ensure_deferred_at(at, async move {
        for accepted in 1.. {
            let result = accept().await;
            if !port.is_listening() {
                break;
            }
            match result {
                Ok((socket, peer)) => {
                    start(&port, socket, || factory(peer));
                    if accepted % ACCEPT_BATCH == 0 {
                        YieldNow::default().await; // other tasks
                    }
                }
                Err(error) => {
                    port.count_accept_error();
                    if !is_connection_error(&error) {
                        port.reactor.sleep(RETRY_DELAY).await?;
                    }
                }
            }
        }
        Ok::<_, Failure>(())
    });
    state.set_accepting(accepting.cancel_handle());
    // The accepting coroutine ends only when it is cancelled or the reactor is closed.
    drop(accepting.add_errback(ignore_cancel));
    Ok(Port::new(state))
}

/// Returns an error if the reactor is closed, since nothing would be accepted.
fn refuse_closed(reactor: &Reactor) -> io::Result<()> {
    if reactor.is_closed() { Err(io::Error::other("the reactor is closed: nothing would be accepted")) } else { Ok(()) }
}

/// Returns `true` for an error of the connection that was to be accepted, `false` for one of the
/// listening socket or the system.
fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Starts an accepted connection with the protocol that `factory` creates.
fn start<P: Protocol>(port: &Rc<PortState>, socket: impl Socket, factory: impl FnOnce() -> P) {
    port.count_accepted();
    let protocol = match catch_unwind(AssertUnwindSafe(factory)) {
        Ok(protocol) => protocol,
        // A failed coroutine reports the panic, with the location where the program listens.
        Err(payload) => {
            let panicked = ready(Err(Panicked::new(payload).into()));
            return drop(port.reactor.ensure_deferred_at::<()>(port.at, panicked));
        }
    };
    if !port.is_listening() {
        return; // the factory has stopped the port, and expects no further connection
    }
    connection::start(&port.reactor, socket, protocol, port.at, |transport| Some(port.add(transport)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connection_error_is_not_followed_by_a_delay() {
        assert!(is_connection_error(&io::ErrorKind::ConnectionAborted.into()));
        assert!(!is_connection_error(&io::ErrorKind::OutOfMemory.into()));
    }
}
