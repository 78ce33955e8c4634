//! Wake-ups, idleness, floods and blocked loops.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::super::Reports;
use super::{Check, DriverTest};
use crate::reactor::{Phase, Reactor, ReactorHandle, SystemEvent, Watchdog};

pub(super) const CHECKS: &[Check] = &[
    ("an idle loop is not turned", an_idle_loop_is_not_turned),
    #[cfg(target_os = "linux")]
    ("an idle thread does not wake", an_idle_thread_does_not_wake),
    ("one post wakes the loop once, and none is missed", one_post_wakes_the_loop_once),
    ("timers run soon after they are due, in few turns", timers_run_soon),
    ("a burst of posts takes few turns", a_burst_of_posts_takes_few_turns),
    ("a wake on the loop's own thread is not missed", a_wake_on_its_own_thread_is_not_missed),
    ("a flood of posts does not keep timers from running", a_flood_does_not_starve_timers),
    ("a blocked loop makes up for it", a_blocked_loop_makes_up_for_it),
];

fn turns(handle: &ReactorHandle) -> u64 {
    let turns = || Ok(Reactor::current().map_or(0, |reactor| reactor.health().turns));
    handle.call(turns).wait().expect("the loop runs")
}

fn an_idle_loop_is_not_turned(test: &DriverTest) {
    let counts = test.drive(|reactor| {
        reactor.call_later(Duration::from_secs(3600), || ());
        let handle = reactor.handle();
        thread::spawn(move || {
            turns(&handle);
            let before = turns(&handle);
            thread::sleep(Duration::from_millis(300));
            let during = turns(&handle) - before;
            handle.stop();
            during
        })
    });
    let during = counts.join().expect("the thread has only counted");
    // One for the post that asks, one after it, and one that a timer of the executor may cause.
    assert!(during <= 3, "{during} turns in 300 ms without anything to do");
}

/// Returns the number of voluntary context switches of a thread.
#[cfg(target_os = "linux")]
fn sleeps(thread: &std::path::Path) -> u64 {
    let status = std::fs::read_to_string(thread.join("status")).expect("the thread lives");
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:")).expect("Linux counts them");
    line.split_whitespace().last().and_then(|count| count.parse().ok()).expect("it is a number")
}

#[cfg(target_os = "linux")]
fn an_idle_thread_does_not_wake(test: &DriverTest) {
    let watches = test.drive(|reactor| {
        reactor.call_later(Duration::from_secs(3600), || ());
        let this = std::fs::read_link("/proc/thread-self").expect("Linux has it");
        let this = std::path::Path::new("/proc").join(this);
        let handle = reactor.handle();
        thread::spawn(move || {
            turns(&handle);
            // An executor may do some work of its own first.
            let rests = (0..5).any(|_| {
                let before = sleeps(&this);
                thread::sleep(Duration::from_millis(450));
                sleeps(&this) == before
            });
            handle.stop();
            rests
        })
    });
    assert!(watches.join().expect("the thread has only watched"), "something wakes the thread again and again");
}

fn one_post_wakes_the_loop_once(test: &DriverTest) {
    const POSTS: usize = 2_000;
    let turns = test.drive(|reactor| {
        let turns = Rc::new(Cell::new(0));
        let handle = reactor.handle();
        thread::spawn(move || {
            for _ in 0..POSTS {
                let ran = Arc::new(AtomicBool::new(false));
                let sets = ran.clone();
                handle.call_from_thread(move || sets.store(true, Ordering::SeqCst)).expect("the loop runs");
                while !ran.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
            }
            handle.stop();
        });
        let (slot, own) = (turns.clone(), reactor.clone());
        let at_end = move || slot.set(own.health().turns);
        reactor.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, at_end);
        turns
    });
    // One for each post, and one if the post came while the loop went to sleep.
    let limit = 2 * POSTS as u64 + 10;
    assert!(turns.get() <= limit, "{} turns for {POSTS} posts", turns.get());
}

/// The median lateness that is allowed, which a busy machine does not reach.
const LATE: Duration = Duration::from_millis(40);

fn timers_run_soon(test: &DriverTest) {
    const TIMERS: u32 = 40;
    fn next(reactor: &Reactor, left: u32, counts: Rc<Cell<(u64, Duration)>>) {
        if left == 0 {
            let health = reactor.health();
            counts.set((health.turns, health.timer_lateness.quantile(0.5)));
            return reactor.stop();
        }
        let again = reactor.clone();
        reactor.call_later(Duration::from_millis(3), move || next(&again, left - 1, counts));
    }
    let (turns, late) = test
        .drive(|reactor| {
            let counts = Rc::new(Cell::new((0, Duration::ZERO)));
            next(reactor, TIMERS, counts.clone());
            counts
        })
        .get();
    // One for the timer, one before the sleep, and two for wake-ups that come early.
    assert!(turns <= u64::from(4 * TIMERS), "{turns} turns for {TIMERS} timers");
    assert!(late < LATE, "half of the timers are later than {late:?}");
}

fn a_burst_of_posts_takes_few_turns(test: &DriverTest) {
    const POSTS: usize = 1_000;
    let turns = test.drive(|reactor| {
        let (turns, count) = (Rc::new(Cell::new(0)), Arc::new(AtomicUsize::new(0)));
        let handle = reactor.handle();
        let (slot, own) = (turns.clone(), reactor.clone());
        reactor.call_when_running(move || {
            // The loop is held until all are posted.
            let posts = thread::spawn(move || {
                for _ in 0..POSTS {
                    let count = count.clone();
                    let call = move |reactor: &Reactor| {
                        if count.fetch_add(1, Ordering::SeqCst) + 1 == POSTS {
                            reactor.stop();
                        }
                    };
                    handle.call_from_thread_with(call).expect("the loop runs");
                }
            });
            posts.join().expect("no post has panicked");
            let before = own.health().turns;
            let counts = own.clone();
            let at_end = move || slot.set(counts.health().turns - before);
            own.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, at_end);
        });
        turns
    });
    assert!(turns.get() <= 8, "{} turns for a burst of {POSTS} posts", turns.get());
}

fn a_wake_on_its_own_thread_is_not_missed(test: &DriverTest) {
    // Each round ends with a change that the turn's end must see: a call without a delay that a
    // timer makes.
    let rounds = Rc::new(Cell::new(0));
    fn round(reactor: &Reactor, rounds: Rc<Cell<u32>>) {
        rounds.set(rounds.get() + 1);
        if rounds.get() == 1_000 {
            return reactor.stop();
        }
        let again = reactor.clone();
        reactor.call_later(Duration::ZERO, move || round(&again, rounds));
    }
    test.drive(|reactor| round(reactor, rounds.clone()));
    assert_eq!(rounds.get(), 1_000);
}

fn a_flood_does_not_starve_timers(test: &DriverTest) {
    fn flood(handle: ReactorHandle) {
        let next = handle.clone();
        // An error means that the loop has ended, and so does the flood.
        let _ = handle.call_from_thread(move || flood(next));
    }
    test.drive(|reactor| {
        flood(reactor.handle());
        let stopper = reactor.clone();
        reactor.call_later(Duration::from_millis(10), move || stopper.stop());
    });
}

fn a_blocked_loop_makes_up_for_it(test: &DriverTest) {
    // While inspection is on, a report of what is pending follows.
    let pending = Reports::collect();
    let (sender, reports) = mpsc::channel();
    let ran = test.drive(|reactor| {
        let hook = move |blocked: &crate::reactor::Blocked| drop(sender.send(blocked.to_string()));
        Watchdog::new().threshold(Duration::from_millis(5)).hook(hook).start(reactor).expect("a thread can be made");
        let ran = Rc::new(Cell::new(0));
        for millis in [2, 4, 6] {
            let ran = ran.clone();
            reactor.call_later(Duration::from_millis(millis), move || ran.set(ran.get() + 1));
        }
        let handle = reactor.handle();
        reactor.call_when_running(move || {
            handle.call_from_thread_with(|reactor| {
                let stopper = reactor.clone();
                reactor.call_later(Duration::from_millis(20), move || stopper.stop());
            })?;
            // Until the watchdog reports that this call blocks the loop.
            let report = reports.recv_timeout(super::LIMIT)?;
            assert!(report.contains("has been blocked for"), "{report}");
            thread::sleep(Duration::from_millis(10));
            Ok(())
        });
        ran
    });
    assert_eq!(ran.get(), 3, "timers that were due while the loop was blocked did not run");
    let others: Vec<_> = pending.take().into_iter().filter(|report| !report.contains("pending: ")).collect();
    assert!(others.is_empty(), "{others:?}");
}
