//! Loom tests of every interleaving of post, sleep and close. Run them with
//! `RUSTFLAGS="--cfg loom" cargo test --release -p deferred-core --lib loom`.

use std::collections::VecDeque;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use loom::sync::Notify;
use loom::thread;

use super::{Call, Inbox};
use crate::deferred::Deferred;
use crate::error::CallSite;
use crate::reactor::Reactor;

struct Note;

impl Call for Note {
    fn call(self: Box<Self>, _: &Reactor, _: CallSite) -> Deferred<()> {
        Deferred::succeed(())
    }
}

fn post(inbox: &Inbox) -> bool {
    inbox.post(Box::new(Note), Location::caller()).is_ok()
}

/// A driver that waits for its waker, as `park` does.
struct Bell {
    notify: Notify,
    rings: AtomicUsize,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rings.fetch_add(1, Ordering::Relaxed);
        self.notify.notify();
    }
}

fn bell() -> (Arc<Bell>, Waker) {
    let bell = Arc::new(Bell { notify: Notify::new(), rings: AtomicUsize::new(0) });
    (bell.clone(), Waker::from(bell))
}

/// Turns until `want` calls have run, and returns the number of sleeps. If a wake-up is lost, loom
/// reports a deadlock.
fn drive(inbox: &Inbox, bell: &Bell, waker: &Waker, want: usize) -> usize {
    let (mut calls, mut sleeps) = (0, 0);
    loop {
        calls += inbox.take(VecDeque::new()).0.len();
        if calls == want {
            return sleeps;
        }
        if inbox.sleep(waker) {
            sleeps += 1;
            bell.notify.wait();
        }
    }
}

#[test]
fn no_wake_up_is_lost() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::new());
        let poster = thread::spawn({
            let inbox = inbox.clone();
            move || assert!(post(&inbox) && post(&inbox))
        });
        let (bell, waker) = bell();
        drive(&inbox, &bell, &waker, 2);
        poster.join().unwrap();
    });
}

#[test]
fn a_sleep_is_ended_by_one_wake_however_many_post() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::new());
        let (bell, waker) = bell();
        assert!(inbox.sleep(&waker));
        let posters = [(); 2].map(|()| {
            let inbox = inbox.clone();
            thread::spawn(move || assert!(post(&inbox)))
        });
        for poster in posters {
            poster.join().unwrap();
        }
        assert_eq!(bell.rings.load(Ordering::Relaxed), 1);
        assert_eq!(inbox.take(VecDeque::new()).0.len(), 2);
    });
}

#[test]
fn no_more_wakes_than_sleeps() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::new());
        let posters = [(); 2].map(|()| {
            let inbox = inbox.clone();
            thread::spawn(move || assert!(post(&inbox)))
        });
        let (bell, waker) = bell();
        let sleeps = drive(&inbox, &bell, &waker, 2);
        for poster in posters {
            poster.join().unwrap();
        }
        // Fewer when loom's `wait` has returned early, which it is free to do.
        assert!(bell.rings.load(Ordering::Relaxed) <= sleeps);
    });
}

#[test]
fn a_wake_without_a_post_reaches_a_sleeper() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::new());
        let (bell, waker) = bell();
        assert!(inbox.sleep(&waker));
        let other = thread::spawn({
            let inbox = inbox.clone();
            move || inbox.wake()
        });
        inbox.wake();
        bell.notify.wait();
        other.join().unwrap();
        assert_eq!(bell.rings.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_post_that_races_with_the_closing_is_taken_or_returned() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::new());
        let poster = thread::spawn({
            let inbox = inbox.clone();
            move || usize::from(post(&inbox)) + usize::from(post(&inbox))
        });
        let closing = inbox.close().len();
        let accepted = poster.join().unwrap();
        assert_eq!(accepted, closing);
        assert!(!post(&inbox));
        assert!(inbox.take(VecDeque::new()).0.is_empty());
    });
}

#[test]
fn closing_wakes_a_sleeper_that_stays_awake() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::new());
        let (bell, waker) = bell();
        let closer = thread::spawn({
            let inbox = inbox.clone();
            move || drop(inbox.close())
        });
        while inbox.sleep(&waker) {
            bell.notify.wait();
        }
        closer.join().unwrap();
        assert!(!inbox.sleep(&waker));
    });
}
