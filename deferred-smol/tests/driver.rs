//! The smol driver: `run` and `drive`. It misses no wake-up and does not starve smol's tasks.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use deferred_smol::{
    Abandoned, Deferred, Failure, Reactor, ReactorHandle, drive, on_unhandled, react, run, run_until, smol,
};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol::{LocalExecutor, future};

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
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
fn a_timer_never_runs_before_it_is_due() {
    for micros in [0, 1, 50, 999, 1500, 20_000] {
        let begun = Instant::now();
        let delay = Duration::from_micros(micros);
        let ran = run_until(|reactor| {
            let (deferred, resolver) = Deferred::new();
            reactor.call_later(delay, move || resolver.callback(Instant::now()));
            deferred
        });
        assert!(ran.unwrap() >= begun + delay);
    }
}

#[test]
fn an_earlier_timer_ends_the_sleep_for_a_later_one() {
    // The timer is created in the turn, by a post, and outside of turns.
    let executor = LocalExecutor::new();
    let owner = Reactor::new();
    let reactor = owner.clone();
    let late = reactor.call_later(HOUR, || ());
    let driver = executor.spawn(drive(owner));
    future::block_on(executor.run(async {
        future::yield_now().await;
        let stopper = reactor.clone();
        reactor.call_later(Duration::from_millis(1), move || stopper.stop());
        driver.await;
    }));
    assert!(!late.active());
}

#[test]
fn posts_from_threads_wake_the_loop() {
    let count = Arc::new(AtomicUsize::new(0));
    run(|reactor| {
        let handle = reactor.handle();
        let seen = count.clone();
        thread::spawn(move || {
            for _ in 0..1000 {
                let (seen, stopper) = (seen.clone(), handle.clone());
                let call = move || {
                    if seen.fetch_add(1, Ordering::SeqCst) == 999 {
                        stopper.stop();
                    }
                };
                handle.call_from_thread(call).unwrap();
                thread::yield_now();
            }
        });
    });
    assert_eq!(count.load(Ordering::SeqCst), 1000);
}

#[test]
fn one_post_at_a_time_is_never_missed() {
    let rounds = run_until(|reactor| {
        let (deferred, resolver) = reactor.remote::<usize>();
        let handle = reactor.handle();
        thread::spawn(move || {
            for _ in 0..2000 {
                let arrived = Arc::new(AtomicBool::new(false));
                let seen = arrived.clone();
                handle.call_from_thread(move || seen.store(true, Ordering::SeqCst)).unwrap();
                while !arrived.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
            }
            resolver.callback(2000);
        });
        deferred
    });
    assert_eq!(rounds.unwrap(), 2000);
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
