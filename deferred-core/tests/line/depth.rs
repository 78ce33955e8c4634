//! A million in line.

use std::cell::Cell;
use std::rc::Rc;

use deferred_core::{Deferred, DeferredLock, DeferredQueue, DeferredSemaphore, inline_callbacks};

use crate::support::{MANY, on_a_small_stack};

#[test]
fn a_million_are_served_through_run() {
    on_a_small_stack(|| {
        let (lock, count) = (DeferredLock::new(), Rc::new(Cell::new(0)));
        let (first, resolver) = Deferred::<()>::new();
        drop(lock.run(move || first));
        for _ in 0..MANY {
            let count = count.clone();
            drop(lock.run(move || count.set(count.get() + 1)));
        }
        resolver.callback(());
        assert_eq!((count.get(), lock.is_locked()), (MANY, false));
    });
}

#[test]
fn a_million_are_served_through_run_whose_results_come_later() {
    on_a_small_stack(|| {
        let (semaphore, count) = (DeferredSemaphore::new(2), Rc::new(Cell::new(0)));
        let (first, resolver) = Deferred::<()>::new();
        drop(semaphore.run_many(2, move || first));
        for _ in 0..MANY {
            let count = count.clone();
            drop(semaphore.run(move || {
                count.set(count.get() + 1);
                let (inner, inner_resolver) = Deferred::<()>::new();
                drop(inner_resolver); // abandoned: after this callback
                inner
            }));
        }
        resolver.callback(());
        assert_eq!((count.get(), semaphore.available()), (MANY, 2));
    });
}

#[test]
fn a_million_coroutines_hand_a_permit_on() {
    on_a_small_stack(|| {
        let (lock, count) = (DeferredLock::new(), Rc::new(Cell::new(0)));
        let held = lock.try_acquire().unwrap();
        for _ in 0..MANY {
            let (lock, count) = (lock.clone(), count.clone());
            drop(inline_callbacks(async move {
                let _permit = lock.acquire().await?;
                count.set(count.get() + 1);
                Ok(())
            }));
        }
        drop(held);
        assert_eq!((count.get(), lock.is_locked()), (MANY, false));
    });
}

#[test]
fn a_million_who_wait_for_a_queue_give_up_or_are_closed() {
    on_a_small_stack(|| {
        let queue = DeferredQueue::<u64>::new();
        let all: Vec<_> = (0..MANY).map(|_| queue.get()).collect();
        all.iter().rev().step_by(2).for_each(Deferred::cancel);
        assert_eq!(queue.waiting() as u64, MANY / 2);
        queue.close();
        assert!(all.iter().all(Deferred::is_ready));
    });
}
