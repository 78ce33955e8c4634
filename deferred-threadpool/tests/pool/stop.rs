//! Stopping and dropping a pool.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use deferred_threadpool::{
    Abandoned, Backlog, Cancelled, Failure, Job, NoReactor, PoolStopped, StopTimedOut, ThreadPool, park,
};

use crate::{LIMIT, adds_up, all, hold, until, visit};

#[test]
fn dropping_the_pool_runs_all_submitted_jobs() {
    let pool = ThreadPool::new(1);
    let results = all(move |_| {
        let (holding, release) = hold(&pool);
        let queued = pool.defer_to_thread(|| Ok(()));
        let clone = pool.clone();
        drop(pool);
        drop(clone);
        release.send(()).unwrap();
        vec![holding, queued]
    });
    assert!(matches!(results.as_slice(), [Ok(()), Ok(())]));
}

#[test]
fn stopping_runs_submitted_jobs_refuses_later_ones_and_fires() {
    let pool = ThreadPool::new(1);
    let (_, ended) = visit(&pool);
    let log = Rc::new(RefCell::new(Vec::new()));
    park::run_until(|_| {
        let (holding, release) = hold(&pool);
        let queued = pool.defer_to_thread(|| Ok(()));
        let (first, second) = (pool.stop(), pool.stop());
        let refused = pool.defer_to_thread(|| -> Result<(), Failure> { unreachable!() });
        for (name, deferred) in [("holding", holding), ("queued", queued), ("refused", refused), ("first", first)] {
            let log = log.clone();
            deferred.add_both(move |result| {
                let refused = result.is_err_and(|failure| failure.check::<PoolStopped>());
                log.borrow_mut().push((name, refused));
                Ok(())
            });
        }
        release.send(()).unwrap();
        second
    })
    .unwrap();
    let mut log = log.take();
    // Either this thread or the pool's may post first.
    log.retain(|entry| *entry != ("refused", true));
    assert_eq!(log, [("holding", false), ("queued", false), ("first", false)]);
    ended.recv_timeout(LIMIT).unwrap();
    park::run_until(|_| pool.stop()).unwrap();
    assert!(pool.stop().try_take().unwrap().unwrap_err().check::<NoReactor>());
}

#[test]
fn a_pool_that_never_ran_stops_at_once() {
    let pool = ThreadPool::new(1);
    assert!(pool.stop().try_take().unwrap().unwrap_err().check::<NoReactor>());
    park::run_until(|_| pool.stop()).unwrap();
    let refused = park::run_until(|_| pool.defer_to_thread(|| Ok(())));
    assert!(refused.unwrap_err().check::<PoolStopped>());
}

#[test]
fn the_last_clone_may_be_dropped_by_a_job() {
    let pool = ThreadPool::new(1);
    let clone = pool.clone();
    let results = all(move |_| {
        let dropping = pool.defer_to_thread(move || {
            drop(clone);
            Ok(())
        });
        drop(pool);
        vec![dropping]
    });
    assert!(results[0].is_ok());
}

#[test]
fn a_backlog_may_be_cancelled_with_a_reason() {
    let pool = ThreadPool::new(1);
    let results = all(|_| {
        let (holding, release) = hold(&pool);
        let waits = pool.defer_to_thread(|| -> Result<(), _> { unreachable!() });
        let stopped = pool.stop_with(Backlog::Cancel);
        assert_eq!((pool.stats().cancelled, pool.stats().queued), (1, 0));
        adds_up(&pool.stats());
        release.send(()).unwrap();
        vec![waits, holding, stopped]
    });
    let [Err(waits), Ok(()), Ok(())] = results.as_slice() else { panic!("{results:?}") };
    let cancelled = waits.downcast_ref::<Cancelled>().unwrap();
    assert_eq!(cancelled.reason().unwrap().to_string(), "the pool was stopped");
    assert_eq!(pool.stats().threads, 0);
    adds_up(&pool.stats());
}

#[test]
fn a_backlog_whose_closures_panic_on_drop_is_still_cancelled() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("a destructor"));
        }
    }
    let pool = ThreadPool::new(0);
    let results = all(|_| {
        let give = |_| {
            let panics = Panics;
            pool.defer_to_thread(move || {
                let _panics = &panics;
                Ok(())
            })
        };
        let waiting: Vec<_> = (0..3).map(give).collect();
        drop(pool.stop());
        waiting
    });
    assert!(results.into_iter().all(|result| result.unwrap_err().check::<Cancelled>()));
}

#[test]
fn with_a_maximum_of_zero_the_backlog_is_cancelled_and_the_stop_ends() {
    let pool = ThreadPool::new(0);
    let results = all(|_| vec![pool.defer_to_thread(|| -> Result<(), _> { unreachable!() }), pool.stop()]);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    adds_up(&pool.stats());

    // The same if the maximum is set to zero after the stop.
    let pool = ThreadPool::new(1);
    let results = all(|_| {
        let (holding, release) = hold(&pool);
        let (waits, stopped) = (pool.defer_to_thread(|| Ok(())), pool.stop());
        pool.adjust_pool_size(0, 0);
        release.send(()).unwrap();
        vec![holding, waits, stopped]
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 2);
    assert_eq!(pool.stats().cancelled, 1);
    adds_up(&pool.stats());
}

#[test]
fn resizing_after_the_stop_loses_no_job() {
    let pool = ThreadPool::new(1);
    all(|_| {
        let (holding, release) = hold(&pool);
        let (waits, stopped) = (pool.defer_to_thread(|| Ok(())), pool.stop());
        pool.adjust_pool_size(0, 2);
        release.send(()).unwrap();
        vec![holding, waits, stopped]
    })
    .into_iter()
    .for_each(|result| result.unwrap());
}

#[test]
fn a_passed_deadline_abandons_running_jobs_and_cancels_queued_ones() {
    let pool = ThreadPool::new(1);
    let (events, is_told) = mpsc::channel();
    let results = all(|_| {
        let (begun, has_begun) = mpsc::channel();
        let runs = pool.defer_to_thread_with(move |job: &Job<'_>| {
            begun.send(()).unwrap();
            while !job.is_cancelled() {
                std::thread::yield_now();
            }
            Ok(events.send(())?)
        });
        has_begun.recv_timeout(LIMIT).unwrap();
        let waits = pool.defer_to_thread(|| Ok(()));
        vec![waits, runs, pool.stop_within(Backlog::Run, Duration::from_millis(5))]
    });
    is_told.recv_timeout(LIMIT).unwrap();
    let kinds: Vec<_> = results
        .into_iter()
        .map(|result| {
            let failure = result.unwrap_err();
            (
                failure.check::<Cancelled>(),
                failure.check::<Abandoned>(),
                failure.check::<StopTimedOut>(),
                failure.to_string(),
            )
        })
        .collect();
    assert_eq!(kinds.iter().filter(|kind| kind.0).count(), 1, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| kind.1).count(), 1, "{kinds:?}");
    assert!(kinds.iter().any(|kind| kind.2 && kind.3.contains("stop.rs")), "{kinds:?}");
    until(|| pool.stats().threads == 0);
    assert_eq!((pool.stats().cancelled, pool.stats().done), (2, 0));
    adds_up(&pool.stats());
}

/// More results than one delivery takes, while the end has been posted already.
#[test]
fn stop_fires_after_every_job_that_was_delivered_before() {
    const JOBS: u64 = 1000;
    let pool = ThreadPool::new(2);
    let fired = Rc::new(Cell::new(0));
    let seen = park::run_until(|reactor| {
        assert!(reactor.calls_per_turn() < JOBS as usize / 2);
        for _ in 0..JOBS {
            let fired = fired.clone();
            drop(pool.defer_to_thread(|| Ok(())).add_callback(move |()| fired.set(fired.get() + 1)));
        }
        let stopped = pool.stop();
        until(|| pool.stats().threads == 0);
        let fired = fired.clone();
        stopped.add_callback(move |()| Ok(fired.get()))
    });
    assert_eq!(seen.unwrap(), JOBS);
}

#[test]
fn a_deadline_that_is_met_does_nothing() {
    let pool = ThreadPool::new(2);
    park::run_until(|reactor| {
        let jobs: Vec<_> = (0..100).map(|_| pool.defer_to_thread(|| Ok(()))).collect();
        let reactor = reactor.clone();
        pool.stop_within(Backlog::Run, LIMIT).add_callback(move |()| {
            assert!(jobs.into_iter().all(|job| job.is_ready()), "each callback ran before");
            assert!(reactor.delayed_calls().is_empty());
        })
    })
    .unwrap();
    assert_eq!(pool.stats().done, 100);
}

#[test]
fn a_remote_job_abandoned_at_the_deadline_fires_while_it_still_runs() {
    let pool = ThreadPool::new(1);
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let remote = pool.submit(move |_| {
        begun.send(()).unwrap();
        Ok(released.recv_timeout(LIMIT)?)
    });
    has_begun.recv_timeout(LIMIT).unwrap();
    assert!(park::run_until(|_| pool.stop_within(Backlog::Run, Duration::ZERO)).unwrap_err().check::<StopTimedOut>());
    let failure = remote.wait().unwrap_err();
    assert!(failure.check::<Abandoned>() && failure.to_string().contains("deadline"), "{failure}");
    assert_eq!(pool.stats().abandoned, 1);
    release.send(()).unwrap();
    until(|| pool.stats().threads == 0);
}

/// A value whose destructor takes time.
struct SlowToDrop;

impl Drop for SlowToDrop {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn stop_fires_after_the_jobs_that_another_thread_cancels() {
    type Stops = fn(&ThreadPool);
    // The stop that finds no thread left, while the backlog of the other stop is being delivered.
    let others: [(&str, Stops); 4] = [
        ("stop", |pool| drop(pool.submit(|_| Ok(())))),
        ("a second stop", |pool| drop(pool.stop())),
        ("a resize", |pool| pool.adjust_pool_size(0, 0)),
        ("the last clone", |pool| drop(pool.clone())),
    ];
    for (name, other) in others {
        let pool = ThreadPool::builder().min_threads(0).max_threads(0).build();
        let log = Rc::new(RefCell::new(Vec::new()));
        park::run_until(|_| {
            let log_of = |what: &'static str| {
                let log = log.clone();
                move |_| {
                    log.borrow_mut().push(what);
                    Ok(())
                }
            };
            for _ in 0..3 {
                let slow = SlowToDrop;
                let job = move || {
                    drop(slow);
                    Ok(())
                };
                drop(pool.defer_to_thread(job).add_both(log_of("job")));
            }
            let (begins, begun) = mpsc::channel();
            let stopper = pool.clone();
            let cancelling = std::thread::spawn(move || {
                begins.send(()).unwrap();
                drop(stopper.stop_with(Backlog::Cancel));
            });
            begun.recv_timeout(LIMIT).unwrap();
            std::thread::sleep(Duration::from_millis(10));
            let end = pool.stop().add_both(log_of("end"));
            other(&pool);
            end.add_both(move |result| {
                cancelling.join().unwrap();
                result
            })
        })
        .unwrap();
        assert_eq!(log.take(), ["job", "job", "job", "end"], "{name}");
    }
}

#[test]
fn at_a_deadline_stop_fires_after_the_jobs_it_cancels_and_abandons() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let pool = ThreadPool::new(1);
    let release = Rc::new(Cell::new(None));
    park::run_until(|_| {
        let sender = |what: &'static str| {
            let log = log.clone();
            move |result: Result<(), Failure>| {
                log.borrow_mut().push(format!("{what}: {}", result.unwrap_err()));
                Ok(())
            }
        };
        let (holding, released) = hold(&pool);
        release.set(Some(released));
        drop(holding.add_both(sender("held")));
        drop(pool.defer_to_thread(|| Ok(())).add_both(sender("queued")));
        pool.stop_within(Backlog::Run, Duration::from_millis(10)).add_both(sender("end"))
    })
    .unwrap();
    release.take().unwrap().send(()).unwrap();
    let log = log.take();
    assert_eq!(log.len(), 3);
    assert!(log[0].starts_with("queued: cancelled"), "{log:?}");
    assert!(log[1].starts_with("held: abandoned") && log[1].contains("deadline"), "{log:?}");
    assert!(!log[1].contains("resolver"), "no resolver is in the message: {log:?}");
    assert!(log[2].starts_with("end: "), "{log:?}");
}

#[test]
fn a_thread_blocked_in_its_stop_hook_is_overdue_too() {
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let hook = move || {
        let _ = released.lock().unwrap().recv();
    };
    let pool = ThreadPool::builder().max_threads(1).on_thread_end(hook).build();
    let failure = park::run_until(|_| {
        let pool = pool.clone();
        pool.defer_to_thread(|| Ok(())).add_callback(move |()| pool.stop_within(Backlog::Run, Duration::from_millis(5)))
    })
    .unwrap_err();
    assert_eq!(failure.downcast_ref::<StopTimedOut>().unwrap().running.len(), 0);
    assert!(failure.to_string().contains("has not ended"), "{failure}");
    drop(release);
}
