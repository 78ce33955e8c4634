//! The context of jobs: values of the code that submits them, and its deadline.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use deferred_threadpool::{Failure, ThreadPool, TimedOut, context, on_unhandled, park, with_context};

use crate::{LIMIT, adds_up, all, hold};

struct Id(u32);

fn id() -> u32 {
    context::get::<Id>().map_or(0, |id| id.0)
}

#[test]
fn a_job_has_the_context_of_the_code_that_submits_it() {
    let pool = ThreadPool::new(1);
    let ids = all(|_| {
        let first = with_context(Id(1), || pool.defer_to_thread(|| Ok(id())));
        let second = pool.defer_to_thread(|| Ok(id()));
        let third = with_context(Id(3), || pool.defer_to_thread(|| -> Result<u32, Failure> { panic!("on purpose") }));
        let fourth = pool.defer_to_thread_with(|_| Ok(id()));
        vec![first, second, third, fourth]
    });
    let ids: Vec<_> = ids.into_iter().map(|result| result.unwrap_or(99)).collect();
    assert_eq!(ids, [1, 0, 99, 0], "one thread runs all of them");
    assert_eq!(with_context(Id(4), || pool.submit(|_| Ok(id()))).wait().unwrap(), 4);
}

#[test]
fn a_job_can_call_the_loop_in_its_context() {
    let pool = ThreadPool::new(1);
    let seen = park::run_until(|reactor| {
        let handle = reactor.handle();
        with_context(Id(7), || pool.defer_to_thread(move || handle.blocking_call_from_thread(|| Ok(id()))))
    });
    assert_eq!(seen.unwrap(), 7);
}

#[test]
fn a_job_whose_deadline_has_passed_does_not_run() {
    let pool = ThreadPool::new(1);
    let (began, has_begun) = mpsc::channel();
    let results = all(|_| {
        let (held, release) = hold(&pool);
        let (late, soon) = (began.clone(), began.clone());
        let deadline = Instant::now() + Duration::from_millis(5);
        let late = context::with_deadline(deadline, || {
            pool.defer_to_thread(move || {
                late.send("late").unwrap();
                Ok(())
            })
        });
        let soon = context::with_deadline(deadline + LIMIT, || {
            pool.defer_to_thread(move || {
                soon.send("soon").unwrap();
                Ok(())
            })
        });
        while Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        release.send(()).unwrap();
        vec![held, late, soon]
    });
    let errors: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(matches!(errors[..], [late] if late.check::<TimedOut>()), "{errors:?}");
    assert_eq!(has_begun.try_iter().collect::<Vec<_>>(), ["soon"]);
    adds_up(&pool.stats());
}

#[test]
fn a_running_job_counts_as_cancelled_from_its_deadline_on() {
    let pool = ThreadPool::new(1);
    let deadline = Instant::now() + Duration::from_millis(20);
    let ended = context::with_deadline(deadline, || {
        pool.submit(|job| {
            let began_in_time = !job.is_cancelled();
            while !job.is_cancelled() {
                thread::sleep(Duration::from_millis(1));
            }
            Ok((began_in_time, Instant::now()))
        })
    });
    match ended.wait() {
        Ok((began_in_time, ended)) => assert!(!began_in_time || ended >= deadline),
        // A busy machine may begin it after the deadline.
        Err(failure) => assert!(failure.check::<TimedOut>()),
    }
}

#[test]
fn a_job_fails_at_its_deadline_also_while_it_is_queued_or_runs() {
    let pool = ThreadPool::new(1);
    let (release, released) = mpsc::channel::<()>();
    let results = all(|reactor| {
        reactor.with_timeout(Duration::from_millis(10), || {
            let runs = pool.defer_to_thread(move || Ok(released.recv_timeout(LIMIT)?));
            let queued = pool.defer_to_thread(|| Ok(()));
            vec![runs, queued]
        })
    });
    for result in results {
        let failure = result.unwrap_err();
        assert!(failure.downcast_ref::<TimedOut>().unwrap().is_by_deadline(), "{failure}");
    }
    assert_eq!(pool.stats().cancelled, 2);
    release.send(()).unwrap();
}

#[test]
fn an_unhandled_error_of_a_job_is_reported_in_its_context() {
    let pool = ThreadPool::new(1);
    let (seen, log) = mpsc::channel();
    let _hook = on_unhandled(move |_| seen.send(id()).unwrap());
    all(|_| {
        let ended = pool.defer_to_thread(|| Ok(()));
        drop(with_context(Id(7), || {
            pool.defer_to_thread(|| -> Result<(), Failure> { Err(Failure::msg("unhandled")) })
        }));
        vec![ended, pool.defer_to_thread(|| Ok(()))]
    });
    assert_eq!(log.try_iter().collect::<Vec<_>>(), [7]);
}

#[test]
fn results_bring_no_context_of_other_code() {
    let (pool, other) = (ThreadPool::new(1), ThreadPool::new(1));
    let ids = all(|_| {
        let (release, released) = mpsc::channel();
        let first = pool.defer_to_thread(move || Ok(released.recv_timeout(LIMIT)?)).map(|()| id());
        // The end of this pool posts the delivery.
        drop(with_context(Id(1), || other.stop()));
        release.send(()).unwrap();
        thread::sleep(Duration::from_millis(20));
        vec![first]
    });
    assert!(ids.into_iter().all(|id| id.unwrap() == 0));
}

#[test]
fn a_job_knows_its_own_deadline_wherever_it_asks() {
    let pool = ThreadPool::new(1);
    let past = Instant::now();
    let without = pool.submit(move |job| Ok(context::with_deadline(past, || job.is_cancelled())));
    assert!(!without.wait().unwrap());
    let seen = context::with_deadline(Instant::now() + Duration::from_millis(5), || {
        pool.submit(|job| {
            thread::sleep(Duration::from_millis(10));
            Ok((job.is_cancelled(), context::without(|| job.is_cancelled())))
        })
    });
    // A busy machine may begin it after the deadline.
    assert!(seen.wait().map_or_else(|failure| failure.check::<TimedOut>(), |seen| seen == (true, true)));
}
