//! `Cooperator`, which does long work in slices.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use deferred_core::{
    Abandoned, Clock, CooperativeTask, Cooperator, Deferred, Failure, LoopingCall, Reactor, TaskFinished, TaskStopped,
    park,
};

use crate::support::{App, Log, ignore_unhandled, peek_text, take_text, unhandled_into};

fn logging(log: &Log, name: &'static str, count: u32) -> impl Iterator<Item = ()> + use<> {
    let log = log.clone();
    (0..count).map(move |n| log.add(format!("{name}{n}")))
}

#[test]
fn tasks_take_steps_in_turn() {
    let (clock, log) = (Clock::new(), Log::new());
    let cooperator = Cooperator::new(&clock);
    let (a, b) = (cooperator.cooperate(logging(&log, "a", 3)), cooperator.cooperate(logging(&log, "b", 2)));
    let (mut a, mut b) = (a.when_done(), b.when_done());
    assert!(log.take().is_empty(), "the first step is made in a turn");
    clock.advance(Duration::ZERO);
    assert_eq!(log.take(), ["a0", "b0", "a1", "b1", "a2"]);
    assert_eq!((peek_text(&mut a), peek_text(&mut b)), ("()".into(), "()".into()));
    assert!(clock.delayed_calls().is_empty());
}

#[test]
fn with_a_slice_of_zero_each_turn_runs_one_step_and_timers_run_in_between() {
    let ticks = Rc::new(Cell::new(0));
    let count = ticks.clone();
    park::run_until(|reactor| {
        drop(LoopingCall::new(reactor, move || count.set(count.get() + 1)).start(Duration::ZERO));
        let cooperator = Cooperator::new(reactor);
        cooperator.set_slice(Duration::ZERO);
        cooperator.coiterate((0..100).map(|_| ()))
    })
    .unwrap();
    assert!(ticks.get() >= 100, "{}", ticks.get());
}

#[test]
fn a_step_that_returns_a_deferred_is_waited_for_and_others_continue() {
    let (clock, log) = (Clock::new(), Log::new());
    let cooperator = Cooperator::new(&clock);
    let (first, resolver) = Deferred::<u32>::new();
    let mut steps = vec![Deferred::succeed(1), first].into_iter();
    let mut done = cooperator.coiterate(std::iter::from_fn(move || steps.next()));
    drop(cooperator.coiterate(logging(&log, "other", 3)));
    clock.advance(Duration::ZERO);
    assert_eq!((log.take().len(), peek_text(&mut done).as_str()), (3, "pending"));
    resolver.callback(2);
    clock.advance(Duration::ZERO);
    assert_eq!(take_text(done), "()");
}

#[test]
fn an_error_or_a_panic_of_a_step_ends_the_task() {
    let clock = Clock::new();
    let cooperator = Cooperator::new(&clock);
    let failed = cooperator.coiterate([Ok(()), Err(Failure::from(App(1))), Ok(())]);
    let panics = cooperator.coiterate(std::iter::from_fn(|| -> Option<()> { panic!("in a step") }));
    let (later, resolver) = Deferred::<()>::new();
    let fails_later = cooperator.coiterate([later]);
    clock.advance(Duration::ZERO);
    resolver.errback(App(2));
    assert_eq!([failed, panics, fails_later].map(take_text), ["App(1)", "Panicked(in a step)", "App(2)"]);
}

#[test]
fn every_when_done_fires_before_and_after_the_end() {
    let clock = Clock::new();
    let cooperator = Cooperator::new(&clock);
    let task = cooperator.cooperate([Err::<(), _>(Failure::from(App(1)))]);
    let before = [task.when_done(), task.when_done()];
    before[0].cancel();
    clock.advance(Duration::ZERO);
    assert_eq!(before.map(take_text), ["Cancelled", "App(1)"]);
    assert_eq!(take_text(task.when_done()), "App(1)");
    assert_eq!(task.pause(), Err(TaskFinished::Done));
}

#[test]
fn pauses_are_counted_and_the_last_one_resumes_the_task() {
    let (clock, log) = (Clock::new(), Log::new());
    let cooperator = Cooperator::new(&clock);
    let task = cooperator.cooperate(logging(&log, "a", 2));
    assert_eq!(task.resume(), Err(TaskFinished::NotPaused));
    task.pause().unwrap();
    task.pause().unwrap();
    clock.advance(Duration::ZERO);
    task.resume().unwrap();
    clock.advance(Duration::ZERO);
    assert!(log.take().is_empty());
    task.resume().unwrap();
    clock.advance(Duration::ZERO);
    assert_eq!(log.take(), ["a0", "a1"]);
}

#[test]
fn a_pause_that_ends_early_causes_no_extra_step() {
    let (clock, log) = (Clock::new(), Log::new());
    let cooperator = Cooperator::new(&clock);
    let (first, resolver) = Deferred::<()>::new();
    let (mut first, steps) = (Some(first), log.clone());
    let task = cooperator.cooperate((0..2).map(move |n| {
        steps.add(format!("a{n}"));
        first.take().unwrap_or_else(|| Deferred::succeed(()))
    }));
    let _other = cooperator.cooperate(logging(&log, "b", 2));
    let pause = || task.pause().and_then(|()| task.resume()).unwrap();
    pause(); // before its first step
    clock.advance(Duration::ZERO);
    assert_eq!(log.take(), ["a0", "b0", "b1"]);
    pause(); // while it waits for a Deferred
    clock.advance(Duration::ZERO);
    assert!(log.take().is_empty());
    resolver.callback(());
    clock.advance(Duration::ZERO);
    assert_eq!(log.take(), ["a1"]);
}

#[test]
fn a_pause_and_a_stop_from_inside_a_step() {
    let (clock, log) = (Clock::new(), Log::new());
    let cooperator = Cooperator::new(&clock);
    for stops in [false, true] {
        let task = Rc::new(RefCell::new(None::<CooperativeTask>));
        let (itself, steps) = (task.clone(), log.clone());
        let work = (0..3).map(move |n| {
            steps.add(n.to_string());
            let task = itself.borrow().clone().expect("set");
            if stops { task.stop().unwrap() } else { task.pause().unwrap() }
        });
        let begun = cooperator.cooperate(work);
        task.replace(Some(begun.clone()));
        clock.advance(Duration::ZERO);
        assert_eq!(log.take(), ["0"]);
        if stops {
            assert!(begun.when_done().try_take().unwrap().unwrap_err().check::<TaskStopped>());
        } else {
            begun.resume().unwrap();
            clock.advance(Duration::ZERO);
            assert_eq!(log.take(), ["1"]);
            begun.stop().unwrap();
        }
        task.take();
    }
}

#[test]
fn stopping_cancels_the_awaited_deferred_and_cancelling_coiterate_stops() {
    let (clock, log) = (Clock::new(), Log::new());
    let _hook = unhandled_into(&log);
    let cooperator = Cooperator::new(&clock);
    let (first, resolver) = Deferred::<()>::new();
    let task = cooperator.cooperate([first]);
    clock.advance(Duration::ZERO);
    task.stop().unwrap();
    assert!(resolver.is_cancelled());
    drop(task);

    let (second, resolver) = Deferred::<()>::new();
    let done = cooperator.coiterate([second]);
    clock.advance(Duration::ZERO);
    done.cancel();
    assert_eq!(take_text(done), "Cancelled");
    assert!(resolver.is_cancelled());
    assert!(log.take().is_empty());
}

#[test]
fn a_stopped_task_stays_stopped_if_its_deferred_fires_a_value() {
    let clock = Clock::new();
    let (step, _resolver) = Deferred::<()>::with_canceller(|| Some(Ok(())));
    let task = Cooperator::new(&clock).cooperate([step]);
    clock.advance(Duration::ZERO);
    task.stop().unwrap();
    assert_eq!(task.stop(), Err(TaskFinished::Done));
    assert!(clock.delayed_calls().is_empty());
}

#[test]
fn an_error_without_when_done_is_reported() {
    let (clock, log) = (Clock::new(), Log::new());
    let _hook = unhandled_into(&log);
    let cooperator = Cooperator::new(&clock);
    let task = cooperator.cooperate([Err::<(), _>(Failure::from(App(1)))]);
    clock.advance(Duration::ZERO);
    assert!(log.take().is_empty());
    drop(task);
    assert_eq!(log.take(), ["unhandled App(1)"]);
}

#[test]
fn closing_the_reactor_abandons_ready_paused_and_waiting_tasks() {
    let reactor = Reactor::new();
    let cooperator = Cooperator::new(&reactor);
    let (never, resolver) = Deferred::<()>::new();
    let waiting = cooperator.cooperate([never]);
    let paused = cooperator.cooperate([()]);
    paused.pause().unwrap();
    let _ = reactor.turn(std::task::Waker::noop());
    let ready = cooperator.cooperate([()]);
    let all = [&waiting, &paused, &ready].map(CooperativeTask::when_done);
    reactor.close();
    assert!(all.into_iter().all(|done| done.try_take().unwrap().unwrap_err().check::<Abandoned>()));
    assert!(resolver.is_cancelled());
    let late = cooperator.coiterate([()]);
    assert_eq!(take_text(late), "Abandoned");
}

#[test]
fn a_paused_task_is_resumed_though_its_cooperator_was_dropped() {
    let clock = Clock::new();
    let steps = Rc::new(Cell::new(0));
    let counts = steps.clone();
    let task = Cooperator::new(&clock).cooperate((0..3).map(move |_| counts.set(counts.get() + 1)));
    task.pause().unwrap();
    clock.advance(Duration::ZERO);
    let done = task.when_done();
    task.resume().unwrap();
    clock.advance(Duration::from_secs(1));
    assert_eq!((steps.get(), take_text(done).as_str()), (3, "()"));
}

#[test]
fn an_iterator_whose_destructor_panics_fails_and_others_continue() {
    struct Items(u32);
    impl Iterator for Items {
        type Item = ();
        fn next(&mut self) -> Option<()> {
            self.0 = self.0.checked_sub(1)?;
            Some(())
        }
    }
    impl Drop for Items {
        fn drop(&mut self) {
            panic!("of the iterator");
        }
    }
    for ends in ["by itself", "stopped", "closed"] {
        let _quiet = ignore_unhandled();
        let clock = Clock::new();
        let cooperator = Cooperator::new(&clock);
        let bad = cooperator.cooperate(Items(if ends == "by itself" { 0 } else { u32::MAX }));
        let (steps, done) = (Rc::new(Cell::new(0)), bad.when_done());
        let counts = steps.clone();
        let good = cooperator.coiterate((0..3).map(move |_| counts.set(counts.get() + 1)));
        match ends {
            "by itself" => {}
            "stopped" => bad.stop().unwrap(),
            _ => clock.close(),
        }
        if ends == "closed" {
            assert_eq!((take_text(done).as_str(), take_text(good).as_str()), ("Abandoned", "Abandoned"));
            continue;
        }
        clock.advance(Duration::from_secs(1));
        assert_eq!((steps.get(), take_text(good).as_str()), (3, "()"), "{ends}");
        let done = done.try_take().unwrap().unwrap_err();
        assert_eq!(done.check::<deferred_core::Panicked>(), ends == "by itself", "{ends}: {done}");
    }
}

#[test]
fn a_turn_inside_a_step_continues_the_other_tasks() {
    let reactor = Reactor::new();
    let cooperator = Cooperator::new(&reactor);
    let (ran, seen) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let (turns, looks, sees) = (reactor.clone(), ran.clone(), seen.clone());
    drop(cooperator.coiterate((0..1).map(move |_| {
        for _ in 0..10 {
            let _ = turns.turn(std::task::Waker::noop());
        }
        sees.set(looks.get());
    })));
    drop(cooperator.coiterate((0..1).map(move |_| ran.set(true))));
    for _ in 0..3 {
        let _ = reactor.turn(std::task::Waker::noop());
    }
    assert!(seen.get());
}
