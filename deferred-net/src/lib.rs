//! Network code in callbacks: Twisted's `Protocol` and transport, on the sockets of any executor.
//!
//! A [`Protocol`] has the callbacks of one connection: when it is made, when data arrives, and when
//! it is lost. A [`Transport`] writes to the connection and ends it. [`Lines`] splits incoming data
//! into lines. All of this runs on the loop's thread. The alternative is a coroutine that awaits
//! the executor's own sockets. Both can be combined: any code of the thread can hold a transport,
//! and [`drained`](Transport::drained) and [`closed`](Transport::closed) return Deferreds.
//!
//! The functions that create connections, such as `listen_tcp` and `connect_tcp`, are in the module
//! `net` of an adapter: `deferred_mio::net`, `deferred_smol::net` or `deferred_tokio::net`, which
//! re-export this crate. A program uses that module. An adapter implements [`Socket`] for its sockets, and calls
//! [`listen_with`] and [`connect_with`].
//!
//! # Memory and slow peers
//!
//! A slow peer does not delay others: data that it does not read is buffered. A write while more
//! than [`set_write_limit`](Transport::set_write_limit) bytes are buffered (16 MiB by default) ends
//! the connection with [`ConnectionLost::TooSlow`]. Code that writes much should be a
//! [producer](Transport::register_producer), which is paused and resumed, or a coroutine that
//! awaits [`drained`](Transport::drained). An idle connection has no thread and no buffer.
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
//! # Source
//!
//! - `protocol`: the callbacks of a connection; `lines`: a protocol for lines;
//! - `transport`: the operations on a connection; `transport_state`: its state; `outgoing`: the
//!   data to send; `producer`: code that is paused and resumed;
//! - `connection`: the coroutine of each connection, which reads from its socket, calls its
//!   protocol, and sends its data; `socket`: the sockets of an executor, as an adapter implements
//!   them;
//! - `connect` and `listen`: create connections; `port`: a listening socket and its connections;
//! - `buffers`: the memory that connections share;
//! - `error`: the errors.

#![forbid(unsafe_code)]

mod attempts;
mod bind;
mod buffers;
mod connect;
mod connection;
mod endpoint;
mod error;
mod framed;
mod from_fn;
mod lines;
mod listen;
mod network;
mod outgoing;
mod port;
#[cfg(unix)]
pub mod process;
mod producer;
mod protocol;
mod resolve;
mod socket;
mod stay_connected;
mod stream_socket;
pub mod testing;
#[cfg(feature = "rustls")]
pub mod tls;
mod transport;
mod transport_state;
mod udp;
mod unread;

pub use attempts::connect_any;
pub use connect::connect_tcp;
#[cfg(unix)]
pub use connect::connect_unix;
pub use endpoint::{ClientEndpoint, InvalidEndpoint, ServerEndpoint};
pub use error::{ConnectionLost, ProtocolFailed, error_with_address};
pub use framed::{FrameProtocol, Framed, Framing};
pub use from_fn::{CallbackResult, FromFn, on_data, on_line};
pub use lines::{LineProtocol, Lines};
#[cfg(unix)]
pub use listen::listen_unix;
pub use listen::{listen_on_tcp, listen_tcp};
pub use network::{Listener, Network, install_default_network, install_network};
pub use port::{Port, PortStats};
pub use producer::Producer;
pub use protocol::Protocol;
pub use resolve::resolve;
pub use socket::{Socket, check_connected};
pub use socket2;
pub use stay_connected::{ClientService, stay_connected};
#[cfg(feature = "rustls")]
pub use tls::{connect_tls, listen_tls};
pub use transport::Transport;
pub use udp::{DatagramProtocol, DatagramSocket, UdpTransport, listen_udp};
