//! `ReactorHandle`: posts calls to a reactor from any thread.

use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::thread;

use super::Reactor;
use super::inbox::{Call, Inbox};
use super::undriven::{self, Waits};
use crate::context::Context;
use crate::deferred::{Deferred, IntoDeferred};
use crate::error::{CallSite, Failure};

/// A handle with which any thread posts calls to a [`Reactor`]. [`Reactor::handle`] creates it.
///
/// # Examples
///
/// ```
/// use std::thread;
/// use deferred_core::park;
///
/// park::run(|reactor| {
///     let handle = reactor.handle();
///     thread::spawn(move || {
///         let stopper = handle.clone();
///         handle.call_from_thread(move || stopper.stop()).expect("the loop runs");
///     });
/// });
/// ```
#[derive(Clone)]
pub struct ReactorHandle {
    inbox: Arc<Inbox>,
}

impl ReactorHandle {
    pub(super) fn new(inbox: Arc<Inbox>) -> Self {
        ReactorHandle { inbox }
    }

    /// Runs `call` on the reactor's thread, in a turn, and returns at once. It can be called on any
    /// thread, and never runs `call` inside this call, not even on the reactor's own thread. Calls
    /// of one thread run in the order in which they were posted.
    ///
    /// If `call` returns an error or panics, that is reported as unhandled, with the location of
    /// this line.
    ///
    /// Twisted's `callFromThread`.
    ///
    /// # Errors
    ///
    /// Returns [`Closed`] with `call` if the reactor is closed. A call that was posted before the
    /// closing and has not run is dropped by the closing, on the reactor's thread.
    #[doc(alias = "callFromThread")]
    #[track_caller]
    pub fn call_from_thread<F, R>(&self, call: F) -> Result<(), Closed<F>>
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoDeferred<Failure>,
    {
        let plain = Plain { call, context: Context::current() };
        self.post_boxed(Box::new(plain), Location::caller()).map_err(|plain| Closed(plain.call))
    }

    /// Like [`call_from_thread`](Self::call_from_thread), but passes the reactor to `call`. Unlike
    /// [`Reactor::current`], that is this reactor even if an earlier call has
    /// [entered](Reactor::enter) another one and kept the guard.
    ///
    /// # Errors
    ///
    /// Returns [`Closed`] with `call` if the reactor is closed.
    #[track_caller]
    pub fn call_from_thread_with<F, R>(&self, call: F) -> Result<(), Closed<F>>
    where
        F: FnOnce(&Reactor) -> R + Send + 'static,
        R: IntoDeferred<Failure>,
    {
        self.post_with_reactor(call, Location::caller())
    }

    pub(crate) fn post_with_reactor<F, R>(&self, call: F, at: CallSite) -> Result<(), Closed<F>>
    where
        F: FnOnce(&Reactor) -> R + Send + 'static,
        R: IntoDeferred<Failure>,
    {
        let posted = WithReactor { call, context: Context::current() };
        self.post_boxed(Box::new(posted), at).map_err(|posted| Closed(posted.call))
    }

    /// Returns `true` on the reactor's own thread.
    pub(crate) fn is_on_its_thread(&self) -> bool {
        self.inbox.thread() == thread::current().id()
    }

    /// Stops the loop like [`Reactor::stop`], after the calls that were posted before. Does nothing
    /// if the loop has ended.
    pub fn stop(&self) {
        // An error means that the reactor is closed, so there is nothing to stop.
        let _ = self.post(Stop, Location::caller());
    }

    /// Posts a call with the location that made it. Drops the call if the reactor is closed.
    pub(crate) fn post(&self, call: impl Call + 'static, at: CallSite) -> Result<(), Closed<()>> {
        self.post_boxed(Box::new(call), at).map_err(|_| Closed(()))
    }

    fn post_boxed<C: Call + 'static>(&self, call: Box<C>, at: CallSite) -> Result<(), Box<C>> {
        self.inbox.post(call, at)?;
        if self.inbox.undriven().is_possible() && !self.is_on_its_thread() {
            self.report_undriven_later(at);
        }
        Ok(())
    }

    /// Called if something waits for a post, made at `at`, so that a loop must run.
    pub(crate) fn report_undriven_later(&self, at: CallSite) {
        if self.inbox.undriven().is_possible() {
            undriven::report_later(&self.inbox, Waits::Posted, at);
        }
    }

    #[cfg(all(unix, feature = "signals"))]
    pub(super) fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }
}

impl fmt::Debug for ReactorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReactorHandle").finish_non_exhaustive()
    }
}

struct Plain<F> {
    call: F,
    context: Context,
}

impl<F, R> Call for Plain<F>
where
    F: FnOnce() -> R + Send,
    R: IntoDeferred<Failure>,
{
    fn call(self: Box<Self>, _: &Reactor, at: CallSite) -> Deferred<()> {
        let Plain { call, context } = *self;
        context.run(|| call().into_deferred().without_value(at))
    }
}

struct WithReactor<F> {
    call: F,
    context: Context,
}

impl<F, R> Call for WithReactor<F>
where
    F: FnOnce(&Reactor) -> R + Send,
    R: IntoDeferred<Failure>,
{
    fn call(self: Box<Self>, reactor: &Reactor, at: CallSite) -> Deferred<()> {
        let WithReactor { call, context } = *self;
        context.run(|| call(reactor).into_deferred().without_value(at))
    }
}

pub(super) struct Stop;

impl Call for Stop {
    fn call(self: Box<Self>, reactor: &Reactor, _: CallSite) -> Deferred<()> {
        reactor.stop();
        Deferred::succeed(())
    }
}

/// The error of a call that was posted to a closed reactor. It holds the call.
///
/// # Examples
///
/// ```
/// use deferred_core::Reactor;
///
/// let reactor = Reactor::new();
/// let handle = reactor.handle();
/// reactor.close();
/// let refused = handle.call_from_thread(|| println!("called directly")).unwrap_err();
/// refused.into_inner()();
/// ```
pub struct Closed<F>(F);

impl<F> Closed<F> {
    /// Returns the call.
    #[must_use]
    pub fn into_inner(self) -> F {
        self.0
    }
}

impl<F> fmt::Debug for Closed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closed").finish_non_exhaustive()
    }
}

impl<F> fmt::Display for Closed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reactor is closed: its loop has ended, and the call was not accepted")
    }
}

impl<F> Error for Closed<F> {}
