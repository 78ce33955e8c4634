//! What an adapter for an event loop is made of: how to write one, and its three front doors.
//!
//! A driver waits, so that the [`Reactor`] need not. It calls [`Reactor::turn`] until that says
//! [`Turn::Stopped`], and sleeps in between as it is told. It gives each turn the
//! [`Waker`](std::task::Waker) that ends its sleep: the reactor wakes it for whatever another
//! thread posts, and for what its own thread changes between two turns.
//!
//! # What it must do
//!
//! 1. Turn on the thread that made the reactor. (It does not compile elsewhere.)
//! 2. After [`Turn::Again`], look after its own I/O without waiting, and turn again.
//! 3. After [`Turn::Sleep`], turn again when the waker was woken, and at the deadline if there is
//!    one. Earlier costs an empty turn and does no harm; later makes timers late.
//! 4. After [`Turn::Stopped`], close the reactor: drop its [`ReactorOwner`], or call
//!    [`Reactor::close`].
//!
//! # A whole driver
//!
//! For a loop that can block with a timeout and be woken from any thread, here a channel:
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
//!         let _ = self.0.try_send(()); // full: it is woken already
//!     }
//! }
//!
//! /// Until the reactor is stopped.
//! fn drive(reactor: ReactorOwner) {
//!     let (bell, woken) = mpsc::sync_channel(1);
//!     let waker = Waker::from(Arc::new(Ring(bell)));
//!     loop {
//!         match reactor.turn(&waker) {
//!             Turn::Again => {} // look after I/O without waiting
//!             Turn::Sleep(Some(due)) => drop(woken.recv_timeout(due.saturating_duration_since(Instant::now()))),
//!             Turn::Sleep(None) => drop(woken.recv()),
//!             Turn::Stopped => return, // the owner is dropped
//!         }
//!     }
//! }
//!
//! /// The adapter's front door.
//! fn run_until<T: 'static>(main: impl FnOnce(&Reactor) -> Deferred<T>) -> Result<T, Failure> {
//!     driver::run_until(drive, main)
//! }
//!
//! let answer = run_until(|reactor| reactor.sleep(Duration::from_millis(1)).map(|()| 42));
//! assert_eq!(answer.unwrap(), 42);
//! ```
//!
//! A driver that is a future gives the turn the waker that it was polled with, and is pending where
//! this one sleeps; `deferred-smol` is one. [`park`](super::park) is one that blocks.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use super::{Life, Reactor, ReactorOwner};
#[cfg(doc)]
use super::{Turn, park};
use crate::deferred::{Deferred, IntoDeferred, maybe_deferred};
use crate::engine::ready_queue;
use crate::error::{DeferredError, Failure};

/// Makes a reactor, calls `main` with it, and has `drive` drive it until it is stopped. Returns
/// what `main` returned: at once and without driving, if that is an error.
///
/// On Unix, Ctrl-C and `SIGTERM` stop the loop, as [`Reactor::stop_on_signals`] says: this is for
/// whole programs.
///
/// # Panics
///
/// If `main` does; the reactor is closed then. If a loop runs on this thread already, since its
/// Deferreds cannot fire before this one has ended.
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

fn new_for_a_program() -> ReactorOwner {
    let reactor = Reactor::new();
    // Where that cannot be, a signal ends the program as it would have without.
    #[cfg(feature = "signals")]
    let _ = reactor.stop_on_signals();
    reactor
}

/// A loop that runs on this thread, and no other one inside it.
struct OnlyLoop(());

thread_local! {
    static RUNS: Cell<bool> = const { Cell::new(false) };
}

const INSIDE: &str = "a loop was to be run inside another one of the same thread, whose Deferreds could not fire before \
                      this one has ended: return the Deferred or await it, or run this loop on a thread of its own";

/// For a driver that blocks its thread.
///
/// # Panics
///
/// In a turn of another reactor.
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

/// What the `main` of [`run`] may return: `()`, or a [`Result`], whose error ends the program
/// before the loop begins.
///
/// Any other value stands in an `Ok`. For a Deferred that the loop is to run for, there is
/// [`run_until`].
#[diagnostic::on_unimplemented(
    message = "`run` does not know whether `{Self}` is a failure",
    label = "return `()` or a `Result`",
    note = "to run the loop until a `Deferred` has its result, use `run_until` or `react`",
    note = "to return another value, wrap it in `Ok(..)`"
)]
pub trait MainResult {
    /// Whether it is an error, so that there is nothing to run the loop for.
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

/// Makes a reactor, calls `main` with it, and has `drive` drive it until the Deferred that `main`
/// returned has its result, which it returns. Signals, as for [`run`].
///
/// # Errors
///
/// The Deferred's. If the reactor is stopped first, [`Abandoned`](crate::Abandoned) where the
/// closing did not bring another.
///
/// # Panics
///
/// As [`run`].
pub fn run_until<T: 'static, E: DeferredError>(
    drive: impl FnOnce(ReactorOwner),
    main: impl FnOnce(&Reactor) -> Deferred<T, E>,
) -> Result<T, E> {
    run_any(drive, |reactor| reactor.stop_after(main(reactor)), |_| false).take()
}

/// Runs a program: makes a reactor, calls `main` with it, has `drive` drive it until what `main`
/// returned is done, and gives the exit code. What [`park::react`] says holds here.
#[track_caller]
pub fn react<R: IntoDeferred<Failure>>(drive: impl FnOnce(ReactorOwner), main: impl FnOnce(&Reactor) -> R) -> ExitCode {
    // Not through `run`: a closure would not know the place of the caller.
    let _only = OnlyLoop::begin();
    let reactor = new_for_a_program();
    let entered = reactor.enter();
    let outcome = reactor.stop_after(maybe_deferred(|| main(&reactor)));
    drop(entered);
    drive(reactor);
    outcome.exit_code()
}

impl Reactor {
    /// What a driver asks that is lent a reactor, before its first turn: whether the loop can still
    /// be run.
    ///
    /// # Errors
    ///
    /// If it has ended.
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

/// A reactor was to be run whose loop has ended.
///
/// Twisted's `ReactorNotRestartable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRestartable(());

impl fmt::Display for NotRestartable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the loop of this reactor has ended, and a reactor runs once only: make a new one")
    }
}

impl Error for NotRestartable {}
