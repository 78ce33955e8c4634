//! `TransportState`: the state that a connection and its transports share.

use std::cell::{Cell, RefCell, RefMut};
use std::mem;
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use deferred_core::{DeferredLock, DelayedCall, Reactor, Resolver};

use super::buffers::Buffers;
use super::error::ConnectionLost;
use super::outgoing::Outgoing;
use super::producer::Registered;
use super::socket::{Socket, SocketCell, Stored, stored};

/// The default of [`set_high_water`](super::Transport::set_high_water), as in Twisted.
const HIGH_WATER: usize = 64 * 1024;
/// The default of [`set_write_limit`](super::Transport::set_write_limit).
const WRITE_LIMIT: usize = 16 * 1024 * 1024;
/// The default of [`set_close_timeout`](super::Transport::set_close_timeout).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The state of a connection.
pub(super) struct TransportState<S: ?Sized = dyn SocketCell> {
    pub(super) reactor: Reactor,
    pub(super) buffers: Rc<Buffers>,
    pub(super) outgoing: RefCell<Outgoing>,
    pub(super) stage: Cell<Stage>,
    /// Whether reading is paused.
    pub(super) paused: Cell<bool>,
    /// Whether reading was resumed and `reading_resumed` was not called yet.
    pub(super) resumed: Cell<bool>,
    /// Whether the connection must be polled, because something has changed.
    pub(super) dirty: Cell<bool>,
    /// Whether more than `high` bytes were buffered, and since then never less than a quarter of
    /// that.
    pub(super) full: Cell<bool>,
    /// Whether raw data follows, or TLS starts.
    pub(super) not_lines: Cell<bool>,
    #[cfg(feature = "rustls")]
    pub(super) tls: Cell<TlsStage>,
    /// Whether this side ends when all data is sent, while the peer's side stays open.
    pub(super) write_closing: Cell<bool>,
    /// Whether this side was ended.
    pub(super) write_closed: Cell<bool>,
    /// Whether the peer has ended its side.
    pub(super) peer_ended: Cell<bool>,
    /// Whether the socket has a buffer of its own, which must be flushed.
    pub(super) flushes: Cell<bool>,
    /// Whether all data that the socket has received was passed to the system.
    pub(super) flushed: Cell<bool>,
    /// Whether the connection waits for the end of the peer after its own.
    pub(super) lingers: bool,
    /// Whether the connection is being polled.
    pub(super) polling: Cell<bool>,
    /// The high-water mark, above which a producer is paused.
    pub(super) high: Cell<usize>,
    pub(super) limit: Cell<usize>,
    pub(super) waker: RefCell<Option<Waker>>,
    pub(super) cold: RefCell<Option<Box<Cold>>>,
    /// Empty once the connection has ended. The last field, so that its type can be erased.
    pub(super) socket: S,
}

/// The stages of a connection, in this order.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) enum Stage {
    Open,
    /// The connection ends when all data is sent.
    Closing,
    /// The sending side was closed.
    Finished,
    Over,
}

/// The stages of TLS on a connection, in this order.
#[cfg(feature = "rustls")]
#[derive(Clone, Copy, PartialEq)]
pub(super) enum TlsStage {
    Plain,
    /// TLS begins when earlier data is sent.
    Starting,
    Handshake,
    Established,
}

/// State that few connections need.
#[derive(Default)]
pub(super) struct Cold {
    pub(super) producer: Option<Rc<Registered>>,
    /// The connections whose producer this one is. They are polled when it receives nothing more.
    pub(super) consumers: Vec<Weak<TransportState>>,
    /// The files that are sent, one after the other.
    pub(super) files: Option<Rc<DeferredLock>>,
    pub(super) drained: Vec<Resolver<()>>,
    pub(super) closed: Vec<Resolver<ConnectionLost>>,
    /// The reason for which the connection has ended.
    pub(super) lost: Option<ConnectionLost>,
    /// The TLS session that begins, and the number of bytes that are sent before.
    #[cfg(feature = "rustls")]
    pub(super) tls_start: Option<(Box<rustls::Connection>, usize)>,
    /// Wait for the end of the handshake.
    #[cfg(feature = "rustls")]
    pub(super) secured: Vec<Resolver<()>>,
    /// The number of bytes that follow and are not lines.
    pub(super) raw_left: u64,
    /// The reason for which the connection must end now.
    pub(super) end: Option<ConnectionLost>,
    /// The close timeout, if it is not the default.
    pub(super) close_timeout: Option<Duration>,
    pub(super) close_timer: Option<DelayedCall>,
    pub(super) idle: Option<Idle>,
    pub(super) timeout: Option<(Duration, DelayedCall)>,
}

/// The idle timeout.
pub(super) struct Idle {
    pub(super) timeout: Duration,
    pub(super) received_at: Instant,
    pub(super) timer: DelayedCall,
}

impl<S: Socket> TransportState<RefCell<Option<Stored<S>>>> {
    pub(super) fn new(reactor: &Reactor, socket: S) -> Self {
        TransportState {
            reactor: reactor.clone(),
            buffers: reactor.extension(Buffers::default),
            outgoing: RefCell::default(),
            stage: Cell::new(Stage::Open),
            paused: Cell::new(false),
            resumed: Cell::new(false),
            dirty: Cell::new(false),
            full: Cell::new(false),
            not_lines: Cell::new(false),
            #[cfg(feature = "rustls")]
            tls: Cell::new(TlsStage::Plain),
            write_closing: Cell::new(false),
            write_closed: Cell::new(false),
            peer_ended: Cell::new(false),
            flushes: Cell::new(S::BUFFERS),
            flushed: Cell::new(true),
            lingers: S::LINGERS,
            polling: Cell::new(false),
            high: Cell::new(HIGH_WATER),
            limit: Cell::new(WRITE_LIMIT),
            waker: RefCell::new(None),
            cold: RefCell::new(None),
            socket: RefCell::new(Some(stored(socket))),
        }
    }
}

impl TransportState {
    pub(super) fn cold(&self) -> RefMut<'_, Cold> {
        RefMut::map(self.cold.borrow_mut(), |cold| &mut **cold.get_or_insert_default())
    }

    /// Polls the connection soon.
    pub(super) fn touch(&self) {
        if !self.dirty.replace(true) && !self.polling.get() {
            // If no waker is stored, the connection was not polled yet and will be polled soon.
            let waker = self.waker.borrow().clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Ends the connection. Only the first reason counts.
    pub(super) fn end(&self, why: ConnectionLost) {
        if self.stage.get() < Stage::Over {
            self.cold().end.get_or_insert(why);
            self.begin_closing();
            self.touch();
        }
    }

    /// Enters the stage `Closing`, if the connection is open.
    pub(super) fn begin_closing(&self) {
        if self.stage.get() == Stage::Open {
            self.stage.set(Stage::Closing);
            self.touch();
            self.notify_consumers();
        }
    }

    /// Notes that the peer has ended its side.
    pub(super) fn note_peer_ended(&self) {
        self.peer_ended.set(true);
        self.notify_consumers();
    }

    /// Polls the connections that have waited for more data of this one.
    fn notify_consumers(&self) {
        let consumers = self.cold.borrow_mut().as_mut().map(|cold| mem::take(&mut cold.consumers));
        for consumer in consumers.into_iter().flatten().filter_map(|consumer| consumer.upgrade()) {
            consumer.touch();
        }
    }

    /// Returns the reason for which the connection has ended.
    pub(super) fn lost(&self) -> Option<ConnectionLost> {
        self.cold.borrow().as_ref()?.lost.clone()
    }

    #[inline]
    pub(super) fn take_end(&self) -> Option<ConnectionLost> {
        self.cold.borrow_mut().as_mut()?.end.take()
    }

    #[inline]
    pub(super) fn set_waker(&self, waker: &Waker) {
        let mut stored = self.waker.borrow_mut();
        if !stored.as_ref().is_some_and(|stored| stored.will_wake(waker)) {
            *stored = Some(waker.clone());
        }
    }

    pub(super) fn low(&self) -> usize {
        self.high.get() / 4
    }

    #[inline]
    pub(super) fn registered(&self) -> Option<Rc<Registered>> {
        self.cold.borrow().as_ref()?.producer.clone()
    }

    /// Returns `true` if the connection must end, all data is sent, and no producer is registered.
    #[inline]
    pub(super) fn can_finish(&self) -> bool {
        self.stage.get() >= Stage::Closing && self.all_is_sent()
    }

    /// Returns `true` if all data is sent, and no producer is registered.
    #[inline]
    pub(super) fn all_is_sent(&self) -> bool {
        self.is_flushed() && !self.has_producer()
    }

    /// Returns `true` unless TLS begins.
    pub(super) fn is_secure(&self) -> bool {
        #[cfg(feature = "rustls")]
        return matches!(self.tls.get(), TlsStage::Plain | TlsStage::Established);
        #[cfg(not(feature = "rustls"))]
        true
    }

    /// Returns `true` if all data that was written is sent.
    pub(super) fn is_flushed(&self) -> bool {
        self.outgoing.borrow().is_empty() && self.flushed.get()
    }

    /// Returns `true` if a producer is registered that may still write.
    fn has_producer(&self) -> bool {
        self.registered().is_some_and(|registered| registered.may_write())
    }

    /// Returns `true` if data that is written is sent.
    #[inline]
    pub(super) fn can_write(&self) -> bool {
        self.stage.get() < Stage::Finished
            && (!self.write_closing.get() || !self.write_closed.get() && self.has_producer())
    }

    /// Returns `true` if a transport of this connection, as a producer, has data to come.
    pub(super) fn may_read(&self) -> bool {
        self.stage.get() == Stage::Open && !self.peer_ended.get()
    }

    pub(super) fn close_timeout(&self) -> Duration {
        let default = if self.lingers { CLOSE_TIMEOUT } else { Duration::MAX };
        self.cold.borrow().as_ref().and_then(|cold| cold.close_timeout).unwrap_or(default)
    }

    /// Starts a timer that ends the connection after `timeout` for the reason of `why`.
    pub(super) fn set_close_timer(self: &Rc<Self>, timeout: Duration, why: impl FnOnce() -> ConnectionLost + 'static) {
        let state = self.clone();
        let timer = self.reactor.call_later(timeout, move || state.end(why()));
        if let Some(before) = self.cold().close_timer.replace(timer) {
            let _ = before.cancel();
        }
    }

    pub(super) fn cancel_close_timer(&self) {
        let timer = self.cold.borrow_mut().as_mut().and_then(|cold| cold.close_timer.take());
        if let Some(timer) = timer {
            let _ = timer.cancel(); // an error means that it has run
        }
    }

    pub(super) fn has_close_timer(&self) -> bool {
        self.cold.borrow().as_ref().is_some_and(|cold| cold.close_timer.is_some())
    }

    pub(super) fn start_idle_timer(self: &Rc<Self>, after: Duration) -> DelayedCall {
        let state = self.clone();
        self.reactor.call_later(after, move || {
            let now = state.reactor.now();
            let Some(mut idle) = state.cold().idle.take() else { return };
            // Time without reading does not count. An ending connection has a timeout of its own.
            if state.paused.get() || state.stage.get() > Stage::Open {
                idle.received_at = now;
            }
            let left = idle.timeout.saturating_sub(now.saturating_duration_since(idle.received_at));
            if left.is_zero() {
                return state.end(ConnectionLost::Idle(idle.timeout));
            }
            idle.timer = state.start_idle_timer(left);
            state.cold().idle = Some(idle);
        })
    }

    /// Restarts the idle timeout, because data has arrived.
    #[inline]
    pub(super) fn note_received(&self) {
        if let Some(Cold { idle: Some(idle), .. }) = self.cold.borrow_mut().as_deref_mut() {
            idle.received_at = self.reactor.now();
        }
    }

    /// Fires the Deferreds of `drained` and resumes the producer, if enough data was sent.
    #[inline]
    pub(super) fn notify_drained(&self) {
        if self.cold.borrow().is_none() && !self.full.get() {
            return;
        }
        let unsent = self.outgoing.borrow().len();
        if unsent > self.low() {
            return;
        }
        self.full.set(false);
        let drained = mem::take(&mut self.cold().drained);
        drained.into_iter().for_each(|resolver| resolver.callback(()));
        // Callbacks of those Deferreds may have written.
        let unsent = self.outgoing.borrow().len();
        if let Some(registered) = self.registered().filter(|_| unsent <= self.low()) {
            registered.resume(unsent == 0);
        }
    }

    pub(super) fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// Enters the stage `Over`. Returns the waiters that must be notified. The caller closes the
    /// socket.
    pub(super) fn close(&self, why: &ConnectionLost) -> Closed {
        self.stage.set(Stage::Over);
        self.notify_consumers();
        let cold = self.cold.take();
        self.cold().lost = Some(why.clone());
        let outgoing = self.outgoing.take();
        let waker = self.waker.take();
        drop((outgoing, waker)); // after the borrows
        Closed(cold)
    }
}

/// The producer, timers and Deferreds of a connection that has ended.
pub(super) struct Closed(Option<Box<Cold>>);

impl Closed {
    /// Cancels the timers and stops the producer, before `connection_lost` is called.
    pub(super) fn stop_producing(&mut self) {
        let Some(cold) = &mut self.0 else { return };
        let (idle, timeout) = (cold.idle.take().map(|idle| idle.timer), cold.timeout.take().map(|(_, timer)| timer));
        for timer in cold.close_timer.take().into_iter().chain(idle).chain(timeout) {
            let _ = timer.cancel(); // an error means that it has run
        }
        if let Some(registered) = cold.producer.take() {
            registered.stop();
        }
    }

    /// Fires the Deferreds, after `connection_lost` was called.
    pub(super) fn notify(self, why: &ConnectionLost) {
        let Some(cold) = self.0 else { return };
        #[cfg(feature = "rustls")]
        cold.secured.into_iter().for_each(|resolver| resolver.errback(why.clone()));
        cold.drained.into_iter().for_each(|resolver| resolver.errback(why.clone()));
        cold.closed.into_iter().for_each(|resolver| resolver.callback(why.clone()));
    }
}
