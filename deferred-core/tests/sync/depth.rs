//! A million waiters.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Waker};

use deferred_core::{
    Deferred, DeferredLock, DeferredQueue, DeferredSemaphore, Permit, gather, inline_callbacks, maybe_deferred,
};

use futures::StreamExt as _;

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
fn a_million_runs_with_pending_results_are_served() {
    on_a_small_stack(|| {
        let (semaphore, count) = (DeferredSemaphore::new(2), Rc::new(Cell::new(0)));
        let (first, resolver) = Deferred::<()>::new();
        drop(semaphore.run_many(2, move || first));
        for _ in 0..MANY {
            let count = count.clone();
            drop(semaphore.run(move || {
                count.set(count.get() + 1);
                let (inner, inner_resolver) = Deferred::<()>::new();
                drop(inner_resolver); // fires `Abandoned` after this callback
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
fn a_million_getters_give_up_or_are_closed() {
    on_a_small_stack(|| {
        let queue = DeferredQueue::<u64>::new();
        let all: Vec<_> = (0..MANY).map(|_| queue.get()).collect();
        all.iter().rev().step_by(2).for_each(Deferred::cancel);
        assert_eq!(queue.waiting() as u64, MANY / 2);
        queue.close();
        assert!(all.iter().all(Deferred::is_ready));
    });
}

/// A way to end the work that holds `permit`, inside a waiter's callback.
type Ends = fn(Permit) -> Deferred<()>;

const ENDS: [(&str, Ends); 8] = [
    ("a ready callback", |permit| Deferred::succeed(()).add_callback(move |()| drop(permit))),
    ("a ready callback in another", |permit| {
        Deferred::succeed(()).add_callback(move |()| Deferred::succeed(()).map(move |()| drop(permit)))
    }),
    ("maybe_deferred and finally", |permit| maybe_deferred(|| Deferred::succeed(())).add_finally(move || drop(permit))),
    ("a coroutine", |permit| {
        inline_callbacks(async move {
            Deferred::succeed(()).await?;
            drop(permit);
            Ok(())
        })
    }),
    ("release in a coroutine", |permit| {
        inline_callbacks(async move {
            permit.release();
            Ok(())
        })
    }),
    ("release", |permit| {
        permit.release();
        Deferred::succeed(())
    }),
    ("gather", |permit| gather([Deferred::succeed(permit)]).map(drop).map_err(Into::into)),
    ("a Deferred that is fired there", |permit| {
        let (deferred, resolver) = Deferred::<()>::new();
        let deferred = deferred.map(move |()| drop(permit));
        resolver.callback(());
        deferred
    }),
];

#[test]
fn a_million_permits_are_handed_on_wherever_they_are_dropped() {
    for (name, ends) in ENDS {
        println!("{name}"); // a stack overflow prints nothing else
        on_a_small_stack(move || {
            let (lock, count) = (DeferredLock::new(), Rc::new(Cell::new(0)));
            let held = lock.try_acquire().unwrap();
            for _ in 0..MANY {
                let count = count.clone();
                drop(lock.acquire().add_callback(move |permit| {
                    count.set(count.get() + 1);
                    ends(permit)
                }));
            }
            drop(held);
            assert_eq!((count.get(), lock.is_locked()), (MANY, false), "{name}");
        });
    }
}

#[test]
fn a_million_permits_are_handed_on_inside_of_coroutines() {
    for (name, ends) in ENDS {
        println!("{name}"); // a stack overflow prints nothing else
        on_a_small_stack(move || {
            let (lock, count) = (DeferredLock::new(), Rc::new(Cell::new(0)));
            let held = lock.try_acquire().unwrap();
            for _ in 0..MANY {
                let (lock, count) = (lock.clone(), count.clone());
                drop(inline_callbacks(async move {
                    let permit = lock.acquire().await?;
                    count.set(count.get() + 1);
                    ends(permit).await
                }));
            }
            drop(held);
            assert_eq!((count.get(), lock.is_locked()), (MANY, false), "{name}");
        });
    }
}

#[test]
fn a_million_resolvers_and_pauses_drop_one_after_the_other() {
    on_a_small_stack(|| {
        let (first, resolver) = Deferred::<()>::new();
        let (mut held, mut last) = (Some(resolver), first);
        let count = Rc::new(Cell::new(0));
        for _ in 0..MANY {
            let (next, resolver) = Deferred::<()>::new();
            let (mut paused, fires) = Deferred::<()>::new();
            let pause = paused.pause();
            fires.callback(());
            let count = count.clone();
            drop(paused.map(move |()| count.set(count.get() + 1)));
            drop(last.add_errback(move |_| {
                // Both in a callback of a ready Deferred, inside this callback.
                Deferred::succeed(()).map(move |()| drop((resolver, pause)))
            }));
            last = next;
        }
        drop(held.take());
        assert_eq!(count.get(), MANY);
        drop(last);
    });
}

#[test]
fn a_million_streams_with_a_value_drop_one_after_the_other() {
    on_a_small_stack(|| {
        let (mut next, count) = (None, Rc::new(Cell::new(0)));
        for _ in 0..MANY {
            let queue = DeferredQueue::<u32>::new();
            let mut stream = queue.stream();
            assert!(stream.poll_next_unpin(&mut Context::from_waker(Waker::noop())).is_pending());
            queue.put(1).unwrap();
            let count = count.clone();
            drop(queue.get().map(move |_| {
                count.set(count.get() + 1);
                drop(next);
            }));
            next = Some(stream);
        }
        drop(next);
        assert_eq!(count.get(), MANY);
    });
}
