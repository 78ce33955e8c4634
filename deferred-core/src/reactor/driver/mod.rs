//! The parts of an adapter for an event loop: how to write a driver, and the three functions that
//! run a program with it.
//!
//! A driver does the waiting for a [`Reactor`]. It calls [`Reactor::turn`] until that returns
//! [`Turn::Stopped`], and sleeps in between as the returned [`Turn`] requires. It passes each turn
//! the [`Waker`](std::task::Waker) that ends its sleep. The reactor calls this waker when another
//! thread posts a call, and when its own thread changes something between two turns.
//!
//! # What a driver must do
//!
//! 1. Call `turn` on the thread that created the reactor. (A call on another thread does not
//!    compile.)
//! 2. After [`Turn::Again`], handle its own I/O without waiting, and turn again.
//! 3. After [`Turn::Sleep`], turn again when the waker is called, and at the deadline if there is
//!    one. An earlier turn costs little and does no harm; a later one makes timers late.
//! 4. After [`Turn::Stopped`], close the reactor: drop its [`ReactorOwner`], or call
//!    [`Reactor::close`].
//!
//! # A complete driver
//!
//! This one is for a loop that can block with a timeout and that any thread can wake, here by a
//! channel:
//!
//! ```
//! use std::sync::{Arc, mpsc};
//! use std::task::{Wake, Waker};
//! use std::time::{Duration, Instant};
//!
//! use deferred_core::{Deferred, Failure, Reactor, ReactorOwner, Turn, driver};
//!
//! struct Ring(mpsc::SyncSender<()>);
//!
//! impl Wake for Ring {
//!     fn wake(self: Arc<Self>) {
//!         let _ = self.0.try_send(()); // full: the driver is already woken
//!     }
//! }
//!
//! /// Runs until the reactor is stopped.
//! fn drive(reactor: ReactorOwner) {
//!     let (bell, woken) = mpsc::sync_channel(1);
//!     let waker = Waker::from(Arc::new(Ring(bell)));
//!     loop {
//!         match reactor.turn(&waker) {
//!             Turn::Again => {} // handle I/O without waiting
//!             Turn::Sleep(Some(due)) => drop(woken.recv_timeout(due.saturating_duration_since(Instant::now()))),
//!             Turn::Sleep(None) => drop(woken.recv()),
//!             Turn::Stopped => return, // the owner is dropped
//!         }
//!     }
//! }
//!
//! /// The function that users of the adapter call.
//! fn run_until<T: 'static>(main: impl FnOnce(&Reactor) -> Deferred<T>) -> Result<T, Failure> {
//!     driver::run_until(drive, main)
//! }
//!
//! let answer = run_until(|reactor| reactor.sleep(Duration::from_millis(1)).map(|()| 42));
//! assert_eq!(answer.unwrap(), 42);
//! ```
//!
//! A driver that is a future passes the turn the waker of its own poll, and returns `Pending` when
//! this one sleeps. [`drive_with`] is that driver for every executor that has timers; deferred-smol
//! and deferred-tokio use it. [`park`](super::park) is one that blocks its thread.
//!
//! [`DriverTest`](crate::testing::driver::DriverTest) tests a driver.

mod drive_with;

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::process::ExitCode;

pub use drive_with::{DriveWith, YieldNow, drive_with, drive_yielding};

use super::{Life, Reactor, ReactorOwner};
#[cfg(doc)]
use super::{Turn, park};
use crate::deferred::{Deferred, IntoDeferred, maybe_deferred};
use crate::engine::ready_queue;
use crate::error::{DeferredError, Failure};

/// Creates a reactor, calls `main` with it, and runs `drive` until the reactor is stopped. Returns
/// the value of `main`. If that is an error, returns it without driving.
///
/// On Unix, Ctrl-C and `SIGTERM` stop the loop as described at [`Reactor::stop_on_signals`], since
/// this is meant for whole programs.
///
/// # Panics
///
/// Panics if `main` panics; the reactor is closed then. Panics if a loop already runs on this
/// thread, since the outer loop's Deferreds could not fire before the inner one has ended.
pub fn run<R: MainResult>(drive: impl FnOnce(ReactorOwner), main: impl FnOnce(&Reactor) -> R) -> R {
    run_any(drive, main, R::has_failed)
}

fn run_any<R>(
    drive: impl FnOnce(ReactorOwner),
    main: impl FnOnce(&Reactor) -> R,
    has_failed: impl FnOnce(&R) -> bool,
) -> R {
    let _only = OnlyLoop::begin();
    let reactor = new_for_a_program();
    let entered = reactor.enter();
    let value = main(&reactor);
    drop(entered);
    if !has_failed(&value) {
        drive(reactor);
    }
    value
}

/// Runs `f` with a new reactor while this thread refuses another loop.
pub(crate) fn run_on_new_thread<R>(f: impl FnOnce(ReactorOwner) -> R) -> R {
    let _only = OnlyLoop::begin();
    let reactor = Reactor::new();
    reactor.core.inbox.undriven().expect_driver();
    f(reactor)
}

fn new_for_a_program() -> ReactorOwner {
    let reactor = Reactor::new();
    reactor.core.inbox.undriven().expect_driver();
    // Without it, a signal ends the program as usual.
    #[cfg(feature = "signals")]
    if LISTENS.get() {
        let _ = reactor.stop_on_signals();
    }
    reactor
}

/// Runs `f`, in which [`run`], [`run_until`], [`react`] and those of the adapters do not handle
/// Ctrl-C and `SIGTERM`. This is for a program that handles them itself, and runs a loop now and
/// then.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use deferred_core::{driver, park};
///
/// driver::without_signals(|| park::run_until(|reactor| reactor.sleep(Duration::from_millis(1)))).unwrap();
/// ```
pub fn without_signals<R>(f: impl FnOnce() -> R) -> R {
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            LISTENS.set(self.0);
        }
    }
    let _reset = Reset(LISTENS.replace(false));
    f()
}

/// A guard while which this thread runs a program's loop, and refuses another one.
struct OnlyLoop(());

thread_local! {
    static RUNS: Cell<bool> = const { Cell::new(false) };
    /// Whether new loops of programs handle signals.
    static LISTENS: Cell<bool> = const { Cell::new(true) };
}

const INSIDE: &str = "a loop was started inside another loop of the same thread, whose Deferreds could not fire before \
                      this one has ended: return the Deferred or await it, or run this loop on a thread of its own";

/// Refuses to drive `reactor` inside a turn of another reactor. For drivers that block their
/// thread.
///
/// # Panics
///
/// Panics inside a turn of another reactor.
pub(super) fn refuse_inside_another(reactor: &Reactor) {
    assert!(!ready_queue::is_in_turn() || reactor.is_current(), "{INSIDE}");
}

impl OnlyLoop {
    fn begin() -> OnlyLoop {
        assert!(!RUNS.get() && !ready_queue::is_in_turn(), "{INSIDE}");
        RUNS.set(true);
        OnlyLoop(())
    }
}

impl Drop for OnlyLoop {
    fn drop(&mut self) {
        RUNS.set(false);
    }
}

/// The return type of the `main` of [`run`]: `()`, or a [`Result`], whose error ends the program
/// before the loop begins.
///
/// Wrap any other value in `Ok`. Use [`run_until`] to run the loop until a Deferred has its result.
#[diagnostic::on_unimplemented(
    message = "`run` does not know whether `{Self}` is a failure",
    label = "return `()` or a `Result`",
    note = "to run the loop until a `Deferred` has its result, use `run_until` or `react`",
    note = "to return another value, wrap it in `Ok(..)`"
)]
pub trait MainResult {
    /// Returns `true` for an error, so that the loop does not run.
    fn has_failed(&self) -> bool;
}

impl MainResult for () {
    fn has_failed(&self) -> bool {
        false
    }
}

impl<T, E> MainResult for Result<T, E> {
    fn has_failed(&self) -> bool {
        self.is_err()
    }
}

/// Creates a reactor, calls `main` with it, and runs `drive` until the Deferred that `main`
/// returned has its result. Returns that result. Signals stop the loop as with [`run`].
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
pub fn run_until<T: 'static, E: DeferredError>(
    drive: impl FnOnce(ReactorOwner),
    main: impl FnOnce(&Reactor) -> Deferred<T, E>,
) -> Result<T, E> {
    run_any(drive, |reactor| reactor.stop_after(main(reactor)), |_| false).take()
}

/// Runs a program: creates a reactor, calls `main` with it, runs `drive` until the result of `main`
/// is ready, and returns the exit code. See [`park::react`] for the details.
///
/// # Panics
///
/// Panics if a loop already runs on this thread.
#[track_caller]
pub fn react<R: IntoDeferred<Failure>>(drive: impl FnOnce(ReactorOwner), main: impl FnOnce(&Reactor) -> R) -> ExitCode {
    // Not through `run`, whose closures do not know the location of the caller.
    let _only = OnlyLoop::begin();
    let reactor = new_for_a_program();
    let entered = reactor.enter();
    let outcome = reactor.stop_after(maybe_deferred(|| main(&reactor)));
    drop(entered);
    drive(reactor);
    outcome.exit_code()
}

impl Reactor {
    /// Checks that the loop of this reactor can still run. A driver that borrows a reactor calls
    /// this before the first turn.
    ///
    /// # Errors
    ///
    /// Returns [`NotRestartable`] if the loop has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::{Reactor, park};
    ///
    /// let reactor = Reactor::new();
    /// reactor.stop();
    /// park::drive(&reactor).unwrap();
    /// let refused = park::drive(&reactor).unwrap_err();
    /// assert!(refused.to_string().contains("make a new one"));
    /// ```
    pub fn ensure_runnable(&self) -> Result<(), NotRestartable> {
        if self.core.life.get() >= Life::Ending { Err(NotRestartable(())) } else { Ok(()) }
    }
}

/// The error of running a reactor whose loop has ended.
///
/// Twisted's `ReactorNotRestartable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRestartable(());

impl fmt::Display for NotRestartable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this reactor has already run, and a reactor runs once: make a new one with `Reactor::new`")
    }
}

impl Error for NotRestartable {}
