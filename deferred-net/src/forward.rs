//! `forward_to`: a proxy.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use deferred_core::{CancelHandle, Deferred, Failure};

use super::{ClientEndpoint, ConnectionLost, Protocol, Transport};

/// Creates a protocol that connects to `endpoint`, and copies everything between both connections,
/// in both directions.
///
/// Neither side is read faster than the other one reads. The end of one side is passed on, after
/// all data, while the other direction continues. If a connection is broken or aborted, the other
/// one is aborted; so is the client's if there is no connection to `endpoint`, the error of which is
/// reported as unhandled.
///
/// Twisted's `portforward.ProxyFactory`, and tokio's `copy_bidirectional`.
///
/// # Examples
///
/// ```no_run
/// use deferred_mio::net::{ClientEndpoint, forward_to, listen_tcp};
/// use deferred_mio::run;
///
/// run(|reactor| listen_tcp(reactor, "0.0.0.0:8000", |_| forward_to(ClientEndpoint::tcp("127.0.0.1:80"))))?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "ProxyFactory")]
#[doc(alias = "ProxyServer")]
#[doc(alias = "portforward")]
#[doc(alias = "copy_bidirectional")]
#[must_use]
pub fn forward_to(endpoint: ClientEndpoint) -> Forward {
    Forward { endpoint, to: Side::default(), connecting: None }
}

/// The protocol of a connection that is forwarded: the result of [`forward_to`].
pub struct Forward {
    endpoint: ClientEndpoint,
    to: Side,
    connecting: Option<CancelHandle>,
}

impl Protocol for Forward {
    fn connection_made(&mut self, client: &Transport) -> Result<(), Failure> {
        client.pause_producing(); // until there is a connection
        let back = Side::default();
        back.connect(client);
        let (client, to) = (client.clone(), self.to.clone());
        let mut connects = self.endpoint.connect(client.reactor(), back).add_both(move |server| match server {
            Ok(server) => {
                client.register_producer(server.clone());
                server.register_producer(client.clone());
                to.connect(&server);
                client.resume_producing();
                Deferred::succeed(())
            }
            Err(failure) => {
                client.abort_connection();
                Deferred::fail(failure)
            }
        });
        self.connecting = Some(connects.cancel_handle());
        drop(connects); // an error is reported
        Ok(())
    }

    fn data_received(&mut self, client: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.to.data_received(client, data)
    }

    fn read_connection_lost(&mut self, client: &Transport) -> Result<(), Failure> {
        self.to.read_connection_lost(client)
    }

    fn connection_lost(&mut self, reason: &ConnectionLost) {
        if let Some(connecting) = self.connecting.take() {
            connecting.cancel();
        }
        self.to.connection_lost(reason);
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// A protocol that passes everything on to another connection.
#[derive(Clone, Default)]
struct Side(Rc<RefCell<Option<Transport>>>);

impl Side {
    fn connect(&self, to: &Transport) {
        *self.0.borrow_mut() = Some(to.clone());
    }

    /// Calls `f` with the other connection, if there is one.
    fn with(&self, f: impl FnOnce(&Transport)) {
        let to = self.0.borrow().clone();
        if let Some(to) = to {
            f(&to);
        }
    }
}

impl Protocol for Side {
    fn data_received(&mut self, _: &Transport, data: &[u8]) -> Result<(), Failure> {
        self.with(|to| to.write(data));
        Ok(())
    }

    fn read_connection_lost(&mut self, _: &Transport) -> Result<(), Failure> {
        self.with(Transport::lose_write_connection);
        Ok(())
    }

    fn connection_lost(&mut self, reason: &ConnectionLost) {
        self.with(|to| match reason {
            ConnectionLost::Done => to.lose_connection(),
            _ => to.abort_connection(),
        });
        drop(self.0.take()); // each has referred to the other
    }
}
