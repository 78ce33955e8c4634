//! The driver of smol: `run`, `run_until`, `react` and `drive`. It passes the test of drivers, and
//! so does `drive_with` on the crates below smol alone: `async-executor` and `async-io`.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use deferred_smol::testing::driver::DriverTest;
use deferred_smol::{
    Abandoned, Deferred, Failure, Reactor, ReactorHandle, drive, driver, on_unhandled, react, run, run_until, smol,
};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol::{LocalExecutor, Timer, future};

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

async fn timer() {
    Timer::after(Duration::from_millis(2)).await;
}

/// Sends some bytes to and fro.
async fn sockets() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = async {
        let (mut peer, _) = listener.accept().await.unwrap();
        let mut bytes = [0; 5];
        peer.read_exact(&mut bytes).await.unwrap();
        peer.write_all(&bytes).await.unwrap();
    };
    let client = async {
        let mut peer = TcpStream::connect(address).await.unwrap();
        peer.write_all(b"hello").await.unwrap();
        let mut bytes = [0; 5];
        peer.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hello");
    };
    future::zip(server, client).await;
}

/// Receives from a task that smol runs in another thread.
async fn channel() {
    let (sender, receiver) = smol::channel::bounded(1);
    smol::spawn(async move { sender.send(1).await.unwrap() }).detach();
    assert_eq!(receiver.recv().await, Ok(1));
}

#[test]
fn smol_passes_the_test_of_drivers() {
    DriverTest::new(|reactor| smol::block_on(drive(reactor)))
        .both(|first, second| {
            smol::block_on(future::zip(drive(first), drive(second)));
        })
        .future("a timer", timer)
        .future("sockets", sockets)
        .future("a channel", channel)
        .future("blocking work", || async { smol::unblock(|| ()).await })
        .run();
}

#[test]
fn async_io_alone_passes_the_test_of_drivers() {
    DriverTest::new(|reactor| async_io::block_on(driver::drive_with(reactor, Timer::at)))
        .both(|first, second| {
            // As tasks of an executor that only this thread runs.
            let executor = LocalExecutor::new();
            let tasks = [first, second].map(|owner| executor.spawn(driver::drive_with(owner, Timer::at)));
            async_io::block_on(executor.run(async {
                for task in tasks {
                    task.await;
                }
            }));
        })
        .future("a timer", timer)
        .future("sockets", sockets)
        .run();
}

#[test]
fn timers_run_in_order_and_a_stop_ends_the_loop() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let value = run(|reactor| {
        for millis in [1, 2, 3] {
            let log = log.clone();
            reactor.call_later(Duration::from_millis(millis), move || log.borrow_mut().push(millis));
        }
        let stopper = reactor.clone();
        reactor.call_later(Duration::from_millis(4), move || stopper.stop());
        Ok::<_, Infallible>("main's own")
    });
    assert_eq!(value, Ok("main's own"));
    assert_eq!(log.take(), [1, 2, 3]);
}

#[test]
fn a_flood_of_posts_keeps_smol_from_nothing() {
    fn again(handle: ReactorHandle) {
        let next = handle.clone();
        // The post fails when the loop has ended, which ends the recursion.
        let _ = handle.call_from_thread(move || again(next));
    }
    let executor = LocalExecutor::new();
    let owner = Reactor::new();
    let reactor = owner.clone();
    again(reactor.handle());
    let driver = executor.spawn(drive(owner));
    let echoed = smol::block_on(executor.run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = executor.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"echo").await.unwrap();
        let mut bytes = [0; 4];
        client.read_exact(&mut bytes).await.unwrap();
        server.await;
        reactor.stop();
        driver.await;
        bytes
    }));
    assert_eq!(&echoed, b"echo");
}

#[test]
fn a_driver_that_is_done_has_closed_its_reactor() {
    let owner = Reactor::new();
    let reactor = owner.clone();
    let clone = reactor.clone();
    let held = reactor.call_later(HOUR, move || clone.stop());
    reactor.stop();
    let mut driver = std::pin::pin!(drive(owner));
    smol::block_on(driver.as_mut());
    // The future itself has not been dropped.
    assert!(!held.active());
    assert!(reactor.handle().call_from_thread(|| ()).is_err());
}

#[test]
fn dropping_a_driver_closes_its_reactor_polled_or_not() {
    for polled in [false, true] {
        let owner = Reactor::new();
        let reactor = owner.clone();
        let (deferred, resolver) = reactor.remote::<()>();
        let mut driver = drive(owner);
        if polled {
            let pending = std::pin::pin!(&mut driver).poll(&mut Context::from_waker(Waker::noop())).is_pending();
            assert!(pending);
        }
        assert!(!deferred.is_ready());
        drop(driver);
        assert!(deferred.try_take().unwrap().unwrap_err().check::<Abandoned>());
        assert!(resolver.is_cancelled());
    }
}

#[test]
fn a_main_that_panics_closes_the_reactor() {
    let handle = Cell::new(None);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run(|reactor| -> () {
            handle.set(Some(reactor.handle()));
            panic!("main");
        })
    }));
    assert!(outcome.is_err());
    assert!(handle.take().unwrap().call_from_thread(|| ()).is_err());
    assert!(Reactor::current().is_none());
}

#[test]
fn a_stop_before_the_result_ends_run_until_with_abandoned() {
    let (deferred, resolver) = Deferred::<u32>::new();
    let result = run_until(|reactor| {
        reactor.stop();
        deferred
    });
    assert!(result.unwrap_err().check::<Abandoned>());
    resolver.callback(1);
}

#[test]
fn an_idle_driver_is_woken_by_nothing_and_then_once() {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut context = Context::from_waker(&waker);
    let owner = Reactor::new();
    let handle = owner.handle();
    let mut driver = std::pin::pin!(drive(owner));
    assert!(driver.as_mut().poll(&mut context).is_pending());
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
    for _ in 0..10 {
        handle.call_from_thread(|| ()).unwrap();
    }
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    assert!(driver.as_mut().poll(&mut context).is_pending());
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
}

#[test]
fn other_tasks_use_the_reactor_they_hold_and_it_is_current_only_in_its_own_calls() {
    let executor = LocalExecutor::new();
    let owner = Reactor::new();
    let reactor = owner.clone();
    let driver = executor.spawn(drive(owner));
    let (inside, was_current) = smol::channel::bounded(1);
    smol::block_on(executor.run(async {
        assert!(Reactor::current().is_none());
        reactor.call_later(Duration::ZERO, move || inside.try_send(Reactor::current().is_some()).unwrap());
        assert!(was_current.recv().await.unwrap());
        reactor.stop();
        driver.await;
        assert!(Reactor::current().is_none());
    }));
}

#[test]
fn several_reactors_run_on_one_thread_and_on_many() {
    let threads: Vec<_> = (0..3)
        .map(|_| {
            thread::spawn(|| {
                let executor = LocalExecutor::new();
                let count = Rc::new(Cell::new(0));
                let drivers: Vec<_> = (1..=3)
                    .map(|millis| {
                        let owner = Reactor::new();
                        let reactor = owner.clone();
                        let (count, stopper) = (count.clone(), reactor.clone());
                        reactor.call_later(Duration::from_millis(millis), move || {
                            count.set(count.get() + 1);
                            stopper.stop();
                        });
                        executor.spawn(drive(owner))
                    })
                    .collect();
                smol::block_on(executor.run(async {
                    for driver in drivers {
                        driver.await;
                    }
                }));
                count.get()
            })
        })
        .collect();
    assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>(), 9);
}

#[test]
fn react_reports_the_error_with_the_location_of_its_call() {
    let reports = Rc::new(RefCell::new(Vec::new()));
    let seen = reports.clone();
    let _hook = on_unhandled(move |unhandled| {
        let text = unhandled.downcast_ref::<Failure>().unwrap().to_string();
        seen.borrow_mut().push((text, unhandled.made_at().file(), unhandled.made_at().line()));
    });
    let code = |code: ExitCode| format!("{code:?}");
    assert_eq!(code(react(|_| ())), code(ExitCode::SUCCESS));
    let line = line!() + 1;
    assert_eq!(code(react(|_| Err::<(), _>(Failure::msg("no")))), code(ExitCode::FAILURE));
    assert_eq!(reports.take(), [("no".into(), file!(), line)]);
}
