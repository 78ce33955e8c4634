//! The context of jobs: values of the code that submits them, and its deadline.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use deferred_threadpool::{Failure, ThreadPool, TimedOut, context, park, with_context};

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
    assert!(results[1].as_ref().unwrap_err().check::<TimedOut>());
    assert!(results[0].is_ok() && results[2].is_ok());
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
