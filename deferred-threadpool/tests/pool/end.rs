//! Closing a reactor whose jobs have not finished.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use deferred_threadpool::{Abandoned, Job, Reactor, ThreadPool, defer_to_thread, park};

use crate::{LIMIT, adds_up, hold, until};

#[test]
fn closing_the_reactor_abandons_its_jobs_and_ends_its_default_pool() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let capture = Arc::new(());
    let (release, released) = mpsc::channel::<()>();
    park::run(|reactor| {
        // Ten jobs occupy all threads of the default pool; the others wait.
        let released = Arc::new(parking_lot::Mutex::new(released));
        for number in 0..20 {
            let (released, held, log) = (released.clone(), capture.clone(), log.clone());
            let job = move || {
                let _ = released.lock().recv_timeout(LIMIT);
                drop(held);
                Ok(())
            };
            defer_to_thread(job).add_both(move |result| {
                log.borrow_mut().push((number, result.unwrap_err().check::<Abandoned>()));
                Ok(())
            });
        }
        reactor.stop();
    });
    assert_eq!(log.take(), (0..20).map(|number| (number, true)).collect::<Vec<_>>());
    drop(release); // ends the ten jobs
    while Arc::strong_count(&capture) > 1 {
        thread::yield_now();
    }
}

#[test]
fn jobs_of_all_types_are_abandoned_in_submission_order() {
    let pool = ThreadPool::new(0);
    let log = Rc::new(RefCell::new(Vec::new()));
    let reactor = Reactor::new();
    let cancelled = pool.defer_to_thread_on(&reactor, || Ok(0));
    for number in 0..6 {
        if number == 4 {
            cancelled.cancel(); // frees its slot, which the next job reuses
        }
        let job = match number % 2 {
            0 => pool.defer_to_thread_on(&reactor, || Ok(0)).map(drop),
            _ => pool.defer_to_thread_on(&reactor, || Ok("text")).map(drop),
        };
        let log = log.clone();
        drop(job.add_errback(move |failure| failure.trap::<Abandoned>().map(|_| log.borrow_mut().push(number))));
    }
    drop(reactor);
    assert_eq!(log.take(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_job_that_waits_longer_than_its_reactor_never_runs() {
    let pool = ThreadPool::new(1);
    let ran = Arc::new(AtomicUsize::new(0));
    let counter = ran.clone();
    let ended = Rc::new(RefCell::new(Vec::new()));
    let ends = ended.clone();
    let release = park::run(|reactor| {
        let (holding, release) = hold(&pool);
        let queued = pool.defer_to_thread(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        for deferred in [holding, queued] {
            let ends = ends.clone();
            drop(deferred.add_both(move |result| ends.borrow_mut().push(result.unwrap_err().check::<Abandoned>())));
        }
        reactor.stop();
        Ok::<_, Infallible>(release)
    })
    .unwrap();
    assert_eq!(ended.take(), [true, true]);
    release.send(()).unwrap();
    // The only thread runs this job after those two.
    assert!(park::run_until(|_| pool.defer_to_thread(|| Ok(()))).is_ok());
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

#[test]
fn at_the_end_of_a_reactor_queued_jobs_are_cancelled_and_running_ones_get_the_stop_flag() {
    let pool = ThreadPool::new(1);
    let (stopped, has_stopped) = mpsc::channel();
    let ended = Rc::new(RefCell::new(Vec::new()));
    let ends = ended.clone();
    park::run(|reactor| {
        let (begun, has_begun) = mpsc::channel();
        let runs = pool.defer_to_thread_with(move |job: &Job<'_>| {
            begun.send(()).unwrap();
            while !job.is_cancelled() {
                thread::yield_now();
            }
            Ok(stopped.send(())?)
        });
        has_begun.recv_timeout(LIMIT).unwrap();
        for job in [runs, pool.defer_to_thread(|| Ok(()))] {
            let ends = ends.clone();
            drop(job.add_both(move |result| ends.borrow_mut().push(result.unwrap_err().check::<Abandoned>())));
        }
        reactor.stop();
    });
    assert_eq!(ended.take(), [true, true]);
    let stats = pool.stats();
    assert_eq!((stats.cancelled, stats.queued), (2, 0));
    adds_up(&stats);
    has_stopped.recv_timeout(LIMIT).unwrap();
    until(|| pool.stats().busy == 0);
    adds_up(&pool.stats());
}

#[test]
fn no_job_begins_at_the_end_of_its_reactor() {
    let pool = ThreadPool::new(1);
    let ran = Arc::new(AtomicUsize::new(0));
    let reactor = Reactor::new();
    let entered = reactor.enter();
    let (begun, has_begun) = mpsc::channel();
    // Its result would free a slot for the others when it is delivered.
    let mut jobs = vec![pool.defer_to_thread_with(move |job: &Job<'_>| {
        begun.send(()).unwrap();
        while !job.is_cancelled() {
            std::hint::spin_loop();
        }
        Ok(())
    })];
    has_begun.recv_timeout(LIMIT).unwrap();
    for _ in 0..5000 {
        let counter = ran.clone();
        jobs.push(pool.defer_to_thread(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }));
    }
    drop(entered);
    drop(reactor);
    until(|| pool.stats().busy == 0);
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    assert!(jobs.into_iter().all(|job| job.try_take().unwrap().unwrap_err().check::<Abandoned>()));
}

#[test]
fn a_result_delivered_when_the_reactor_ended_is_dropped() {
    let pool = ThreadPool::new(1);
    let value = Arc::new(());
    let result = value.clone();
    let reactor = Reactor::new();
    let job = pool.defer_to_thread_on(&reactor, move || Ok(result));
    until(|| pool.stats().done == 1);
    drop(reactor);
    assert!(job.try_take().unwrap().unwrap_err().check::<Abandoned>());
    until(|| Arc::strong_count(&value) == 1); // its thread may be about to deliver it
    adds_up(&pool.stats());
}

#[test]
fn a_closure_whose_destructor_panics_does_not_delay_the_end() {
    struct Panics(Arc<AtomicUsize>);
    impl Drop for Panics {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            std::panic::resume_unwind(Box::new("a destructor")); // bypasses the panic hook, which would print
        }
    }
    let pool = ThreadPool::new(0);
    let drops = Arc::new(AtomicUsize::new(0));
    let reactor = Reactor::new();
    let jobs: Vec<_> = (0..3)
        .map(|_| {
            let panics = Panics(drops.clone());
            pool.defer_to_thread_on(&reactor, move || {
                let _panics = &panics;
                Ok(())
            })
        })
        .collect();
    drop(reactor);
    assert_eq!(drops.load(Ordering::SeqCst), 3);
    for job in jobs {
        assert!(job.try_take().unwrap().unwrap_err().check::<Abandoned>());
    }
    assert_eq!(pool.stats().cancelled, 3);
}

#[test]
fn a_result_whose_destructor_panics_does_not_delay_the_end() {
    struct Panics(Arc<AtomicUsize>);
    impl Drop for Panics {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            std::panic::resume_unwind(Box::new("a destructor"));
        }
    }
    let pool = ThreadPool::new(1);
    let drops = Arc::new(AtomicUsize::new(0));
    let reactor = Reactor::new();
    let jobs: Vec<_> = (0..3)
        .map(|_| {
            let panics = Panics(drops.clone());
            pool.defer_to_thread_on(&reactor, move || Ok(panics))
        })
        .collect();
    until(|| pool.stats().done == 3);
    drop(reactor);
    until(|| drops.load(Ordering::SeqCst) == 3);
    for job in jobs {
        assert!(job.map(std::mem::forget).try_take().unwrap().unwrap_err().check::<Abandoned>());
    }
}
