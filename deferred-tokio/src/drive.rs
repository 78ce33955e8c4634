//! The driver: a future that turns the reactor, and sleeps on one timer of tokio.

use std::cell::OnceCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::Location;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use deferred_core::driver::MainResult;
use deferred_core::{
    Deferred, DeferredError, Failure, IntoDeferred, Reactor, ReactorOwner, ReactorThread, RemoteFuture, driver,
};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::yield_now;
use tokio::time;

use crate::net;

/// Creates a reactor and a current-thread runtime of tokio, calls `main` with the reactor, runs
/// both on this thread until the reactor is stopped, and closes it. Returns the value of `main`. If
/// that is an error, returns it without driving. See [`driver::run`] for the details.
///
/// Sockets and timers of tokio work in `main`, in callbacks and in coroutines. `tokio::spawn` runs
/// tasks on this thread; in place of `spawn_local`, use
/// [`inline_callbacks`](deferred_core::inline_callbacks). At the end, blocking tasks of the runtime
/// that have begun (`spawn_blocking`) are waited for.
///
/// On Unix, Ctrl-C and `SIGTERM` stop the loop, as described at
/// [`Reactor::stop_on_signals`](deferred_core::Reactor::stop_on_signals), unless this is called in
/// a program with another runtime, such as in its `spawn_blocking`.
///
/// # Panics
///
/// Panics like [`driver::run`], if the system cannot create an I/O driver, or in a task of a tokio
/// runtime, which must not be blocked: such a program spawns [`drive`] there, or uses
/// [`start_thread`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// deferred_tokio::run(|reactor| {
///     let stopper = reactor.clone();
///     reactor.call_later(Duration::from_millis(1), move || stopper.stop());
/// });
/// ```
#[track_caller]
pub fn run<R: MainResult>(main: impl FnOnce(&Reactor) -> R) -> R {
    let runtime = OnceCell::new();
    as_program(|| driver::run(|reactor| drive_on(&runtime, reactor), |reactor| within(&runtime, reactor, main)))
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
/// use deferred_tokio::Failure;
/// use deferred_tokio::net::on_data;
///
/// fn main() -> Result<(), Failure> {
///     deferred_tokio::serve("127.0.0.1:8000", |_| on_data(|transport, data| transport.write(data)))
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

/// Creates a reactor and a current-thread runtime of tokio, calls `main` with the reactor, runs
/// both on this thread until the Deferred that `main` returned has its result, and returns the
/// result. Otherwise like [`run`].
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
/// use std::time::Duration;
/// use deferred_tokio::{inline_callbacks, tokio};
///
/// let sum = deferred_tokio::run_until(|_| inline_callbacks(async {
///     tokio::time::sleep(Duration::from_millis(1)).await;
///     Ok(42)
/// }));
/// assert_eq!(sum.unwrap(), 42);
/// ```
#[doc(alias = "block_on")]
#[track_caller]
pub fn run_until<T: 'static, E: DeferredError>(main: impl FnOnce(&Reactor) -> Deferred<T, E>) -> Result<T, E> {
    let runtime = OnceCell::new();
    as_program(|| driver::run_until(|reactor| drive_on(&runtime, reactor), |reactor| within(&runtime, reactor, main)))
}

/// Runs a program on a current-thread runtime of tokio. Like [`deferred_core::park::react`], but
/// with this driver.
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
/// use deferred_tokio::react;
///
/// fn main() -> ExitCode {
///     react(|reactor| reactor.sleep(Duration::from_millis(1)))
/// }
/// ```
#[doc(alias = "task.react")]
#[track_caller]
pub fn react<R: IntoDeferred<Failure>>(main: impl FnOnce(&Reactor) -> R) -> ExitCode {
    let runtime = OnceCell::new();
    // Not through `as_program`, whose closure does not know the location of the caller.
    driver::react(|reactor| drive_on(&runtime, reactor), |reactor| within(&runtime, reactor, main))
}

/// Runs `run` without signals if the program has a runtime, and perhaps a handler, of its own.
fn as_program<R>(run: impl FnOnce() -> R) -> R {
    if Handle::try_current().is_ok() { driver::without_signals(run) } else { run() }
}

/// Starts a thread with a reactor and a current-thread runtime of tokio, and calls `main` there,
/// whose value becomes the state of the thread. See [`ReactorThread`] for the details.
///
/// This is for a program whose runtime is multi-threaded: the thread has what must stay on one
/// thread, and any task can call it. It does not handle signals. In place of `spawn_local`, use
/// [`inline_callbacks`](deferred_core::inline_callbacks) there.
///
/// # Errors
///
/// The future fails with the error or panic of `main`, or with the error of the system if it cannot
/// create a thread or an I/O driver.
///
/// # Cancellation
///
/// Dropping the future cancels the Deferred of `main`, and stops the loop.
///
/// # Examples
///
/// ```
/// use std::cell::RefCell;
/// use deferred_tokio::{Failure, tokio};
///
/// #[tokio::main]
/// async fn main() -> Result<(), Failure> {
///     let log = deferred_tokio::start_thread(|_| Ok(RefCell::new(Vec::new()))).await?;
///     let lines = log.call(|log| {
///         log.borrow_mut().push("hello");
///         Ok(log.borrow().len())
///     });
///     assert_eq!(lines.await?, 1);
///     log.stop().await
/// }
/// ```
#[track_caller]
pub fn start_thread<S, R>(main: impl FnOnce(&Reactor) -> R + Send + 'static) -> RemoteFuture<ReactorThread<S>>
where
    S: 'static,
    R: IntoDeferred<Failure, Value = S>,
{
    // Created on the thread, where it can also be dropped.
    let runtime = Arc::new(OnceLock::new());
    let creates = runtime.clone();
    ReactorThread::start_with(
        // Without a runtime the start has failed, and the drop of the owner is the end.
        move |reactor| {
            if let Some(runtime) = runtime.get() {
                block_on(runtime, reactor);
            }
        },
        move |reactor| match new_runtime() {
            Ok(runtime) => within_runtime(creates.get_or_init(|| runtime), reactor, main).into_deferred(),
            Err(error) => Deferred::fail(error),
        },
    )
}

/// Returns a future that drives `reactor` until it is stopped, for a program that has a runtime. It
/// runs beside other tasks of its thread: in a [`LocalSet`](tokio::task::LocalSet), in a
/// [`LocalRuntime`](tokio::runtime::LocalRuntime), or in [`Runtime::block_on`]. Both flavors of the
/// runtime have these. The reactor's timers are tokio's, with their resolution of a millisecond.
/// This call makes tokio's clock that of the reactor; in a test with a paused clock, call it before
/// you start a `LoopingCall` or measure time.
///
/// Nothing of the reactor runs before the future is polled, so a Deferred that is awaited outside
/// of the `LocalSet` waits until that runs again. The future is complete when the reactor has been
/// [stopped](deferred_core::Reactor::stop). When it is complete or dropped, the reactor is closed,
/// also if it was never polled; dropping it skips the
/// [shutdown](deferred_core::SystemEvent::Shutdown).
///
/// # Panics
///
/// The future panics if it is polled outside of a tokio runtime whose timers are enabled and the
/// reactor has a timer.
///
/// # Examples
///
/// Tasks use the reactor that they hold. [`defer_to_thread`] uses the current one:
///
/// ```
/// use std::time::Duration;
/// use deferred_threadpool::defer_to_thread;
/// use deferred_tokio::{Reactor, drive, tokio};
/// use tokio::task::LocalSet;
///
/// #[tokio::main]
/// async fn main() {
///     let owner = Reactor::new();
///     let reactor = owner.clone();
///     let tasks = LocalSet::new();
///     tasks.spawn_local(drive(owner));
///     tasks.run_until(async move {
///         reactor.sleep(Duration::from_millis(1)).await.unwrap();
///         let job = {
///             let _entered = reactor.enter(); // until the end of this block, not over an `.await`
///             defer_to_thread(|| Ok(6 * 7))
///         };
///         assert_eq!(job.await.unwrap(), 42);
///         reactor.stop();
///     }).await;
///     tasks.await; // the driver, which ends because of `stop`
/// }
/// ```
///
/// [`defer_to_thread`]: https://docs.rs/deferred-threadpool
pub fn drive(reactor: ReactorOwner) -> impl Future<Output = ()> + fmt::Debug {
    reactor.set_time_source(now);
    net::install_default(&reactor);
    driver::drive_yielding(reactor, |due| time::sleep_until(due.into()), yield_now)
}

/// Returns the time of tokio's clock, which a test may have paused.
fn now() -> Instant {
    time::Instant::now().into_std()
}

fn new_runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Creates a runtime for this thread, which it will block.
fn blocking_runtime() -> Runtime {
    let runtime = new_runtime().unwrap_or_else(|error| panic!("the system cannot create an I/O driver: {error}"));
    // tokio has no function that returns whether it would panic.
    let may_block = catch_unwind(AssertUnwindSafe(|| runtime.block_on(async {}))).is_ok();
    assert!(
        may_block,
        "a loop of its own was started inside a task of tokio, whose thread it would block: spawn `drive(reactor)` in a \
         `LocalSet` instead, or use `start_thread`"
    );
    runtime
}

fn block_on(runtime: &Runtime, reactor: ReactorOwner) {
    runtime.block_on(drive(reactor));
}

fn drive_on(runtime: &OnceCell<Runtime>, reactor: ReactorOwner) {
    block_on(runtime.get_or_init(blocking_runtime), reactor);
}

/// Calls `main`, in which sockets and timers of the runtime can be created.
fn within<R>(runtime: &OnceCell<Runtime>, reactor: &Reactor, main: impl FnOnce(&Reactor) -> R) -> R {
    within_runtime(runtime.get_or_init(blocking_runtime), reactor, main)
}

fn within_runtime<R>(runtime: &Runtime, reactor: &Reactor, main: impl FnOnce(&Reactor) -> R) -> R {
    let _entered = runtime.enter();
    reactor.set_time_source(now);
    net::install_default(reactor);
    main(reactor)
}
