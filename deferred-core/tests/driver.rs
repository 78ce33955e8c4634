//! The drivers that need no executor pass the test of drivers: `park`, the waiting loop of a GUI,
//! and `drive_with` on an executor that is only a blocked thread.

use std::cell::Cell;
use std::future::poll_fn;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::task::{Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use deferred_core::testing::driver::DriverTest;
use deferred_core::{Reactor, ReactorOwner, RemoteCompleter, RemoteFuture, Turn, driver, park};
use futures::executor::block_on;
use futures::{future, join};
use parking_lot::Mutex;

/// Completes a future of another thread.
async fn thread() {
    let (future, completer) = RemoteFuture::new();
    thread::spawn(move || completer.callback(()));
    future.await.unwrap();
}

/// A future that wakes itself many times.
async fn yields() {
    for _ in 0..100 {
        driver::YieldNow::default().await;
    }
}

#[test]
fn park_is_a_driver() {
    DriverTest::new(|reactor| park::drive(&reactor).unwrap()).future("a thread", thread).future("yields", yields).run();
}

/// An event loop like that of a GUI, which waits for events of any thread or for a time.
struct Toolkit {
    events: Receiver<()>,
    post: SyncSender<()>,
}

struct PostWake(SyncSender<()>);

impl Wake for PostWake {
    fn wake(self: Arc<Self>) {
        let _ = self.0.try_send(()); // full: a turn follows anyway
    }
}

impl Toolkit {
    fn new() -> Toolkit {
        let (post, events) = mpsc::sync_channel(1);
        Toolkit { events, post }
    }

    fn run(&self, reactors: &[ReactorOwner]) {
        run_all(reactors, &Waker::from(Arc::new(PostWake(self.post.clone()))), &self.events);
    }
}

/// Turns all reactors after each event, until they are stopped.
fn run_all(reactors: &[ReactorOwner], waker: &Waker, events: &Receiver<()>) {
    let mut left: Vec<&Reactor> = reactors.iter().map(|owner| &**owner).collect();
    loop {
        let mut wait = None;
        left.retain(|reactor| {
            let due = match reactor.turn(waker) {
                Turn::Again => Some(Instant::now()),
                Turn::Sleep(due) => due,
                Turn::Stopped => {
                    reactor.close();
                    return false;
                }
            };
            wait = [wait, due].into_iter().flatten().min();
            true
        });
        if left.is_empty() {
            return;
        }
        let _ = match wait {
            Some(due) => events.recv_timeout(due.saturating_duration_since(Instant::now())).map_err(drop),
            None => events.recv().map_err(drop),
        };
    }
}

#[test]
fn the_loop_of_a_gui_is_a_driver() {
    DriverTest::new(|reactor| Toolkit::new().run(&[reactor]))
        .both(|first, second| Toolkit::new().run(&[first, second]))
        .future("a thread", thread)
        .future("yields", yields)
        .run();
}

fn sleep_until(due: Instant) -> RemoteFuture<()> {
    let (sleep, completer) = RemoteFuture::new();
    thread::spawn(move || {
        // In steps, so that not each sleep of an hour leaves a thread.
        while !completer.is_cancelled() {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return completer.callback(());
            }
            thread::sleep(left.min(Duration::from_millis(20)));
        }
    });
    sleep
}

#[test]
fn drive_with_is_a_driver_on_any_executor() {
    DriverTest::new(|reactor| block_on(driver::drive_with(reactor, sleep_until)))
        .both(|first, second| {
            block_on(async { join!(driver::drive_with(first, sleep_until), driver::drive_with(second, sleep_until)) });
        })
        .future("a thread", thread)
        .future("yields", yields)
        .run();
}

/// Runs one check with a driver that has a fault, and returns how it fails.
fn failure(test: DriverTest, check: &'static str) -> String {
    let failed = catch_unwind(AssertUnwindSafe(|| test.only(check).without_signals().run()));
    *failed.expect_err("the driver has a fault").downcast().expect("the message has arguments")
}

fn assert_panics(test: DriverTest, check: &'static str) {
    let failure = failure(test, check);
    assert!(failure.ends_with(" (it has panicked)"), "{failure}");
}

fn assert_hangs(test: DriverTest, check: &'static str) {
    let failure = failure(test.limit(Duration::from_secs(1)), check);
    assert!(failure.ends_with(" (it hangs)"), "{failure}");
}

/// Drives with a fault: `sleep` gets the time and the end of the woken channel.
fn drive_sleeping(reactor: &Reactor, sleep: impl Fn(Option<Instant>, &Receiver<()>)) {
    let (post, events) = mpsc::sync_channel(1);
    let waker = Waker::from(Arc::new(PostWake(post)));
    loop {
        match reactor.turn(&waker) {
            Turn::Again => {}
            Turn::Sleep(due) => sleep(due, &events),
            Turn::Stopped => return,
        }
    }
}

#[test]
fn a_driver_that_does_not_sleep_fails() {
    let restless = DriverTest::new(|reactor| {
        drive_sleeping(&reactor, |_, _| thread::sleep(Duration::from_micros(200)));
    });
    assert_panics(restless, "an idle loop is not turned");
}

#[test]
fn a_driver_that_ignores_its_waker_hangs() {
    let ignores = DriverTest::new(|reactor| {
        drive_sleeping(&reactor, |due, _| {
            thread::sleep(due.map_or(Duration::from_secs(60), |due| due.saturating_duration_since(Instant::now())));
        });
    });
    assert_hangs(ignores, "an earlier timer ends a sleep");
}

#[test]
fn a_driver_that_ignores_the_due_time_hangs() {
    let ignores = DriverTest::new(|reactor| drive_sleeping(&reactor, |_, woken| woken.recv().unwrap()));
    assert_hangs(ignores, "timers run in the order of their due times");
}

#[test]
fn a_driver_that_sleeps_too_long_fails() {
    let late = DriverTest::new(|reactor| {
        drive_sleeping(&reactor, |due, woken| match due {
            Some(due) => {
                let due = due + Duration::from_millis(60);
                let _ = woken.recv_timeout(due.saturating_duration_since(Instant::now()));
            }
            None => woken.recv().unwrap(),
        });
    });
    assert_panics(late, "timers run soon after they are due");
}

#[cfg(target_os = "linux")]
#[test]
fn a_driver_that_wakes_again_and_again_fails() {
    let wakes = DriverTest::new(|reactor| {
        drive_sleeping(&reactor, |due, woken| {
            let due = due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()));
            let _ = woken.recv_timeout(due.min(Duration::from_millis(100)));
        });
    });
    assert_panics(wakes, "an idle thread does not wake");
}

#[test]
fn a_driver_that_does_not_hear_its_own_thread_hangs() {
    /// Wakes only from other threads.
    struct Deaf(ThreadId, SyncSender<()>);
    impl Wake for Deaf {
        fn wake(self: Arc<Self>) {
            if thread::current().id() != self.0 {
                let _ = self.1.try_send(());
            }
        }
    }
    fn run(reactors: &[ReactorOwner]) {
        let (post, events) = mpsc::sync_channel(1);
        let waker = Waker::from(Arc::new(Deaf(thread::current().id(), post)));
        run_all(reactors, &waker, &events);
    }
    let deaf = DriverTest::new(|reactor| run(&[reactor])).both(|first, second| run(&[first, second]));
    assert_hangs(deaf, "a call of one reactor wakes another one of its thread");
}

#[test]
fn a_driver_whose_loops_share_a_bell_hangs() {
    /// The last one is that of all.
    static BELLS: Mutex<Vec<SyncSender<()>>> = Mutex::new(Vec::new());
    struct Shared;
    impl Wake for Shared {
        fn wake(self: Arc<Self>) {
            let _ = BELLS.lock().last().expect("a loop runs").try_send(());
        }
    }
    let shared = DriverTest::new(|reactor| {
        let (post, events) = mpsc::sync_channel(1);
        BELLS.lock().push(post);
        run_all(&[reactor], &Waker::from(Arc::new(Shared)), &events);
    });
    assert_hangs(shared, "two threads with a reactor each wake each other");
}

#[test]
fn a_driver_that_does_not_close_its_reactor_fails() {
    let forgets = DriverTest::new(|reactor| {
        park::drive(&reactor).unwrap();
        mem::forget(reactor);
    });
    assert_panics(forgets, "the end drops and fails what is pending");
}

thread_local! {
    static ASK: Cell<Option<mpsc::Sender<RemoteCompleter<()>>>> = const { Cell::new(None) };
}

#[test]
fn a_driver_that_leaves_its_executor_no_time_hangs() {
    // It turns again inside the poll.
    async fn greedy(reactor: ReactorOwner) {
        let mut sleep = None;
        poll_fn(|context| {
            loop {
                match reactor.turn(context.waker()) {
                    Turn::Again => {}
                    Turn::Sleep(due) => {
                        sleep = due.map(sleep_until);
                        let is_over = sleep.as_mut().is_some_and(|sleep| Pin::new(sleep).poll(context).is_ready());
                        if !is_over {
                            return Poll::Pending;
                        }
                    }
                    Turn::Stopped => return Poll::Ready(()),
                }
            }
        })
        .await;
    }
    // The future needs another task of its executor.
    let greedy = DriverTest::new(|reactor| {
        let (ask, asked) = mpsc::channel::<RemoteCompleter<()>>();
        ASK.set(Some(ask));
        block_on(async {
            let answers = poll_fn(|context| {
                asked.try_iter().for_each(|completer| completer.callback(()));
                context.waker().wake_by_ref();
                Poll::<()>::Pending
            });
            future::select(pin!(greedy(reactor)), answers).await;
        });
    })
    .future("another task", || async {
        let (answer, completer) = RemoteFuture::new();
        let ask = ASK.take().unwrap();
        ask.send(completer).unwrap();
        ASK.set(Some(ask));
        answer.await.unwrap();
    });
    let check = "a flood of posts does not keep the executor's futures from running";
    assert_hangs(greedy, check);
}
