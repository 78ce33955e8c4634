//! Reports of pools that are stuck.

use std::panic;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use deferred_threadpool::{StuckPool, ThreadPool};

use crate::LIMIT;

fn pool(threads: usize) -> (ThreadPool, mpsc::Receiver<StuckPool>) {
    let (sender, reports) = mpsc::channel();
    let pool = ThreadPool::builder()
        .max_threads(threads)
        .name("uploads")
        .stuck_after(Duration::from_millis(5))
        .on_stuck(move |stuck| {
            let _ = sender.send(stuck.clone());
            panic::resume_unwind(Box::new("a hook")); // has no effect
        })
        .build();
    (pool, reports)
}

fn hang(pool: &ThreadPool) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel();
    let (begun, has_begun) = mpsc::channel();
    let hangs = pool.submit(move |_| {
        begun.send(()).unwrap();
        Ok(released.recv_timeout(LIMIT)?)
    });
    has_begun.recv_timeout(LIMIT).unwrap();
    thread::spawn(|| hangs.wait());
    release
}

#[test]
fn a_stuck_pool_reports_its_running_jobs_once() {
    let (pool, reports) = pool(2);
    let releases = [hang(&pool), hang(&pool)];
    let waits = pool.submit(|_| Ok(()));
    let stuck = reports.recv_timeout(LIMIT).unwrap();
    assert_eq!((stuck.name.as_str(), stuck.queued, stuck.running.len()), ("uploads", 1, 2));
    assert!(stuck.oldest_wait >= Duration::from_millis(5));
    assert!(stuck.running.iter().all(|job| job.at.file().ends_with("watch.rs")), "{stuck}");
    assert_ne!(stuck.running[0].at.line(), stuck.oldest_at.line());
    let text = stuck.to_string();
    assert!(
        text.starts_with("the pool \"uploads\" is stuck: all its 2 threads are busy, and 1 job is queued")
            && text.lines().count() == 3,
        "{text}"
    );
    thread::sleep(Duration::from_millis(30));
    assert!(reports.try_recv().is_err(), "it is reported once");
    assert_eq!(pool.stats().stuck, 1);
    releases.iter().for_each(|release| release.send(()).unwrap());
    waits.wait().unwrap();
}

#[test]
fn a_stuck_pool_is_reported_once_however_many_jobs_wait() {
    let (pool, reports) = pool(1);
    let release = hang(&pool);
    let waiting: Vec<_> = (0..10).map(|_| pool.submit(|_| Ok(()))).collect();
    reports.recv_timeout(LIMIT).unwrap();
    thread::sleep(Duration::from_millis(30));
    assert!(reports.try_recv().is_err());
    release.send(()).unwrap();
    waiting.into_iter().for_each(|job| job.wait().unwrap());
}

#[test]
fn a_pool_that_is_stuck_again_is_reported_again() {
    let (pool, reports) = pool(1);
    for _ in 0..3 {
        let release = hang(&pool);
        let waits = pool.submit(|_| Ok(()));
        reports.recv_timeout(LIMIT).unwrap();
        release.send(()).unwrap();
        waits.wait().unwrap();
    }
}

#[test]
fn a_pool_is_reported_if_the_jobs_came_before_its_thread() {
    for _ in 0..20 {
        let (pool, reports) = pool(1);
        let (release, released) = mpsc::channel::<()>();
        let hangs = pool.submit(move |_| Ok(released.recv_timeout(LIMIT)?));
        let waits = pool.submit(|_| Ok(()));
        reports.recv_timeout(LIMIT).unwrap();
        release.send(()).unwrap();
        hangs.wait().and(waits.wait()).unwrap();
    }
}

#[test]
fn a_pool_that_keeps_up_is_not_reported() {
    // Without the threshold, jobs that wait for a moment would be reported.
    let (sender, reports) = mpsc::channel();
    let pool = ThreadPool::builder()
        .max_threads(1)
        .stuck_after(LIMIT / 10)
        .on_stuck(move |stuck| drop(sender.send(stuck.clone())))
        .build();
    for _ in 0..30 {
        let jobs: Vec<_> = (0..20).map(|_| pool.submit(|_| Ok(()))).collect();
        jobs.into_iter().for_each(|job| job.wait().unwrap());
    }
    assert!(reports.try_recv().is_err());
}

#[test]
fn a_pool_with_a_maximum_of_zero_is_not_stuck() {
    let (pool, reports) = pool(0);
    let waits = pool.submit(|_| Ok(()));
    thread::sleep(Duration::from_millis(30));
    assert!(reports.try_recv().is_err());
    pool.adjust_pool_size(0, 1);
    waits.wait().unwrap();
}
