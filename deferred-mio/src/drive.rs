//! The driver: turns the reactor, and waits for its sockets and timers in between.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::Location;
use std::process::ExitCode;

use deferred_core::driver::MainResult;
use deferred_core::{
    Deferred, DeferredError, Failure, IntoDeferred, Reactor, ReactorOwner, ReactorThread, RemoteFuture, Turn, driver,
};

use crate::net;
use crate::poller::Poller;

/// Creates a reactor, calls `main` with it, drives it on this thread until it is stopped, and
/// closes it. Returns the value of `main`. If that is an error, returns it without driving: a
/// program whose port is in use ends with that error. See [`driver::run`] for the details.
///
/// # Panics
///
/// Panics like [`driver::run`], or if the system cannot create the selector of the loop.
///
/// # Examples
///
/// ```
/// use std::net::TcpListener;
/// use deferred_mio::Failure;
/// use deferred_mio::net::{Protocol, Transport, listen_tcp};
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
/// let refused = deferred_mio::run(|reactor| listen_tcp(reactor, taken.local_addr().unwrap(), |_| Echo));
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
/// use deferred_mio::Failure;
/// use deferred_mio::net::on_data;
///
/// fn main() -> Result<(), Failure> {
///     deferred_mio::serve("127.0.0.1:8000", |_| on_data(|transport, data| transport.write(data)))
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

/// Creates a reactor, calls `main` with it, drives it on this thread until the Deferred that `main`
/// returned has its result, closes it, and returns the result. See [`driver::run_until`] for the
/// details.
///
/// # Errors
///
/// Those of [`driver::run_until`].
///
/// # Panics
///
/// Panics like [`run`].
///
/// # Examples
///
/// ```
/// use std::thread;
///
/// let sum = deferred_mio::run_until(|reactor| {
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

/// Runs a program. Like [`deferred_core::park::react`], but with this driver.
///
/// # Panics
///
/// Panics like [`run`].
///
/// # Examples
///
/// ```
/// use std::process::ExitCode;
/// use std::time::Duration;
/// use deferred_mio::{Deferred, react};
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

/// Starts a thread with a reactor of this driver, and calls `main` there, whose value becomes the
/// state of the thread. See [`ReactorThread::start`] for the details.
///
/// # Examples
///
/// ```
/// use deferred_mio::Failure;
///
/// let thread = deferred_mio::start_thread(|_| Ok(6)).wait()?;
/// assert_eq!(thread.call(|half| Ok(**half * 7)).wait()?, 42);
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
    if let Err(error) = drive(reactor) {
        panic!("the loop cannot wait for its sockets: {error}");
    }
}

/// Drives `reactor` on this thread until it is stopped, and closes it.
///
/// # Errors
///
/// Returns the error of the system if the selector of the loop cannot be created, or does not work;
/// the reactor is closed then.
///
/// # Examples
///
/// ```
/// use deferred_mio::{Reactor, drive};
///
/// let owner = Reactor::new();
/// let reactor = owner.clone();
/// owner.call_when_running(move || reactor.stop());
/// drive(owner)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn drive(reactor: ReactorOwner) -> io::Result<()> {
    net::install_default(&reactor);
    let poller = Poller::of(&reactor)?;
    loop {
        match reactor.turn(poller.waker()) {
            Turn::Again => poller.poll_now()?,
            Turn::Sleep(due) => poller.wait(due)?,
            Turn::Stopped => return Ok(()),
        }
    }
}

/// Receives the events of the sockets of `reactor`, without waiting, for a reactor that another
/// driver turns: call it now and then.
///
/// # Errors
///
/// Returns the error of the system.
pub fn poll(reactor: &Reactor) -> io::Result<()> {
    Poller::of(reactor)?.poll_now()
}
