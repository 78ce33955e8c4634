//! The driver: a future that turns the reactor, and sleeps on one timer of smol.

use std::fmt;
use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::Location;
use std::process::ExitCode;

use deferred_core::driver::MainResult;
use deferred_core::{
    Deferred, DeferredError, Failure, IntoDeferred, Reactor, ReactorOwner, ReactorThread, RemoteFuture, driver,
};
use smol::Timer;

use crate::net;

/// Creates a reactor, calls `main` with it, drives it and smol's I/O on this thread until it is
/// stopped, and closes it. Returns the value of `main`. If that is an error, returns it without
/// driving: a program whose port is in use ends with that error. See [`driver::run`] for the
/// details.
///
/// A program with an executor of its own polls [`drive`] there.
///
/// # Panics
///
/// Panics like [`driver::run`].
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
/// // With a free port it would serve until Ctrl-C.
/// let refused = deferred_smol::run(|reactor| listen_tcp(reactor, taken.local_addr().unwrap(), |_| Echo));
/// assert!(refused.is_err());
/// ```
pub fn run<R: MainResult>(main: impl FnOnce(&Reactor) -> R) -> R {
    driver::run(drive_here, with_sockets(main))
}

/// Runs a server: listens on a TCP address, as [`listen_tcp`](net::listen_tcp), and drives the loop
/// until it is stopped, for example by Ctrl-C.
///
/// # Errors
///
/// Returns the error of the listening, which names the address, at once.
///
/// # Panics
///
/// Panics like [`run`].
///
/// # Examples
///
/// A whole program:
///
/// ```no_run
/// use deferred_smol::Failure;
/// use deferred_smol::net::on_data;
///
/// fn main() -> Result<(), Failure> {
///     deferred_smol::serve("127.0.0.1:8000", |_| on_data(|transport, data| transport.write(data)))
/// }
/// ```
#[track_caller]
pub fn serve<P: net::Protocol>(
    address: impl ToSocketAddrs + fmt::Debug,
    factory: impl FnMut(SocketAddr) -> P + 'static,
) -> Result<(), Failure> {
    let at = Location::caller();
    run(|reactor| net::listen_tcp_at(at, reactor, address, factory))?;
    Ok(())
}

/// Creates a reactor, calls `main` with it, drives it and smol's I/O on this thread until the
/// Deferred that `main` returned has its result, closes it, and returns the result. See
/// [`driver::run_until`] for the details.
///
/// # Errors
///
/// Those of [`driver::run_until`].
///
/// # Panics
///
/// Panics like [`driver::run`].
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
#[doc(alias = "block_on")]
pub fn run_until<T: 'static, E: DeferredError>(main: impl FnOnce(&Reactor) -> Deferred<T, E>) -> Result<T, E> {
    driver::run_until(drive_here, with_sockets(main))
}

/// Runs a program on smol. Like [`deferred_core::park::react`], but with this driver.
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
#[doc(alias = "task.react")]
#[track_caller]
pub fn react<R: IntoDeferred<Failure>>(main: impl FnOnce(&Reactor) -> R) -> ExitCode {
    driver::react(drive_here, with_sockets(main))
}

/// Starts a thread with a reactor that runs smol's I/O too, and calls `main` there, whose value
/// becomes the state of the thread. See [`ReactorThread::start`] for the details.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use deferred_smol::{Failure, inline_callbacks, smol};
///
/// let thread = deferred_smol::start_thread(|_| ()).wait()?;
/// let slept = thread.call(|_| inline_callbacks(async { Ok(smol::Timer::after(Duration::from_millis(1)).await) }));
/// slept.wait()?;
/// thread.stop().wait()?;
/// # Ok::<(), Failure>(())
/// ```
#[track_caller]
pub fn start_thread<S, R>(main: impl FnOnce(&Reactor) -> R + Send + 'static) -> RemoteFuture<ReactorThread<S>>
where
    S: 'static,
    R: IntoDeferred<Failure, Value = S>,
{
    ReactorThread::start_with(drive_here, |reactor| {
        net::install_default(reactor);
        main(reactor)
    })
}

/// Returns `main` with sockets in the reactor, so that it can create connections.
fn with_sockets<R>(main: impl FnOnce(&Reactor) -> R) -> impl FnOnce(&Reactor) -> R {
    |reactor| {
        net::install_default(reactor);
        main(reactor)
    }
}

fn drive_here(reactor: ReactorOwner) {
    smol::block_on(drive(reactor));
}

/// Returns a future that drives `reactor` until it is stopped, for a program that smol already
/// runs: beside other tasks on a [`LocalExecutor`](smol::LocalExecutor), or in [`smol::block_on`].
/// Nothing of the reactor runs before the future is polled.
///
/// When the future is complete or dropped, the reactor is closed, also if the future was never
/// polled.
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
pub fn drive(reactor: ReactorOwner) -> impl Future<Output = ()> + Unpin + fmt::Debug {
    net::install_default(&reactor);
    driver::drive_with(reactor, Timer::at)
}
