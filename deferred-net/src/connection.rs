//! `Connection`: the coroutine of a connection. It reads, sends, and calls the protocol.

use std::any::type_name;
use std::future::ready;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use deferred_core::context;
use deferred_core::inspect::{self, Kind};
use deferred_core::{Deferred, Failure, Panicked, Reactor};

use super::error::ignore_cancel;
use super::port::PortEntry;
use super::socket::SocketCell;
use super::transport_state::Stage;
#[cfg(feature = "rustls")]
use super::transport_state::TlsStage;
use super::{ConnectionLost, Protocol, ProtocolFailed, Transport};

/// The maximum number of reads in one poll, after which other tasks run.
const MAX_ROUNDS: usize = 2;
/// The maximum number of reads after a failed write. This covers the receive buffer of common
/// systems.
const LAST_READS: usize = 128;
/// The time that the peer has to end its side after this side has ended.
const LINGER: Duration = Duration::from_secs(2);

/// The coroutine of a connection, which ends with it.
pub(super) struct Connection<P: Protocol> {
    protocol: P,
    transport: Transport,
    made: bool,
    /// Whether the peer has ended its side.
    peer_ended: bool,
    /// Whether the end of this side has begun, after which nothing is flushed.
    finishing: bool,
    /// Whether this side was ended.
    finished: bool,
    /// Whether the peer has little time left to end its side.
    lingers: bool,
    has_ended: bool,
    /// The location where the program listens or has connected.
    at: &'static Location<'static>,
    /// The entry in the list of the port.
    entry: Option<PortEntry>,
}

impl<P: Protocol> Unpin for Connection<P> {}

/// Starts a connection. Its `connection_made` is called inside this call.
pub(super) fn start<P: Protocol>(
    transport: &Transport,
    protocol: P,
    at: &'static Location<'static>,
    entry: Option<PortEntry>,
) {
    let connection = Connection {
        protocol,
        entry,
        transport: transport.clone(),
        made: false,
        peer_ended: false,
        finishing: false,
        finished: false,
        lingers: false,
        has_ended: false,
        at,
    };
    let peer = || transport.peer_addr().map_or_else(|_| String::new(), |peer| peer.to_string());
    let context = context::Context::for_connection(at, &peer);
    // An error means that the loop has ended, which the protocol was notified of.
    let reactor = transport.reactor();
    let ended = context.run(|| reactor.ensure_deferred_at(at, connection)).add_errback(ignore_cancel);
    drop(if inspect::is_enabled() { describe::<P>(ended, transport) } else { ended });
}

/// Closes a connection that is not started. The factory of its protocol may have used it.
pub(super) fn discard(transport: &Transport, at: &'static Location<'static>) {
    let why = ConnectionLost::Aborted;
    let mut closed = transport.state.close(&why);
    let ended = guarded(|| {
        transport.state.socket.close(false);
        closed.stop_producing();
        Ok(())
    });
    closed.notify(&why);
    if let Err(failure) = ended {
        report(transport.reactor(), at, failure);
    }
}

/// Reports an error of user code, with the location where the program has created the connection:
/// as that of a coroutine which fails.
pub(super) fn report(reactor: &Reactor, at: &'static Location<'static>, failure: Failure) {
    drop(reactor.ensure_deferred_at::<()>(at, ready(Err(failure))));
}

fn describe<P: Protocol>(ended: Deferred<()>, transport: &Transport) -> Deferred<()> {
    let state = Rc::downgrade(&transport.state);
    ended.describe(move |it| {
        it.set_kind(Kind::Connection);
        let Some(transport) = state.upgrade().map(|state| Transport { state }) else { return };
        let peer = transport.peer_addr().map_or_else(|_| "its peer".to_owned(), |peer| peer.to_string());
        it.set_details(format!("{} with {peer}, {} bytes unsent", type_name::<P>(), transport.unsent()));
    })
}

/// Calls a callback of the protocol or of a producer, and catches its panic.
fn guarded(call: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| Err(Panicked::new(payload).into()))
}

/// Like [`guarded`], for a callback whose error aborts the connection.
pub(super) fn losing(call: impl FnOnce() -> Result<(), Failure>) -> Result<(), ConnectionLost> {
    guarded(call).map_err(|failure| ConnectionLost::Failed(Arc::new(failure)))
}

impl<P: Protocol> Future for Connection<P> {
    type Output = Result<(), Failure>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.transport.state.set_waker(context.waker());
        this.transport.state.polling.set(true);
        let state = &*this.transport.state;
        state.socket.set_woken(this.made && !state.dirty.get());
        // Callbacks are guarded on their own. This is for a panic of the socket.
        let ran = catch_unwind(AssertUnwindSafe(|| this.run(context)));
        let why = ran.unwrap_or_else(|payload| {
            let failure = Panicked::new(payload).into();
            Poll::Ready(Err(ConnectionLost::Failed(Arc::new(failure))))
        });
        this.transport.state.polling.set(false);
        why.map(|why| {
            this.finish(why.unwrap_or_else(|why| why));
            Ok(())
        })
    }
}

impl<P: Protocol> Connection<P> {
    /// Reads and sends without waiting. Returns `Ready` when the connection has ended; the reason
    /// is also an error, so that `?` can be used.
    fn run(&mut self, context: &mut Context<'_>) -> Poll<Result<ConnectionLost, ConnectionLost>> {
        if !self.made {
            // From here on new events must wake the coroutine.
            self.transport.state.dirty.set(false);
            if let Some(why) = self.transport.state.take_end() {
                return Poll::Ready(Ok(why));
            }
            if self.transport.is_closing() && self.transport.state.all_is_sent() {
                return Poll::Ready(Ok(ConnectionLost::Done));
            }
            if !self.secure(context)? {
                return Poll::Pending;
            }
            self.made = true;
            losing(|| self.protocol.connection_made(&self.transport))?;
        }
        let state = &*self.transport.state.clone();
        for _ in 0..MAX_ROUNDS {
            state.dirty.set(false);
            if let Some(why) = state.take_end() {
                return Poll::Ready(Ok(why));
            }
            let is_secure = self.secure(context)?;
            match if is_secure { self.send(context) } else { Ok(()) } {
                Ok(()) => {}
                Err(why @ ConnectionLost::Io(_)) => return Poll::Ready(self.read_the_rest(why)),
                Err(why) => return Poll::Ready(Err(why)),
            }
            if state.can_finish() {
                // A callback above may have requested the end. From here on new events must wake
                // the coroutine.
                state.dirty.set(false);
                if let Some(why) = state.take_end() {
                    return Poll::Ready(Ok(why));
                }
                return self.end(context).map(Ok);
            }
            if is_secure && state.write_closing.get() && state.all_is_sent() {
                match self.finish_writing(context) {
                    Poll::Ready(Ok(())) if self.peer_ended => return Poll::Ready(Ok(ConnectionLost::Done)),
                    Poll::Ready(finished) => finished?,
                    Poll::Pending => {}
                }
            }
            if self.transport.is_closing() {
                if is_secure && state.is_flushed() {
                    state.cancel_close_timer(); // only a producer is awaited
                } else {
                    self.set_close_timer();
                }
            } else if state.resumed.take() {
                state.dirty.set(true); // another round is needed
                losing(|| self.protocol.reading_resumed(&self.transport))?;
            } else if is_secure && !self.peer_ended && !state.paused.get() {
                self.receive(context)?;
            }
            if !state.dirty.get() {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Starts TLS, or continues the handshake. Returns `false` while neither data nor its end can
    /// be exchanged.
    #[cfg(not(feature = "rustls"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "with TLS it needs both")]
    fn secure(&mut self, _: &mut Context<'_>) -> Result<bool, ConnectionLost> {
        Ok(true)
    }

    /// Starts TLS, or continues the handshake. Returns `false` while no data can be exchanged.
    #[cfg(feature = "rustls")]
    #[inline]
    fn secure(&mut self, context: &mut Context<'_>) -> Result<bool, ConnectionLost> {
        match self.transport.state.tls.get() {
            TlsStage::Plain | TlsStage::Established => Ok(true),
            TlsStage::Starting | TlsStage::Handshake => self.continue_tls(context),
        }
    }

    #[cfg(feature = "rustls")]
    #[cold]
    fn continue_tls(&mut self, context: &mut Context<'_>) -> Result<bool, ConnectionLost> {
        let state = &*self.transport.state;
        let start = state.cold().tls_start.take();
        if let Some((session, mut plain)) = start {
            let sent = state.outgoing.borrow_mut().poll_send(|data| {
                if plain == 0 {
                    return Poll::Pending;
                }
                let sent = state.socket.poll_write(context, &data[..data.len().min(plain)]);
                if let Poll::Ready(Ok(sent)) = sent {
                    plain -= sent;
                }
                sent
            });
            if let Poll::Ready(sent) = sent {
                drop(sent.map_err(ConnectionLost::io)?);
            }
            losing(|| {
                state.notify_drained();
                Ok(())
            })?;
            if plain > 0
                || (state.flushes.get() && state.socket.poll_flush(context).map_err(ConnectionLost::io)?.is_pending())
            {
                state.cold().tls_start = Some((session, plain));
                return Ok(false);
            }
            self.transport.add_tls(*session);
        }
        match state.socket.poll_handshake(context) {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(error)) => Err(ConnectionLost::io(error)),
            Poll::Ready(Ok(())) => {
                state.tls.set(TlsStage::Established);
                if !self.transport.is_closing() {
                    state.cancel_close_timer();
                }
                let secured = std::mem::take(&mut state.cold().secured);
                losing(|| {
                    secured.into_iter().for_each(|resolver| resolver.callback(()));
                    Ok(())
                })?;
                Ok(true)
            }
        }
    }

    /// Sends buffered data until the system's buffer is full.
    fn send(&mut self, context: &mut Context<'_>) -> Result<(), ConnectionLost> {
        let state = &*self.transport.state;
        let sent = state.outgoing.borrow_mut().poll_send(|data| state.socket.poll_write(context, data));
        match sent {
            Poll::Ready(Ok(memory)) => {
                memory.into_iter().for_each(|memory| state.buffers().recycle(memory));
                if state.flushes.get() && !self.finishing {
                    state.flushed.set(state.socket.poll_flush(context).map_err(ConnectionLost::io)?.is_ready());
                }
            }
            Poll::Ready(Err(error)) => return Err(ConnectionLost::io(error)),
            Poll::Pending => {}
        }
        // Producers are user code.
        losing(|| {
            state.notify_drained();
            Ok(())
        })
    }

    /// Passes what was written to the system, as far as it takes that at once: the loop has ended.
    fn send_last(&mut self) -> Result<(), Failure> {
        let state = &*self.transport.state;
        // Data for TLS must not be sent before it.
        if !self.made || !state.is_secure() {
            return Ok(());
        }
        let context = &mut Context::from_waker(Waker::noop());
        let sent = state.outgoing.borrow_mut().poll_send(|data| state.socket.poll_write(context, data));
        if sent.is_ready() && state.flushes.get() && !self.finishing {
            state.flushed.set(matches!(state.socket.poll_flush(context), Poll::Ready(Ok(()))));
        }
        if state.is_flushed() && (self.transport.is_closing() || state.write_closing.get()) {
            let _ = self.finish_writing(context);
        }
        Ok(())
    }

    /// Reads once, if data is available, and passes it to the protocol.
    fn receive(&mut self, context: &mut Context<'_>) -> Result<(), ConnectionLost> {
        self.receive_by(|socket, buffer| socket.poll_read(context, buffer)).map(drop)
    }

    /// Reads once with `read`, and passes the data to the protocol. Returns the number of bytes.
    fn receive_by(
        &mut self,
        read: impl FnOnce(&dyn SocketCell, &mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Result<usize, ConnectionLost> {
        let state = &*self.transport.state;
        let mut buffer = state.buffers().for_reading();
        let read = read(&state.socket, &mut buffer);
        let Poll::Ready(read) = read else {
            state.buffers().return_read_buffer(buffer);
            return Ok(0);
        };
        let result = match read {
            Ok(0) => {
                self.peer_ended = true;
                state.note_peer_ended();
                losing(|| self.protocol.read_connection_lost(&self.transport)).map(|()| 0)
            }
            Ok(length) => {
                state.note_received();
                losing(|| self.protocol.data_received(&self.transport, &buffer[..length])).map(|()| length)
            }
            Err(error) => Err(ConnectionLost::io(error)),
        };
        state.buffers().return_read_buffer(buffer);
        // Another round is needed: the callback may have written, or requested something.
        state.dirty.set(true);
        result
    }

    /// Reads the remaining data after a failed write, whose error is `why`. It may be the peer's
    /// answer: a server that refuses a large request sends one. Returns the reason for the end of
    /// the connection.
    fn read_the_rest(&mut self, why: ConnectionLost) -> Result<ConnectionLost, ConnectionLost> {
        let state = self.transport.state.clone();
        for _ in 0..LAST_READS {
            if self.peer_ended || state.paused.get() || self.transport.is_closing() {
                break;
            }
            let length = self.receive_by(|socket, buffer| match socket.read_now(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                read => Poll::Ready(read),
            })?;
            if let Some(end) = state.take_end() {
                return Ok(end);
            }
            if length == 0 {
                break;
            }
        }
        Ok(why)
    }

    /// Ends this side, if it is not ended.
    fn finish_writing(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConnectionLost>> {
        if !self.finished {
            self.finishing = true;
            match self.transport.state.socket.poll_finish(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(finished) => finished.map_err(ConnectionLost::io)?,
            }
            self.finished = true;
            self.transport.state.write_closed.set(true);
        }
        Poll::Ready(Ok(()))
    }

    /// Limits the time in which the peer must read the remaining data.
    fn set_close_timer(&self) {
        let state = &self.transport.state;
        if !state.has_close_timer() {
            let timeout = state.close_timeout();
            state.set_close_timer(timeout, move || ConnectionLost::CloseTimedOut(timeout));
        }
    }

    /// Ends this side after all data is sent, and waits a short time for the peer to end its own.
    fn end(&mut self, context: &mut Context<'_>) -> Poll<ConnectionLost> {
        let state = &self.transport.state;
        state.stage.set(Stage::Finished);
        match self.finish_writing(context) {
            Poll::Pending => {
                self.set_close_timer();
                return Poll::Pending;
            }
            Poll::Ready(Err(why)) => return Poll::Ready(why),
            Poll::Ready(Ok(())) if self.peer_ended || !self.transport.state.lingers => {
                return Poll::Ready(ConnectionLost::Done);
            }
            Poll::Ready(Ok(())) => {}
        }
        if !self.lingers {
            self.lingers = true;
            self.transport.state.set_close_timer(LINGER, || ConnectionLost::Done);
        }
        let state = &self.transport.state;
        for _ in 0..MAX_ROUNDS {
            let mut buffer = state.buffers().for_reading();
            let read = state.socket.poll_read(context, &mut buffer);
            state.buffers().return_read_buffer(buffer);
            match read {
                Poll::Ready(Ok(length)) if length > 0 => {} // ignored
                Poll::Ready(_) => return Poll::Ready(ConnectionLost::Done),
                Poll::Pending => return Poll::Pending,
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ends the connection: notifies the producer, the protocol and the waiting Deferreds. Errors
    /// of callbacks are reported as unhandled.
    fn finish(&mut self, why: ConnectionLost) {
        self.has_ended = true;
        let (why, failure) = why.split();
        // A peer that does not get everything must not take the end for a regular one.
        let aborts = matches!(why, ConnectionLost::Aborted) || !self.transport.state.is_flushed();
        let mut closed = self.transport.state.close(&why);
        let dropped = guarded(|| {
            self.transport.state.socket.close(aborts);
            Ok(())
        });
        let stopped = guarded(|| {
            closed.stop_producing();
            Ok(())
        });
        let lost = guarded(|| {
            if self.made {
                self.protocol.connection_lost(&why);
            }
            Ok(())
        });
        let entry = self.entry.take();
        if let Some(entry) = entry.as_ref().filter(|_| !self.made) {
            entry.count_failed_handshake();
        }
        drop(entry);
        closed.notify(&why);
        for failure in failure.into_iter().chain([dropped, stopped, lost].into_iter().filter_map(Result::err)) {
            self.report(failure);
        }
    }

    fn report(&self, failure: Failure) {
        let failed = failure.wrap(|failure| ProtocolFailed { protocol: type_name::<P>(), failure });
        report(self.transport.reactor(), self.at, failed);
    }
}

impl<P: Protocol> Drop for Connection<P> {
    fn drop(&mut self) {
        if !self.has_ended {
            // The reactor was closed.
            let requested = self.transport.state.take_end();
            let sent = if requested.is_none() { guarded(|| self.send_last()) } else { Ok(()) };
            self.finish(requested.unwrap_or(ConnectionLost::LoopEnded));
            if let Err(failure) = sent {
                self.report(failure);
            }
        }
    }
}
