//! The driver of tokio passes the test of drivers in each place where a runtime can run it. `run`,
//! `run_until`, `react` and `start_thread` have a runtime of their own.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use deferred_tokio::testing::driver::DriverTest;
use deferred_tokio::{
    Abandoned, Deferred, Failure, LoopingCall, Reactor, ReactorOwner, drive, driver, inline_callbacks, on_unhandled,
    react, run, run_until, start_thread, tokio,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions, Runtime};
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};

async fn timer() {
    tokio::time::sleep(Duration::from_millis(2)).await;
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
    tokio::join!(server, client);
}

/// Receives from a task of the runtime.
async fn channel() {
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move { sender.send(1).unwrap() });
    assert_eq!(receiver.await, Ok(1));
}

async fn blocking() {
    tokio::task::spawn_blocking(|| ()).await.unwrap();
}

/// Uses up the budget of the task, after which tokio's futures are pending for a while.
async fn budget() {
    for _ in 0..500 {
        tokio::task::consume_budget().await;
    }
}

fn test(drive: fn(ReactorOwner), drive_both: fn(ReactorOwner, ReactorOwner)) {
    DriverTest::new(drive)
        .both(drive_both)
        .future("a timer", timer)
        .future("sockets", sockets)
        .future("a channel", channel)
        .future("blocking work", blocking)
        .future("the budget", budget)
        .run();
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn both(first: ReactorOwner, second: ReactorOwner) {
    tokio::join!(drive(first), drive(second));
}

/// Runs the drivers as tasks of a `LocalSet`.
async fn in_a_local_set(owners: Vec<ReactorOwner>) {
    let set = LocalSet::new();
    for owner in owners {
        set.spawn_local(drive(owner));
    }
    set.await;
}

#[test]
fn block_on_of_a_current_thread_runtime() {
    test(|owner| current_thread().block_on(drive(owner)), |a, b| current_thread().block_on(both(a, b)));
}

#[test]
fn block_on_of_a_multi_thread_runtime() {
    test(|owner| multi_thread().block_on(drive(owner)), |a, b| multi_thread().block_on(both(a, b)));
}

#[test]
fn a_local_set_on_a_current_thread_runtime() {
    test(
        |owner| current_thread().block_on(in_a_local_set(vec![owner])),
        |a, b| current_thread().block_on(in_a_local_set(vec![a, b])),
    );
}

#[test]
fn a_local_set_on_a_multi_thread_runtime() {
    test(
        |owner| multi_thread().block_on(in_a_local_set(vec![owner])),
        |a, b| multi_thread().block_on(in_a_local_set(vec![a, b])),
    );
}

#[test]
fn a_local_runtime() {
    fn run(owners: Vec<ReactorOwner>) {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        let drivers: Vec<_> = owners.into_iter().map(|owner| runtime.spawn_local(drive(owner))).collect();
        runtime.block_on(async {
            for driver in drivers {
                driver.await.unwrap();
            }
        });
    }
    test(|owner| run(vec![owner]), |a, b| run(vec![a, b]));
}

/// Without tokio's own `yield_now`, a `LocalSet` polls a task that wakes itself 61 times before it
/// lets the runtime handle its sockets and timers.
#[test]
fn drive_with_alone_takes_all_the_time_of_a_local_set() {
    let drive = |reactor| async { driver::drive_with(reactor, |due| tokio::time::sleep_until(due.into())).await };
    let greedy = DriverTest::new(move |owner| {
        let set = LocalSet::new();
        set.spawn_local(drive(owner));
        current_thread().block_on(set);
    });
    let sockets = greedy.future("sockets", sockets).only("a busy loop leaves its executor time");
    let failed = catch_unwind(AssertUnwindSafe(|| sockets.run())).unwrap_err();
    assert!(failed.downcast::<String>().unwrap().contains("it has panicked"));
}

const HOUR: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

#[test]
fn run_returns_the_value_of_main_and_does_not_drive_after_an_error() {
    let ran = Rc::new(Cell::new(false));
    let value = run(|reactor| {
        let (flag, stopper) = (ran.clone(), reactor.clone());
        reactor.call_later(MS, move || {
            flag.set(true);
            stopper.stop();
        });
        Ok::<_, Failure>(7)
    });
    assert_eq!(value.unwrap(), 7);
    assert!(ran.get());
    let failed = run(|reactor| {
        reactor.call_when_running(|| -> () { panic!("the loop has run") });
        Err::<(), _>("port in use")
    });
    assert_eq!(failed, Err("port in use"));
}

#[test]
fn main_and_callbacks_can_use_tokio() {
    let answer = run_until(|reactor| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TcpListener::from_std(listener).unwrap(); // in `main`
        let server = inline_callbacks(async move {
            let (mut peer, _) = listener.accept().await?;
            let mut text = String::new();
            peer.read_to_string(&mut text).await?;
            Ok(text)
        });
        reactor.call_later(MS, move || {
            tokio::spawn(async move { TcpStream::connect(address).await.unwrap().write_all(b"hello").await });
        });
        server
    });
    assert_eq!(answer.unwrap(), "hello");
}

#[test]
fn run_until_returns_the_error_or_abandoned() {
    let failed = run_until(|reactor| reactor.defer_later(MS, || Err::<(), _>(Failure::msg("no"))));
    assert_eq!(failed.unwrap_err().to_string(), "no");
    let (deferred, resolver) = Deferred::<u32>::new();
    let stopped = run_until(|reactor| {
        reactor.stop();
        deferred
    });
    assert!(stopped.unwrap_err().check::<Abandoned>());
    resolver.callback(1);
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

#[test]
fn a_panic_of_main_closes_the_reactor() {
    let handle = Cell::new(None);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        run(|reactor| -> () {
            handle.set(Some(reactor.handle()));
            panic!("main");
        });
    }));
    assert!(panicked.is_err());
    assert!(handle.take().unwrap().call_from_thread(|| ()).is_err());
    assert!(Reactor::current().is_none());
}

#[test]
fn run_inside_a_task_is_refused_and_says_what_to_use() {
    let panicked = multi_thread().block_on(async { catch_unwind(|| run(|reactor| reactor.stop())) });
    let message = panicked.unwrap_err().downcast::<&str>().unwrap();
    assert!(message.contains("start_thread") && message.contains("drive"), "{message}");
    // A thread for blocking work may run a loop.
    multi_thread().block_on(async { tokio::task::spawn_blocking(|| run(|reactor| reactor.stop())).await.unwrap() });
}

#[test]
fn a_paused_clock_moves_the_timers_at_once() {
    let begun = Instant::now();
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let ticks = runtime.block_on(async {
        let before = tokio::time::Instant::now();
        let owner = Reactor::new();
        let reactor = owner.clone();
        let driver = drive(owner);
        let ticks = Rc::new(Cell::new(0));
        let (counts, stopper) = (ticks.clone(), reactor.clone());
        let looping = LoopingCall::new(&reactor, move || counts.set(counts.get() + 1));
        drop(looping.start(HOUR));
        reactor.call_later(24 * HOUR + MS, move || stopper.stop());
        tokio::join!(driver, tokio::time::sleep(10 * HOUR));
        let passed = tokio::time::Instant::now() - before;
        assert!(passed >= 24 * HOUR && passed < 25 * HOUR, "{passed:?}");
        ticks.get()
    });
    assert_eq!(ticks, 25);
    assert!(begun.elapsed() < HOUR);
}

#[test]
fn an_advanced_clock_runs_the_timers_that_are_due() {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let owner = Reactor::new();
        let reactor = owner.clone();
        let set = LocalSet::new();
        set.spawn_local(drive(owner));
        set.run_until(async {
            let ran = Rc::new(Cell::new(0));
            for minutes in 1..=3 {
                let ran = ran.clone();
                reactor.call_later(Duration::from_secs(60 * minutes), move || ran.set(minutes));
            }
            tokio::task::yield_now().await;
            tokio::time::advance(Duration::from_secs(125)).await;
            tokio::task::yield_now().await;
            assert_eq!(ran.get(), 2);
            reactor.stop();
        })
        .await;
        set.await;
    });
}

#[test]
fn tasks_of_a_local_set_await_deferreds_and_use_the_reactor() {
    multi_thread().block_on(LocalSet::new().run_until(async {
        let owner = Reactor::new();
        let reactor = owner.clone();
        let driver = spawn_local(drive(owner));
        let tasks: Vec<_> = (0..50_u64)
            .map(|number| {
                let reactor = reactor.clone();
                spawn_local(async move {
                    let (deferred, resolver) = reactor.remote();
                    thread::spawn(move || resolver.callback(number));
                    let value = deferred.await.unwrap();
                    reactor.sleep(Duration::from_micros(number * 50)).await.unwrap();
                    value
                })
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), number as u64);
        }
        reactor.stop();
        driver.await.unwrap();
        assert!(reactor.is_closed());
    }));
}

#[test]
fn dropping_the_driver_or_the_runtime_closes_the_reactor() {
    for polled in [false, true] {
        let owner = Reactor::new();
        let (deferred, _resolver) = owner.remote::<()>();
        let runtime = current_thread();
        let set = LocalSet::new();
        set.spawn_local(drive(owner));
        if polled {
            runtime.block_on(set.run_until(tokio::task::yield_now()));
        }
        drop((set, runtime));
        assert!(deferred.try_take().unwrap().unwrap_err().check::<Abandoned>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_call_a_thread_with_a_loop() {
    let reactor = start_thread(|reactor| {
        let reactor = reactor.clone();
        // `main` and calls can use tokio's timers, and the reactor's.
        inline_callbacks(async move {
            tokio::time::sleep(MS).await;
            reactor.sleep(MS).await?;
            Ok(Cell::new(0))
        })
    });
    let reactor = Arc::new(reactor.await.unwrap());
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let reactor = reactor.clone();
            tokio::spawn(async move {
                let sleeps = reactor.call(|count| {
                    count.set(count.get() + 1);
                    inline_callbacks(async {
                        tokio::time::sleep(MS).await;
                        Ok(())
                    })
                });
                sleeps.await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(reactor.call(|count| Ok(count.get())).await.unwrap(), 20);
    reactor.stop().await.unwrap();
}

#[test]
fn run_inside_a_loop_is_refused_with_the_reason_of_the_core() {
    let message = Rc::new(RefCell::new(String::new()));
    let seen = message.clone();
    run(move |reactor| {
        let stopper = reactor.clone();
        reactor.call_when_running(move || {
            let panicked = catch_unwind(|| run(|_| ())).unwrap_err();
            seen.replace(panicked.downcast_ref::<String>().unwrap().clone());
            stopper.stop();
        });
    });
    assert!(message.borrow().contains("inside another loop of the same thread"), "{message:?}");
}

#[test]
fn a_timer_that_was_set_before_the_driver_keeps_its_delay_on_a_paused_clock() {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        tokio::time::advance(HOUR).await; // tokio's time is ahead of the system's
        let owner = Reactor::new();
        let (sleep, reactor) = (owner.sleep(10 * MS), owner.clone());
        let before = tokio::time::Instant::now();
        let stops = async {
            sleep.await.unwrap();
            reactor.stop();
        };
        tokio::join!(drive(owner), stops);
        let passed = before.elapsed();
        assert!(passed >= 10 * MS && passed < 20 * MS, "{passed:?}");
    });
}

#[test]
fn a_paused_clock_that_is_behind_the_system_runs_no_timer_early() {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        thread::sleep(20 * MS); // which tokio's clock does not see
        let owner = Reactor::new();
        let reactor = owner.clone();
        let driver = drive(owner);
        let before = tokio::time::Instant::now();
        let ticks = Rc::new(Cell::new(0));
        let counts = ticks.clone();
        let looping = LoopingCall::new(&reactor, move || counts.set(counts.get() + 1));
        drop(looping.start(10 * MS));
        let stops = async {
            reactor.sleep(55 * MS).await.unwrap();
            reactor.stop();
        };
        tokio::join!(driver, stops);
        assert!(before.elapsed() >= 55 * MS, "{:?}", before.elapsed());
        assert_eq!(ticks.get(), 6);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_after_the_end_say_that_the_loop_has_ended() {
    let reactor = start_thread(|_| Ok(())).await.unwrap();
    reactor.stop().await.unwrap();
    for failed in [reactor.call(|_| Ok(())).await, reactor.handle().call(|| Ok(())).await] {
        let abandoned = failed.unwrap_err().trap::<Abandoned>().unwrap();
        assert!(abandoned.is_reactor_closed(), "{abandoned}");
    }
}

#[test]
fn a_connect_outside_of_a_runtime_says_so() {
    let owner = Reactor::new();
    deferred_tokio::net::install(&owner);
    let connects = deferred_tokio::net::connect_tcp(&owner, "127.0.0.1:1", HOUR, Silent);
    let _ = owner.turn(std::task::Waker::noop());
    let failure = connects.try_take().unwrap().unwrap_err();
    assert!(failure.to_string().contains("no tokio runtime: call this inside"), "{failure}");
    let listens = deferred_tokio::net::listen_tcp(&owner, "127.0.0.1:0", |_| Silent);
    assert!(listens.unwrap_err().to_string().contains("no tokio runtime"));
}

struct Silent;

impl deferred_tokio::net::Protocol for Silent {
    fn data_received(&mut self, _: &deferred_tokio::net::Transport, _: &[u8]) -> Result<(), Failure> {
        Ok(())
    }
}
