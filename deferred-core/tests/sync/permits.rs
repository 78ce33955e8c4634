//! `DeferredLock` and `DeferredSemaphore`.

use std::cell::RefCell;
use std::rc::Rc;

use deferred_core::{
    BuiltinError, Cancelled, Deferred, DeferredLock, DeferredSemaphore, NotHeld, Permit, inline_callbacks,
};

use crate::support::{App, Log, ignore_unhandled, peek_text, take_text, unhandled_into};

/// Acquires permits, logs when they are granted, and stores them.
fn acquire(log: &Log, semaphore: &DeferredSemaphore, count: usize, name: &'static str) -> (Deferred<()>, Kept) {
    let kept = Kept::default();
    let (log, keep) = (log.clone(), kept.clone());
    let deferred = semaphore.acquire_many(count).map(move |permit| {
        log.add(name);
        keep.replace(Some(permit));
    });
    (deferred, kept)
}

type Kept = Rc<RefCell<Option<Permit>>>;

#[test]
fn a_free_lock_is_acquired_at_once_and_a_held_one_is_handed_over() {
    let lock = DeferredLock::new();
    let first = lock.acquire().try_take().unwrap().unwrap();
    assert!(lock.is_locked());
    assert!(lock.try_acquire().is_none());
    let (second, third) = (lock.acquire(), lock.acquire());
    assert_eq!(lock.waiting(), 2);
    first.release();
    assert!(lock.is_locked());
    let second = second.try_take().unwrap().unwrap();
    assert!(!third.is_ready());
    drop(second);
    drop(third.try_take().unwrap().unwrap());
    assert!(!lock.is_locked());
}

#[test]
fn waiters_are_served_in_order_even_if_the_first_needs_more() {
    let log = Log::new();
    let semaphore = DeferredSemaphore::new(3);
    let held = semaphore.acquire_many(2).try_take().unwrap().unwrap();
    let (_big, big) = acquire(&log, &semaphore, 3, "big");
    let (_small, small) = acquire(&log, &semaphore, 1, "small");
    assert!(semaphore.try_acquire(1).is_none(), "another waiter is first");
    assert!(log.take().is_empty());
    held.release();
    assert_eq!(log.take(), ["big"]);
    drop(big.take());
    assert_eq!(log.take(), ["small"]);
    drop(small.take());
    assert_eq!(semaphore.available(), 3);
}

#[test]
fn waiters_after_a_cancelled_one_are_served() {
    let log = Log::new();
    let semaphore = DeferredSemaphore::new(3);
    let _held = semaphore.acquire_many(2).try_take().unwrap().unwrap();
    let (big, _) = acquire(&log, &semaphore, 2, "big");
    let (_small, _kept) = acquire(&log, &semaphore, 1, "small");
    big.cancel();
    assert_eq!(log.take(), ["small"]);
    assert_eq!(take_text(big), "Cancelled");
    assert_eq!((semaphore.waiting(), semaphore.available()), (0, 0));
}

#[test]
fn releasing_many_permits_serves_all_possible_waiters_in_order() {
    for release in [false, true] {
        let log = Log::new();
        let semaphore = DeferredSemaphore::new(4);
        let held = semaphore.acquire_many(4).try_take().unwrap().unwrap();
        let waiting: Vec<_> =
            [(1, "a"), (2, "b"), (2, "c")].map(|(count, name)| acquire(&log, &semaphore, count, name)).into();
        if release {
            held.release()
        } else {
            drop(held)
        }
        assert_eq!(log.take(), ["a", "b"]);
        assert_eq!(semaphore.available(), 1);
        drop(waiting);
    }
}

#[test]
fn release_serves_inside_the_callback_and_a_drop_right_after_it() {
    for release in [false, true] {
        let log = Log::new();
        let lock = DeferredSemaphore::new(1);
        let held = lock.acquire().try_take().unwrap().unwrap();
        let (_next, _kept) = acquire(&log, &lock, 1, "next");
        let inner = log.clone();
        let done = Deferred::succeed(()).map(move |()| {
            if release {
                held.release()
            } else {
                drop(held)
            }
            inner.add("callback ends");
        });
        let _done = log.watch("after", done);
        let expected =
            if release { ["next", "callback ends", "after ()"] } else { ["callback ends", "next", "after ()"] };
        assert_eq!(log.take(), expected);
    }
}

#[test]
fn a_handed_over_permit_is_never_free_in_between() {
    let log = Log::new();
    let lock = DeferredSemaphore::new(1);
    let held = lock.acquire().try_take().unwrap().unwrap();
    let (_next, _kept) = acquire(&log, &lock, 1, "next");
    let (steals, inner) = (lock.clone(), log.clone());
    drop(Deferred::succeed(()).map(move |()| {
        drop(held);
        // The permit belongs to the next waiter already, although its callback has not run yet.
        inner.add(format!("stolen: {}", steals.try_acquire(1).is_some()));
    }));
    assert_eq!(log.take(), ["stolen: false", "next"]);
}

#[test]
fn a_semaphore_and_a_permit_report_their_counts() {
    let semaphore = DeferredSemaphore::new(5);
    let held = semaphore.acquire_many(3).try_take().unwrap().unwrap();
    assert_eq!((held.count(), semaphore.available(), semaphore.limit()), (3, 2, 5));
    let waiting = [semaphore.acquire_many(3), semaphore.acquire()];
    assert_eq!(semaphore.waiting(), 2);
    held.release();
    assert_eq!((semaphore.waiting(), semaphore.available(), semaphore.limit()), (0, 1, 5));
    drop(waiting);
}

#[test]
fn a_detached_permit_is_released_manually_and_only_once() {
    let semaphore = DeferredSemaphore::new(2);
    assert_eq!(semaphore.release(1), Err(NotHeld));
    semaphore.acquire_many(2).try_take().unwrap().unwrap().detach();
    assert_eq!(semaphore.available(), 0);
    assert_eq!(semaphore.release(3), Err(NotHeld));
    assert_eq!(semaphore.release(2), Ok(()));
    assert_eq!(semaphore.available(), 2);

    let lock = DeferredLock::new();
    assert_eq!(lock.release(), Err(NotHeld));
    lock.try_acquire().unwrap().detach();
    assert_eq!(lock.release(), Ok(()));
}

#[test]
fn run_releases_in_every_case_before_the_callbacks_of_its_deferred() {
    let log = Log::new();
    let _hook = unhandled_into(&log);
    let lock = DeferredLock::new();
    for (brings, expected) in [("value", "1"), ("error", "App(1)"), ("panic", "Panicked(in run)")] {
        let (inner, resolver) = Deferred::<u32>::new();
        let waits = lock.run(move || inner);
        let next = log.watch("next", lock.run(|| Ok(2)));
        let waits = log.watch("waits", waits);
        match brings {
            "value" => resolver.callback(1),
            "error" => resolver.errback(App(1)),
            _ => Deferred::succeed(()).map(|()| panic!("in run")).chain_deferred(resolver),
        }
        assert_eq!(log.take(), ["next 2".to_owned(), format!("waits {expected}")]);
        assert!(!lock.is_locked());
        drop((next, waits.add_errback(|_| Ok(0))));
    }
    let panics = lock.run(|| -> Result<(), _> { panic!("at once") });
    assert_eq!(take_text(panics), "Panicked(at once)");
    assert!(!lock.is_locked());
}

#[test]
fn a_cancelled_run_leaves_the_queue_or_cancels_its_deferred() {
    let _quiet = ignore_unhandled();
    let lock = DeferredLock::new();
    let (inner, resolver) = Deferred::<u32>::new();
    let runs = lock.run(move || inner);
    let ran = Rc::new(std::cell::Cell::new(false));
    let mark = ran.clone();
    let waits = lock.run(move || mark.set(true));
    waits.cancel();
    assert_eq!((take_text(waits).as_str(), lock.waiting()), ("Cancelled", 0));
    runs.cancel();
    assert_eq!(take_text(runs), "Cancelled");
    assert!(resolver.is_cancelled() && !lock.is_locked() && !ran.get());
}

#[test]
fn a_permit_cancelled_after_the_handover_is_released() {
    let lock = DeferredLock::new();
    let held = lock.try_acquire().unwrap();
    let next = lock.acquire();
    held.release();
    next.cancel(); // too late: the permit was granted
    assert!(lock.is_locked());
    drop(next);
    assert!(!lock.is_locked());
}

#[test]
fn dropping_a_semaphore_abandons_its_waiters() {
    let semaphore = DeferredSemaphore::new(1);
    semaphore.try_acquire(1).unwrap().detach();
    let waits = semaphore.acquire().map(|_| ());
    drop(semaphore);
    assert_eq!(take_text(waits), "Abandoned");
}

#[test]
fn permits_in_a_coroutine_are_released_at_the_end_of_the_block() {
    let log = Log::new();
    let lock = DeferredLock::new();
    let all: Vec<_> = ["a", "b", "c"]
        .map(|name| {
            let (lock, log) = (lock.clone(), log.clone());
            inline_callbacks(async move {
                let _permit = lock.acquire().await?;
                log.add(format!("{name} has it"));
                Deferred::succeed(()).await?;
                log.add(format!("{name} ends"));
                Ok(())
            })
        })
        .into();
    assert_eq!(log.take(), ["a has it", "a ends", "b has it", "b ends", "c has it", "c ends"]);
    assert!(all.into_iter().all(|deferred| take_text(deferred) == "()"));
}

#[test]
fn errors_may_be_a_user_type() {
    let lock = DeferredLock::<BuiltinError>::typed();
    let held = lock.try_acquire().unwrap();
    let waits = lock.acquire();
    waits.cancel_with(&Cancelled::because("closing"));
    assert!(matches!(waits.try_take(), Ok(Err(BuiltinError::Cancelled(_)))));
    drop(held);
    assert_eq!(DeferredSemaphore::<BuiltinError>::typed(2).available(), 2);
}

#[test]
#[should_panic(expected = "5 permits were requested from a semaphore of 3, which can never succeed")]
fn more_permits_than_exist_are_refused_at_once() {
    drop(DeferredSemaphore::new(3).acquire_many(5));
}

#[test]
#[should_panic(expected = "a semaphore needs at least one permit")]
fn none_at_all_is_refused() {
    let _ = DeferredSemaphore::new(0);
}

#[test]
fn acquiring_zero_permits_succeeds_at_once_unless_others_wait() {
    let semaphore = DeferredSemaphore::new(1);
    let held = semaphore.acquire_many(1).try_take().unwrap().unwrap();
    assert_eq!(semaphore.acquire_many(0).try_take().unwrap().unwrap().count(), 0);
    let mut waits = semaphore.acquire().map(|_| ());
    let mut after = semaphore.acquire_many(0).map(|_| ());
    assert_eq!((peek_text(&mut waits), peek_text(&mut after)), ("pending".into(), "pending".into()));
    held.release();
    assert_eq!((peek_text(&mut waits), peek_text(&mut after)), ("()".into(), "()".into()));
}

#[test]
fn acquiring_zero_permits_waits_only_for_earlier_waiters() {
    let semaphore = DeferredSemaphore::new(1);
    let held = semaphore.try_acquire(1).unwrap();
    let (first, none, mut second) = (semaphore.acquire(), semaphore.acquire_many(0), semaphore.acquire());
    assert!(!none.is_ready(), "an earlier waiter is first");
    drop(held);
    assert!(first.is_ready() && none.is_ready() && !second.is_ready());
    // Also if the earlier waiter is cancelled.
    let (mut third, none) = (semaphore.acquire(), semaphore.acquire_many(0));
    let ends = [second.cancel_handle(), third.cancel_handle()];
    ends.iter().for_each(|end| end.cancel());
    assert!(none.is_ready());
}
