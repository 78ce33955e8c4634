//! The driver: a future that turns the reactor, and sleeps on one timer of smol's.

use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context, Poll};
use std::time::Instant;

use deferred_core::driver::MainResult;
use deferred_core::{Deferred, DeferredError, Failure, IntoDeferred, Reactor, ReactorOwner, Turn, driver};
use smol::Timer;

/// Turns in one poll, before the executor is given a look at I/O and other tasks.
const TURNS: usize = 4;

/// Makes a reactor, calls `main` with it, drives it and smol's I/O on this thread until it is
/// stopped, and closes it. Returns what `main` returned: at once and without driving, if that is an
/// error. So a program whose port is taken ends with that.
///
/// On Unix, Ctrl-C and `SIGTERM` stop the loop, as [`Reactor::stop_on_signals`] says: this is for
/// whole programs. One that has an executor of its own has that poll [`drive`].
///
/// # Panics
///
/// If `main` does; the reactor is closed then. If a loop runs on this thread already, since its
/// Deferreds cannot fire before this one has ended.
///
/// # Examples
///
/// ```
/// use std::net::TcpListener;
/// use deferred_smol::Failure;
/// use deferred_smol::net::{Protocol, Transport, listen_tcp};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, data: &[u8]) -> Result<(), Failure> {
///         transport.write(data);
///         Ok(())
///     }
/// }
///
/// let taken = TcpListener::bind("127.0.0.1:0").unwrap();
/// // On a free port it would serve until Ctrl-C.
/// let refused = deferred_smol::run(|reactor| listen_tcp(reactor, taken.local_addr().unwrap(), |_| Echo));
/// assert!(refused.is_err());
/// ```
pub fn run<R: MainResult>(main: impl FnOnce(&Reactor) -> R) -> R {
    driver::run(drive_here, main)
}

/// Makes a reactor, calls `main` with it, drives it and smol's I/O on this thread until the
/// Deferred that `main` returned has its result, closes it, and returns the result. Signals stop
/// the loop, as with [`run`].
///
/// # Errors
///
/// The Deferred's. If the reactor is stopped first, [`Abandoned`](deferred_core::Abandoned) where
/// the closing did not bring another.
///
/// # Panics
///
/// As [`run`].
///
/// # Examples
///
/// ```
/// use std::thread;
///
/// let sum = deferred_smol::run_until(|reactor| {
///     let (deferred, resolver) = reactor.remote();
///     thread::spawn(move || resolver.callback(21));
///     deferred.add_callback(|half: u32| Ok(half * 2))
/// });
/// assert_eq!(sum.unwrap(), 42);
/// ```
pub fn run_until<T: 'static, E: DeferredError>(main: impl FnOnce(&Reactor) -> Deferred<T, E>) -> Result<T, E> {
    driver::run_until(drive_here, main)
}

/// Runs a program on smol: [`deferred_core::park::react`] with this driver.
///
/// # Examples
///
/// ```
/// use std::process::ExitCode;
/// use std::time::Duration;
/// use deferred_smol::{Deferred, react};
///
/// fn main() -> ExitCode {
///     react(|reactor| {
///         let (done, resolver) = Deferred::<()>::new();
///         reactor.call_later(Duration::from_millis(1), move || resolver.callback(()));
///         done
///     })
/// }
/// ```
#[track_caller]
pub fn react<R: IntoDeferred<Failure>>(main: impl FnOnce(&Reactor) -> R) -> ExitCode {
    driver::react(drive_here, main)
}

fn drive_here(reactor: ReactorOwner) {
    smol::block_on(drive(reactor));
}

/// A future that drives `reactor` until it is stopped, for a program that smol runs already: beside
/// other tasks on a [`LocalExecutor`](smol::LocalExecutor), or in [`smol::block_on`]. Nothing of
/// the reactor runs before it is polled.
///
/// When it is done, or dropped, the reactor is closed, also if it was never polled.
///
/// # Examples
///
/// ```
/// use deferred_smol::{Reactor, drive, smol};
///
/// let executor = smol::LocalExecutor::new();
/// let owner = Reactor::new();
/// let reactor = owner.clone();
/// let driver = executor.spawn(drive(owner));
/// smol::block_on(executor.run(async {
///     smol::future::yield_now().await; // any other work of the program
///     reactor.stop();
///     driver.await;
/// }));
/// ```
pub fn drive(reactor: ReactorOwner) -> Drive {
    Drive { reactor, timer: Timer::never(), armed: None }
}

/// Drives a reactor: made by [`drive`].
#[derive(Debug)]
#[must_use = "the reactor runs only while this is polled, and is closed when it is dropped"]
pub struct Drive {
    reactor: ReactorOwner,
    timer: Timer,
    /// What the timer is set to; never later than the reactor's next deadline.
    armed: Option<Instant>,
}

impl Future for Drive {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        for _ in 0..TURNS {
            match this.reactor.turn(context.waker()) {
                Turn::Again => {}
                Turn::Sleep(due) if this.rings(due, context) => {}
                Turn::Sleep(_) => return Poll::Pending,
                Turn::Stopped => {
                    this.reactor.close();
                    return Poll::Ready(());
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drive {
    /// Whether the timer has gone off; otherwise it wakes the task.
    ///
    /// Moving it costs more than an early wake-up, and the earliest timer is often a timeout that
    /// is soon cancelled. So it is moved only to an earlier time. If it goes off too early, the
    /// next turn finds nothing, and it is set anew.
    fn rings(&mut self, due: Option<Instant>, context: &mut Context<'_>) -> bool {
        if let Some(due) = due {
            if self.armed.is_none_or(|armed| due < armed) {
                self.timer.set_at(due);
                self.armed = Some(due);
            }
        }
        if self.armed.is_none() || Pin::new(&mut self.timer).poll(context).is_pending() {
            return false;
        }
        self.armed = None;
        true
    }
}
