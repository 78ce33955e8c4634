//! `Watchdog`: a call that blocks the loop is reported while it blocks. No test measures time: the
//! calls block until they are reported.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use deferred_core::{
    Blocked, CallKind, Clock, Deferred, Phase, Reactor, SystemEvent, Turn, Watchdog, inline_callbacks, inspect, park,
    report,
};

const THRESHOLD: Duration = Duration::from_millis(5);

fn dog() -> (Watchdog, Receiver<Blocked>) {
    let (sender, reports) = mpsc::channel();
    (Watchdog::new().threshold(THRESHOLD).max_reports_per_minute(1000).hook(sends(sender)), reports)
}

fn sends(sender: Sender<Blocked>) -> impl Fn(&Blocked) + Send + Sync + 'static {
    move |blocked| sender.send(blocked.clone()).unwrap()
}

/// Blocks until the watchdog reports this call, and returns the report. The end of an earlier call
/// may be reported before.
fn block(reports: &Receiver<Blocked>) -> Blocked {
    loop {
        let report = reports.recv_timeout(Duration::from_secs(60)).expect("it is reported while it blocks");
        if !report.has_ended() {
            return report;
        }
    }
}

#[test]
fn each_kind_of_call_is_reported_with_its_location_while_it_blocks_and_when_it_has_ended() {
    let (dog, reports) = dog();
    let reports = Rc::new(reports);
    let received = reports.clone();
    let noted = Rc::new(Cell::new(Vec::new()));
    let all = noted.clone();
    let (sender, jobs) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
    let line = Rc::new(Cell::new((0, 0, 0)));
    let lines = line.clone();
    thread::spawn(move || jobs.into_iter().for_each(|job| job()));
    let reactor = park::run(move |reactor| {
        dog.start(reactor).unwrap();
        let note = move |name: &'static str| {
            let (while_it_blocks, mut so_far) = (block(&reports), all.take());
            so_far.push((name, while_it_blocks));
            all.set(so_far);
        };
        let note = Rc::new(note);
        let (trigger, timer, posted, woken) = (note.clone(), note.clone(), note.clone(), note);
        let trigger_line = line!() + 1;
        reactor.add_system_event_trigger(Phase::During, SystemEvent::Startup, move || trigger("trigger"));
        let timer_line = line!() + 1;
        reactor.call_later(Duration::ZERO, move || timer("timer"));
        let (answer, resolver) = reactor.remote::<()>();
        let (rings, bell) = async_channel::bounded::<()>(1);
        let stopper = reactor.clone();
        drop(answer.add_callback(move |()| {
            posted("posted");
            sender.send(Box::new(move || rings.send_blocking(()).unwrap())).unwrap();
            Ok(())
        }));
        let woken_line = line!() + 1;
        drop(reactor.ensure_deferred(async move {
            bell.recv().await.unwrap();
            woken("coroutine");
            stopper.stop();
            Ok(())
        }));
        let later = reactor.handle();
        thread::spawn(move || {
            drop(later);
            resolver.callback(());
        });
        lines.set((trigger_line, timer_line, woken_line));
        Ok::<_, std::convert::Infallible>(reactor.clone())
    })
    .unwrap();
    let (trigger_line, timer_line, woken_line) = line.get();
    let noted = noted.take();
    let kind_and_line = |name: &str| {
        let (_, report) = noted.iter().find(|(other, _)| *other == name).unwrap();
        assert!(report.time() >= THRESHOLD);
        (report.kind(), report.registered_at().unwrap().line())
    };
    assert_eq!(kind_and_line("trigger"), (CallKind::Trigger, trigger_line));
    assert_eq!(kind_and_line("timer"), (CallKind::Timer, timer_line));
    assert_eq!(kind_and_line("posted").0, CallKind::Posted);
    assert_eq!(kind_and_line("coroutine"), (CallKind::Coroutine, woken_line));
    // When the reactor is closed, the watchdog's thread reports the end of the last call, and ends.
    let mut ended = 0;
    while let Ok(report) = received.recv_timeout(Duration::from_secs(60)) {
        assert!(report.has_ended() && report.time() >= THRESHOLD);
        ended += 1;
    }
    // The ends of the other calls were reported before the next `block` was.
    assert_eq!(ended, 1);
    let health = reactor.health();
    assert!(health.blocking_calls >= 4 && health.turns > 0 && health.timer_calls == 1, "{health:?}");
}

#[test]
fn reports_are_limited_and_the_others_are_counted() {
    let (sender, reports) = mpsc::channel();
    let dog = Watchdog::new().threshold(THRESHOLD).max_reports_per_minute(1).hook(sends(sender));
    let reactor = park::run(|reactor| {
        dog.start(reactor).unwrap();
        for number in 1..=3 {
            let same = reactor.clone();
            reactor.call_later(Duration::ZERO, move || {
                while same.health().blocking_calls < number {
                    thread::sleep(Duration::from_millis(1));
                }
            });
        }
        let stopper = reactor.clone();
        reactor.call_later(Duration::ZERO, move || stopper.stop());
        Ok::<_, std::convert::Infallible>(reactor.clone())
    })
    .unwrap();
    let reports: Vec<_> = reports.iter().collect();
    assert_eq!(reports.iter().map(Blocked::has_ended).collect::<Vec<_>>(), [false, true]);
    assert!(reactor.health().blocking_calls >= 3);
}

#[test]
fn after_a_nested_turn_the_outer_call_is_watched_again() {
    let (dog, reports) = dog();
    let owner = Reactor::new();
    let reactor = owner.clone();
    dog.start(&reactor).unwrap();
    let inner = reactor.clone();
    let line = line!() + 1;
    reactor.call_later(Duration::ZERO, move || {
        inner.call_later(Duration::ZERO, || ());
        let _ = inner.turn(Waker::noop());
        let report = block(&reports);
        assert_eq!((report.kind(), report.registered_at().unwrap().line()), (CallKind::Timer, line));
    });
    assert!(matches!(reactor.turn(Waker::noop()), Turn::Again | Turn::Sleep(_)));
}

#[test]
fn quick_calls_and_a_loop_that_sleeps_are_not_reported() {
    // A threshold that even a busy machine does not exceed, and a sleep and a series of calls that
    // are longer.
    const LONG: Duration = Duration::from_millis(500);
    let (dog, reports) = dog();
    let (sender, ends) = mpsc::channel();
    let loop_thread = thread::spawn(move || {
        park::run(|reactor| {
            dog.threshold(LONG).start(reactor).unwrap();
            sender.send(reactor.handle()).unwrap();
        });
    });
    let handle = ends.recv().unwrap();
    handle.call_from_thread(|| ()).unwrap();
    thread::sleep(LONG * 2);
    let begun = Instant::now();
    while begun.elapsed() < LONG * 2 {
        handle.call_from_thread(|| thread::sleep(Duration::from_micros(200))).unwrap();
        thread::sleep(Duration::from_micros(200));
    }
    handle.stop();
    loop_thread.join().unwrap();
    assert!(reports.recv().is_err(), "the watchdog ended without a report");
}

#[test]
fn a_watchdog_that_sleeps_is_woken_by_the_next_turn() {
    // With a threshold of a millisecond, the watchdog sleeps after ten milliseconds without a turn.
    let (sender, reports) = mpsc::channel();
    let reports = Rc::new(reports);
    park::run(|reactor| {
        Watchdog::new().threshold(Duration::from_millis(1)).hook(sends(sender)).start(reactor).unwrap();
        let stopper = reactor.clone();
        let received = reports.clone();
        reactor.call_later(Duration::from_millis(300), move || {
            block(&received);
            stopper.stop();
        });
    });
}

#[test]
fn one_reactor_has_one_watchdog_and_a_closed_one_has_none() {
    let owner = Reactor::new();
    Watchdog::new().start(&owner).unwrap();
    assert!(Watchdog::new().start(&owner).unwrap_err().to_string().contains("already has a watchdog"));
    let reactor = owner.clone();
    drop(owner);
    let (sender, dropped) = mpsc::channel::<()>();
    let dog = Watchdog::new().hook(move |_| drop(sender.clone()));
    assert!(dog.start(&reactor).unwrap_err().to_string().contains("closed"));
    assert!(dropped.recv().is_err());
}

#[test]
fn global_hooks_are_called_and_a_panic_of_one_is_ignored() {
    assert!(report::take_hook().is_none());
    let (sender, reports) = mpsc::channel();
    report::set_hook(move |report| {
        assert_eq!(report.downcast_ref::<Blocked>().unwrap().registered_at(), report.location());
        sender.send(report.to_string()).unwrap();
        panic!("the hook's own");
    });
    let reports = Rc::new(reports);
    park::run(|reactor| {
        Watchdog::new().threshold(THRESHOLD).start(reactor).unwrap();
        let stopper = reactor.clone();
        let received = reports.clone();
        reactor.call_later(Duration::ZERO, move || {
            let report = received.recv_timeout(Duration::from_secs(60)).unwrap();
            assert!(report.contains("a timer registered at ") && report.contains("which still runs"), "{report}");
            stopper.stop();
        });
    });
    let ended = reports.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(ended.contains("the loop was blocked for"), "{ended}");
    assert!(report::take_hook().is_some());
}

#[test]
fn after_a_call_that_blocked_the_loop_what_is_pending_is_reported() {
    let _on = inspect::enable();
    let (dog, reports) = dog();
    let lists = Rc::new(RefCell::new(Vec::new()));
    let log = lists.clone();
    let _hook = report::on_report(move |report| log.borrow_mut().push(report.to_string()));
    let (stuck, _kept) = Deferred::<()>::new();
    park::run(|reactor| {
        dog.start(reactor).unwrap();
        let stopper = reactor.clone();
        reactor.call_later(Duration::ZERO, move || {
            let blocks = reports.recv_timeout(Duration::from_secs(60)).unwrap();
            assert!(!blocks.has_ended());
        });
        reactor.call_later(Duration::from_millis(1), move || stopper.stop());
    });
    let lists = lists.take();
    assert!(lists.len() == 1 && lists[0].starts_with("after the call that has blocked the loop: "), "{lists:?}");
    assert!(lists[0].contains("Deferred made at deferred-core/tests/watchdog.rs:"), "{lists:?}");
    drop(stuck);
}

#[test]
fn a_resumed_coroutine_counts_as_the_call_that_fires() {
    let (dog, reports) = dog();
    park::run(|reactor| {
        dog.start(reactor).unwrap();
        let (deferred, resolver) = Deferred::<()>::new();
        let stopper = reactor.clone();
        drop(inline_callbacks(async move {
            deferred.await?;
            assert_eq!(block(&reports).kind(), CallKind::Timer);
            stopper.stop();
            Ok(())
        }));
        reactor.call_later(Duration::ZERO, move || resolver.callback(()));
    });
}

#[test]
fn a_clock_may_have_a_watchdog() {
    // A clock has no turns, so nothing is watched.
    let clock = Clock::new();
    Watchdog::new().start(&clock).unwrap();
    clock.call_later(Duration::from_secs(1), || ());
    clock.advance(Duration::from_secs(1));
    assert_eq!(clock.health().turns, 0);
}
