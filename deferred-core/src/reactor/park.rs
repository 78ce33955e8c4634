//! The driver for a bare thread: it parks while the reactor sleeps. Also the worked example of a driver.
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

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use super::driver::{self, NotRestartable};
use super::{Reactor, ReactorOwner, Turn};
use crate::deferred::Deferred;
use crate::error::Fault;

/// Makes a reactor, calls `main` with it, drives it on this thread until it is stopped, and closes it. Returns what
/// `main` returned.
///
/// # Panics
///
/// If `main` does; the reactor is closed then.
pub fn run<R>(main: impl FnOnce(&Reactor) -> R) -> R {
    driver::run(drive_owned, main)
}

/// Makes a reactor, calls `main` with it, drives it on this thread until the Deferred that `main` returned has its
/// result, closes it, and returns the result.
///
/// # Errors
///
/// The Deferred's. If the reactor is stopped first, [`Abandoned`](crate::Abandoned) where the closing did not bring
/// another.
///
/// # Panics
///
/// If `main` does; the reactor is closed then.
pub fn run_until<T: 'static, E: Fault>(main: impl FnOnce(&Reactor) -> Deferred<T, E>) -> Result<T, E> {
    driver::run_until(drive_owned, main)
}

/// Drives until it is stopped, and closes.
pub(super) fn drive_owned(reactor: ReactorOwner) {
    // Refused only where `main` has run it to its end itself.
    let _ = drive(&reactor);
}

/// Drives a reactor on this thread until it is stopped. Closing it is left to its owner.
///
/// # Errors
///
/// If its loop has ended already: a reactor runs once.
pub fn drive(reactor: &Reactor) -> Result<(), NotRestartable> {
    reactor.ensure_runnable()?;
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match reactor.turn(&waker) {
            Turn::Again => {}
            // A token left over by someone else's `unpark` ends the sleep early, and costs one empty turn.
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

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
