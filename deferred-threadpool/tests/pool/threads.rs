//! The number of threads, and their hooks.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::error::Error;
#[cfg(target_os = "linux")]
use std::fs;
#[cfg(target_os = "linux")]
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use deferred_threadpool::{SpawnFailed, ThreadPool, defer_to_thread, park};

use crate::{LIMIT, THREAD_END, ThreadEnd, adds_up, all, hold, until, visit};

#[test]
fn threads_without_work_end_one_after_the_other_and_the_last_one_stays() {
    let pool = ThreadPool::builder().max_threads(4).keep_alive(Duration::from_millis(1)).build();
    let barrier = Arc::new(Barrier::new(4));
    let meet = || {
        let barrier = barrier.clone();
        pool.defer_to_thread(move || {
            barrier.wait();
            Ok(())
        })
    };
    for _ in 0..3 {
        assert!(all(|_| (0..4).map(|_| meet()).collect()).iter().all(Result::is_ok));
        while pool.stats().threads > 1 {
            thread::yield_now();
        }
    }
    thread::sleep(Duration::from_millis(20)); // the last thread must not end
    assert_eq!((pool.stats().threads, pool.stats().idle), (1, 1));
}

#[test]
fn the_default_pool_of_a_reactor_is_one_pool_of_ten_threads() {
    park::run_until(|reactor| {
        let held: Vec<_> = (0..10).map(|_| hold(&ThreadPool::for_reactor(reactor))).collect();
        let waits = defer_to_thread(|| Ok(()));
        let stats = ThreadPool::for_reactor(reactor).stats();
        assert_eq!((stats.threads, stats.busy, stats.queued), (10, 10, 1));
        held.iter().for_each(|(_, release)| release.send(()).unwrap());
        waits
    })
    .unwrap();
}

#[test]
fn no_more_threads_than_jobs_are_started() {
    let pool = ThreadPool::new(9);
    park::run_until(|_| {
        let held: Vec<_> = (1..=3)
            .map(|jobs| {
                let held = hold(&pool);
                assert_eq!(pool.stats().threads, jobs);
                held
            })
            .collect();
        drop(held); // ends the jobs
        pool.stop()
    })
    .unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn threads_that_wait_for_work_sleep_with_and_without_a_keep_alive() {
    let pool = ThreadPool::builder().max_threads(2).keep_alive(LIMIT).build();
    let both = Arc::new(Barrier::new(2));
    let threads = all(|_| {
        let meet = |both: Arc<Barrier>| {
            pool.defer_to_thread(move || {
                both.wait();
                Ok(fs::read_link("/proc/thread-self")?)
            })
        };
        vec![meet(both.clone()), meet(both)]
    });
    let threads: Vec<_> = threads.into_iter().map(|thread| Path::new("/proc").join(thread.unwrap())).collect();
    // The CPU time of each thread.
    let times = || threads.iter().map(|thread| fs::read(thread.join("schedstat")).unwrap()).collect::<Vec<_>>();
    let come_to_rest = (0..50).any(|_| {
        let before = times();
        thread::sleep(Duration::from_millis(20));
        times() == before
    });
    assert!(come_to_rest);
}

#[test]
fn a_thread_that_waits_is_used_before_a_new_one_is_started() {
    const JOBS: usize = 1000;
    let pool = ThreadPool::new(JOBS);
    // A result is posted a moment before its thread is idle again, so the next job may sometimes
    // need another thread.
    let names: HashSet<_> = (0..JOBS)
        .map(|_| {
            park::run_until(|_| pool.defer_to_thread(|| Ok(thread::current().name().unwrap().to_owned()))).unwrap()
        })
        .collect();
    assert!(names.len() < JOBS / 2, "{} threads for jobs one at a time", names.len());
}

#[test]
fn dropping_the_pool_ends_the_threads_that_wait() {
    let pool = ThreadPool::builder().keep_alive(Duration::MAX).build();
    let (_, ended) = visit(&pool);
    assert_eq!(ended.try_recv(), Err(mpsc::TryRecvError::Empty));
    drop(pool);
    ended.recv_timeout(LIMIT).unwrap();
}

#[test]
fn as_many_threads_stay_as_the_minimum_says() {
    let pool = ThreadPool::builder().min_threads(2).max_threads(3).keep_alive(Duration::ZERO).build();
    let barrier = Arc::new(Barrier::new(3));
    let ends = Rc::new(RefCell::new(Vec::new()));
    all(|_| {
        (0..3)
            .map(|_| {
                let (sender, ended) = mpsc::channel();
                ends.borrow_mut().push(ended);
                let barrier = barrier.clone();
                pool.defer_to_thread(move || {
                    barrier.wait();
                    THREAD_END.set(Some(ThreadEnd(sender)));
                    Ok(())
                })
            })
            .collect()
    });
    let ends = ends.take();
    let ended = || ends.iter().filter(|end| end.try_recv().is_ok()).count();
    let mut left = 3;
    while left == 3 {
        left -= ended();
        thread::yield_now();
    }
    thread::sleep(Duration::from_millis(20)); // the other two must not end
    assert_eq!(left - ended(), 2);
    drop(pool);
    while left > 0 {
        left -= ended();
        thread::yield_now();
    }
}

#[test]
fn a_job_without_a_thread_to_run_it_fails() {
    let pool = ThreadPool::builder().stack_size(usize::MAX / 4 * 3).build();
    let results = all(|_| (0..3).map(|_| pool.defer_to_thread(|| Ok(()))).collect());
    assert_eq!(results.len(), 3);
    for result in results {
        let failure = result.unwrap_err();
        assert!(failure.downcast_ref::<SpawnFailed>().unwrap().source().is_some());
    }
}

#[test]
#[should_panic(expected = "the name of a pool must not contain a NUL character")]
fn a_name_with_which_no_thread_can_be_started_is_refused() {
    let _ = ThreadPool::builder().name("a\0b");
}

#[test]
fn a_raised_maximum_serves_queued_jobs_at_once() {
    let pool = ThreadPool::new(0);
    let barrier = Arc::new(Barrier::new(3));
    all(|_| {
        let jobs: Vec<_> = (0..3)
            .map(|_| {
                let barrier = barrier.clone();
                pool.defer_to_thread(move || {
                    barrier.wait(); // hangs unless three jobs run at once
                    Ok(())
                })
            })
            .collect();
        assert_eq!((pool.stats().threads, pool.stats().queued), (0, 3));
        pool.adjust_pool_size(0, 3);
        jobs
    });
    assert_eq!(pool.stats().threads, 3);
}

#[test]
fn with_a_maximum_of_zero_jobs_wait_until_it_is_raised() {
    let pool = ThreadPool::new(1);
    all(|_| {
        let (holding, release) = hold(&pool);
        let waits = pool.defer_to_thread(|| Ok(()));
        pool.adjust_pool_size(0, 0);
        release.send(()).unwrap();
        until(|| pool.stats().threads == 0);
        assert_eq!(pool.stats().queued, 1);
        pool.adjust_pool_size(0, 1);
        vec![holding, waits]
    })
    .into_iter()
    .for_each(|result| result.unwrap());
}

#[test]
fn a_lowered_maximum_ends_idle_threads_now_and_busy_ones_after_their_job() {
    let pool = ThreadPool::builder().max_threads(3).keep_alive(Duration::MAX).build();
    all(|_| {
        let held: Vec<_> = (0..3).map(|_| hold(&pool)).collect();
        let (mut jobs, mut releases): (Vec<_>, Vec<_>) = held.into_iter().unzip();
        releases.remove(0).send(()).unwrap();
        until(|| pool.stats().idle == 1);
        pool.adjust_pool_size(0, 1);
        until(|| pool.stats().threads == 2);
        assert_eq!(pool.stats().busy, 2);
        let waits = pool.defer_to_thread(|| Ok(()));
        releases.remove(0).send(()).unwrap();
        until(|| pool.stats().threads == 1);
        assert_eq!(pool.stats().queued, 1, "the thread that is one too many takes no other job");
        releases.remove(0).send(()).unwrap();
        jobs.push(waits);
        jobs
    });
    assert_eq!(pool.stats().threads, 1);
    pool.adjust_pool_size(0, 0);
    until(|| pool.stats().threads == 0);
}

#[test]
fn hooks_run_in_each_thread_first_and_last_and_their_panics_change_nothing() {
    let (starts, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (started, ended) = (starts.clone(), ends.clone());
    let pool = ThreadPool::builder()
        .max_threads(2)
        .on_thread_start(move || {
            started.fetch_add(1, Ordering::SeqCst);
            std::panic::resume_unwind(Box::new("a hook"));
        })
        .on_thread_end(move || {
            ended.fetch_add(1, Ordering::SeqCst);
            std::panic::resume_unwind(Box::new("a hook"));
        })
        .build();
    park::run_until(|_| {
        let held: Vec<_> = (0..2).map(|_| hold(&pool)).collect();
        assert_eq!((starts.load(Ordering::SeqCst), ends.load(Ordering::SeqCst)), (2, 0));
        held.iter().for_each(|(_, release)| release.send(()).unwrap());
        pool.stop()
    })
    .unwrap();
    assert_eq!(ends.load(Ordering::SeqCst), 2, "before the pool says that it has ended");
}

#[test]
fn thread_locals_of_a_pool_of_one_thread_persist() {
    thread_local!(static OPENED: RefCell<Option<Rc<Cell<u32>>>> = const { RefCell::new(None) });
    let pool = ThreadPool::builder().max_threads(1).keep_alive(Duration::ZERO).build();
    let counted = all(|_| {
        (0..20)
            .map(|_| {
                pool.defer_to_thread(|| {
                    let library = OPENED.with_borrow_mut(|slot| slot.get_or_insert_default().clone());
                    library.set(library.get() + 1);
                    Ok(library.get())
                })
            })
            .collect()
    });
    assert_eq!(counted.into_iter().map(Result::unwrap).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    thread::sleep(Duration::from_millis(5)); // longer than the keep-alive
    let again =
        park::run_until(|_| pool.defer_to_thread(|| Ok(OPENED.with_borrow(|slot| slot.as_ref().map(|it| it.get())))));
    assert_eq!(again.unwrap(), Some(20));
    adds_up(&pool.stats());
}

#[test]
fn no_job_hangs_if_threads_cannot_be_started() {
    // Whether all, one, or no threads can be started depends on the machine.
    let pool = ThreadPool::builder().max_threads(2).stack_size(usize::MAX / 4 * 3).build();
    let results = all(|_| (0..4).map(|_| pool.defer_to_thread(|| Ok(()))).collect());
    for result in results {
        assert!(result.is_ok() || result.unwrap_err().check::<SpawnFailed>());
    }
    adds_up(&pool.stats());
}

#[test]
fn a_spinning_thread_takes_the_next_job_without_sleeping_and_sleeps_at_last() {
    let pool = ThreadPool::builder().max_threads(1).spin_before_sleep(Duration::from_micros(200)).build();
    for _ in 0..200 {
        park::run_until(|_| pool.defer_to_thread(|| Ok(()))).unwrap();
    }
    thread::sleep(Duration::from_millis(2));
    assert_eq!((pool.stats().done, pool.stats().idle), (200, 1));
    park::run_until(|_| pool.stop()).unwrap();
}

#[test]
fn slow_jobs_of_one_pool_do_not_delay_another_pool() {
    let (uploads, queries) = (ThreadPool::new(1), ThreadPool::new(1));
    all(|_| {
        let (holding, release) = hold(&uploads);
        let waits = uploads.defer_to_thread(|| Ok(()));
        let quick = queries.defer_to_thread(|| Ok(())).add_callback(move |()| Ok(release.send(())?));
        vec![holding, waits, quick]
    });
}
