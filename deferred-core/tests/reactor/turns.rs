//! The calls that a turn runs, and their order.

use std::cell::{Cell, RefCell};
use std::future::IntoFuture;
use std::panic::Location;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::{Log, on_another_thread, turn};
use deferred_core::{
    Clock, Deferred, DeferredLock, Failure, LoopingCall, Panicked, Reactor, ReactorHandle, Turn, inline_callbacks,
    on_unhandled, park,
};

#[test]
fn a_turn_runs_the_start_then_posts_then_timers() {
    let reactor = Reactor::new();
    let log = Log::default();
    reactor.call_later(Duration::ZERO, log.adds("timer"));
    let later = reactor.clone();
    let from_start = log.clone();
    reactor.call_when_running(move || {
        assert!(later.is_running());
        from_start.add("start");
        later.call_when_running(from_start.adds("at once"));
        from_start.add("started");
    });
    let (sender, receiver) = mpsc::channel();
    reactor.handle().call_from_thread(move || sender.send("post").unwrap()).unwrap();
    let from_timer = log.clone();
    reactor.call_later(Duration::ZERO, move || from_timer.add(receiver.try_recv().unwrap()));
    assert!(!reactor.is_running());
    assert_eq!(turn(&reactor), Turn::Sleep(None));
    assert_eq!(log.take(), ["start", "at once", "started", "timer", "post"]);
}

#[test]
fn posts_run_in_order_up_to_a_batch_in_each_turn() {
    let reactor = Reactor::new();
    reactor.set_calls_per_turn(3);
    let handle = reactor.handle();
    let received = on_another_thread(move || {
        let (sender, receiver) = mpsc::channel();
        for number in 0..7 {
            let sender = sender.clone();
            handle.call_from_thread(move || sender.send(number).unwrap()).unwrap();
        }
        receiver
    });
    for want in [vec![0, 1, 2], vec![3, 4, 5]] {
        assert_eq!(turn(&reactor), Turn::Again);
        assert_eq!(received.try_iter().collect::<Vec<_>>(), want);
    }
    assert_eq!(turn(&reactor), Turn::Sleep(None));
    assert_eq!(received.try_iter().collect::<Vec<_>>(), [6]);
}

#[test]
fn a_batch_is_256_unless_set() {
    let reactor = Reactor::new();
    let handle = reactor.handle();
    let count = Arc::new(AtomicUsize::new(0));
    for _ in 0..257 {
        let count = count.clone();
        handle.call_from_thread(move || _ = count.fetch_add(1, Ordering::SeqCst)).unwrap();
    }
    assert_eq!(turn(&reactor), Turn::Again);
    assert_eq!(count.load(Ordering::SeqCst), 256);
    assert_eq!(turn(&reactor), Turn::Sleep(None));
    assert_eq!(count.load(Ordering::SeqCst), 257);
    assert_eq!(reactor.calls_per_turn(), 256);
    reactor.set_calls_per_turn(7);
    assert_eq!(reactor.calls_per_turn(), 7);
    reactor.set_calls_per_turn(0);
    assert_eq!(reactor.calls_per_turn(), 1);
}

#[test]
fn a_call_that_posts_itself_forever_starves_no_timer() {
    fn again(handle: ReactorHandle, count: Arc<AtomicUsize>) {
        count.fetch_add(1, Ordering::SeqCst);
        let next = handle.clone();
        handle.call_from_thread(move || again(next, count)).unwrap();
    }
    let reactor = Reactor::new();
    let count = Arc::new(AtomicUsize::new(0));
    again(reactor.handle(), count.clone());
    let log = Log::default();
    reactor.call_later(Duration::ZERO, log.adds("timer"));
    assert_eq!(turn(&reactor), Turn::Again);
    assert_eq!(log.take(), ["timer"]);
    assert_eq!(count.load(Ordering::SeqCst), 2);
    assert_eq!(turn(&reactor), Turn::Again);
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[test]
fn a_post_is_never_inline() {
    let reactor = Reactor::new();
    let handle = reactor.handle();
    let (sender, receiver) = mpsc::channel();
    let inner = handle.clone();
    handle
        .call_from_thread(move || {
            let posted = sender.clone();
            inner.call_from_thread(move || posted.send("inner").unwrap()).unwrap();
            sender.send("outer").unwrap();
        })
        .unwrap();
    assert_eq!(receiver.try_iter().count(), 0);
    assert_eq!(turn(&reactor), Turn::Again);
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), ["outer"]);
    assert_eq!(turn(&reactor), Turn::Sleep(None));
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), ["inner"]);
}

#[test]
fn a_nested_turn_continues_where_the_outer_turn_is() {
    let reactor = Reactor::new();
    let log = Log::default();
    let (nested, from_first) = (reactor.clone(), log.clone());
    reactor.call_later(Duration::ZERO, move || {
        from_first.add("first begins");
        let _ = turn(&nested);
        from_first.add("first ends");
    });
    reactor.call_later(Duration::ZERO, log.adds("second"));
    reactor.call_later(Duration::ZERO, log.adds("third"));
    let _ = turn(&reactor);
    assert_eq!(log.take(), ["first begins", "second", "third", "first ends"]);
}

#[test]
fn a_nested_turn_runs_posts_of_the_outer_turns_batch() {
    let reactor = Reactor::new();
    reactor.set_calls_per_turn(2);
    let handle = reactor.handle();
    let (sender, received) = mpsc::channel();
    for number in 0..5 {
        let (sender, poster) = (sender.clone(), handle.clone());
        let call = move || {
            sender.send(number).unwrap();
            if number == 0 {
                let reactor = Reactor::current().unwrap();
                poster.call_from_thread(move || sender.send(5).unwrap()).unwrap();
                assert_eq!(turn(&reactor), Turn::Again);
            }
        };
        handle.call_from_thread(call).unwrap();
    }
    // The outer turn stops where it would have stopped without the nested turn, or later.
    assert_eq!(turn(&reactor), Turn::Again);
    assert_eq!(received.try_iter().collect::<Vec<_>>(), [0, 1, 2]);
    while turn(&reactor) == Turn::Again {}
    assert_eq!(received.try_iter().collect::<Vec<_>>(), [3, 4, 5]);
}

#[test]
fn calls_left_over_by_a_nested_turn_are_not_run_by_the_outer_turn() {
    let reactor = Reactor::new();
    let handle = reactor.handle();
    let (sender, received) = mpsc::channel();
    let send = move |name: &'static str| {
        let sender = sender.clone();
        move || sender.send(name).unwrap()
    };
    let (poster, sends) = (handle.clone(), send.clone());
    let nesting = move || {
        let reactor = Reactor::current().unwrap();
        let _ = turn(&reactor); // the rest of the outer turn's batch
        poster.call_from_thread(sends("new")).unwrap();
        poster.call_from_thread(sends("left over")).unwrap();
        reactor.set_calls_per_turn(1);
        let _ = turn(&reactor);
        reactor.set_calls_per_turn(256);
    };
    handle.call_from_thread(nesting).unwrap();
    handle.call_from_thread(send("second")).unwrap();
    assert_eq!(turn(&reactor), Turn::Again);
    assert_eq!(received.try_iter().collect::<Vec<_>>(), ["second", "new"]);
    assert_eq!(turn(&reactor), Turn::Sleep(None));
    assert_eq!(received.try_iter().collect::<Vec<_>>(), ["left over"]);
}

#[test]
fn a_call_that_panics_is_reported_with_its_location_and_the_loop_continues() {
    let reports = Rc::new(RefCell::new(Vec::new()));
    let seen = reports.clone();
    let _hook = on_unhandled(move |unhandled| {
        let message = unhandled.downcast_ref::<Panicked>().unwrap().message().to_owned();
        seen.borrow_mut().push((message, unhandled.made_at().line()));
    });
    let reactor = Reactor::new();
    let log = Log::default();
    let first = line!() + 1;
    reactor.call_when_running(|| -> () { panic!("at the start") });
    reactor.handle().call_from_thread(|| -> () { panic!("posted") }).unwrap();
    reactor.call_later(Duration::ZERO, || -> () { panic!("timer") });
    reactor.call_when_running(log.adds("start"));
    reactor.call_later(Duration::ZERO, log.adds("timer"));
    assert_eq!(turn(&reactor), Turn::Sleep(None));
    assert_eq!(log.take(), ["start", "timer"]);
    let want = ["at the start", "posted", "timer"].map(str::to_owned);
    assert_eq!(reports.take(), want.into_iter().zip(first..).collect::<Vec<_>>());
}

#[test]
fn call_as_posted_runs_at_once_and_is_reported_with_its_location() {
    let reports = Rc::new(RefCell::new(Vec::new()));
    let seen = reports.clone();
    let _hook = on_unhandled(move |unhandled| seen.borrow_mut().push(unhandled.made_at()));
    let (reactor, log, place) = (Reactor::new(), Log::default(), Location::caller());
    reactor.call_as_posted(place, log.adds("called"));
    assert_eq!(log.take(), ["called"]);
    reactor.call_as_posted(place, || -> () { panic!("in the call") });
    assert_eq!(reports.take(), [place]);
}

#[test]
fn the_trail_of_a_failed_call_has_only_locations_of_the_user() {
    let trails = Rc::new(RefCell::new(Vec::new()));
    let seen = trails.clone();
    let _hook = on_unhandled(move |unhandled| {
        let lines = unhandled.trail().unwrap().iter().map(|place| place.to_string());
        seen.borrow_mut().push(lines.collect::<Vec<_>>());
    });
    let fails = || Err::<u32, Failure>(Failure::msg("no"));
    let reactor = Reactor::new();
    reactor.call_when_running(fails);
    reactor.call_later(Duration::ZERO, fails);
    reactor.handle().call_from_thread(fails).unwrap();
    drop(LoopingCall::new(&reactor, fails).start(Duration::ZERO));
    let _ = turn(&reactor);
    let trails = trails.take();
    assert_eq!(trails.len(), 4);
    for place in trails.iter().flatten() {
        assert!(place.contains(file!()), "{trails:?}");
    }
}

/// A future that wakes itself and counts its polls until `ends` is `true`.
async fn wakes_itself(polls: Rc<Cell<u32>>, ends: Rc<Cell<bool>>) -> Result<(), Failure> {
    std::future::poll_fn(|context| {
        polls.set(polls.get() + 1);
        context.waker().wake_by_ref();
        if ends.get() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

#[test]
fn coroutines_that_wake_themselves_are_polled_in_batches() {
    for batch in [256, 1000] {
        let reactor = Reactor::new();
        reactor.set_calls_per_turn(batch);
        let (polls, ends) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        let entered = reactor.enter();
        let pending: Vec<_> = (0..1000)
            .map(|_| {
                let (fires, resolver) = Deferred::<()>::new();
                let coroutine = wakes_itself(polls.clone(), ends.clone());
                let both =
                    inline_callbacks(async move { futures::try_join!(coroutine, fires.into_future()).map(drop) });
                (both, resolver)
            })
            .collect();
        drop(entered);
        let log = Log::default();
        for _ in 0..4 {
            for _ in 0..256 {
                reactor.call_later(Duration::ZERO, log.adds("timer"));
                reactor.handle().call_from_thread(|| Deferred::succeed(()).map(|()| ())).unwrap();
            }
            let before = polls.get();
            assert_eq!(turn(&reactor), Turn::Again);
            assert!(polls.get() - before <= batch as u32, "{} polls in one turn", polls.get() - before);
            assert!(polls.get() > before);
            assert_eq!(log.take().len(), 256);
        }
        ends.set(true);
        pending.into_iter().for_each(|(both, resolver)| {
            resolver.callback(());
            drop(both);
        });
        while turn(&reactor) == Turn::Again {}
    }
}

#[test]
fn coroutines_woken_by_a_timer_run_in_the_next_turn() {
    let reactor = Reactor::new();
    let log = Log::default();
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let (keeps, events, woken) = (waker.clone(), log.clone(), Rc::new(Cell::new(false)));
    let ready = woken.clone();
    let deferred = reactor.ensure_deferred(std::future::poll_fn(move |context| {
        if ready.get() {
            events.add("polled");
            return Poll::Ready(Ok(()));
        }
        keeps.replace(Some(context.waker().clone()));
        Poll::Pending
    }));
    let events = log.clone();
    reactor.call_later(Duration::ZERO, move || {
        woken.set(true);
        waker.take().unwrap().wake();
        events.add("timer ends");
    });
    assert_eq!(turn(&reactor), Turn::Again);
    assert_eq!(log.take(), ["timer ends"]);
    assert_eq!(turn(&reactor), Turn::Sleep(None));
    assert_eq!(log.take(), ["polled"]);
    assert!(deferred.is_ready());
}

#[test]
fn a_resolver_dropped_in_a_nested_loop_fires_in_that_loop() {
    let reactor = Reactor::new();
    let dialog = reactor.clone();
    let log = Log::default();
    let events = log.clone();
    reactor.call_later(Duration::ZERO, move || {
        let (answer, resolver) = Deferred::<()>::new();
        let (answered, stops) = (events.clone(), dialog.clone());
        drop(answer.add_errback(move |_| {
            answered.add("answered");
            stops.stop();
            Ok(())
        }));
        let lock = DeferredLock::new();
        let permit = lock.try_acquire().unwrap();
        drop(lock.acquire().map({
            let events = events.clone();
            move |_| events.add("served")
        }));
        dialog.call_later(Duration::ZERO, move || drop((permit, resolver)));
        park::drive(&dialog).unwrap();
        events.add("the dialog has ended");
    });
    park::drive(&reactor).unwrap();
    assert_eq!(log.take(), ["served", "answered", "the dialog has ended"]);

    let clock = Rc::new(Clock::new());
    let (inner, events) = (Rc::downgrade(&clock), log.clone());
    clock.call_later(Duration::ZERO, move || {
        let inner = inner.upgrade().unwrap();
        let (deferred, resolver) = Deferred::<()>::new();
        let abandoned = events.clone();
        drop(deferred.add_errback(move |_| {
            abandoned.add("abandoned");
            Ok(())
        }));
        inner.call_later(Duration::from_secs(1), move || drop(resolver));
        inner.advance(Duration::from_secs(1));
        events.add("callback ends");
    });
    clock.advance(Duration::ZERO);
    assert_eq!(log.take(), ["abandoned", "callback ends"]);
}

#[test]
fn a_coroutine_without_a_reactor_woken_in_the_last_turn_is_polled_by_the_next_call() {
    let (deferred, resolver) = Deferred::<u32>::new();
    let coroutine = inline_callbacks(async move {
        let mut all = futures::stream::FuturesUnordered::new();
        all.push(deferred.into_future());
        futures::StreamExt::next(&mut all).await.expect("one")
    });
    let reactor = Reactor::new();
    let stops = reactor.clone();
    reactor.call_later(Duration::ZERO, move || {
        resolver.callback(1);
        stops.stop();
    });
    assert_eq!(turn(&reactor), Turn::Stopped);
    drop(reactor);
    drop(Deferred::succeed(()).map(|()| ()));
    assert!(coroutine.is_ready());
}
