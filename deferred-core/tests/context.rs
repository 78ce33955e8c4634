//! Context: a value is current in what was started with it, and nowhere else.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use deferred_core::context::{self, Context};
use deferred_core::testing::{failure_result_of, success_result_of};
use deferred_core::{
    Backoff, Clock, Cooperator, Deferred, DeferredLock, Failure, LoopingCall, Phase, Reactor, SystemEvent, TimedOut,
    concurrent, fold, inline_callbacks, on_unhandled, park, repeat_until, with_context,
};

/// The value of these tests.
struct Id(u32);

/// Returns the current id, or 0.
fn id() -> u32 {
    context::get::<Id>().map_or(0, |id| id.0)
}

/// Logs the ids that are current when it is called.
#[derive(Clone, Default)]
struct Ids(Rc<RefCell<Vec<u32>>>);

impl Ids {
    fn add(&self) {
        self.0.borrow_mut().push(id());
    }

    fn adds(&self) -> impl Fn() + 'static {
        let ids = self.clone();
        move || ids.add()
    }

    fn take(&self) -> Vec<u32> {
        self.0.take()
    }
}

#[test]
fn a_value_is_current_in_the_call_and_the_one_of_before_afterwards() {
    assert_eq!(id(), 0);
    with_context(Id(1), || {
        assert_eq!(id(), 1);
        with_context("another type", || assert_eq!((id(), *context::get::<&str>().unwrap()), (1, "another type")));
        assert!(context::get::<&str>().is_none());
        with_context(Id(2), || assert_eq!(id(), 2));
        let panicked = catch_unwind(AssertUnwindSafe(|| with_context(Id(3), || panic!("inside"))));
        assert!(panicked.is_err());
        context::without(|| assert_eq!(id(), 0));
        assert_eq!(id(), 1);
    });
    assert_eq!(id(), 0);
}

#[test]
fn a_coroutine_has_its_context_in_each_poll_and_when_it_is_dropped() {
    struct AtDrop(Ids);
    impl Drop for AtDrop {
        fn drop(&mut self) {
            self.0.add();
        }
    }
    let ids = Ids::default();
    let (first, fires_first) = Deferred::<()>::new();
    let (second, fires_second) = Deferred::<()>::new();
    let (log, at_drop) = (ids.clone(), AtDrop(ids.clone()));
    let coroutine = with_context(Id(1), || {
        inline_callbacks(async move {
            let _at_drop = at_drop;
            log.add();
            first.await?;
            log.add();
            let inner = log.clone();
            // Started by the coroutine, and so in its context.
            inline_callbacks(async move {
                inner.add();
                Ok(())
            })
            .await?;
            second.await?;
            log.add();
            Ok(())
        })
    });
    assert_eq!(ids.take(), [1]);
    fires_first.callback(());
    assert_eq!((ids.take(), id()), (vec![1, 1], 0));
    with_context(Id(2), || fires_second.callback(()));
    assert_eq!((ids.take(), id()), (vec![1, 1], 0));
    success_result_of(coroutine);

    let reactor = Reactor::new();
    let at_drop = AtDrop(ids.clone());
    let cancelled = with_context(Id(5), || {
        reactor.ensure_deferred(async move {
            let _at_drop = at_drop;
            std::future::pending::<Result<(), Failure>>().await
        })
    });
    with_context(Id(6), || {
        cancelled.cancel();
        assert_eq!(id(), 6);
    });
    assert_eq!(ids.take(), [5]);
}

#[test]
fn a_coroutine_without_a_context_has_none_when_code_with_one_resumes_it() {
    let ids = Ids::default();
    let (deferred, resolver) = Deferred::<()>::new();
    let log = ids.clone();
    let coroutine = inline_callbacks(async move {
        deferred.await?;
        log.add();
        Ok(())
    });
    with_context(Id(1), || {
        resolver.callback(());
        assert_eq!(id(), 1);
    });
    success_result_of(coroutine);
    assert_eq!(ids.take(), [0]);
}

/// Twisted's issue 9807: after two coroutines that await each other's results, each sees the values
/// of the other.
#[test]
fn interleaved_coroutines_do_not_see_the_values_of_each_other() {
    let clock = Clock::new();
    let ids = Ids::default();
    let steps = (1..=3).map(|n| {
        let (reactor, log) = ((*clock).clone(), ids.clone());
        with_context(Id(n), || {
            inline_callbacks(async move {
                for _ in 0..3 {
                    reactor.sleep(Duration::from_secs(1)).await?;
                    log.add();
                }
                Ok(id())
            })
        })
    });
    let all: Vec<_> = steps.collect();
    (0..3).for_each(|_| clock.advance(Duration::from_secs(1)));
    assert_eq!(all.into_iter().map(success_result_of).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(ids.take(), [1, 2, 3, 1, 2, 3, 1, 2, 3]);
}

#[test]
fn a_panic_of_a_coroutine_restores_the_context() {
    let (deferred, resolver) = Deferred::<()>::new();
    let coroutine = with_context(Id(1), || {
        inline_callbacks::<()>(async move {
            deferred.await?;
            panic!("on purpose");
        })
    });
    with_context(Id(2), || {
        resolver.callback(());
        assert_eq!(id(), 2);
    });
    assert!(failure_result_of(coroutine).to_string().contains("on purpose"));
}

#[test]
fn timers_triggers_and_turns_have_their_own_context() {
    let clock = Clock::new();
    let ids = Ids::default();
    clock.call_later(Duration::from_secs(1), ids.adds());
    with_context(Id(1), || {
        clock.call_later(Duration::from_secs(1), ids.adds());
        clock.call_when_running(ids.adds());
        clock.add_system_event_trigger(Phase::Before, SystemEvent::Shutdown, ids.adds());
    });
    // A turn inside a call with a context, such as that of a modal dialog.
    with_context(Id(2), || {
        clock.advance(Duration::from_secs(1));
        clock.stop();
        clock.advance(Duration::ZERO);
        assert_eq!(id(), 2);
    });
    assert_eq!(ids.take(), [1, 0, 1, 1]);
}

#[test]
fn a_timer_that_is_cancelled_or_has_run_drops_the_values() {
    let clock = Clock::new();
    let value = Arc::new(());
    let called = with_context(value.clone(), || clock.call_later(Duration::ZERO, || ()));
    let cancelled = with_context(value.clone(), || clock.call_later(Duration::from_secs(9), || ()));
    clock.advance(Duration::ZERO);
    cancelled.cancel().unwrap();
    assert_eq!(Arc::strong_count(&value), 1);
    let closed = with_context(value.clone(), || clock.call_later(Duration::from_secs(9), || ()));
    drop(clock);
    assert_eq!(Arc::strong_count(&value), 1);
    drop((called, cancelled, closed));
}

#[test]
fn repeated_functions_have_the_context_of_their_start_whatever_fires_in_between() {
    let clock = Clock::new();
    let ids = Ids::default();
    let waits = Rc::new(RefCell::new(Vec::new()));
    let wait = {
        let waits = waits.clone();
        move || {
            let (deferred, resolver) = Deferred::<()>::new();
            waits.borrow_mut().push(resolver);
            deferred
        }
    };
    let fire = || {
        let resolvers: Vec<_> = waits.borrow_mut().drain(..).collect();
        with_context(Id(9), || resolvers.into_iter().for_each(|resolver| resolver.callback(())));
    };

    let (log, waits_for) = (ids.clone(), wait.clone());
    let looping = LoopingCall::new(&clock, move || {
        log.add();
        waits_for()
    });
    let done = with_context(Id(1), || looping.start(Duration::from_secs(1)));
    fire();
    clock.advance(Duration::from_secs(1));
    fire();
    clock.advance(Duration::from_secs(1));
    looping.stop();
    fire();
    drop(done);
    assert_eq!(ids.take(), [1, 1, 1]);

    let (log, waits_for) = (ids.clone(), wait.clone());
    let retried = with_context(Id(2), || {
        clock.retry(Backoff::new(Duration::from_secs(1)), move |attempt| {
            log.add();
            waits_for().add_callback(move |()| if attempt < 2 { Err(Failure::msg("again")) } else { Ok(()) })
        })
    });
    (0..3).for_each(|_| {
        fire();
        clock.advance(Duration::from_secs(10));
    });
    success_result_of(retried);
    assert_eq!(ids.take(), [2, 2, 2]);

    let (log, waits_for) = (ids.clone(), wait.clone());
    let mapped = with_context(Id(3), || {
        concurrent(1).map(0..3, move |_| {
            log.add();
            waits_for()
        })
    });
    (0..3).for_each(|_| fire());
    success_result_of(mapped);
    assert_eq!(ids.take(), [3, 3, 3]);

    let (log, waits_for) = (ids.clone(), wait.clone());
    let folded = with_context(Id(4), || {
        fold(0..3, (), move |(), _| {
            log.add();
            waits_for()
        })
    });
    (0..3).for_each(|_| fire());
    success_result_of(folded);
    assert_eq!(ids.take(), [4, 4, 4]);

    let cooperator = Cooperator::new(&clock);
    let (log, waits_for) = (ids.clone(), wait);
    let work = (0..3).map(move |_| {
        log.add();
        waits_for()
    });
    let worked = with_context(Id(5), || cooperator.coiterate(work));
    (0..5).for_each(|_| {
        clock.advance(Duration::from_secs(1));
        fire();
    });
    clock.advance(Duration::from_secs(1));
    success_result_of(worked);
    assert_eq!(ids.take(), [5, 5, 5]);
}

/// Twisted's issue 9824: a call from a thread does not see the values of the code that made it.
#[test]
fn a_call_from_a_thread_has_the_context_of_the_caller() {
    let seen = park::run_until(|reactor| {
        let (handle, posts) = (reactor.handle(), reactor.handle());
        let (both, resolver) = reactor.remote();
        thread::spawn(move || {
            let blocking = with_context(Id(1), || handle.blocking_call_from_thread(|| Ok(id()))).unwrap();
            let in_between = posts.blocking_call_from_thread(|| Ok(id())).unwrap();
            with_context(Id(2), || {
                posts
                    .call_from_thread(move || resolver.callback((blocking, in_between, id())))
                    .map_err(|_| ())
                    .unwrap();
            });
        });
        both
    });
    assert_eq!(seen.unwrap(), (1, 0, 2));
}

#[test]
fn a_result_from_a_thread_brings_no_context() {
    let ids = Ids::default();
    let log = ids.clone();
    park::run_until(|reactor| {
        let (deferred, resolver) = reactor.remote::<()>();
        thread::spawn(move || with_context(Id(1), || resolver.callback(())));
        deferred.map(move |()| log.add())
    })
    .unwrap();
    assert_eq!(ids.take(), [0]);
}

#[test]
fn a_context_can_be_taken_along_to_another_library() {
    let context = with_context(Id(4), Context::current);
    assert_eq!((id(), context.get::<Id>().unwrap().0), (0, 4));
    assert_eq!(thread::spawn(move || context.run(id)).join().unwrap(), 4);
}

#[test]
fn the_nearest_deadline_counts_and_limits_a_timeout() {
    let clock = Clock::new();
    let now = clock.now();
    let (near, far) = (now + Duration::from_secs(1), now + Duration::from_secs(5));
    let slow = || clock.sleep(Duration::from_secs(100));
    let (limited, unlimited, shorter) = context::with_deadline(near, || {
        context::with_deadline(far, || {
            assert_eq!(context::deadline(), Some(near));
            let limited = slow().add_timeout(Duration::from_secs(3), &clock);
            let unlimited = context::without(|| slow().add_timeout(Duration::from_secs(3), &clock));
            (limited, unlimited, slow().add_timeout(Duration::from_millis(1), &clock))
        })
    });
    assert_eq!(context::deadline(), None);
    clock.advance(Duration::from_millis(1));
    let after = |deferred: Deferred<()>| failure_result_of(deferred).trap::<TimedOut>().unwrap().duration().unwrap();
    assert_eq!(after(shorter), Duration::from_millis(1));
    clock.advance(Duration::from_millis(999));
    assert_eq!(after(limited), Duration::from_secs(1));
    clock.advance(Duration::from_secs(3));
    assert_eq!(after(unlimited), Duration::from_secs(3));
}

#[test]
fn a_deadline_that_has_passed_ends_a_timeout_in_the_next_turn() {
    let clock = Clock::new();
    let passed = clock.now();
    clock.advance(Duration::from_secs(1));
    let late = context::with_deadline(passed, || {
        clock.sleep(Duration::from_secs(9)).add_timeout(Duration::from_secs(3), &clock)
    });
    clock.advance(Duration::ZERO);
    assert!(failure_result_of(late).check::<TimedOut>());
}

#[test]
fn values_are_dropped_outside_of_borrows_and_may_use_the_context() {
    thread_local!(static DROPS: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) });
    struct AtDrop;
    impl Drop for AtDrop {
        fn drop(&mut self) {
            let seen = with_context(Id(8), id);
            DROPS.with_borrow_mut(|drops| drops.extend([seen, id()]));
        }
    }
    with_context(AtDrop, || with_context(Id(1), || ()));
    assert_eq!(DROPS.take(), [8, 0]);
}

#[test]
fn an_unhandled_error_is_reported_in_the_context_in_which_it_was_made() {
    let ids = Ids::default();
    let log = ids.clone();
    let _hook = on_unhandled(move |_| log.add());
    let clock = Clock::new();
    with_context(Id(3), || clock.call_later(Duration::ZERO, || Err::<(), _>(Failure::msg("nothing handles this"))));
    clock.advance(Duration::ZERO);
    assert_eq!(ids.take(), [3]);

    // In a coroutine that a call without a context, or with another one, resumes.
    let (first, fires_first) = Deferred::<()>::new();
    let (second, fires_second) = Deferred::<()>::new();
    for (waits, id) in [(first, 4), (second, 5)] {
        drop(with_context(Id(id), || {
            inline_callbacks(async move {
                waits.await?;
                Err::<(), _>(Failure::msg("nothing handles this"))
            })
        }));
    }
    fires_first.callback(());
    with_context(Id(9), || fires_second.callback(()));
    assert_eq!(ids.take(), [4, 5]);

    // An error that was made without a context, and a panic.
    let (fails, resolver) = Deferred::<()>::new();
    let (panics, fires) = Deferred::<()>::new();
    drop(with_context(Id(6), || inline_callbacks(async move { fails.await })));
    drop(with_context(Id(7), || {
        inline_callbacks::<()>(async move {
            panics.await?;
            panic!("on purpose")
        })
    }));
    resolver.errback(Failure::msg("made elsewhere"));
    fires.callback(());
    assert_eq!(ids.take(), [6, 7]);

    // Dropped later, and elsewhere.
    let failure = with_context(Id(8), || Failure::msg("kept"));
    with_context(Id(9), || drop(Deferred::<()>::fail(failure)));
    assert_eq!((ids.take(), id()), (vec![8], 0));
}

#[test]
fn values_of_a_remote_queue_bring_no_context() {
    let clock = Clock::new();
    let ids = Ids::default();
    let (queue, sender) = clock.remote_queue::<u32>(None);
    for _ in 0..3 {
        let log = ids.clone();
        drop(queue.get().map(move |_| log.add()));
    }
    thread::spawn(move || {
        with_context(Id(1), || sender.send(1).unwrap());
        with_context(Id(2), || sender.send(2).unwrap());
        sender.send(3).unwrap();
    })
    .join()
    .unwrap();
    clock.advance(Duration::ZERO);
    assert_eq!(ids.take(), [0, 0, 0]);
}

#[test]
fn bodies_iterators_predicates_and_critical_sections_have_the_context_of_their_start() {
    let clock = Clock::new();
    let ids = Ids::default();
    let slot = Rc::new(RefCell::new(None));
    let wait = {
        let slot = slot.clone();
        move || {
            let (deferred, resolver) = Deferred::<()>::new();
            slot.replace(Some(resolver));
            deferred
        }
    };
    let fire = || with_context(Id(9), || slot.take().unwrap().callback(()));

    let (log, waits) = (ids.clone(), wait.clone());
    let mut rounds = 0;
    let repeated = with_context(Id(1), || {
        repeat_until(move || {
            log.add();
            rounds += 1;
            waits().map(move |()| if rounds < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })
    });
    (0..3).for_each(|_| fire());
    success_result_of(repeated);
    assert_eq!(ids.take(), [1, 1, 1]);

    let (log, waits) = (ids.clone(), wait.clone());
    let items = (0..2).inspect(move |_| log.add());
    let folded = with_context(Id(2), || fold(items, (), move |(), _| waits()));
    (0..2).for_each(|_| fire());
    success_result_of(folded);
    assert_eq!(ids.take(), [2, 2]);

    let (log, waits) = (ids.clone(), wait);
    let is_retryable = move |_: &Failure| {
        log.add();
        false
    };
    let retried = with_context(Id(3), || {
        let attempt = move |_| waits().add_callback(|()| Err::<(), _>(Failure::msg("no")));
        clock.retry_if(Backoff::new(Duration::from_secs(1)), is_retryable, attempt)
    });
    fire();
    failure_result_of(retried);
    assert_eq!(ids.take(), [3]);

    let lock = DeferredLock::new();
    let permit = success_result_of(lock.acquire());
    let log = ids.clone();
    let ran = with_context(Id(4), || lock.run(move || log.add()));
    with_context(Id(9), || drop(permit));
    success_result_of(ran);
    assert_eq!(ids.take(), [4]);
}

#[test]
fn work_that_has_ended_drops_the_values() {
    let clock = Clock::new();
    let value = Arc::new(());
    let looping = LoopingCall::new(&clock, || ());
    let done = with_context(value.clone(), || looping.start(Duration::from_secs(1)));
    looping.stop();
    let cooperator = Cooperator::new(&clock);
    let task = with_context(value.clone(), || cooperator.cooperate([Ok::<(), Failure>(())]));
    (0..3).for_each(|_| clock.advance(Duration::from_secs(1)));
    assert_eq!(Arc::strong_count(&value), 1);
    drop((looping, done, task));
}

/// With the feature `context`, single callbacks and cancellers too.
#[cfg(feature = "context")]
#[test]
fn callbacks_and_cancellers_have_the_context_in_which_they_were_added() {
    let ids = Ids::default();
    let (deferred, resolver) = Deferred::<()>::new();
    let (first, second, third) = (ids.clone(), ids.clone(), ids.clone());
    let deferred = with_context(Id(1), || deferred.add_callback(move |()| Err::<(), _>(failed_in(&first))));
    let deferred = with_context(Id(2), || {
        deferred.add_errback(move |_| {
            second.add();
            Ok(())
        })
    });
    let deferred = deferred.map(move |()| third.add());
    with_context(Id(9), || resolver.callback(()));
    success_result_of(deferred);
    assert_eq!((ids.take(), id()), (vec![1, 2, 0], 0));

    let log = ids.clone();
    let (cancelled, _resolver) = with_context(Id(4), || {
        Deferred::<()>::with_canceller(move || {
            log.add();
            None
        })
    });
    let log = ids.clone();
    let (forwards, _resolver) =
        with_context(Id(5), || Deferred::<(), Failure>::with_forwarding_canceller(move |_| log.add()));
    with_context(Id(9), || {
        cancelled.cancel();
        forwards.cancel();
    });
    assert_eq!(ids.take(), [4, 5]);
    let _hook = on_unhandled(|_| ());
    drop((cancelled, forwards));
}

#[cfg(feature = "context")]
fn failed_in(ids: &Ids) -> Failure {
    ids.add();
    Failure::msg("failed")
}
