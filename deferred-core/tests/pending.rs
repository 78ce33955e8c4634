//! Inspection: what is pending, on what, since when, and the text that says so.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use deferred_core::inspect::{self, Kind, Pending};
use deferred_core::{
    Abandoned, Backoff, Clock, Deferred, DeferredLock, DeferredQueue, DeferredSemaphore, Gate, LoopingCall, Phase,
    Reactor, SystemEvent, concurrent, fold, gather, inline_callbacks, on_unhandled, scope,
};

/// Returns the list as text, with lines of this file as `:LINE`, and ages as `old`.
fn text(pending: &Pending) -> String {
    let text = pending.to_string();
    let here = format!("{}:", file!());
    let mut parts = text.split(&here);
    let mut shown = parts.next().unwrap().to_owned();
    for part in parts {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap();
        let column = part[digits + 1..].find(|c: char| !c.is_ascii_digit()).map_or(part.len(), |n| digits + 1 + n);
        shown.push_str(&format!(":{}{}", &part[..digits], &part[column..]));
    }
    let lines = shown.lines().map(|line| {
        let parts: Vec<_> = line.split(", ").collect();
        let parts = parts.iter().map(|part| if part.ends_with(" old") { "old" } else { part });
        parts.collect::<Vec<_>>().join(", ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn list() -> String {
    text(&Reactor::new().pending())
}

#[test]
fn nothing_is_listed_while_it_is_off_or_of_the_time_before() {
    let (before, _resolver) = Deferred::<()>::new();
    assert!(!inspect::is_enabled() && Reactor::new().pending().is_empty());
    let on = inspect::enable();
    let nested = inspect::enable();
    assert_eq!(list(), "nothing is pending");
    let (after, _resolver) = Deferred::<()>::new();
    drop(on);
    assert_eq!(Reactor::new().pending().items().len(), 1);
    drop(nested);
    assert!(!inspect::is_enabled() && Reactor::new().pending().is_empty());
    drop((before, after));
}

#[test]
fn a_deferred_is_listed_until_it_is_ready() {
    let _on = inspect::enable();
    let made = line!() + 1;
    let (deferred, resolver) = Deferred::<u32>::new();
    let added = line!() + 1;
    let deferred = deferred.map(|value| value + 1);
    assert_eq!(
        list(),
        format!("1 pending: 1 Deferred\n\nDeferred made at :{made}, last callback added at :{added}, old, not fired")
    );
    resolver.callback(1);
    assert!(deferred.is_ready());
    assert_eq!(list(), "nothing is pending");

    let (mut paused, resolver) = Deferred::<u32>::new();
    let pause = paused.pause();
    resolver.callback(1);
    assert!(list().ends_with("old, paused"), "{}", list());
    drop(pause);
    assert_eq!(list(), "nothing is pending");
}

#[test]
fn what_waits_stands_above_what_it_waits_for() {
    let _on = inspect::enable();
    let inner_made = line!() + 1;
    let (inner, resolver) = Deferred::<u32>::new();
    let awaits_made = line!() + 1;
    let awaits = inline_callbacks(async move { inner.await });
    let (outer, starts) = Deferred::<()>::new();
    let outer_made = line!() - 1;
    let added = line!() + 1;
    let outer = outer.add_callback(|()| awaits);
    starts.callback(());
    assert_eq!(
        list(),
        format!(
            "3 pending: 1 Deferred, 1 coroutine, 1 Deferred\n\n\
             Deferred made at :{outer_made}, last callback added at :{added}, old\n    \
             coroutine made at :{awaits_made}, old\n        \
             Deferred made at :{inner_made}, old, not fired"
        )
        .replacen("1 Deferred, 1 coroutine, 1 Deferred", "2 Deferreds, 1 coroutine", 1)
    );
    let pending = Reactor::new().pending();
    let kinds: Vec<_> = pending.items().iter().map(|item| (item.kind(), item.waits_for().len())).collect();
    assert_eq!(kinds, [(Kind::Deferred, 0), (Kind::Coroutine, 1), (Kind::Deferred, 1)]);
    assert!(pending.items().iter().all(|item| item.age().is_some()));
    resolver.callback(1);
    drop(outer);
    assert_eq!(list(), "nothing is pending");
}

#[test]
fn a_resolver_that_is_kept_in_a_map_is_found() {
    let _on = inspect::enable();
    let waiting: Rc<RefCell<HashMap<u32, _>>> = Rc::default();
    let made = line!() + 2;
    let ask = |id: u32| {
        let (answer, resolver) = Deferred::<String>::new();
        waiting.borrow_mut().insert(id, resolver);
        answer
    };
    let request = line!() + 1;
    let requests: Vec<_> = (0..312).map(|id| inline_callbacks(ask_and_read(ask(id)))).collect();
    assert_eq!(
        list(),
        format!(
            "624 pending: 312 Deferreds, 312 coroutines\n\n\
             312 like this: coroutine made at :{request}, old\n    \
             312 like this: Deferred made at :{made}, old, not fired"
        )
    );
    let _quiet = on_unhandled(|_| ());
    drop((requests, waiting));
}

async fn ask_and_read(answer: Deferred<String>) -> Result<usize, deferred_core::Failure> {
    Ok(answer.await?.len())
}

#[test]
fn two_coroutines_that_wait_for_each_other_are_found() {
    let _on = inspect::enable();
    let (to_first, first) = Deferred::<Deferred<u32>>::new();
    let one = line!() + 1;
    let waits = inline_callbacks(async move { to_first.await?.await });
    let two = line!() + 1;
    let other = inline_callbacks(async move { waits.await });
    first.callback(other);
    let pending = Reactor::new().pending();
    assert_eq!(
        text(&pending),
        format!(
            "2 pending: 2 coroutines\n\n\
             circle: each of these waits for the next one, and the last one for the first\n    \
             coroutine made at :{one}, old\n    \
             coroutine made at :{two}, old"
        )
    );
    assert_eq!(pending.circles().len(), 1);
}

#[test]
fn a_lock_that_is_never_released_is_found() {
    let _on = inspect::enable();
    let lock = DeferredLock::new();
    let first = lock.acquire();
    let handed_over = line!() + 1;
    let second = lock.acquire();
    drop(first.try_take());
    let taken = second.try_take().unwrap().unwrap();
    let waits = line!() + 1;
    let third = lock.acquire();
    assert_eq!(
        list(),
        format!(
            "1 pending: 1 waiter\n\n\
             waiter made at :{waits}, old, for a lock, last taken at :{handed_over}, 1 waiting"
        )
    );
    drop((taken, third));
}

#[test]
fn places_say_for_what_they_wait() {
    let _on = inspect::enable();
    let semaphore = DeferredSemaphore::new(3);
    let _permits = semaphore.try_acquire(2).unwrap();
    let taken = line!() - 1;
    let _waits = semaphore.acquire_many(2);
    assert!(list().ends_with(&format!("for a semaphore with 1 of 3 permits free, last taken at :{taken}, 1 waiting")));
    drop((semaphore, _waits));

    let queue = DeferredQueue::<u32>::with_limits(Some(1), None);
    let get = queue.get();
    assert!(list().ends_with("for a value of a queue, 1 waiting"), "{}", list());
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    let put = queue.put_wait(3);
    assert!(list().ends_with("for room in a queue of 1, 1 waiting"), "{}", list());
    drop((get, put, queue));

    let gate = Gate::new();
    let _inside = gate.enter().unwrap();
    let closes = gate.close();
    assert!(list().ends_with("for a closed gate to empty, 1 inside"), "{}", list());
    drop(closes);
}

#[test]
fn groups_stand_above_their_members() {
    let _on = inspect::enable();
    let (members, resolvers): (Vec<_>, Vec<_>) = (0..3).map(|_| Deferred::<u32>::new()).unzip();
    let made = line!() - 1;
    let group = line!() + 1;
    let all = gather(members);
    let mut resolvers = resolvers.into_iter();
    resolvers.next().unwrap().callback(1);
    assert_eq!(
        list(),
        format!(
            "3 pending: 2 Deferreds, 1 group\n\n\
             group made at :{group}, old, 2 of 3 pending\n    \
             2 like this: Deferred made at :{made}, old, not fired"
        )
    );
    resolvers.for_each(|resolver| resolver.callback(1));
    drop(all);

    let (call, resolver) = Deferred::<u32>::new();
    let mut call = Some(call);
    let calls = concurrent(2).map([1], move |_| call.take().unwrap());
    assert!(list().contains("concurrent calls"), "{}", list());
    resolver.callback(1);
    drop(calls);

    let (child, resolver) = Deferred::<()>::with_forwarding_canceller(|_| ());
    let whole = scope(|scope| scope.add(child));
    assert!(list().contains("a scope whose body has ended"), "{}", list());
    resolver.callback(());
    drop(whole);

    let (shared, resolver) = Deferred::<u32>::new();
    let shared = shared.share();
    let observers = [(); 2].map(|()| shared.observe());
    assert!(list().contains("2 like this: group"), "{}", list());
    assert!(list().contains("an observer of a shared result\n    Deferred"), "{}", list());
    resolver.callback(1);
    drop(observers);
    assert_eq!(list(), "nothing is pending");
}

#[test]
fn timers_are_listed_once_with_the_time_that_is_left() {
    let _on = inspect::enable();
    let clock = Clock::new();
    let called = line!() + 1;
    clock.call_later(Duration::from_secs(3), || ());
    let sleeps = line!() + 1;
    let sleep = clock.sleep(Duration::from_secs(5));
    let looping = LoopingCall::new(&clock, || ());
    let starts = line!() + 1;
    let ticks = looping.start(Duration::from_secs(2));
    clock.advance(Duration::from_secs(1));
    assert_eq!(
        text(&clock.pending()),
        format!(
            "3 pending: 3 timers\n\n\
             timer made at :{sleeps}, old, sleeps, due in 4.0s\n\
             timer made at :{starts}, old, LoopingCall every 2s, next in 1.0s\n\
             timer made at :{called}, due in 2.0s"
        )
    );
    looping.stop();
    drop((sleep, ticks));
}

#[test]
fn a_coroutine_that_awaits_something_else_says_so() {
    let _on = inspect::enable();
    let reactor = Reactor::new();
    let _entered = reactor.enter();
    let made = line!() + 1;
    let waits: Deferred<()> = inline_callbacks(pending());
    assert_eq!(
        text(&reactor.pending()),
        format!(
            "1 pending: 1 coroutine\n\ncoroutine made at :{made}, old, runs, or awaits something other than a Deferred"
        )
    );
    drop(waits);
}

#[test]
fn a_description_adds_details_and_what_it_waits_for() {
    let _on = inspect::enable();
    let (mut target, _resolver) = Deferred::<()>::new();
    let made = line!() - 1;
    let handle = target.cancel_handle();
    let passes_on = handle.clone();
    let (wrapper, _other) = Deferred::<()>::with_forwarding_canceller(move |why| passes_on.cancel_with(why));
    let wrapped = line!() - 1;
    let wrapper = wrapper.describe(move |it| {
        it.set_kind(Kind::Connection);
        it.set_details("to the bank");
        it.waits_for(&handle);
    });
    assert_eq!(
        list(),
        format!(
            "2 pending: 1 Deferred, 1 connection\n\n\
             connection made at :{wrapped}, old, to the bank\n    \
             Deferred made at :{made}, old, not fired"
        )
    );
    let ready = Deferred::succeed(1).describe(|_| unreachable!("it is ready"));
    assert_eq!(Reactor::new().pending().items().len(), 2);
    drop((wrapper, target, ready));
}

#[test]
fn a_long_chain_is_cut_and_its_end_is_shown() {
    let _on = inspect::enable();
    let (mut last, resolver) = Deferred::<u32>::new();
    let made = line!() - 1;
    for _ in 0..100_000 {
        let inner = last;
        last = inline_callbacks(async move { inner.await });
    }
    let pending = Reactor::new().pending();
    assert_eq!(pending.items().len(), 100_001);
    let text = text(&pending);
    assert_eq!(text.lines().count(), 17, "{text}");
    assert!(text.contains("99987 more, down to:\n"), "{text}");
    assert!(text.ends_with(&format!("Deferred made at :{made}, old, not fired")), "{text}");
    resolver.callback(1);
    assert!(last.is_ready());
}

#[test]
fn dropped_deferreds_are_forgotten() {
    let _on = inspect::enable();
    let (stays, _resolver) = Deferred::<u32>::new();
    for _ in 0..10_000 {
        let (deferred, resolver) = Deferred::<u32>::new();
        let waits = inline_callbacks(async move { deferred.await });
        resolver.callback(1);
        drop(waits);
    }
    assert_eq!(Reactor::new().pending().items().len(), 1);
    drop(stays);
}

#[test]
fn a_closed_loop_lists_nothing_for_other_threads() {
    let reactor = Reactor::new();
    let handle = reactor.handle();
    let listed = handle.pending();
    drop(reactor);
    assert!(listed.wait().unwrap_err().check::<Abandoned>(), "it was asked before the closing");
    assert!(handle.pending().wait().unwrap_err().check::<Abandoned>(), "it was asked after the closing");
}

#[test]
fn a_panic_of_a_description_leaves_the_list_usable() {
    let _on = inspect::enable();
    let (deferred, _resolver) = Deferred::<()>::new();
    let panics = Rc::new(Cell::new(true));
    let first = panics.clone();
    let _deferred = deferred.describe(move |it| {
        assert!(!first.replace(false), "on purpose");
        it.set_details("the second time");
    });
    assert!(list().ends_with("its description panicked: on purpose"), "{}", list());
    assert!(list().ends_with("the second time"), "{}", list());
}

#[test]
fn a_description_that_panics_harms_nothing() {
    let _on = inspect::enable();
    let clock = Clock::new();
    let (described, _kept) = Deferred::<()>::new();
    let described = described.describe(|_| panic!("no description"));
    let (slow, _never) = Deferred::<()>::new();
    clock.set_shutdown_deadline(Duration::from_secs(1));
    clock.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, move || slow.add_errback(|_| Ok(())));
    let ends = Rc::new(Cell::new(false));
    let ended = ends.clone();
    clock.add_system_event_trigger(Phase::During, SystemEvent::Shutdown, move || ended.set(true));
    let _hook = deferred_core::report::on_report(|report| {
        let text = report.to_string();
        assert!(report.kind() != "pending" || text.contains("its description panicked: no description"), "{text}");
    });
    clock.stop();
    (0..3).for_each(|_| clock.advance(Duration::from_secs(1)));
    assert!(ends.get());
    drop(described);
}

#[test]
fn a_timer_at_the_line_of_a_listed_sleep_is_listed_too() {
    let clock = Clock::new();
    let mut sleeps = Vec::new();
    for on in [false, false, true] {
        let _on = on.then(inspect::enable);
        sleeps.push(clock.sleep(Duration::from_secs(1)));
        assert_eq!(clock.pending().items().len(), sleeps.len());
    }
}

#[test]
fn a_shielded_or_chained_deferred_waits_for_its_source() {
    let _on = inspect::enable();
    let (deferred, resolver) = Deferred::<u32>::new();
    let made = line!() - 1;
    let shield = line!() + 1;
    let shielded = deferred.shield();
    assert_eq!(
        list(),
        format!(
            "2 pending: 2 Deferreds\n\n\
             Deferred made at :{shield}, old, not fired\n    \
             Deferred made at :{made}, old, not fired"
        )
    );
    resolver.callback(1);
    assert!(shielded.is_ready());

    // A circle over resolvers.
    let (first, fires_first) = Deferred::<u32>::new();
    let (second, fires_second) = Deferred::<u32>::new();
    first.chain_deferred(fires_second);
    inline_callbacks(async move { second.await }).chain_deferred(fires_first);
    assert_eq!(Reactor::new().pending().circles().len(), 1, "{}", list());
}

#[test]
fn loops_are_named_and_show_no_location_inside_the_library() {
    let _on = inspect::enable();
    let clock = Clock::new();
    let (attempt, _resolver) = Deferred::<u32>::new();
    let attempt = Cell::new(Some(attempt));
    let retry = clock.retry(Backoff::new(Duration::from_secs(1)), move |_| attempt.take().expect("called once"));
    let (call, _resolver) = Deferred::<u32>::new();
    let call = Cell::new(Some(call));
    let folded = fold(0..3, 0, move |_, _| call.take().expect("called once"));
    let listed = clock.pending().to_string();
    for name in ["retry", "fold"] {
        assert!(listed.contains(&format!(" old, {name}\n")), "{name}: {listed}");
    }
    assert!(!listed.contains("/src/"), "{listed}");
    for ended in [retry, folded] {
        ended.cancel();
        drop(ended.add_errback(|_| Ok(0)));
    }
}
