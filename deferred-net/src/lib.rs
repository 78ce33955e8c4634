//! Network code in callbacks: Twisted's `Protocol` and transport, on the sockets of any executor.
//!
//! A [`Protocol`] has the callbacks of one connection: when it is made, when data arrives, and when
//! it is lost. A [`Transport`] writes to the connection and ends it. All of this runs on the loop's
//! thread. The alternative is a coroutine that awaits the executor's own sockets. Both can be
//! combined: any code of the thread can hold a transport, and [`drained`](Transport::drained) and
//! [`closed`](Transport::closed) return Deferreds.
//!
//! A program uses the module `net` of the adapter whose driver it runs, which re-exports this
//! crate: `deferred_mio::net`, `deferred_smol::net` or `deferred_tokio::net`. A library that
//! depends on this crate alone works on all of them: the driver has put its sockets into the
//! reactor.
//!
//! | for | use |
//! | --- | --- |
//! | servers | [`listen_tcp`], `listen_unix`, or a [`ServerEndpoint`] with options |
//! | clients | [`connect_tcp`], `connect_unix`, or a [`ClientEndpoint`]; [`stay_connected`] to connect again |
//! | bytes, in one closure | [`on_data`] |
//! | lines | [`on_line`], or [`Lines`] with a [`LineProtocol`] |
//! | frames with a length in front | [`Framed`] with a [`FrameProtocol`] |
//! | TLS | `listen_tls`, `connect_tls` and `Transport::start_tls`, with the feature `rustls` |
//! | a proxy | [`forward_to`] |
//! | any other stream of bytes | [`Transport::over`]; [`standard_io`] |
//! | datagrams | [`listen_udp`], with [`on_datagram`] or a [`DatagramProtocol`] |
//! | child processes | the module `process`, on Unix |
//! | tests without sockets | [`testing`] |
//!
//! # Memory and slow peers
//!
//! A slow peer does not delay others: data that it does not read is buffered. A write while more
//! than [`set_write_limit`](Transport::set_write_limit) bytes are buffered (16 MiB by default) ends
//! the connection with [`ConnectionLost::TooSlow`]. Code that writes much should be a
//! [producer](Transport::register_producer), which is paused and resumed, or a coroutine that
//! awaits [`drained`](Transport::drained). A server that echoes or forwards registers the transport
//! that it reads from as the producer of the one that it writes to; then it reads no faster than
//! the receiver does. An idle connection has no thread and no buffer.
//!
//! # Examples
//!
//! A server and a client on one loop:
//!
//! ```
//! use std::time::Duration;
//! use deferred_smol::net::{connect_tcp, listen_tcp, on_data};
//! use deferred_smol::{Deferred, run_until};
//!
//! let answer = run_until(|reactor| {
//!     let shout = |_| on_data(|transport, data| transport.write(data.to_ascii_uppercase()));
//!     let port = listen_tcp(reactor, "127.0.0.1:0", shout).unwrap();
//!
//!     let (answer, resolver) = Deferred::new();
//!     let mut resolver = Some(resolver);
//!     let ask = on_data(move |transport, data| {
//!         if let Some(resolver) = resolver.take() {
//!             resolver.callback(String::from_utf8_lossy(data).into_owned());
//!         }
//!         transport.lose_connection();
//!     })
//!     .on_made(|transport| transport.write("hello"));
//!     connect_tcp(reactor, port.local_addr().unwrap(), Duration::from_secs(5), ask).add_callback(move |_| answer)
//! });
//! assert_eq!(answer.unwrap(), "HELLO");
//! ```
//!
//! The same with types of its own, which can have state and more callbacks:
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
//!         transport.write(data.to_ascii_uppercase());
//!         Ok(())
//!     }
//! }
//!
//! struct Ask(Option<Resolver<String>>);
//!
//! impl Protocol for Ask {
//!     fn connection_made(&mut self, transport: &Transport) -> Result<(), Failure> {
//!         transport.write("hello");
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
//! # Adapters
//!
//! An adapter implements [`Network`], with a [`Socket`] and a [`Listener`] for each kind of its
//! sockets, and its drivers [install](install_default_network) that in their reactors. Everything
//! else is in this crate.
//!
//! # Crate features
//!
//! `rustls`: TLS under protocols, in the module `tls`.
//!
//! # Source
//!
//! - `protocol`: the callbacks of a connection; `from_fn`: closures as protocols; `lines` and
//!   `framed`: protocols for lines and frames, on `unread`; `forward`: a proxy;
//! - `transport`: the operations on a connection; `transport_state`: its state; `outgoing`: the
//!   data to send; `producer`: code that is paused and resumed;
//! - `connection`: the coroutine of each connection, which reads from its socket, calls its
//!   protocol, and sends its data;
//! - `connect`, `attempts` and `resolve`: the connecting; `listen`, `bind` and `port`: the
//!   listening; `endpoint`: both, as values and texts; `stay_connected`: clients that connect again;
//! - `network` and `socket`: the sockets of an executor, as an adapter implements them;
//!   `stream_socket`: other streams; `stdio`: the standard input and output; `send_file`: files;
//!   both on `channel`, bytes between a thread and the loop;
//! - `tls`: TLS on a socket; `udp`: datagrams; `process`: child processes;
//! - `buffers`: the memory that connections share; `error`: the errors; `testing`: connections in
//!   memory.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod attempts;
mod bind;
mod buffers;
mod channel;
mod connect;
mod connection;
mod endpoint;
mod error;
mod forward;
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
mod send_file;
mod socket;
mod stay_connected;
mod stdio;
mod stream_socket;
pub mod testing;
#[cfg(feature = "rustls")]
pub mod tls;
mod transport;
mod transport_state;
mod udp;
mod unread;
mod waiters;

pub use attempts::connect_any;
pub use bind::bind_first;
pub use connect::connect_tcp;
#[cfg(unix)]
pub use connect::{begin_connect_unix, connect_unix};
pub use endpoint::{ClientEndpoint, InvalidEndpoint, ServerEndpoint};
pub use error::{ConnectionLost, ProtocolFailed, error_with_address};
pub use forward::{Forward, forward_to};
pub use framed::{FrameProtocol, Framed, Framing};
pub use from_fn::{CallbackResult, DatagramFn, FromFn, on_data, on_datagram, on_line};
pub use lines::{LineProtocol, Lines};
#[cfg(unix)]
pub use listen::listen_unix;
pub use listen::{listen_on_tcp, listen_tcp, listen_tcp_at};
pub use network::{Listener, Network, install_default_network, install_network};
pub use port::{Port, PortStats};
pub use producer::Producer;
pub use protocol::Protocol;
pub use resolve::resolve;
pub use socket::{Socket, check_connected};
pub use socket2;
pub use stay_connected::{ClientService, stay_connected};
pub use stdio::standard_io;
#[cfg(feature = "rustls")]
pub use tls::{connect_tls, listen_tls};
pub use transport::Transport;
pub use udp::{DatagramProtocol, DatagramSocket, UdpTransport, listen_udp};

/// Runs the programs of the README as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
