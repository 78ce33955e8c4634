//! `stay_connected`: a client that connects again when its connection is lost.

use std::cell::RefCell;
use std::fmt;
use std::mem;
use std::panic::Location;
use std::rc::Rc;

use deferred_core::{
    Backoff, CancelHandle, Cancelled, Deferred, Failure, IntoDeferred, Panicked, Reactor, Resolver, ShareError,
    maybe_deferred,
};

use super::Transport;
use super::waiters::push_waiter;

/// Connects with `connect`, and again whenever that fails or the connection is lost, with the
/// delays of `backoff` in between. After a successful connect the next delay is the first one
/// again.
///
/// `connect` creates a protocol for each connection. It may return later than the connect itself,
/// for example after a login; a connection counts from then on, and must be closed by `connect` if
/// that fails after it was made.
///
/// A lost connection counts as a failed attempt, so with a maximum of one attempt there is no
/// second connection. The attempts go on until [`stop`](ClientService::stop), until the reactor is
/// closed, or until the attempts of `backoff` are used up, if it has a maximum. A panic of `connect`
/// is a defect that another attempt would not mend: it ends the service, and is reported.
///
/// Twisted's `ClientService`, and its `ReconnectingClientFactory`.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
/// use deferred_mio::net::{connect_tcp, on_line, stay_connected};
/// use deferred_mio::{Backoff, run};
///
/// run(|reactor| {
///     let owner = reactor.clone();
///     let service = stay_connected(reactor, Backoff::new(Duration::from_millis(500)), move || {
///         let prints = on_line(|_, line| println!("{}", String::from_utf8_lossy(line)));
///         connect_tcp(&owner, "127.0.0.1:8000", Duration::from_secs(10), prints)
///     });
///     service.when_connected().add_callback(|transport| transport.send_line("hello"));
/// });
/// ```
///
/// Requests, each answered by a line. The connections and their callers share an `Rc`:
///
/// ```no_run
/// use std::cell::RefCell;
/// use std::collections::VecDeque;
/// use std::rc::Rc;
/// use std::time::Duration;
/// use deferred_mio::net::{ClientService, ConnectionLost, connect_tcp, on_line, stay_connected};
/// use deferred_mio::{Backoff, Deferred, Reactor, Resolver, react};
///
/// struct Client {
///     service: ClientService,
///     waiting: Rc<RefCell<VecDeque<Resolver<String>>>>,
/// }
///
/// impl Client {
///     fn new(reactor: &Reactor) -> Client {
///         let (waiting, owner) = (Rc::<RefCell<VecDeque<Resolver<String>>>>::default(), reactor.clone());
///         let shared = waiting.clone();
///         let service = stay_connected(reactor, Backoff::new(Duration::from_millis(500)), move || {
///             let (answers, lost) = (shared.clone(), shared.clone());
///             let protocol = on_line(move |_, line| {
///                 let first = answers.borrow_mut().pop_front();
///                 if let Some(resolver) = first {
///                     resolver.callback(String::from_utf8_lossy(line).into_owned());
///                 }
///             });
///             // The requests without an answer fail with the reason.
///             let protocol = protocol.on_lost(move |reason: &ConnectionLost| {
///                 lost.take().into_iter().for_each(|resolver| resolver.errback(reason.clone()));
///             });
///             connect_tcp(&owner, "127.0.0.1:8000", Duration::from_secs(10), protocol)
///         });
///         Client { service, waiting }
///     }
///
///     fn ask(&self, question: &'static str) -> Deferred<String> {
///         let waiting = self.waiting.clone();
///         self.service.when_connected().add_callback(move |transport| {
///             let (answer, resolver) = Deferred::new();
///             waiting.borrow_mut().push_back(resolver);
///             transport.send_line(question);
///             answer
///         })
///     }
/// }
///
/// react(|reactor| Client::new(reactor).ask("what time is it?").map(|answer| println!("{answer}")));
/// ```
///
/// In a test without sockets, `connect` returns Deferreds that the test fires:
///
/// ```
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use std::time::Duration;
/// use deferred_mio::net::testing::StringTransport;
/// use deferred_mio::net::{Transport, on_line, stay_connected};
/// use deferred_mio::testing::checked;
/// use deferred_mio::{Backoff, Deferred, Resolver};
///
/// checked(|clock| {
///     let connects = Rc::<RefCell<Vec<Resolver<Transport>>>>::default();
///     let shared = connects.clone();
///     let service = stay_connected(clock, Backoff::new(Duration::from_secs(1)).jitter(0.0), move || {
///         let (connected, resolver) = Deferred::new();
///         shared.borrow_mut().push(resolver);
///         connected
///     });
///     let accept = || {
///         let resolver = connects.borrow_mut().pop().expect("it connects");
///         let peer = StringTransport::connect(clock, on_line(|_, _| ()));
///         resolver.callback((*peer).clone());
///         peer
///     };
///     accept().reset();
///     clock.advance(Duration::from_secs(1));
///     let peer = accept();
///     assert!(service.when_connected().is_ready());
///     drop(service.stop());
///     peer.end();
/// });
/// ```
#[doc(alias = "ClientService")]
#[doc(alias = "ReconnectingClientFactory")]
#[doc(alias = "PersistentClientService")]
#[doc(alias = "backoffPolicy")]
#[track_caller]
pub fn stay_connected<R: IntoDeferred<Failure, Value = Transport>>(
    reactor: &Reactor,
    mut backoff: Backoff,
    mut connect: impl FnMut() -> R + 'static,
) -> ClientService {
    let state = Rc::new(RefCell::new(State::default()));
    let (ends, owner) = (EndOnDrop(state.clone()), reactor.clone());
    let mut runs = reactor.ensure_deferred_at(Location::caller(), async move {
        let failure = keep_connected(&owner, &ends.0, &mut backoff, &mut connect).await;
        let is_defect = failure.check::<Panicked>();
        let end = failure.into_shared();
        ends.0.borrow_mut().end = Some(end.clone());
        drop(ends);
        if is_defect { Err(Failure::from_shared(&end)) } else { Ok(()) }
    });
    if !runs.is_ready() {
        state.borrow_mut().running = Some(runs.cancel_handle());
    }
    // It succeeds, or is reported as unhandled.
    drop(runs);
    ClientService { state }
}

/// Connects until the service is stopped, the attempts are used up, or the reactor is closed.
/// Returns the error of the waiters.
async fn keep_connected<R: IntoDeferred<Failure, Value = Transport>>(
    reactor: &Reactor,
    state: &RefCell<State>,
    backoff: &mut Backoff,
    connect: &mut impl FnMut() -> R,
) -> Failure {
    loop {
        let failure = match maybe_deferred(&mut *connect).await {
            Ok(transport) => {
                backoff.reset();
                connected(state, &transport);
                let lost = transport.closed().await;
                state.borrow_mut().transport = None;
                lost.map_or_else(|failure| failure, Failure::from)
            }
            Err(failure) => failure,
        };
        if state.borrow().is_stopped {
            return Cancelled::because("the client was stopped").into();
        }
        if failure.check::<Panicked>() {
            return failure;
        }
        let failure = failed(state, failure);
        let Some(delay) = backoff.next_delay() else { return failure };
        let waited = reactor.sleep(delay).await;
        if state.borrow().is_stopped {
            return Cancelled::because("the client was stopped").into();
        }
        if let Err(failure) = waited {
            return failure;
        }
    }
}

/// Notifies the waiters of a connection.
fn connected(state: &RefCell<State>, transport: &Transport) {
    let mut borrowed = state.borrow_mut();
    if borrowed.is_stopped {
        return transport.lose_connection();
    }
    borrowed.transport = Some(transport.clone());
    let last = borrowed.last.take();
    let waiting = mem::take(&mut borrowed.waiting);
    drop(borrowed);
    drop(last); // after the borrow
    waiting.into_iter().for_each(|waiter| waiter.resolver.callback(transport.clone()));
}

/// Notifies the waiters that wait for no further attempt. Returns the error.
fn failed(state: &RefCell<State>, failure: Failure) -> Failure {
    let shared = failure.into_shared();
    let mut borrowed = state.borrow_mut();
    borrowed.last = Some(shared.clone());
    for waiter in &mut borrowed.waiting {
        waiter.failures = waiter.failures.map(|left| left - 1);
    }
    let (ended, waiting) = mem::take(&mut borrowed.waiting).into_iter().partition(|waiter| waiter.failures == Some(0));
    borrowed.waiting = waiting;
    drop(borrowed);
    let ended: Vec<_> = ended;
    ended.into_iter().for_each(|waiter| waiter.resolver.errback(Failure::from_shared(&shared)));
    Failure::from_shared(&shared)
}

/// A client that stays connected: the result of [`stay_connected`]. Clones refer to the same one.
/// Dropping them has no effect.
#[derive(Clone)]
pub struct ClientService {
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    transport: Option<Transport>,
    waiting: Vec<Waiter>,
    is_stopped: bool,
    /// Whether no further attempt will be made.
    has_ended: bool,
    stopping: Vec<Resolver<()>>,
    /// Cancels the current attempt or delay.
    running: Option<CancelHandle>,
    /// The last error.
    last: Option<SharedError>,
    /// The error of the waiters, after the end. `None` if the reactor was closed.
    end: Option<SharedError>,
}

type SharedError = <Failure as ShareError>::Shared;

impl State {
    /// Returns the connection, unless it is lost already.
    fn connection(&self) -> Option<Transport> {
        self.transport.clone().filter(|transport| transport.lost().is_none())
    }
}

struct Waiter {
    resolver: Resolver<Transport>,
    /// The number of failed attempts after which it is notified.
    failures: Option<u32>,
}

impl ClientService {
    /// Returns the connection, if there is one.
    #[must_use]
    pub fn transport(&self) -> Option<Transport> {
        self.state.borrow().connection()
    }

    /// Returns the error of the last attempt, or the reason for which the last connection was lost.
    /// `None` while there is a connection.
    #[must_use]
    pub fn last_failure(&self) -> Option<Failure> {
        self.state.borrow().last.as_ref().map(Failure::from_shared)
    }

    /// Returns a Deferred that is ready if there is a connection, and otherwise fires with the next
    /// one.
    ///
    /// Twisted's `whenConnected`.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with [`Cancelled`] if the service is stopped, or with the error
    /// of the last attempt if no other follows.
    ///
    /// # Cancellation
    ///
    /// A cancel ends only the wait.
    #[doc(alias = "whenConnected")]
    #[must_use = "the Deferred only waits; the call has no other effect"]
    pub fn when_connected(&self) -> Deferred<Transport> {
        self.wait(None)
    }

    /// Like [`when_connected`](Self::when_connected), but fails after `failures` attempts from now
    /// that failed, with the error of the last. The attempts go on. Losing a connection counts as
    /// one.
    ///
    /// Twisted's `whenConnected(failAfterFailures)`.
    ///
    /// # Errors
    ///
    /// Like [`when_connected`](Self::when_connected), besides.
    ///
    /// # Cancellation
    ///
    /// A cancel ends only the wait.
    #[must_use = "the Deferred only waits; the call has no other effect"]
    pub fn when_connected_within(&self, failures: u32) -> Deferred<Transport> {
        self.wait(Some(failures.max(1)))
    }

    fn wait(&self, failures: Option<u32>) -> Deferred<Transport> {
        let mut state = self.state.borrow_mut();
        if state.has_ended {
            return match &state.end {
                Some(end) => Deferred::fail(Failure::from_shared(end)),
                None => Deferred::new().0, // as for those who waited when the reactor was closed
            };
        }
        if let Some(transport) = state.connection() {
            return Deferred::succeed(transport);
        }
        let (deferred, resolver) = Deferred::new();
        if state.waiting.len() == state.waiting.capacity() {
            state.waiting.retain(|waiter| !waiter.resolver.is_cancelled());
        }
        state.waiting.push(Waiter { resolver, failures });
        deferred
    }

    /// Stops: cancels a running attempt, or [loses](Transport::lose_connection) the connection
    /// after its buffered data is sent. Connects no more. The returned Deferred fires when the
    /// connection has ended. A further call does the same, and stops nothing.
    ///
    /// Twisted's `stopService`.
    ///
    /// # Cancellation
    ///
    /// A cancel ends only the wait.
    #[doc(alias = "stopService")]
    #[doc(alias = "stopTrying")]
    pub fn stop(&self) -> Deferred<()> {
        let mut state = self.state.borrow_mut();
        if state.has_ended {
            return Deferred::succeed(());
        }
        let (deferred, resolver) = Deferred::new();
        push_waiter(&mut state.stopping, resolver);
        let (transport, running) = (state.transport.clone(), state.running.take());
        let is_first = !mem::replace(&mut state.is_stopped, true);
        drop(state);
        if is_first {
            match (transport, running) {
                (Some(transport), _) => transport.lose_connection(),
                (None, Some(running)) => running.cancel(),
                (None, None) => {}
            }
        }
        deferred
    }
}

impl fmt::Debug for ClientService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        f.debug_struct("ClientService")
            .field("transport", &state.transport)
            .field("is_stopped", &state.is_stopped)
            .finish_non_exhaustive()
    }
}

/// Notifies those who wait at the end of the coroutine, also if the reactor has dropped it.
struct EndOnDrop(Rc<RefCell<State>>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        let mut state = self.0.borrow_mut();
        state.has_ended = true;
        state.transport = None;
        let (waiting, stopping) = (mem::take(&mut state.waiting), mem::take(&mut state.stopping));
        let end = state.end.clone();
        drop(state);
        // Without an error the reactor was closed: the drop of a resolver fires `Abandoned`.
        if let Some(end) = end {
            waiting.into_iter().for_each(|waiter| waiter.resolver.errback(Failure::from_shared(&end)));
        }
        stopping.into_iter().for_each(|resolver| resolver.callback(()));
    }
}
