//! What looks after a connection: reads, sends, and calls the protocol.

use std::any::type_name;
use std::future::ready;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use deferred_core::{Failure, Panicked, Reactor};

use super::listen::Guest;
use super::socket::Socket;
use super::{ConnectionLost, Protocol, ProtocolFailed, Transport, tell_unless_ended};

/// How often it reads or pulls at most before the others have their turn.
const ROUNDS: usize = 2;
/// How often it reads at most once nothing can be sent any more: as much as systems keep for one
/// that does not read.
const LAST_READS: usize = 128;
/// How long the peer has to end its side once ours has ended.
const LINGER: Duration = Duration::from_secs(2);

/// A coroutine of the reactor, as long as the connection.
pub(super) struct Connection<P: Protocol> {
    protocol: P,
    transport: Transport,
    begun: bool,
    /// There may be something to read, so that asking the system for that can be saved.
    readable: bool,
    /// The system has no room for what is to be sent.
    blocked: bool,
    /// Nothing here has woken it, and so perhaps the system. Where nobody but smol's own thread
    /// looks after sockets, as with a `Clock`, smol may wake for one that it then calls not ready,
    /// again and again: so it is tried once.
    woken: bool,
    /// The peer sends nothing more.
    ended: bool,
    over: bool,
    /// Where the program listens, or has connected.
    at: &'static Location<'static>,
    /// Its entry in the list of its port.
    guest: Option<Guest>,
}

impl<P: Protocol> Unpin for Connection<P> {}

/// Starts one. Its protocol hears of it in here.
pub(super) fn start<P: Protocol>(
    reactor: &Reactor,
    socket: Socket,
    protocol: P,
    at: &'static Location<'static>,
    guest: impl FnOnce(&Transport) -> Option<Guest>,
) -> Transport {
    // Where that is not to be had, small messages are slower and nothing is wrong.
    let _ = socket.set_nodelay(true);
    let transport = Transport::new(reactor, socket);
    let connection = Connection {
        protocol,
        guest: guest(&transport),
        transport: transport.clone(),
        begun: false,
        readable: false,
        blocked: false,
        woken: false,
        ended: false,
        over: false,
        at,
    };
    // Its error is the end of the loop, of which the protocol has heard.
    drop(reactor.ensure_deferred_at(at, connection).add_errback(tell_unless_ended));
    transport
}

/// Calls a callback of the protocol, or of a producer.
fn guarded(call: impl FnOnce() -> Result<(), Failure>) -> Result<(), ConnectionLost> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(ConnectionLost::Failed(failure)),
        Err(payload) => Err(ConnectionLost::Failed(Panicked::new(payload).into())),
    }
}

impl<P: Protocol> Future for Connection<P> {
    type Output = Result<(), Failure>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.transport.inner.keep_waker(context.waker());
        this.transport.inner.polling.set(true);
        this.woken = this.begun && !this.transport.inner.dirty.get();
        let why = this.look_after(context);
        this.transport.inner.polling.set(false);
        why.map(|why| {
            this.finish(why.unwrap_or_else(|why| why));
            Ok(())
        })
    }
}

impl<P: Protocol> Connection<P> {
    /// Does what can be done now. Ready when the connection is over; the error is the reason too,
    /// for `?`.
    fn look_after(&mut self, context: &mut Context<'_>) -> Poll<Result<ConnectionLost, ConnectionLost>> {
        if !self.begun {
            self.begun = true;
            guarded(|| self.protocol.connection_made(&self.transport))?;
        }
        let inner = &*self.transport.inner.clone();
        for _ in 0..ROUNDS {
            inner.dirty.set(false);
            if let Some(why) = inner.take_end() {
                return Poll::Ready(Ok(why));
            }
            match self.send(context) {
                Ok(()) => {}
                Err(why @ ConnectionLost::Io(_)) => return Poll::Ready(self.read_the_rest(why, context)),
                Err(why) => return Poll::Ready(Err(why)),
            }
            if inner.is_to_finish() {
                // It may be what a callback in there has asked for. From here on it is to be woken
                // for what comes.
                inner.dirty.set(false);
                if let Some(why) = inner.take_end() {
                    return Poll::Ready(Ok(why));
                }
                return self.end(context).map(Ok);
            }
            if self.transport.is_closing() {
                if !inner.has_alarm() {
                    let timeout = inner.close_timeout.get();
                    self.transport.inner.set_alarm(timeout, move || ConnectionLost::CloseTimedOut(timeout));
                }
            } else if inner.resumed.take() {
                inner.dirty.set(true); // to be looked at again
                guarded(|| self.protocol.reading_resumed(&self.transport))?;
            } else if !self.ended && !inner.paused.get() {
                self.receive(context)?;
            }
            if !inner.dirty.get() {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends what waits, as far as the system takes it.
    fn send(&mut self, context: &mut Context<'_>) -> Result<(), ConnectionLost> {
        let inner = &*self.transport.inner;
        let mut tries = self.woken;
        loop {
            {
                let socket = inner.socket.borrow();
                let Some(socket) = &*socket else { return Ok(()) };
                let mut outgoing = inner.outgoing.borrow_mut();
                if !outgoing.is_empty() {
                    if self.blocked
                        && socket.poll_writable(context).map_err(ConnectionLost::Io)?.is_pending()
                        && !mem::take(&mut tries)
                    {
                        return Ok(());
                    }
                    match outgoing.send(|data| socket.write(data)) {
                        Ok(memory) => {
                            self.blocked = false;
                            memory.into_iter().for_each(|memory| inner.buffers().give_back(memory));
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
                        Err(error) => return Err(ConnectionLost::Io(error)),
                    }
                }
            }
            // Producers, which are the program's.
            guarded(|| {
                inner.relieve();
                Ok(())
            })?;
            if !self.blocked {
                return Ok(());
            }
        }
    }

    /// Reads once, if there is anything, and gives that to the protocol.
    fn receive(&mut self, context: &mut Context<'_>) -> Result<(), ConnectionLost> {
        let inner = &*self.transport.inner;
        let mut buffer;
        let read = {
            let socket = inner.socket.borrow();
            let Some(socket) = &*socket else { return Ok(()) };
            let tries = mem::take(&mut self.woken);
            if !self.readable && socket.poll_readable(context).map_err(ConnectionLost::Io)?.is_pending() && !tries {
                return Ok(());
            }
            buffer = inner.buffers().for_reading();
            socket.read(&mut buffer)
        };
        // A short read has emptied it, as far as anybody knows: asking costs less than a read that
        // finds nothing.
        self.readable = matches!(read, Ok(length) if length == buffer.len());
        let result = match read {
            Ok(0) => {
                self.ended = true;
                guarded(|| self.protocol.read_connection_lost(&self.transport))
            }
            Ok(length) => {
                inner.heard();
                guarded(|| self.protocol.data_received(&self.transport, &buffer[..length]))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(ConnectionLost::Io(error)),
        };
        inner.buffers().read(buffer);
        // To be looked at again: there may be something to send, and to ask for.
        inner.dirty.set(true);
        result
    }

    /// Nothing more can be sent, for the reason `why`. Delivers what the peer sent before it
    /// closed, which may be its answer: a server that refuses a large request does so. Returns the
    /// reason for which the connection is over.
    fn read_the_rest(
        &mut self,
        why: ConnectionLost,
        context: &mut Context<'_>,
    ) -> Result<ConnectionLost, ConnectionLost> {
        let inner = self.transport.inner.clone();
        self.readable = true; // perhaps
        for _ in 0..LAST_READS {
            if !self.readable || self.ended || inner.paused.get() || self.transport.is_closing() {
                break;
            }
            self.receive(context)?;
            if let Some(end) = inner.take_end() {
                return Ok(end);
            }
        }
        Ok(why)
    }

    /// Everything is sent: tells the peer, and waits a little for its end.
    fn end(&mut self, context: &mut Context<'_>) -> Poll<ConnectionLost> {
        let inner = &self.transport.inner;
        if !inner.set_finished() {
            let told = match &*inner.socket.borrow() {
                Some(socket) => socket.finish().map_err(|error| socket.reason(error)),
                None => Ok(()),
            };
            if let Err(error) = told {
                return Poll::Ready(ConnectionLost::Io(error));
            }
            if self.ended {
                return Poll::Ready(ConnectionLost::Done);
            }
            inner.set_alarm(LINGER, || ConnectionLost::Done);
        }
        let socket = inner.socket.borrow();
        let Some(socket) = &*socket else { return Poll::Ready(ConnectionLost::Done) };
        for _ in 0..ROUNDS {
            if socket.poll_readable(context).is_pending() && !mem::take(&mut self.woken) {
                return Poll::Pending;
            }
            let mut buffer = inner.buffers().for_reading();
            let read = socket.read(&mut buffer);
            inner.buffers().read(buffer);
            match read {
                Ok(length) if length > 0 => {} // nobody wants it
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return Poll::Ready(ConnectionLost::Done),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// It is over: everyone is told. The errors of callbacks are reported, since nobody can handle
    /// them.
    fn finish(&mut self, why: ConnectionLost) {
        self.over = true;
        let mut over = self.transport.inner.close();
        let told = guarded(|| {
            over.stop_producing();
            Ok(())
        });
        let lost = guarded(|| {
            self.protocol.connection_lost(&why);
            Ok(())
        });
        drop(self.guest.take());
        over.tell();
        for result in [Err(why), told, lost] {
            if let Err(ConnectionLost::Failed(failure)) = result {
                self.report(failure);
            }
        }
    }

    fn report(&self, failure: Failure) {
        let failed = ProtocolFailed { protocol: type_name::<P>(), failure };
        // A coroutine that has failed is reported with the place where the program has made it, and
        // no other one.
        drop(self.transport.reactor().ensure_deferred_at::<()>(self.at, ready(Err(failed.into()))));
    }
}

impl<P: Protocol> Drop for Connection<P> {
    fn drop(&mut self) {
        if !self.over {
            // The reactor was closed.
            self.finish(ConnectionLost::LoopEnded);
        }
    }
}
