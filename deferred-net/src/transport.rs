//! `Transport`: the operations on a connection.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use deferred_core::{Deferred, Reactor};
use socket2::SockRef;

use super::connection::losing;
use super::error::ConnectionLost;
use super::producer::{Producer, Registered};
use super::socket::{Socket, ip};
use super::transport_state::{Cold, Idle, Stage, TransportState};
use super::waiters::push_waiter;

/// A handle to a connection, which writes to it and ends it. Clones refer to the same connection;
/// callbacks may store them.
///
/// No method blocks or calls the protocol inside the call. On a connection that has ended, methods
/// do nothing, except those that return a Deferred or an `io::Result`.
///
/// Twisted's `ITransport`, with `IConsumer` and `IPushProducer`.
#[doc(alias = "ITransport")]
#[doc(alias = "ITCPTransport")]
#[doc(alias = "IConsumer")]
#[doc(alias = "IPushProducer")]
#[derive(Clone)]
pub struct Transport {
    pub(super) state: Rc<TransportState>,
}

impl Transport {
    pub(super) fn new(reactor: &Reactor, socket: impl Socket) -> Transport {
        Transport { state: Rc::new(TransportState::new(reactor, socket)) }
    }

    /// Sends `data`, after the data that was written before.
    ///
    /// The data is passed to the system at the end of the callback that writes, together with its
    /// other writes. Outside of the connection's own callbacks this happens in the same turn or the
    /// next. Data that the peer does not read is buffered. Nothing is written on a connection that
    /// has ended, or that is [losing](Self::lose_connection) and has sent everything. When the loop
    /// ends, the system gets what it takes at once; a program that ends with a large write awaits
    /// [`closed`](Self::closed) before.
    #[doc(alias = "writeSequence")]
    pub fn write(&self, data: impl AsRef<[u8]>) {
        self.write_bytes(data.as_ref());
    }

    /// Sends `line` and `\r\n`. Like [`write`](Self::write). For lines with another
    /// [`delimiter`](super::Lines::delimiter), write that instead.
    ///
    /// Twisted's `LineReceiver.sendLine`.
    #[doc(alias = "sendLine")]
    pub fn send_line(&self, line: impl AsRef<[u8]>) {
        self.write_bytes(line.as_ref());
        self.write_bytes(b"\r\n");
    }

    fn write_bytes(&self, data: &[u8]) {
        let state = &*self.state;
        if data.is_empty() || !state.can_write() {
            return;
        }
        let mut outgoing = state.outgoing.borrow_mut();
        let before = outgoing.len();
        if before > state.limit.get() {
            drop(outgoing);
            return state.end(ConnectionLost::TooSlow { unsent: before });
        }
        outgoing.push(data, || state.buffers.spare());
        let full = outgoing.len() > state.high.get();
        drop(outgoing);
        if full {
            state.full.set(true);
        }
        state.touch();
        if let Some(registered) = state.registered() {
            self.call_producer(|| registered.wrote(full));
        }
    }

    /// Returns the number of buffered bytes.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.state.outgoing.borrow().len()
    }

    /// Returns a Deferred that is ready unless the buffered data has exceeded the [high-water
    /// mark](Self::set_high_water); then it fires when at most a quarter of that is still buffered.
    /// So it fires when a producer would be resumed. A coroutine that writes much data awaits this
    /// after each write.
    ///
    /// asyncio's `drain`.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with [`ConnectionLost`] if the connection ends first.
    ///
    /// # Cancellation
    ///
    /// A cancel ends only the wait.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use deferred_smol::{Deferred, inline_callbacks, net::Transport};
    /// fn send_all(transport: Transport, pages: Vec<Vec<u8>>) -> Deferred<()> {
    ///     inline_callbacks(async move {
    ///         for page in pages {
    ///             transport.write(&page);
    ///             transport.drained().await?;
    ///         }
    ///         transport.lose_connection();
    ///         Ok(())
    ///     })
    /// }
    /// ```
    #[must_use = "the Deferred only waits; the call has no other effect"]
    pub fn drained(&self) -> Deferred<()> {
        if let Some(lost) = self.state.lost() {
            return Deferred::fail(lost);
        }
        if !self.state.full.get() {
            return Deferred::succeed(());
        }
        let (deferred, resolver) = Deferred::new();
        push_waiter(&mut self.state.cold().drained, resolver);
        deferred
    }

    /// Ends the connection after all buffered data is sent, including the data that a
    /// [producer](Self::register_producer) writes until it is unregistered. Nothing more is read.
    /// Then this side of the connection is ended, and the peer has two seconds to end its own:
    /// without this wait, data from the peer that was not read here could make the peer's system
    /// discard data that the peer has not read.
    ///
    /// Data that is written between this call and the end is sent too. The peer must read the rest
    /// within the [close timeout](Self::set_close_timeout), 30 seconds by default; if it does not, it
    /// gets a reset. For answers that take a slow peer longer, set a longer one, or use
    /// [`send_file`](Self::send_file).
    ///
    /// Twisted's `loseConnection`.
    #[doc(alias = "loseConnection")]
    pub fn lose_connection(&self) {
        self.state.begin_closing();
    }

    /// Ends this side of the connection after all buffered data is sent, including the data of a
    /// [producer](Self::register_producer) until it is unregistered. The peer gets an end, and can
    /// still send: reading continues until it ends its side too. What is written after this call
    /// is dropped, unless a producer is registered.
    ///
    /// Twisted's `loseWriteConnection`.
    #[doc(alias = "loseWriteConnection")]
    #[doc(alias = "shutdown")]
    pub fn lose_write_connection(&self) {
        if !self.state.write_closing.replace(true) {
            self.state.touch();
        }
    }

    /// Lets [`Lines`](super::Lines) pass the next `length` bytes to
    /// [`raw_data_received`](super::LineProtocol::raw_data_received), after the current line; then
    /// lines follow again. `u64::MAX` stands for all that follows. 0 ends the mode, after the piece
    /// of data that is being delivered.
    ///
    /// Twisted's `setRawMode` and `setLineMode`. There, the protocol counts the bytes, and returns
    /// those that are too many.
    ///
    /// # Examples
    ///
    /// Lines that are followed by a body, whose length a line contains:
    ///
    /// ```
    /// use deferred_mio::net::testing::StringTransport;
    /// use deferred_mio::net::{LineProtocol, Lines, Transport};
    /// use deferred_mio::{Clock, Failure};
    ///
    /// struct Sizes;
    ///
    /// impl LineProtocol for Sizes {
    ///     fn line_received(&mut self, transport: &Transport, line: &[u8]) -> Result<(), Failure> {
    ///         transport.set_raw_mode(std::str::from_utf8(line)?.parse()?);
    ///         Ok(())
    ///     }
    ///
    ///     fn raw_data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
    ///         transport.write(data.to_ascii_uppercase());
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let clock = Clock::new();
    /// let peer = StringTransport::connect(&clock, Lines::new(Sizes));
    /// peer.receive("3\r\nabc2\r\nde");
    /// assert_eq!(peer.value(), b"ABCDE");
    /// ```
    #[doc(alias = "setRawMode")]
    #[doc(alias = "setLineMode")]
    pub fn set_raw_mode(&self, length: u64) {
        self.state.cold().raw_left = length;
        self.state.not_lines.set(length > 0 || self.is_starting_tls());
        if !self.state.polling.get() && !self.state.paused.get() {
            // Data that has arrived is delivered again, in the new mode.
            self.state.resumed.set(true);
            self.state.touch();
        }
    }

    /// Ends the connection now, and drops buffered data. The peer of a TCP connection gets a reset,
    /// so that it does not take the end for a regular one.
    ///
    /// `connection_lost` is called in the same turn or the next.
    ///
    /// Twisted's `abortConnection`.
    #[doc(alias = "abortConnection")]
    pub fn abort_connection(&self) {
        self.state.end(ConnectionLost::Aborted);
    }

    /// Returns `true` if [`lose_connection`](Self::lose_connection) or
    /// [`abort_connection`](Self::abort_connection) was called, or if the connection ends or has
    /// ended for another reason.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.state.stage.get() > Stage::Open
    }

    /// Returns a Deferred that fires when the connection has ended and
    /// [`connection_lost`](super::Protocol::connection_lost) was called, with the reason. It is
    /// ready at once if the connection has already ended.
    ///
    /// # Cancellation
    ///
    /// A cancel ends only the wait.
    ///
    /// # Examples
    ///
    /// Treat every end but a regular one as an error:
    ///
    /// ```
    /// # use deferred_smol::{Deferred, Failure, net::{ConnectionLost, Transport}};
    /// fn finished(transport: &Transport) -> Deferred<()> {
    ///     transport.closed().add_callback(|reason| match reason {
    ///         ConnectionLost::Done => Ok(()),
    ///         reason => Err(Failure::from(reason)),
    ///     })
    /// }
    /// ```
    #[must_use = "the Deferred only waits; the call has no other effect"]
    pub fn closed(&self) -> Deferred<ConnectionLost> {
        if let Some(lost) = self.state.lost() {
            return Deferred::succeed(lost);
        }
        let (deferred, resolver) = Deferred::new();
        push_waiter(&mut self.state.cold().closed, resolver);
        deferred
    }

    /// Returns the reason for which the connection has ended. `None` while it exists.
    #[must_use]
    pub fn lost(&self) -> Option<ConnectionLost> {
        self.state.lost()
    }

    /// Returns `true` if reading is [paused](Self::pause_producing).
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.state.paused.get()
    }

    /// Pauses reading until [`resume_producing`](Self::resume_producing). Data that the peer sends
    /// fills the buffers of both systems, and then the peer blocks. Meanwhile the end of the peer
    /// is not detected.
    #[doc(alias = "pauseProducing")]
    pub fn pause_producing(&self) {
        self.state.paused.set(true);
        self.state.resumed.set(false);
    }

    /// Resumes reading.
    #[doc(alias = "resumeProducing")]
    pub fn resume_producing(&self) {
        if self.state.paused.replace(false) {
            self.state.note_received(); // the idle timeout begins here
            self.state.resumed.set(true);
            self.state.touch();
        }
    }

    /// Registers a producer, which is paused while too much data is buffered, and resumed when most
    /// of that is sent. Until it is [unregistered](Self::unregister_producer), the connection does
    /// not end by itself. It replaces the producer that was registered before, which is resumed if it
    /// was paused.
    ///
    /// Another transport can be the producer: code that copies from it to this one registers it
    /// here, and then reads no faster than this connection's peer. An echo server registers each
    /// connection on itself. Such a producer need not be unregistered: it counts no more when its
    /// peer has ended.
    ///
    /// On a connection that has ended, `producer` is stopped at once.
    ///
    /// Twisted's `registerProducer(producer, True)`.
    #[doc(alias = "registerProducer")]
    pub fn register_producer(&self, producer: impl Producer + 'static) {
        self.register(Registered::push(producer));
    }

    /// Registers a pull producer, which is resumed whenever all data is sent, the first time in the
    /// same turn or the next. Each time it writes one piece. In all other respects this is like
    /// [`register_producer`](Self::register_producer).
    ///
    /// Twisted's `registerProducer(producer, False)`.
    #[doc(alias = "registerProducer")]
    pub fn register_pull_producer(&self, producer: impl Producer + 'static) {
        self.register(Registered::pull(producer));
    }

    fn register(&self, registered: Registered) {
        if self.state.stage.get() >= Stage::Finished {
            return registered.stop();
        }
        registered.notify_at_end(&self.state);
        let before = self.state.cold().producer.replace(Rc::new(registered));
        self.state.touch();
        if let Some(before) = before {
            self.call_producer(|| before.replaced());
        }
    }

    /// Calls a producer, whose panic loses the connection: the caller may be other code.
    fn call_producer(&self, call: impl FnOnce()) {
        let called = losing(|| {
            call();
            Ok(())
        });
        if let Err(why) = called {
            self.state.end(why);
        }
    }

    /// Removes the producer.
    #[doc(alias = "unregisterProducer")]
    pub fn unregister_producer(&self) {
        let before = self.state.cold.borrow_mut().as_mut().and_then(|cold| cold.producer.take());
        if before.is_some() {
            self.state.touch();
        }
        drop(before); // after the borrow
    }

    /// Sets the number of buffered bytes above which a producer is paused. Defaults to 64 KiB. The
    /// producer is resumed at a quarter of it. If a higher mark lets a producer or a
    /// [`drained`](Self::drained) continue, that happens in the same turn or the next.
    pub fn set_high_water(&self, bytes: usize) {
        self.state.high.set(bytes);
        self.state.touch();
    }

    /// Sets the maximum number of buffered bytes. Defaults to 16 MiB. A write when more bytes are
    /// already buffered ends the connection with [`TooSlow`](ConnectionLost::TooSlow), so a single
    /// large write is accepted.
    ///
    /// This limits the memory for a peer that does not read. Twisted has no such limit.
    pub fn set_write_limit(&self, bytes: usize) {
        self.state.limit.set(bytes);
    }

    /// Sets the time that [`lose_connection`](Self::lose_connection) waits for the peer to read the
    /// remaining data. Defaults to 30 seconds. It must be set before that call.
    pub fn set_close_timeout(&self, timeout: Duration) {
        self.state.cold().close_timeout = Some(timeout);
    }

    /// Ends the connection with [`Idle`](ConnectionLost::Idle) if nothing arrives during `timeout`,
    /// which begins now and with each arrival. Defaults to `None`: no limit. Time during which
    /// reading is [paused](Self::pause_producing) or the connection is ending does not count; time
    /// after the peer has ended its side does.
    ///
    /// A peer that sends a byte from time to time is never idle. [`set_timeout`](Self::set_timeout)
    /// is a deadline for a whole message.
    pub fn set_idle_timeout(&self, timeout: Option<Duration>) {
        if self.state.stage.get() == Stage::Over {
            return;
        }
        let idle = timeout.map(|timeout| Idle {
            timeout,
            received_at: self.state.reactor.now(),
            timer: self.state.start_idle_timer(timeout),
        });
        if let Some(before) = std::mem::replace(&mut self.state.cold().idle, idle) {
            let _ = before.timer.cancel();
        }
    }

    /// Ends the connection with [`TimedOut`](ConnectionLost::TimedOut) after `timeout` from now,
    /// whatever arrives meanwhile, unless [`reset_timeout`](Self::reset_timeout) restarts it.
    /// Defaults to `None`, which also removes a timeout. A protocol resets it after each whole
    /// message, so that a peer that sends slowly gains nothing.
    ///
    /// Twisted's `TimeoutMixin.setTimeout`.
    #[doc(alias = "TimeoutMixin")]
    #[doc(alias = "setTimeout")]
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        if self.state.stage.get() == Stage::Over {
            return;
        }
        let timeout = timeout.map(|timeout| {
            let state = self.state.clone();
            (timeout, self.state.reactor.call_later(timeout, move || state.end(ConnectionLost::TimedOut(timeout))))
        });
        if let Some((_, before)) = std::mem::replace(&mut self.state.cold().timeout, timeout) {
            let _ = before.cancel();
        }
    }

    /// Restarts the timeout of [`set_timeout`](Self::set_timeout). Does nothing if there is none.
    ///
    /// Twisted's `TimeoutMixin.resetTimeout`.
    #[doc(alias = "resetTimeout")]
    pub fn reset_timeout(&self) {
        if let Some(Cold { timeout: Some((timeout, timer)), .. }) = self.state.cold.borrow().as_deref() {
            let _ = timer.reset(*timeout);
        }
    }

    /// Sets whether small writes are sent at once (`true`, the default) or collected while earlier
    /// data is in transit. Twisted's `setTcpNoDelay`.
    ///
    /// # Errors
    ///
    /// Returns the error of the system, [`NotConnected`](io::ErrorKind::NotConnected) if the
    /// connection has ended, or [`Unsupported`](io::ErrorKind::Unsupported) if it is not one of
    /// TCP.
    #[doc(alias = "setTcpNoDelay")]
    #[doc(alias = "nodelay")]
    pub fn set_nodelay(&self, no_delay: bool) -> io::Result<()> {
        self.with_tcp(|socket| socket.set_tcp_nodelay(no_delay))
    }

    /// Sets whether the system checks a connection on which nothing arrives: after `idle` without
    /// data it asks the peer's system, repeatedly, and ends the connection if there is no answer.
    /// Off (`None`) by default. Twisted's `setTcpKeepAlive`.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`set_nodelay`](Self::set_nodelay).
    #[doc(alias = "setTcpKeepAlive")]
    pub fn set_keepalive(&self, idle: Option<Duration>) -> io::Result<()> {
        self.with_tcp(|socket| match idle {
            None => socket.set_keepalive(false),
            Some(idle) => socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(idle)),
        })
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`set_nodelay`](Self::set_nodelay).
    #[doc(alias = "getPeer")]
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.state.socket.peer_addr()
    }

    /// Returns the address of this side.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`set_nodelay`](Self::set_nodelay).
    #[doc(alias = "getHost")]
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.state.socket.local_addr()
    }

    /// Calls `f` with the socket of the system, for options that have no method here.
    ///
    /// # Errors
    ///
    /// Returns the error of `f`, [`NotConnected`](io::ErrorKind::NotConnected) if the connection
    /// has ended, or [`Unsupported`](io::ErrorKind::Unsupported) if it has no socket.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io;
    /// # use deferred_smol::net::Transport;
    /// fn enlarge_buffer(transport: &Transport) -> io::Result<()> {
    ///     transport.with_socket(|socket| socket.set_recv_buffer_size(1 << 20))
    /// }
    /// ```
    #[doc(alias = "getHandle")]
    pub fn with_socket<T>(&self, f: impl FnOnce(&SockRef<'_>) -> io::Result<T>) -> io::Result<T> {
        let (mut f, mut value) = (Some(f), None);
        self.state.socket.with_system(&mut |socket| {
            let f = f.take().expect("`with_system` calls its argument at most once");
            value = Some(f(&socket)?);
            Ok(())
        })?;
        Ok(value.expect("`with_system` has called its argument"))
    }

    fn with_tcp<T>(&self, f: impl FnOnce(&SockRef<'_>) -> io::Result<T>) -> io::Result<T> {
        self.with_socket(|socket| {
            // Not all systems refuse an option of TCP on a Unix socket.
            ip(&socket.local_addr()?)?;
            f(socket)
        })
    }

    /// Returns `true` if incoming data was encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        #[cfg(feature = "rustls")]
        let is_tls = self.state.tls.get() == super::transport_state::TlsStage::Established;
        #[cfg(not(feature = "rustls"))]
        let is_tls = false;
        is_tls
    }

    /// Returns `true` if TLS was requested.
    pub(super) fn has_started_tls(&self) -> bool {
        #[cfg(feature = "rustls")]
        let started = self.state.tls.get() != super::transport_state::TlsStage::Plain;
        #[cfg(not(feature = "rustls"))]
        let started = false;
        started
    }

    /// Returns `true` if TLS was requested and has not begun.
    pub(super) fn is_starting_tls(&self) -> bool {
        #[cfg(feature = "rustls")]
        let starts = self.state.tls.get() == super::transport_state::TlsStage::Starting;
        #[cfg(not(feature = "rustls"))]
        let starts = false;
        starts
    }

    /// Returns the reactor of the connection.
    #[must_use]
    pub fn reactor(&self) -> &Reactor {
        &self.state.reactor
    }
}

impl Producer for Transport {
    fn pause_producing(&self) {
        Transport::pause_producing(self);
    }

    fn resume_producing(&self) {
        Transport::resume_producing(self);
    }

    fn stop_producing(&self) {
        self.lose_connection();
    }
}

/// Two transports are equal if they refer to the same connection.
impl PartialEq for Transport {
    fn eq(&self, other: &Transport) -> bool {
        Rc::ptr_eq(&self.state, &other.state)
    }
}

impl Eq for Transport {}

impl Hash for Transport {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Rc::as_ptr(&self.state).cast::<()>().hash(state);
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("stage", &self.state.stage.get())
            .field("unsent", &self.unsent())
            .finish_non_exhaustive()
    }
}
