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
use std::thread;
use std::time::{Duration, Instant};

use deferred_core::testing::driver::DriverTest;
use deferred_core::{Reactor, ReactorOwner, RemoteCompleter, RemoteFuture, Turn, driver, park};
use futures::executor::block_on;
use futures::{future, join};

/// Completes a future of another thread.
async fn thread() {
    let (future, completer) = RemoteFuture::new();
    thread::spawn(move || completer.callback(()));
    future.await.unwrap();
}

/// A future that wakes itself many times.
async fn yields() {
    for _ in 0..100 {
        let mut polled = false;
        poll_fn(|context| {
            if mem::replace(&mut polled, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
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

    /// Turns all reactors after each event.
    fn run(&self, reactors: &[ReactorOwner]) {
        let waker = Waker::from(Arc::new(PostWake(self.post.clone())));
        let mut left: Vec<&Reactor> = reactors.iter().map(|owner| &**owner).collect();
        loop {
            let mut wait = None;
            left.retain(|reactor| {
                let due = match reactor.turn(&waker) {
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
            match wait {
                Some(due) => drop(self.events.recv_timeout(due.saturating_duration_since(Instant::now()))),
                None => self.events.recv().expect("the toolkit holds a sender"),
            }
        }
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

/// Runs the test with a driver that has a fault, and returns the names of the checks that fail.
fn failed_checks(test: DriverTest) -> String {
    let limited = test.limit(Duration::from_secs(1)).without_signals();
    let failed = catch_unwind(AssertUnwindSafe(|| limited.run())).expect_err("the driver has a fault");
    *failed.downcast().expect("the message has arguments")
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
    let failed = failed_checks(DriverTest::new(|reactor| {
        drive_sleeping(&reactor, |_, _| thread::sleep(Duration::from_micros(200)));
    }));
    assert!(failed.contains("an idle loop is not turned (it has panicked)"), "{failed}");
}

#[test]
fn a_driver_that_ignores_its_waker_hangs() {
    let failed = failed_checks(DriverTest::new(|reactor| {
        drive_sleeping(&reactor, |due, _| {
            thread::sleep(due.map_or(Duration::from_secs(5), |due| due.saturating_duration_since(Instant::now())));
        });
    }));
    for check in ["an earlier timer ends a sleep (it hangs)", "none is missed (it hangs)"] {
        assert!(failed.contains(check), "{failed}");
    }
}

#[test]
fn a_driver_that_ignores_the_due_time_hangs() {
    let failed = failed_checks(DriverTest::new(|reactor| {
        drive_sleeping(&reactor, |_, woken| woken.recv().unwrap());
    }));
    assert!(failed.contains("timers run in the order of their due times (it hangs)"), "{failed}");
}

#[test]
fn a_driver_that_does_not_close_its_reactor_fails() {
    let failed = failed_checks(DriverTest::new(|reactor| {
        park::drive(&reactor).unwrap();
        mem::forget(reactor);
    }));
    assert!(failed.contains("the end drops and fails what is pending"), "{failed}");
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
    let failed = failed_checks(
        DriverTest::new(|reactor| {
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
        }),
    );
    assert!(
        failed.contains("a flood of posts does not keep the executor's futures from running (it hangs)"),
        "{failed}"
    );
}
