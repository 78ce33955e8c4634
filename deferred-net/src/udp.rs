//! `listen_udp`: datagrams.

use std::any::type_name;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{poll_fn, ready};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use deferred_core::driver::YieldNow;
use deferred_core::{CancelHandle, Deferred, Failure, Panicked, Reactor, Resolver};
use socket2::{Domain, SockRef, Type};

use super::bind::bind_first;
use super::buffers::Buffers;
use super::error::{ProtocolFailed, error_with_address, ignore_cancel};
use super::network::network_of;
use super::socket::ip;
use super::waiters::push_waiter;

/// The number of datagrams that are received before other tasks run.
const RECEIVE_BATCH: u32 = 64;
/// The delay after an error of the system.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// The callbacks of a UDP socket. All of them run on the loop's thread.
///
/// An error or panic of a callback is reported as unhandled, and the socket continues.
///
/// Twisted's `DatagramProtocol`.
#[doc(alias = "ConnectedDatagramProtocol")]
#[doc(alias = "AbstractDatagramProtocol")]
pub trait DatagramProtocol: 'static {
    /// Called first, inside [`listen_udp`].
    ///
    /// # Errors
    ///
    /// An error is reported.
    #[doc(alias = "startProtocol")]
    fn started(&mut self, transport: &UdpTransport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// Called for each datagram, with the address of its sender.
    ///
    /// # Errors
    ///
    /// An error is reported.
    #[doc(alias = "datagramReceived")]
    fn datagram_received(&mut self, transport: &UdpTransport, data: &[u8], sender: SocketAddr) -> Result<(), Failure>;

    /// Called when the system has learned that no program receives at an address to which this
    /// socket has sent. Only a [connected](UdpTransport::connect) socket learns this, and not on
    /// all systems; on tokio only the next [`send`](UdpTransport::send) returns the error.
    ///
    /// # Errors
    ///
    /// An error is reported.
    #[doc(alias = "connectionRefused")]
    fn connection_refused(&mut self, transport: &UdpTransport) -> Result<(), Failure> {
        let _ = transport;
        Ok(())
    }

    /// Called when the socket was closed: by [`stop_listening`](UdpTransport::stop_listening), or
    /// because the reactor was closed.
    #[doc(alias = "stopProtocol")]
    fn stopped(&mut self) {}
}

/// A UDP socket of an executor. An adapter implements this trait.
pub trait DatagramSocket: 'static {
    /// Receives a datagram into `buffer`. Returns its length and its sender. Returns `Pending` if
    /// there is none, and then wakes the task when one arrives.
    ///
    /// # Errors
    ///
    /// Returns the error of the system.
    fn poll_recv_from(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>>;

    /// Returns the socket of the system, which does not block.
    fn system(&self) -> SockRef<'_>;
}

/// Binds to a UDP address, for example `"127.0.0.1:53"`; with port 0 the system chooses one. A
/// client that only sends binds to `"0.0.0.0:0"` or `"[::]:0"`.
///
/// Twisted's `listenUDP`.
///
/// # Errors
///
/// Returns an error, which names the address, if the address is invalid or in use. Returns an error
/// if the reactor is closed or has no sockets.
///
/// # Examples
///
/// ```
/// use std::net::SocketAddr;
/// use deferred_mio::net::{DatagramProtocol, UdpTransport, listen_udp};
/// use deferred_mio::{Deferred, Failure, Resolver, run_until};
///
/// struct Echo;
///
/// impl DatagramProtocol for Echo {
///     fn datagram_received(&mut self, transport: &UdpTransport, data: &[u8], sender: SocketAddr) -> Result<(), Failure> {
///         transport.send_to(data, sender)?;
///         Ok(())
///     }
/// }
///
/// struct Ask(Option<Resolver<Vec<u8>>>);
///
/// impl DatagramProtocol for Ask {
///     fn datagram_received(&mut self, transport: &UdpTransport, data: &[u8], _: SocketAddr) -> Result<(), Failure> {
///         if let Some(resolver) = self.0.take() {
///             resolver.callback(data.to_vec());
///         }
///         transport.stop_listening();
///         Ok(())
///     }
/// }
///
/// let answer = run_until(|reactor| {
///     let server = listen_udp(reactor, "127.0.0.1:0", Echo).unwrap();
///     let (answer, resolver) = Deferred::new();
///     let client = listen_udp(reactor, "127.0.0.1:0", Ask(Some(resolver))).unwrap();
///     client.send_to(b"hello", server.local_addr().unwrap()).unwrap();
///     answer.add_timeout(std::time::Duration::from_secs(5), reactor) // a datagram can get lost
/// });
/// assert_eq!(answer.unwrap(), b"hello");
/// ```
#[doc(alias = "listenUDP")]
#[track_caller]
pub fn listen_udp(
    reactor: &Reactor,
    address: impl ToSocketAddrs + fmt::Debug,
    mut protocol: impl DatagramProtocol,
) -> io::Result<UdpTransport> {
    let at = Location::caller();
    let network = network_of(reactor)?;
    let bound = bind_first(&address, bind).map_err(|error| error_with_address("bind to", &address, error))?;
    let socket = network.udp_socket(reactor, bound.into())?;
    let state = Rc::new(UdpState {
        reactor: reactor.clone(),
        socket: RefCell::new(Some(socket)),
        receiving: RefCell::default(),
        is_stopped: Cell::new(false),
        closed: RefCell::default(),
    });
    let transport = UdpTransport { state };
    let mut service = Service { transport: transport.clone(), at, name: type_name_of(&protocol) };
    service.call(|transport| protocol.started(transport));
    let mut receives = reactor.ensure_deferred_at(at, async move {
        let mut ends = Ends { service, protocol };
        let state = ends.service.transport.state.clone();
        let mut received = 0;
        while !state.is_stopped.get() {
            ends.receive().await?;
            received += 1;
            if received == RECEIVE_BATCH {
                received = 0;
                YieldNow::default().await; // other tasks
            }
        }
        Ok::<_, Failure>(())
    });
    if !receives.is_ready() {
        *transport.state.receiving.borrow_mut() = Some(receives.cancel_handle());
    }
    drop(receives.add_errback(ignore_cancel));
    Ok(transport)
}

fn type_name_of<T>(_: &T) -> &'static str {
    type_name::<T>()
}

fn bind(address: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(socket2::Protocol::UDP))?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Calls the callbacks of a protocol, and reports their errors.
struct Service {
    transport: UdpTransport,
    at: &'static Location<'static>,
    name: &'static str,
}

impl Service {
    /// Calls a callback, and reports its error or panic.
    fn call(&mut self, call: impl FnOnce(&UdpTransport) -> Result<(), Failure>) {
        let transport = &self.transport;
        let result = catch_unwind(AssertUnwindSafe(|| call(transport)));
        let result = result.unwrap_or_else(|payload| Err(Panicked::new(payload).into()));
        if let Err(failure) = result {
            let failed = failure.wrap(|failure| ProtocolFailed { protocol: self.name, failure });
            // The error of a coroutine is reported, with the location where the program listens.
            drop(transport.state.reactor.ensure_deferred_at::<()>(self.at, ready(Err(failed))));
        }
    }
}

/// A socket that receives, and its protocol, which is notified of the end in every case.
struct Ends<P: DatagramProtocol> {
    service: Service,
    protocol: P,
}

impl<P: DatagramProtocol> Ends<P> {
    /// Waits for a datagram, and passes it to the protocol.
    async fn receive(&mut self) -> Result<(), Failure> {
        let Ends { service, protocol } = self;
        let state = service.transport.state.clone();
        let buffers = state.reactor.extension(Buffers::default);
        let received = poll_fn(|context| {
            let Some(socket) = state.socket.borrow().clone() else { return Poll::Ready(Ok(None)) };
            let mut buffer = buffers.for_reading();
            match socket.poll_recv_from(context, &mut buffer) {
                Poll::Ready(Ok((length, sender))) => Poll::Ready(Ok(Some((buffer, length, sender)))),
                other => {
                    buffers.return_read_buffer(buffer);
                    other.map(|result| result.map(|_| None))
                }
            }
        });
        match received.await {
            Ok(Some((buffer, length, sender))) => {
                service.call(|transport| protocol.datagram_received(transport, &buffer[..length], sender));
                buffers.return_read_buffer(buffer);
            }
            Ok(None) => {}
            // Windows reports it as a reset.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset) => {
                service.call(|transport| protocol.connection_refused(transport));
            }
            Err(_) => state.reactor.sleep(RETRY_DELAY).await?,
        }
        Ok(())
    }
}

impl<P: DatagramProtocol> Drop for Ends<P> {
    fn drop(&mut self) {
        let state = self.service.transport.state.clone();
        state.is_stopped.set(true);
        let socket = state.socket.take();
        drop(socket); // after the borrow
        let protocol = &mut self.protocol;
        self.service.call(|_| {
            protocol.stopped();
            Ok(())
        });
        let closed = state.closed.take();
        closed.into_iter().for_each(|resolver| resolver.callback(()));
    }
}

/// A handle to a UDP socket. Clones refer to the same socket. Dropping them has no effect.
///
/// Twisted's `IUDPTransport`.
#[doc(alias = "IUDPTransport")]
#[derive(Clone)]
pub struct UdpTransport {
    state: Rc<UdpState>,
}

struct UdpState {
    reactor: Reactor,
    /// Empty once the socket is closed.
    socket: RefCell<Option<Rc<dyn DatagramSocket>>>,
    /// Cancels the coroutine that receives.
    receiving: RefCell<Option<CancelHandle>>,
    is_stopped: Cell<bool>,
    closed: RefCell<Vec<Resolver<()>>>,
}

impl UdpTransport {
    /// Sends a datagram to `peer`, at once.
    ///
    /// # Errors
    ///
    /// Returns the error of the system, for example if the datagram is too long, or
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the system has no room. The datagram is lost
    /// then, as it may be on its way. Returns [`NotConnected`](io::ErrorKind::NotConnected) if the
    /// socket is closed.
    pub fn send_to(&self, data: impl AsRef<[u8]>, peer: SocketAddr) -> io::Result<()> {
        self.with_socket(|socket| socket.send_to(data.as_ref(), &peer.into()).map(drop))
    }

    /// Sets the only peer of this socket. Datagrams of others are dropped.
    ///
    /// # Errors
    ///
    /// Returns the error of the system, or [`NotConnected`](io::ErrorKind::NotConnected) if the
    /// socket is closed.
    pub fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        self.with_socket(|socket| socket.connect(&peer.into()))
    }

    /// Sends a datagram to the [connected](Self::connect) peer.
    ///
    /// # Errors
    ///
    /// Like [`send_to`](Self::send_to).
    pub fn send(&self, data: impl AsRef<[u8]>) -> io::Result<()> {
        self.with_socket(|socket| socket.send(data.as_ref()).map(drop))
    }

    /// Returns the address of the socket.
    ///
    /// # Errors
    ///
    /// Returns the error of the system, or [`NotConnected`](io::ErrorKind::NotConnected) if the
    /// socket is closed.
    #[doc(alias = "getHost")]
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.with_socket(|socket| ip(&socket.local_addr()?))
    }

    /// Calls `f` with the socket of the system, for its options, for example `set_broadcast`.
    ///
    /// # Errors
    ///
    /// Returns the error of `f`, or [`NotConnected`](io::ErrorKind::NotConnected) if the socket is
    /// closed.
    #[doc(alias = "setBroadcastAllowed")]
    #[doc(alias = "joinGroup")]
    pub fn with_socket<T>(&self, f: impl FnOnce(&SockRef<'_>) -> io::Result<T>) -> io::Result<T> {
        let socket = self.state.socket.borrow().clone();
        match socket {
            Some(socket) => f(&socket.system()),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Closes the socket. [`stopped`](DatagramProtocol::stopped) is called inside this call, or at
    /// the end of the callback that calls this.
    ///
    /// Twisted's `stopListening`.
    #[doc(alias = "stopListening")]
    pub fn stop_listening(&self) {
        self.state.is_stopped.set(true);
        let receiving = self.state.receiving.take();
        if let Some(receiving) = receiving {
            receiving.cancel();
        }
    }

    /// Returns a Deferred that fires when the socket is closed and
    /// [`stopped`](DatagramProtocol::stopped) was called.
    ///
    /// # Cancellation
    ///
    /// A cancel ends only the wait.
    #[must_use = "the Deferred only waits; the call has no other effect"]
    pub fn closed(&self) -> Deferred<()> {
        if self.state.socket.borrow().is_none() {
            return Deferred::succeed(());
        }
        let (deferred, resolver) = Deferred::new();
        push_waiter(&mut self.state.closed.borrow_mut(), resolver);
        deferred
    }

    /// Returns the reactor of the socket.
    #[must_use]
    pub fn reactor(&self) -> &Reactor {
        &self.state.reactor
    }
}

impl fmt::Debug for UdpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpTransport").field("local_addr", &self.local_addr().ok()).finish_non_exhaustive()
    }
}
