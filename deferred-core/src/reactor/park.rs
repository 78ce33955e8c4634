//! The driver for a bare thread: it parks while the reactor sleeps. Also the worked example of a
//! driver.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use deferred_core::park;
//!
//! park::run(|reactor| {
//!     let stopper = reactor.clone();
//!     reactor.call_later(Duration::from_millis(1), move || {
//!         println!("hello");
//!         stopper.stop();
//!     });
//! });
//! ```

use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use super::driver::{self, MainResult, NotRestartable};
use super::{Reactor, ReactorOwner, Turn};
use crate::deferred::{Deferred, IntoDeferred};
use crate::error::{DeferredError, Failure};

/// Makes a reactor, calls `main` with it, drives it on this thread until it is stopped, and closes
/// it. Returns what `main` returned: at once and without driving, if that is an error.
///
/// On Unix, Ctrl-C and `SIGTERM` stop the loop, as [`Reactor::stop_on_signals`] says: this is for
/// whole programs. One that embeds a reactor [drives](drive) it.
///
/// # Panics
///
/// If `main` does; the reactor is closed then. If a loop runs on this thread already, since its
/// Deferreds cannot fire before this one has ended.
pub fn run<R: MainResult>(main: impl FnOnce(&Reactor) -> R) -> R {
    driver::run(drive_owned, main)
}

/// Makes a reactor, calls `main` with it, drives it on this thread until the Deferred that `main`
/// returned has its result, closes it, and returns the result. Signals stop the loop, as with
/// [`run`].
///
/// # Errors
///
/// The Deferred's. If the reactor is stopped first, [`Abandoned`](crate::Abandoned) where the
/// closing did not bring another.
///
/// # Panics
///
/// As [`run`].
pub fn run_until<T: 'static, E: DeferredError>(main: impl FnOnce(&Reactor) -> Deferred<T, E>) -> Result<T, E> {
    driver::run_until(drive_owned, main)
}

/// Runs a program: calls `main` with a new reactor, drives that on this thread until what `main`
/// returned is done, and gives the program's exit code.
///
/// When `main` is done the loop is stopped, once, with its
/// [shutdown](crate::SystemEvent::Shutdown). The code is 0 if it succeeded, and if the loop was
/// stopped before it was done. It is 1 if it failed or panicked; the error is reported as
/// unhandled, also a [`Cancelled`](crate::Cancelled), about which the default is quiet otherwise.
///
/// On Unix, Ctrl-C and `SIGTERM` stop the loop too; `Reactor::stop_on_signals` says how. This is
/// the feature `signals`, which is on unless told otherwise.
///
/// Twisted's `task.react`. An adapter for an executor has its own.
///
/// # Examples
///
/// ```
/// use std::process::ExitCode;
/// use deferred_core::{Deferred, Failure, Reactor, park};
///
/// fn program(reactor: &Reactor) -> Deferred<u32> {
///     let (deferred, resolver) = Deferred::new();
///     reactor.call_when_running(move || resolver.callback(1));
///     deferred
/// }
///
/// fn main() -> ExitCode {
///     park::react(program)
/// }
/// ```
#[track_caller]
pub fn react<R: IntoDeferred<Failure>>(main: impl FnOnce(&Reactor) -> R) -> ExitCode {
    driver::react(drive_owned, main)
}

/// Drives until it is stopped, and closes.
fn drive_owned(reactor: ReactorOwner) {
    // Refused only where `main` has run it to its end itself.
    let _ = drive(&reactor);
}

/// Drives a reactor on this thread until it is stopped. Closing it is left to its owner.
///
/// # Errors
///
/// If its loop has ended already: a reactor runs once.
///
/// # Panics
///
/// Inside a turn of another reactor of this thread, whose Deferreds could not fire before this loop
/// has ended. Inside one of the same reactor it is a loop inside the loop, as a dialog has.
pub fn drive(reactor: &Reactor) -> Result<(), NotRestartable> {
    driver::refuse_inside_another(reactor);
    reactor.ensure_runnable()?;
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match reactor.turn(&waker) {
            Turn::Again => {}
            // A token left over by someone else's `unpark` ends the sleep early, and costs one
            // empty turn.
            Turn::Sleep(Some(due)) => thread::park_timeout(due.saturating_duration_since(Instant::now())),
            Turn::Sleep(None) => thread::park(),
            Turn::Stopped => return Ok(()),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
