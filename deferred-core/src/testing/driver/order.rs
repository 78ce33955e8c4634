//! The order of startup, posts and timers.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Check, DriverTest};
use crate::instant::Instant;
use crate::reactor::{Phase, Reactor, ReactorHandle, SystemEvent};

pub(super) const CHECKS: &[Check] = &[
    ("the startup runs first, in its order", the_startup_runs_first),
    ("timers run in the order of their due times", timers_run_in_order),
    ("no timer runs early", no_timer_runs_early),
    ("an earlier timer ends a sleep", an_earlier_timer_ends_a_sleep),
    ("a cancelled timer does not run", a_cancelled_timer_does_not_run),
    ("posts of each of 8 threads run in order, and none is lost", posts_of_8_threads_run_in_order),
];

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<&'static str>>>);

impl Log {
    fn adding(&self, line: &'static str) -> impl Fn() + use<> {
        let log = self.clone();
        move || log.0.borrow_mut().push(line)
    }
}

fn the_startup_runs_first(test: &DriverTest) {
    let log = Log::default();
    test.drive(|reactor| {
        reactor.call_later(Duration::ZERO, log.adding("timer"));
        reactor.call_when_running(log.adding("running"));
        reactor.add_system_event_trigger(Phase::During, SystemEvent::Startup, log.adding("during"));
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Startup, log.adding("before"));
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, log.adding("shutdown"));
        let stopper = reactor.clone();
        reactor.call_later(Duration::from_millis(5), move || stopper.stop());
    });
    assert_eq!(*log.0.borrow(), ["before", "during", "running", "timer", "shutdown"]);
}

fn timers_run_in_order(test: &DriverTest) {
    let ran = Rc::new(RefCell::new(Vec::new()));
    test.drive(|reactor| {
        for number in 0..100_u64 {
            // Not in the order of creation; several have the same delay.
            let millis = number * 37 % 20;
            let ran = ran.clone();
            reactor.call_later(Duration::from_millis(millis), move || ran.borrow_mut().push(millis));
        }
        let stopper = reactor.clone();
        reactor.call_later(Duration::from_millis(30), move || stopper.stop());
    });
    let ran = ran.take();
    assert_eq!(ran.len(), 100);
    assert!(ran.is_sorted(), "{ran:?}");
}

fn no_timer_runs_early(test: &DriverTest) {
    for micros in [0, 1, 50, 999, 1500, 20_000] {
        let delay = Duration::from_micros(micros);
        let (begun, ran) = test.drive(|reactor| {
            let begun = reactor.now();
            let ran = Rc::new(RefCell::new(None));
            let (slot, clock) = (ran.clone(), reactor.clone());
            reactor.call_later(delay, move || {
                slot.replace(Some(clock.now()));
                clock.stop();
            });
            (begun, ran)
        });
        let ran = ran.take().expect("the timer has stopped the loop");
        assert!(ran >= begun + delay, "a timer of {delay:?} has run after {:?}", ran - begun);
    }
}

fn an_earlier_timer_ends_a_sleep(test: &DriverTest) {
    // It is made by a post, by a timer, and at the startup.
    let begun = Instant::now();
    test.drive(|reactor| {
        reactor.call_later(HOUR, || -> () { panic!("an hour has not passed") });
        let handle = reactor.handle();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(20)); // the loop sleeps until the hour
            let stops = |reactor: &Reactor| {
                let (again, stopper) = (reactor.clone(), reactor.clone());
                reactor.call_later(Duration::from_millis(2), move || {
                    again.call_later(Duration::from_millis(2), move || stopper.stop());
                });
            };
            handle.call_from_thread_with(stops).expect("the loop runs");
        });
    });
    assert!(begun.elapsed() < HOUR);
}

fn a_cancelled_timer_does_not_run(test: &DriverTest) {
    test.drive(|reactor| {
        let first = reactor.call_later(Duration::from_millis(1), || -> () { panic!("it was cancelled") });
        first.cancel().expect("it is pending");
        let second = reactor.call_later(Duration::from_millis(6), || -> () { panic!("it was cancelled") });
        reactor.call_later(Duration::from_millis(3), move || second.cancel().expect("it is pending"));
        let stopper = reactor.clone();
        reactor.call_later(Duration::from_millis(10), move || stopper.stop());
    });
}

fn posts_of_8_threads_run_in_order(test: &DriverTest) {
    const THREADS: usize = 8;
    const POSTS: usize = 5_000;
    #[derive(Default)]
    struct Arrived {
        next: [usize; THREADS],
        count: usize,
        wrong: usize,
    }
    let arrived = Arc::new(Mutex::new(Arrived::default()));
    let posts = move |handle: ReactorHandle, arrived: Arc<Mutex<Arrived>>, number: usize| {
        for post in 0..POSTS {
            let arrived = arrived.clone();
            let call = move |reactor: &Reactor| {
                let mut arrived = arrived.lock();
                arrived.wrong += usize::from(arrived.next[number] != post);
                arrived.next[number] = post + 1;
                arrived.count += 1;
                if arrived.count == THREADS * POSTS {
                    reactor.stop();
                }
            };
            handle.call_from_thread_with(call).expect("the loop runs");
            if post % 64 == number {
                thread::yield_now(); // so that the loop may sleep in between
            }
        }
    };
    test.drive(|reactor| {
        for number in 0..THREADS {
            let (handle, arrived) = (reactor.handle(), arrived.clone());
            thread::spawn(move || posts(handle, arrived, number));
        }
    });
    assert_eq!(arrived.lock().wrong, 0, "posts of one thread have run in another order");
}
