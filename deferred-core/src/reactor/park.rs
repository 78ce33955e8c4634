//! The driver for a bare thread, which parks while the reactor sleeps. It is also the worked
//! example of a driver.
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

use super::driver::{self, MainResult, NotRestartable};
use super::{Reactor, ReactorOwner, Turn};
use crate::deferred::{Deferred, IntoDeferred};
use crate::error::{DeferredError, Failure};
use crate::instant::Instant;

/// Creates a reactor, calls `main` with it, drives it on this thread until it is stopped, and
/// closes it. Returns the value of `main`. If that is an error, returns it without driving.
///
/// On Unix, Ctrl-C and `SIGTERM` stop the loop as described at [`Reactor::stop_on_signals`], since
/// this is meant for whole programs. A program that embeds a reactor calls [`drive`] instead.
///
/// # Panics
///
/// Panics if `main` panics; the reactor is closed then. Panics if a loop already runs on this
/// thread, since the outer loop's Deferreds could not fire before the inner one has ended.
pub fn run<R: MainResult>(main: impl FnOnce(&Reactor) -> R) -> R {
    driver::run(drive_owned, main)
}

/// Creates a reactor, calls `main` with it, drives it on this thread until the Deferred that `main`
/// returned has its result, closes it, and returns the result. Signals stop the loop as with
/// [`run`].
///
/// # Errors
///
/// Returns the error of the Deferred. If the reactor is stopped first, that is
/// [`Abandoned`](crate::Abandoned), unless the closing of the reactor makes the Deferred fail with
/// another error.
///
/// # Panics
///
/// Panics like [`run`].
#[doc(alias = "block_on")]
pub fn run_until<T: 'static, E: DeferredError>(main: impl FnOnce(&Reactor) -> Deferred<T, E>) -> Result<T, E> {
    driver::run_until(drive_owned, main)
}

/// Runs a program: creates a reactor, calls `main` with it, drives it on this thread until the
/// result of `main` is ready, and returns the exit code of the program.
///
/// When the result is ready, the loop is stopped with its [shutdown](crate::SystemEvent::Shutdown).
/// The exit code is 0 if `main` succeeded, or if other code stopped the loop first and `main` then
/// has no result or failed only with [`Abandoned`](crate::Abandoned). Otherwise it is 1, and the
/// error is reported as unhandled, even a [`Cancelled`](crate::Cancelled), which is not reported
/// otherwise.
///
/// On Unix, Ctrl-C and `SIGTERM` stop the loop too, as described at `Reactor::stop_on_signals`.
/// This is the feature `signals`, which is enabled by default.
///
/// Twisted's `task.react`. Each adapter for an executor has its own `react`.
///
/// # Panics
///
/// Panics if a loop already runs on this thread.
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
#[doc(alias = "task.react")]
#[track_caller]
pub fn react<R: IntoDeferred<Failure>>(main: impl FnOnce(&Reactor) -> R) -> ExitCode {
    driver::react(drive_owned, main)
}

/// Drives a reactor until it is stopped, and closes it.
pub(crate) fn drive_owned(reactor: ReactorOwner) {
    // An error means that `main` has already run the loop to its end.
    let _ = drive(&reactor);
}

/// Drives a reactor on this thread until it is stopped. The owner closes it.
///
/// # Errors
///
/// Returns [`NotRestartable`] if the loop has ended: a reactor runs once.
///
/// # Panics
///
/// Panics inside a turn of another reactor of this thread, whose Deferreds could not fire before
/// this loop has ended. Inside a turn of the same reactor it runs a nested loop, like a modal
/// dialog.
pub fn drive(reactor: &Reactor) -> Result<(), NotRestartable> {
    driver::refuse_inside_another(reactor);
    reactor.ensure_runnable()?;
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match reactor.turn(&waker) {
            Turn::Again => {}
            // A token of an unrelated `unpark` ends the sleep early, which costs one empty turn.
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
