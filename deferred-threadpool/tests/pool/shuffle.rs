//! `shuffle_completions`: results in an order drawn from a seed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use deferred_threadpool::testing::shuffle_completions;
use deferred_threadpool::{Abandoned, Cancelled, Deferred, Reactor, ThreadPool, gather, park};

use crate::hold;

/// Submits a job that logs its arrival and then submits a child, until the numbers exceed a limit.
fn family(pool: ThreadPool, log: Rc<RefCell<Vec<u32>>>, number: u32) -> Deferred<()> {
    pool.defer_to_thread(move || {
        thread::sleep(Duration::from_micros(u64::from(number * 7919 % 5) * 50)); // finish in varying order
        Ok(())
    })
    .add_callback(move |()| {
        log.borrow_mut().push(number);
        if number < 10 { family(pool, log, number * 3) } else { Deferred::succeed(()) }
    })
}

fn arrivals(seed: u64, threads: usize) -> Vec<u32> {
    let (pool, log) = (ThreadPool::new(threads), Rc::new(RefCell::new(Vec::new())));
    park::run_until(|reactor| {
        shuffle_completions(reactor, seed);
        gather((1..=3).map(|number| family(pool.clone(), log.clone(), number)).collect::<Vec<_>>())
            .map_err(|first| first.error)
    })
    .unwrap();
    log.take()
}

#[test]
fn the_same_seed_gives_the_same_order_and_other_seeds_give_every_order() {
    let orders: Vec<_> = (0..60).map(|seed| arrivals(seed, 3)).collect();
    for (seed, order) in orders.iter().enumerate() {
        for threads in [1, 2, 3, 4] {
            assert_eq!(*order, arrivals(seed as u64, threads), "seed {seed}");
        }
    }
    let firsts: BTreeSet<u32> = orders.iter().map(|order| order[0]).collect();
    assert_eq!(firsts, [1, 2, 3].into());
    assert!(orders.iter().collect::<BTreeSet<_>>().len() > 30);
}

#[test]
fn all_results_arrive_even_if_some_jobs_are_cancelled() {
    let pool = ThreadPool::new(2);
    for seed in 0..100 {
        park::run_until(|reactor| {
            shuffle_completions(reactor, seed);
            let jobs: Vec<_> = (0..20).map(|number| pool.defer_to_thread(move || Ok(number))).collect();
            let mut left = Vec::new();
            for (number, job) in jobs.into_iter().enumerate() {
                if number as u64 % 3 == seed % 3 {
                    job.cancel();
                    drop(job.add_errback(|failure| failure.trap::<Cancelled>().map(|_| 0)));
                } else {
                    left.push(job);
                }
            }
            let (last, reactor) = (left.pop().unwrap(), reactor.clone());
            // Possibly the one that was drawn.
            reactor.call_later(Duration::from_micros(seed * 5), move || {
                last.cancel();
                last.add_errback(|failure| failure.trap::<Cancelled>().map(|_| 0))
            });
            gather(left).map_err(|first| first.error)
        })
        .unwrap();
    }
}

#[test]
fn a_job_submitted_before_shuffling_arrives_unshuffled() {
    let pool = ThreadPool::new(1);
    let sum = park::run_until(|reactor: &Reactor| {
        let before = pool.defer_to_thread(|| Ok(1));
        shuffle_completions(reactor, 7);
        let after = pool.defer_to_thread(|| Ok(2));
        before.add_callback(|one| after.add_callback(move |two| Ok(one + two)))
    });
    assert_eq!(sum.unwrap(), 3);
}

#[test]
fn a_reactor_that_ends_while_results_wait_for_their_turn_abandons_them() {
    let pool = ThreadPool::new(2);
    park::run(|reactor| {
        shuffle_completions(reactor, 1);
        for _ in 0..10 {
            drop(pool.defer_to_thread(|| Ok(())));
        }
        let reactor = reactor.clone();
        pool.defer_to_thread(|| Ok(())).add_callback(move |()| reactor.stop());
    });
    crate::adds_up(&pool.stats());
}

#[test]
fn a_closure_whose_destructor_panics_on_cancel_keeps_the_order() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("a destructor")); // bypasses the panic hook, which would print
        }
    }
    for seed in 0..20 {
        let (pool, others) = (ThreadPool::new(0), ThreadPool::new(1));
        park::run_until(|reactor| {
            shuffle_completions(reactor, seed);
            let panics = Panics;
            let waits = pool.defer_to_thread(move || {
                let _panics = &panics;
                Ok(())
            });
            let jobs: Vec<_> = (0..5).map(|_| others.defer_to_thread(|| Ok(()))).collect();
            // Possibly when it is drawn.
            reactor.call_later(Duration::from_millis(1), move || {
                waits.cancel();
                waits.add_errback(|_| Ok(()))
            });
            gather(jobs).map_err(|first| first.error)
        })
        .unwrap();
    }
}

#[test]
fn the_stop_of_a_pool_fires_after_all_results_in_every_order() {
    for seed in 0..60 {
        let (pool, other) = (ThreadPool::new(4), ThreadPool::new(1));
        let log = Rc::new(RefCell::new(Vec::new()));
        park::run_until(|reactor| {
            shuffle_completions(reactor, seed);
            let (held, release) = hold(&other);
            for number in 0..5 {
                let log = log.clone();
                let job = pool.defer_to_thread(move || Ok(number));
                if number == 4 {
                    // A cancelled job does not delay the end.
                    reactor.call_later(Duration::from_millis(1), move || job.cancel());
                } else {
                    drop(job.map(move |number| log.borrow_mut().push(number)));
                }
            }
            let log = log.clone();
            let end = pool.stop().map(move |()| log.borrow_mut().push(99));
            // Drawn or not, a job of another pool that runs for a long time.
            drop(held);
            reactor.call_later(Duration::from_millis(5), move || _ = release.send(()));
            end
        })
        .unwrap();
        let mut log = log.take();
        assert_eq!(log.pop(), Some(99), "seed {seed}");
        log.sort_unstable();
        assert_eq!(log, [0, 1, 2, 3], "seed {seed}");
    }
}

#[test]
fn another_seed_in_the_middle_loses_no_result() {
    let pool = ThreadPool::new(4);
    let ended = Rc::new(RefCell::new(Vec::new()));
    park::run_until(|reactor| {
        shuffle_completions(reactor, 0);
        let (slow, release) = hold(&pool);
        for number in 0..3 {
            let ended = ended.clone();
            drop(pool.defer_to_thread(move || Ok(number)).map(move |number| ended.borrow_mut().push(number)));
        }
        let again = reactor.clone();
        reactor.call_later(Duration::from_millis(20), move || {
            shuffle_completions(&again, 99);
            release.send(()).unwrap();
        });
        drop(slow);
        pool.stop()
    })
    .unwrap();
    assert_eq!(ended.take().len(), 3);
}

#[test]
fn of_several_seeds_the_last_one_counts() {
    let pool = ThreadPool::new(1);
    let order = |seeds: &[u64]| {
        let log = Rc::new(RefCell::new(Vec::new()));
        park::run_until(|reactor| {
            seeds.iter().for_each(|seed| shuffle_completions(reactor, *seed));
            let jobs = (0..10).map(|number| {
                let log = log.clone();
                pool.defer_to_thread(|| Ok(())).map(move |()| log.borrow_mut().push(number))
            });
            gather(jobs.collect::<Vec<_>>()).map_err(|first| first.error)
        })
        .unwrap();
        log.take()
    };
    for seed in 0..10 {
        assert_eq!(order(&[99, seed]), order(&[seed]), "seed {seed}");
    }
}

#[test]
fn waiting_results_whose_destructors_panic_do_not_delay_the_end() {
    struct Panics(Arc<AtomicUsize>);
    impl Drop for Panics {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            std::panic::resume_unwind(Box::new("a destructor"));
        }
    }
    let (pool, other) = (ThreadPool::new(1), ThreadPool::new(1));
    let drops = Arc::new(AtomicUsize::new(0));
    let reactor = Reactor::new();
    let entered = reactor.enter();
    shuffle_completions(&reactor, 0);
    let (drawn, release) = hold(&other);
    let _ = reactor.turn(Waker::noop());
    for _ in 0..3 {
        let panics = Panics(drops.clone());
        drop(pool.defer_to_thread(move || Ok(panics)).map(std::mem::forget));
    }
    let (last, also) = hold(&pool); // its thread has delivered the others before it starts this job
    let _ = reactor.turn(Waker::noop());
    drop(entered);
    drop(reactor);
    assert_eq!(drops.load(Ordering::SeqCst), 3);
    for job in [drawn, last] {
        assert!(job.try_take().unwrap().unwrap_err().check::<Abandoned>());
    }
    drop((release, also));
}
