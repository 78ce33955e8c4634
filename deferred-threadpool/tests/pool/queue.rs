//! The limit on queued jobs, and reservations.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use deferred_threadpool::{NoReactor, PoolStopped, QueueFull, ThreadPool, inline_callbacks, park};

use crate::{adds_up, all, hold};

#[test]
fn a_job_over_the_limit_is_refused_at_once_and_dropped() {
    let pool = ThreadPool::builder().max_threads(1).queue_limit(2).build();
    let capture = Arc::new(());
    let results = all(|_| {
        let (holding, release) = hold(&pool);
        let waiting = [pool.defer_to_thread(|| Ok(())), pool.defer_to_thread(|| Ok(()))];
        let held = capture.clone();
        let refused = pool.defer_to_thread(move || unreachable!("{held:?}")).map(|()| ());
        assert!(refused.is_ready());
        assert_eq!(Arc::strong_count(&capture), 1);
        let failure = refused.try_take().unwrap().unwrap_err();
        assert_eq!(failure.downcast_ref::<QueueFull>().unwrap().limit, 2);
        assert!(failure.to_string().contains("reserve()"), "{failure}");
        adds_up(&pool.stats());
        assert_eq!((pool.stats().refused, pool.stats().queued), (1, 2));
        release.send(()).unwrap();
        [holding].into_iter().chain(waiting).collect()
    });
    assert!(results.iter().all(Result::is_ok));
    adds_up(&pool.stats());
}

#[test]
fn reservations_are_granted_in_order_one_for_each_free_slot() {
    let pool = ThreadPool::builder().max_threads(1).queue_limit(2).build();
    let log = Rc::new(RefCell::new(Vec::new()));
    all(|_| {
        assert_eq!(log.borrow().len(), 0);
        let (holding, release) = hold(&pool);
        let waiting = [pool.defer_to_thread(|| Ok(())), pool.defer_to_thread(|| Ok(()))];
        let asked = (0..3).map(|number| {
            let log = log.clone();
            pool.reserve().add_callback(move |()| log.borrow_mut().push(number))
        });
        let asked: Vec<_> = asked.collect();
        asked[1].cancel();
        waiting[0].cancel(); // frees a slot
        release.send(()).unwrap(); // frees two more
        [holding].into_iter().chain(waiting).chain(asked).collect()
    });
    assert_eq!(log.take(), [0, 2]);
}

#[test]
fn a_reservation_is_ready_at_once_if_a_slot_is_free() {
    let pool = ThreadPool::builder().queue_limit(1).build();
    park::run_until(|_| pool.reserve()).unwrap();
    assert!(pool.reserve().try_take().unwrap().unwrap_err().check::<NoReactor>());
}

#[test]
fn stopping_fails_waiting_reservations() {
    let pool = ThreadPool::builder().max_threads(0).queue_limit(0).build();
    let result = park::run_until(|_| {
        let room = pool.reserve();
        assert!(!room.is_ready());
        drop(pool.stop());
        room
    });
    assert!(result.unwrap_err().check::<PoolStopped>());
    assert!(park::run_until(|_| pool.reserve()).unwrap_err().check::<PoolStopped>());
}

#[test]
fn a_producer_that_reserves_is_never_refused() {
    let pool = ThreadPool::builder().max_threads(2).queue_limit(3).build();
    let jobs = pool.clone();
    park::run_until(move |_| {
        inline_callbacks(async move {
            for number in 0..2000 {
                jobs.reserve().await?;
                jobs.call_in_thread(move || Ok(number));
                let stats = jobs.stats();
                assert!(stats.queued + stats.busy <= 5, "two threads, and three that wait: {stats:?}");
            }
            jobs.stop().await
        })
    })
    .unwrap();
    assert_eq!((pool.stats().done, pool.stats().refused), (2000, 0));
}

#[test]
fn with_a_limit_of_zero_a_job_is_accepted_only_if_a_thread_is_free() {
    let pool = ThreadPool::builder().max_threads(2).queue_limit(0).build();
    all(|_| {
        let (first, release) = hold(&pool);
        let (second, also) = hold(&pool);
        let refused = pool.defer_to_thread(|| Ok(()));
        assert!(refused.try_take().unwrap().unwrap_err().check::<QueueFull>());
        let (room, more) = (pool.reserve(), pool.clone());
        assert!(!room.is_ready());
        let third = room.add_callback(move |()| more.defer_to_thread(|| Ok(())));
        release.send(()).unwrap();
        also.send(()).unwrap();
        vec![first, second, third]
    })
    .into_iter()
    .for_each(|result| result.unwrap());
    assert_eq!((pool.stats().done, pool.stats().refused), (3, 1));
}

#[test]
fn cancelling_a_queued_job_frees_a_slot_at_once() {
    let pool = ThreadPool::builder().max_threads(0).queue_limit(1).build();
    park::run_until(|_| {
        let waits = pool.defer_to_thread(|| Ok(()));
        let room = pool.reserve();
        assert!(!room.is_ready());
        waits.cancel();
        drop(waits.add_errback(|_| Ok(())));
        room
    })
    .unwrap();
}

#[test]
fn raising_the_maximum_frees_slots_too() {
    let pool = ThreadPool::builder().max_threads(0).queue_limit(0).build();
    park::run_until(|_| {
        let (room, jobs) = (pool.reserve(), pool.clone());
        assert!(!room.is_ready());
        pool.adjust_pool_size(0, 1);
        room.add_callback(move |()| jobs.defer_to_thread(|| Ok(())))
    })
    .unwrap();
}

#[test]
fn unused_reservations_do_not_block_others() {
    let pool = ThreadPool::builder().max_threads(2).queue_limit(1).build();
    let came = Rc::new(RefCell::new(0));
    park::run_until(|_| {
        let asks = (0..100).map(|number| {
            let (jobs, came) = (pool.clone(), came.clone());
            pool.reserve().add_callback(move |()| {
                *came.borrow_mut() += 1;
                // Every second reservation is dropped unused.
                if number % 2 == 0 {
                    jobs.defer_to_thread(|| Ok(()))
                } else {
                    deferred_threadpool::Deferred::succeed(())
                }
            })
        });
        deferred_threadpool::gather(asks.collect::<Vec<_>>()).map_err(|first| first.error)
    })
    .unwrap();
    assert_eq!((came.take(), pool.stats().done, pool.stats().refused), (100, 50, 0));
}

#[test]
fn a_reservation_granted_to_a_closed_reactor_is_passed_on() {
    let pool = ThreadPool::builder().max_threads(1).queue_limit(0).build();
    for _ in 0..20 {
        let reactor = deferred_threadpool::Reactor::new();
        let entered = reactor.enter();
        let reservation = pool.reserve(); // granted by a post that is never delivered
        let given_up = pool.reserve();
        given_up.cancel();
        drop(entered);
        drop(reactor);
        assert!(reservation.is_ready());
    }
    park::run_until(|_| pool.reserve()).unwrap();
}
