//! The driver: a future that turns the reactor, and sleeps on one timer of tokio.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use deferred_core::driver::MainResult;
use deferred_core::{
    Deferred, DeferredError, Failure, IntoDeferred, Reactor, ReactorOwner, ReactorThread, RemoteFuture, driver,
};
use tokio::runtime::{Builder, Runtime};
use tokio::time;

/// Creates a reactor and a current-thread runtime of tokio, calls `main` with the reactor, runs both
/// on this thread until the reactor is stopped, and closes it. Returns the value of `main`. If that
/// is an error, returns it without driving. See [`driver::run`] for the details.
///
/// Sockets and timers of tokio work in `main`, in callbacks and in coroutines, and `tokio::spawn`
/// runs tasks on this thread. A program that has a runtime spawns [`drive`] there, or uses
/// [`start_thread`].
///
/// # Panics
///
/// Panics like [`driver::run`], if the system cannot create an I/O driver, or in a task of a tokio
/// runtime, which must not be blocked.
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
    let runtime = blocking_runtime();
    driver::run(|reactor| drive_on(&runtime, reactor), |reactor| within(&runtime, reactor, main))
}

/// Creates a reactor and a current-thread runtime of tokio, calls `main` with the reactor, runs both
/// on this thread until the Deferred that `main` returned has its result, and returns the result.
/// See [`driver::run_until`] for the details.
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
    let runtime = blocking_runtime();
    driver::run_until(|reactor| drive_on(&runtime, reactor), |reactor| within(&runtime, reactor, main))
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
    let runtime = blocking_runtime();
    driver::react(|reactor| drive_on(&runtime, reactor), |reactor| within(&runtime, reactor, main))
}

/// Starts a thread with a reactor and a current-thread runtime of tokio, and calls `main` there,
/// whose value becomes the state of the thread. See [`ReactorThread`] for the details.
///
/// This is for a program whose runtime is multi-threaded: the thread has what must stay on one
/// thread, and any task can call it.
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
    let runtime = new_runtime();
    let handle = runtime.handle().clone();
    ReactorThread::start_with(
        move |reactor| drive_on(&runtime, reactor),
        move |reactor| {
            let _entered = handle.enter();
            reactor.set_time_source(now);
            main(reactor)
        },
    )
}

/// Returns a future that drives `reactor` until it is stopped, for a program that has a runtime. It
/// runs beside other tasks of its thread: in a [`LocalSet`](tokio::task::LocalSet), in a
/// [`LocalRuntime`](tokio::runtime::LocalRuntime), or in [`Runtime::block_on`]. Both flavors of the
/// runtime have these. The reactor's timers are tokio's, with their resolution of a millisecond.
///
/// Nothing of the reactor runs before the future is polled. When the future is complete or dropped,
/// the reactor is closed, also if the future was never polled.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
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
///         // Any task of this `LocalSet` can use the reactor that it holds.
///         reactor.sleep(Duration::from_millis(1)).await.unwrap();
///         reactor.stop();
///     }).await;
///     tasks.await; // the driver, which closes the reactor
/// }
/// ```
pub fn drive(reactor: ReactorOwner) -> impl Future<Output = ()> + fmt::Debug {
    reactor.set_time_source(now);
    driver::drive_with(reactor, |due| time::sleep_until(due.into()))
}

/// Returns the time of tokio's clock, which a test may have paused.
fn now() -> Instant {
    time::Instant::now().into_std()
}

/// Creates a runtime for this thread, which it will block.
fn blocking_runtime() -> Runtime {
    let runtime = new_runtime();
    // tokio has no function that says whether it would panic.
    let may_block = catch_unwind(AssertUnwindSafe(|| runtime.block_on(async {}))).is_ok();
    assert!(
        may_block,
        "a loop of its own was started inside a task of tokio, whose thread it would block: spawn `drive(reactor)` in a \
         `LocalSet` instead, or use `start_thread`"
    );
    runtime
}

fn new_runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("the system can create an I/O driver for tokio")
}

fn drive_on(runtime: &Runtime, reactor: ReactorOwner) {
    runtime.block_on(drive(reactor));
}

/// Calls `main`, in which sockets and timers of the runtime can be created.
fn within<R>(runtime: &Runtime, reactor: &Reactor, main: impl FnOnce(&Reactor) -> R) -> R {
    let _entered = runtime.enter();
    reactor.set_time_source(now);
    main(reactor)
}
