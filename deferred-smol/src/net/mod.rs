//! Network code in callbacks: what Twisted's `Protocol` and `transport` are, on smol's sockets.
//!
//! A [`Protocol`] says what happens when a connection is made, when data arrives and when it is
//! lost; a [`Transport`] writes to it and ends it; [`listen_tcp`] and [`connect_tcp`] make
//! connections, [`Lines`] makes lines of what arrives. All of it runs on the loop's thread. A
//! coroutine that awaits smol's own sockets does the same in another style, and the two go
//! together: a transport can be kept by whoever likes, [`drained`](Transport::drained) and
//! [`closed`](Transport::closed) are Deferreds.
//!
//! # Memory and slow peers
//!
//! Nobody waits for a slow peer: what it does not take is kept for it, and the others are served.
//! There is no thread and no buffer for a connection that is idle. One whose peer does not read
//! costs what was written to it, up to [`set_write_limit`](Transport::set_write_limit); who
//! produces much is told to pause by [`register_producer`](Transport::register_producer), and a
//! coroutine awaits [`drained`](Transport::drained).
//!
//! # Examples
//!
//! A server and a client on one loop:
//!
//! ```
//! use std::time::Duration;
//! use deferred_smol::net::{Protocol, Transport, connect_tcp, listen_tcp};
//! use deferred_smol::{Failure, Resolver, Deferred, run_until};
//!
//! struct Shout;
//!
//! impl Protocol for Shout {
//!     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
//!         transport.write(&data.to_ascii_uppercase());
//!         Ok(())
//!     }
//! }
//!
//! struct Ask(Option<Resolver<String>>);
//!
//! impl Protocol for Ask {
//!     fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
//!         transport.write(b"hello");
//!         Ok(())
//!     }
//!
//!     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
//!         if let Some(resolver) = self.0.take() {
//!             resolver.callback(std::str::from_utf8(data)?.to_owned());
//!         }
//!         transport.lose_connection();
//!         Ok(())
//!     }
//! }
//!
//! let answer = run_until(|reactor| {
//!     let port = listen_tcp(reactor, "127.0.0.1:0", |_| Shout).unwrap();
//!     let (answer, resolver) = Deferred::new();
//!     connect_tcp(reactor, port.local_addr().unwrap(), Duration::from_secs(5), Ask(Some(resolver)))
//!         .add_callback(move |_| answer)
//! });
//! assert_eq!(answer.unwrap(), "HELLO");
//! ```
//!
//! # In here
//!
//! `connection` is a coroutine for each connection, which reads from the `socket`, calls the
//! `protocol`, and sends what the `transport` was given to write (`outgoing`); `buffers` is the
//! memory that idle connections do not have.

mod buffers;
mod connect;
mod connection;
mod lines;
mod listen;
mod outgoing;
mod producer;
mod protocol;
mod socket;
mod transport;

pub use connect::connect_tcp;
#[cfg(unix)]
pub use connect::connect_unix;
pub use lines::{LineProtocol, Lines};
#[cfg(unix)]
pub use listen::listen_unix;
pub use listen::{Port, listen_on_tcp, listen_tcp};
pub use producer::Producer;
pub use protocol::{ConnectionLost, Protocol, ProtocolFailed};
pub use transport::{NotConnected, Transport};

use std::fmt;
use std::io;

use deferred_core::{BuiltinError, DeferredError, Failure};

/// Does something with an address or a path, whose error names that.
fn named<T>(what: &str, place: &impl fmt::Debug, f: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    f().map_err(|error| naming(what, &format!("{place:?}"), error))
}

/// The system's error, with what it is about. The kind stays.
fn naming(what: &str, place: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {what} {place}: {error}"))
}

/// Lets an error go on to be told, unless it is that of a coroutine of ours that was cancelled or
/// whose loop has ended.
fn tell_unless_ended(failure: Failure) -> Result<(), Failure> {
    match failure.builtin() {
        Some(BuiltinError::Cancelled(_) | BuiltinError::Abandoned(_)) => Ok(()),
        _ => Err(failure),
    }
}
