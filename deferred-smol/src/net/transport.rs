//! What a program does to a connection.

use std::cell::{Cell, RefCell, RefMut};
use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use deferred_core::{Deferred, DelayedCall, Reactor, Resolver};

use super::ConnectionLost;
use super::buffers::Buffers;
use super::outgoing::Outgoing;
use super::producer::{Producer, Registered};
use super::socket::Socket;

/// From so many bytes that wait to be sent, whoever produces more is paused, as in Twisted.
const HIGH_WATER: usize = 64 * 1024;
const WRITE_LIMIT: usize = 16 * 1024 * 1024;
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// One end of a connection, for whoever writes to it or ends it. Clones mean the same connection;
/// callbacks may keep them.
///
/// Nothing here waits, calls the protocol back at once, or fails: on a connection that is over it
/// does nothing.
///
/// Twisted's `ITransport`, with `IConsumer` and `IPushProducer`.
#[derive(Clone)]
pub struct Transport {
    pub(super) inner: Rc<Inner>,
}

pub(super) struct Inner {
    reactor: Reactor,
    buffers: Rc<Buffers>,
    /// Until the connection is over.
    pub(super) socket: RefCell<Option<Socket>>,
    pub(super) outgoing: RefCell<Outgoing>,
    stage: Cell<Stage>,
    /// Reading is paused,
    pub(super) paused: Cell<bool>,
    /// and was resumed since.
    pub(super) resumed: Cell<bool>,
    /// Something has changed since the connection was looked after.
    pub(super) dirty: Cell<bool>,
    /// More than `high` has waited to be sent, and since then never less than a quarter of that.
    full: Cell<bool>,
    /// It is looked after just now.
    pub(super) polling: Cell<bool>,
    /// From so many bytes on a producer is paused.
    high: Cell<usize>,
    limit: Cell<usize>,
    pub(super) close_timeout: Cell<Duration>,
    waker: RefCell<Option<Waker>>,
    rare: RefCell<Option<Box<Rare>>>,
}

/// In this order.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Stage {
    Open,
    /// Ends when all is sent.
    Closing,
    /// The peer was told that nothing more comes.
    Finished,
    Over,
}

/// What few connections have.
#[derive(Default)]
pub(super) struct Rare {
    producer: Option<Rc<Registered>>,
    drained: Vec<Resolver<()>>,
    closed: Vec<Resolver<()>>,
    /// It is to end now, for this reason.
    end: Option<ConnectionLost>,
    alarm: Option<DelayedCall>,
    idle: Option<Idle>,
    timeout: Option<(Duration, DelayedCall)>,
}

/// How long nothing may arrive.
struct Idle {
    timeout: Duration,
    heard: Instant,
    alarm: DelayedCall,
}

impl Transport {
    pub(super) fn new(reactor: &Reactor, socket: Socket) -> Transport {
        let inner = Inner {
            reactor: reactor.clone(),
            buffers: reactor.extension(Buffers::default),
            socket: RefCell::new(Some(socket)),
            outgoing: RefCell::default(),
            stage: Cell::new(Stage::Open),
            paused: Cell::new(false),
            resumed: Cell::new(false),
            dirty: Cell::new(false),
            full: Cell::new(false),
            polling: Cell::new(false),
            high: Cell::new(HIGH_WATER),
            limit: Cell::new(WRITE_LIMIT),
            close_timeout: Cell::new(CLOSE_TIMEOUT),
            waker: RefCell::new(None),
            rare: RefCell::new(None),
        };
        Transport { inner: Rc::new(inner) }
    }

    /// Sends `data`, behind what was written before.
    ///
    /// It is given to the system when the callback that writes is done, with what else that has
    /// written; outside of the connection's own callbacks, in the same turn or the next. What the
    /// peer does not take waits here. Nothing is written any more on a connection that is over, or
    /// that is [losing](Self::lose_connection) and has sent everything.
    pub fn write(&self, data: &[u8]) {
        let inner = &*self.inner;
        if data.is_empty() || inner.stage.get() >= Stage::Finished {
            return;
        }
        let mut outgoing = inner.outgoing.borrow_mut();
        let before = outgoing.len();
        if before > inner.limit.get() {
            drop(outgoing);
            return inner.end(ConnectionLost::TooSlow { unsent: before });
        }
        outgoing.push(data, || inner.buffers.spare());
        let full = outgoing.len() > inner.high.get();
        drop(outgoing);
        if full {
            inner.full.set(true);
        }
        inner.touch();
        if let Some(registered) = inner.registered() {
            registered.wrote(full);
        }
    }

    /// How many bytes wait to be sent.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.inner.outgoing.borrow().len()
    }

    /// Fires when a producer would not be paused, or would be resumed: at once, as long as no more
    /// waits to be sent than [`set_high_water`](Self::set_high_water) says, and after that when
    /// only a quarter of it is left. For a coroutine that writes much: write, then await this.
    ///
    /// asyncio's `drain`.
    ///
    /// # Errors
    ///
    /// [`NotConnected`], if the connection is over before.
    ///
    /// # Cancellation
    ///
    /// Ends the waiting, and nothing else.
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
    #[must_use = "it does nothing but wait"]
    pub fn drained(&self) -> Deferred<()> {
        if self.inner.stage.get() == Stage::Over {
            return Deferred::fail(NotConnected(()));
        }
        if !self.inner.full.get() {
            return Deferred::succeed(());
        }
        let (deferred, resolver) = Deferred::new();
        self.inner.rare().drained.push(resolver);
        deferred
    }

    /// Ends the connection when everything is sent that was written before, and what a
    /// [producer](Self::register_producer) writes until it unregisters. Nothing more is read. The
    /// peer is told that nothing more comes, and has two seconds to end its own side, since what it
    /// sent and nobody has read could make its system drop what it has not read yet.
    ///
    /// Twisted's `loseConnection`.
    pub fn lose_connection(&self) {
        if self.inner.stage.get() == Stage::Open {
            self.inner.stage.set(Stage::Closing);
            self.inner.touch();
        }
    }

    /// Ends the connection now. What was not sent is dropped.
    ///
    /// The protocol hears of it in the same turn or the next. Twisted's `abortConnection`.
    pub fn abort(&self) {
        self.inner.end(ConnectionLost::Aborted);
    }

    /// Whether [`lose_connection`](Self::lose_connection) was called, or the connection is over.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.inner.stage.get() > Stage::Open
    }

    /// Fires when the connection is over and [`connection_lost`](super::Protocol::connection_lost)
    /// was called; at once, if it is.
    ///
    /// # Cancellation
    ///
    /// Ends the waiting, and nothing else.
    #[must_use = "it does nothing but wait"]
    pub fn closed(&self) -> Deferred<()> {
        if self.inner.stage.get() == Stage::Over {
            return Deferred::succeed(());
        }
        let (deferred, resolver) = Deferred::new();
        self.inner.rare().closed.push(resolver);
        deferred
    }

    /// Reads nothing more until [`resume_producing`](Self::resume_producing). What the peer sends
    /// waits in the systems of both, and then the peer waits too. Nor is it noticed that the peer
    /// has gone away.
    pub fn pause_producing(&self) {
        self.inner.paused.set(true);
        self.inner.resumed.set(false);
    }

    /// Reads again.
    pub fn resume_producing(&self) {
        if self.inner.paused.replace(false) {
            self.inner.heard(); // from here on it may be silent
            self.inner.resumed.set(true);
            self.inner.touch();
        }
    }

    /// Has `producer` paused while too much waits to be sent, and resumed when most of that is
    /// sent. Until it is [unregistered](Self::unregister_producer), the connection does not end by
    /// itself. One that was there is unregistered.
    ///
    /// Another transport is a producer: whoever copies from it to this one registers it here, and
    /// reads no faster than this one's peer. The echo of a connection registers it on itself.
    ///
    /// On a connection that is over, `producer` is stopped at once. Twisted's
    /// `registerProducer(producer, True)`.
    pub fn register_producer(&self, producer: impl Producer + 'static) {
        self.register(Registered::push(producer));
    }

    /// Has `producer` resumed whenever everything is sent, the first time in the same turn or the
    /// next: each time it writes a piece. Otherwise as
    /// [`register_producer`](Self::register_producer).
    ///
    /// Twisted's `registerProducer(producer, False)`.
    pub fn register_pull_producer(&self, producer: impl Producer + 'static) {
        self.register(Registered::pull(producer));
    }

    fn register(&self, registered: Registered) {
        if self.inner.stage.get() >= Stage::Finished {
            return registered.stop();
        }
        let before = self.inner.rare().producer.replace(Rc::new(registered));
        drop(before);
        self.inner.touch();
    }

    /// There is no producer any more.
    pub fn unregister_producer(&self) {
        let before = self.inner.rare.borrow_mut().as_mut().and_then(|rare| rare.producer.take());
        if before.is_some() {
            self.inner.touch();
        }
        drop(before); // behind the borrow
    }

    /// From how many bytes that wait to be sent a producer is paused: 64 KiB unless set. It is
    /// resumed at a quarter of it.
    pub fn set_high_water(&self, bytes: usize) {
        self.inner.high.set(bytes);
    }

    /// How many bytes may wait to be sent: 16 MiB unless set. One who writes when more wait already
    /// loses the connection, as [`TooSlow`](ConnectionLost::TooSlow); so one large write is let
    /// through.
    ///
    /// This bounds the memory that a peer costs who does not read. Twisted has no such limit.
    pub fn set_write_limit(&self, bytes: usize) {
        self.inner.limit.set(bytes);
    }

    /// How long [`lose_connection`](Self::lose_connection) waits for the peer to read the rest: 30
    /// seconds unless set, before that is called.
    pub fn set_close_timeout(&self, timeout: Duration) {
        self.inner.close_timeout.set(timeout);
    }

    /// Loses the connection when nothing has arrived for so long, as
    /// [`Idle`](ConnectionLost::Idle); `None`, with which a connection begins, lets it be silent
    /// for ever. Counted from now. While reading is [paused](Self::pause_producing) the peer is not
    /// counted as silent, nor when the connection is to end; one that has ended its own side is.
    ///
    /// A peer that sends a byte now and then is never silent. A deadline for a whole message is
    /// [`set_timeout`](Self::set_timeout).
    pub fn set_idle_timeout(&self, timeout: Option<Duration>) {
        if self.inner.stage.get() == Stage::Over {
            return;
        }
        let idle = timeout.map(|timeout| Idle {
            timeout,
            heard: self.inner.reactor.now(),
            alarm: self.inner.look_whether_idle(timeout),
        });
        if let Some(before) = std::mem::replace(&mut self.inner.rare().idle, idle) {
            let _ = before.alarm.cancel();
        }
    }

    /// Loses the connection after `timeout`, as [`TimedOut`](ConnectionLost::TimedOut), whatever
    /// arrives meanwhile, unless [`reset_timeout`](Self::reset_timeout) puts that off; `None`, with
    /// which a connection begins, takes it back. Counted from now. A protocol resets it when it has
    /// a whole message, so that a peer which sends slowly gains nothing.
    ///
    /// Twisted's `TimeoutMixin.setTimeout`.
    #[doc(alias = "TimeoutMixin")]
    #[doc(alias = "setTimeout")]
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        if self.inner.stage.get() == Stage::Over {
            return;
        }
        let timeout = timeout.map(|timeout| {
            let inner = self.inner.clone();
            (timeout, self.inner.reactor.call_later(timeout, move || inner.end(ConnectionLost::TimedOut(timeout))))
        });
        if let Some((_, before)) = std::mem::replace(&mut self.inner.rare().timeout, timeout) {
            let _ = before.cancel();
        }
    }

    /// Begins the time of [`set_timeout`](Self::set_timeout) anew. Does nothing if there is none.
    ///
    /// Twisted's `TimeoutMixin.resetTimeout`.
    #[doc(alias = "resetTimeout")]
    pub fn reset_timeout(&self) {
        if let Some(Rare { timeout: Some((timeout, alarm)), .. }) = self.inner.rare.borrow().as_deref() {
            let _ = alarm.reset(*timeout);
        }
    }

    /// Whether small writes are sent at once (`true`, which a connection begins with) or gathered
    /// while others are on their way. Twisted's `setTcpNoDelay`.
    ///
    /// # Errors
    ///
    /// The system's; [`NotConnected`](io::ErrorKind::NotConnected) if the connection is over.
    pub fn set_nodelay(&self, no_delay: bool) -> io::Result<()> {
        self.inner.with_socket(|socket| socket.set_nodelay(no_delay))
    }

    /// Who is at the other end.
    ///
    /// # Errors
    ///
    /// As [`set_nodelay`](Self::set_nodelay). A Unix socket has no such address.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.with_socket(Socket::peer_addr)
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// As [`peer_addr`](Self::peer_addr).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.with_socket(Socket::local_addr)
    }

    /// The reactor on which its callbacks run.
    #[must_use]
    pub fn reactor(&self) -> &Reactor {
        &self.inner.reactor
    }
}

impl Inner {
    fn rare(&self) -> RefMut<'_, Rare> {
        RefMut::map(self.rare.borrow_mut(), |rare| &mut **rare.get_or_insert_default())
    }

    fn with_socket<R>(&self, ask: impl FnOnce(&Socket) -> io::Result<R>) -> io::Result<R> {
        match &*self.socket.borrow() {
            Some(socket) => ask(socket),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Has the connection looked after.
    fn touch(&self) {
        if !self.dirty.replace(true) && !self.polling.get() {
            // Without one it was not looked after yet, and soon will be.
            let waker = self.waker.borrow().clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Ends it; only the first reason counts.
    pub(super) fn end(&self, why: ConnectionLost) {
        if self.stage.get() < Stage::Over {
            self.rare().end.get_or_insert(why);
            self.touch();
        }
    }

    pub(super) fn take_end(&self) -> Option<ConnectionLost> {
        self.rare.borrow_mut().as_mut()?.end.take()
    }

    pub(super) fn keep_waker(&self, waker: &Waker) {
        let mut kept = self.waker.borrow_mut();
        if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
    }

    fn low(&self) -> usize {
        self.high.get() / 4
    }

    fn registered(&self) -> Option<Rc<Registered>> {
        self.rare.borrow().as_ref()?.producer.clone()
    }

    /// It was told to end, and has sent everything, and nobody is about to write more.
    pub(super) fn is_to_finish(&self) -> bool {
        self.stage.get() >= Stage::Closing && self.outgoing.borrow().is_empty() && self.registered().is_none()
    }

    /// The peer was told, just now or before. Says whether it was before.
    pub(super) fn set_finished(&self) -> bool {
        self.stage.replace(Stage::Finished) == Stage::Finished
    }

    /// Ends it for this reason, unless it has ended before that.
    pub(super) fn set_alarm(self: &Rc<Self>, timeout: Duration, why: impl FnOnce() -> ConnectionLost + 'static) {
        let inner = self.clone();
        let alarm = self.reactor.call_later(timeout, move || inner.end(why()));
        if let Some(before) = self.rare().alarm.replace(alarm) {
            let _ = before.cancel();
        }
    }

    pub(super) fn has_alarm(&self) -> bool {
        self.rare.borrow().as_ref().is_some_and(|rare| rare.alarm.is_some())
    }

    fn look_whether_idle(self: &Rc<Self>, after: Duration) -> DelayedCall {
        let inner = self.clone();
        self.reactor.call_later(after, move || {
            let now = inner.reactor.now();
            let Some(mut idle) = inner.rare().idle.take() else { return };
            // Where nothing is read the peer is not silent. Its end has a time of its own.
            if inner.paused.get() || inner.stage.get() > Stage::Open {
                idle.heard = now;
            }
            let left = idle.timeout.saturating_sub(now.saturating_duration_since(idle.heard));
            if left.is_zero() {
                return inner.end(ConnectionLost::Idle(idle.timeout));
            }
            idle.alarm = inner.look_whether_idle(left);
            inner.rare().idle = Some(idle);
        })
    }

    /// Something has arrived.
    pub(super) fn heard(&self) {
        if let Some(Rare { idle: Some(idle), .. }) = self.rare.borrow_mut().as_deref_mut() {
            idle.heard = self.reactor.now();
        }
    }

    /// Something was sent: whoever waited for that goes on.
    pub(super) fn relieve(&self) {
        if self.rare.borrow().is_none() && !self.full.get() {
            return;
        }
        let unsent = self.outgoing.borrow().len();
        if unsent > self.low() {
            return;
        }
        self.full.set(false);
        let drained = std::mem::take(&mut self.rare().drained);
        drained.into_iter().for_each(|resolver| resolver.callback(()));
        // Those may have written.
        let unsent = self.outgoing.borrow().len();
        if let Some(registered) = self.registered().filter(|_| unsent <= self.low()) {
            registered.resume(unsent == 0);
        }
    }

    pub(super) fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// It is over: gives what is to be told about that.
    pub(super) fn close(&self) -> Over {
        self.stage.set(Stage::Over);
        let rare = self.rare.take();
        let outgoing = self.outgoing.take();
        let waker = self.waker.take();
        let socket = self.socket.take();
        drop((outgoing, waker, socket)); // behind the borrows
        Over(rare)
    }
}

/// Who is to be told that a connection is over.
pub(super) struct Over(Option<Box<Rare>>);

impl Over {
    /// What comes before the protocol hears of it.
    pub(super) fn stop_producing(&mut self) {
        let Some(rare) = &mut self.0 else { return };
        let (idle, timeout) = (rare.idle.take().map(|idle| idle.alarm), rare.timeout.take().map(|(_, alarm)| alarm));
        for alarm in rare.alarm.take().into_iter().chain(idle).chain(timeout) {
            let _ = alarm.cancel(); // or it has run
        }
        if let Some(registered) = rare.producer.take() {
            registered.stop();
        }
    }

    /// What comes behind that.
    pub(super) fn tell(self) {
        let Some(rare) = self.0 else { return };
        rare.drained.into_iter().for_each(|resolver| resolver.errback(NotConnected(())));
        rare.closed.into_iter().for_each(|resolver| resolver.callback(()));
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

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("stage", &self.inner.stage.get())
            .field("unsent", &self.unsent())
            .finish_non_exhaustive()
    }
}

/// The connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotConnected(());

impl fmt::Display for NotConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is over: nothing is sent on it any more")
    }
}

impl Error for NotConnected {}
