//! Jobs submitted by code without a reactor.

use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use deferred_threadpool::{
    Abandoned, Backlog, Cancelled, Failure, Panicked, PoolStopped, RemoteFuture, StopTimedOut, ThreadPool, park,
};

use crate::{LIMIT, adds_up, until};

#[test]
fn wait_returns_a_value_an_error_and_a_panic() {
    let pool = ThreadPool::new(2);
    assert_eq!(
        pool.submit(|_| Ok(thread::current().name().map(str::to_owned))).wait().unwrap().unwrap(),
        "deferred-pool-1"
    );
    assert_eq!(pool.submit(|_| Err::<(), _>(Failure::msg("no"))).wait().unwrap_err().to_string(), "no");
    let panicked = pool.submit(|_| -> Result<(), Failure> { panic!("the job's own") }).wait();
    assert_eq!(panicked.unwrap_err().downcast_ref::<Panicked>().unwrap().message(), "the job's own");
    let stats = pool.stats();
    assert_eq!((stats.done, stats.failed, stats.panicked), (1, 1, 1));
    adds_up(&stats);
}

#[test]
fn a_coroutine_may_await_the_job() {
    let pool = ThreadPool::new(1);
    let sum = park::run_until(|reactor| {
        let remote = pool.submit(|_| Ok(20));
        reactor.ensure_deferred(async move { Ok(remote.await? + 1) })
    });
    assert_eq!(sum.unwrap(), 21);
}

#[test]
fn dropping_the_future_cancels_a_queued_job_and_sets_the_stop_flag_of_a_running_one() {
    let pool = ThreadPool::new(1);
    let (begun, has_begun) = mpsc::channel();
    let running: RemoteFuture<()> = pool.submit(move |job| {
        begun.send(()).unwrap();
        while !job.is_cancelled() {
            thread::yield_now();
        }
        Ok(())
    });
    has_begun.recv_timeout(LIMIT).unwrap();
    let capture = Arc::new(());
    let held = capture.clone();
    let waiting: RemoteFuture<()> = pool.submit(move |_| unreachable!("{held:?}"));
    drop(waiting);
    assert_eq!(Arc::strong_count(&capture), 1);
    drop(running);
    assert_eq!(pool.stats().cancelled, 2);
    until(|| pool.stats().busy == 0);
    assert_eq!(pool.stats().abandoned, 0);
    adds_up(&pool.stats());
}

#[test]
fn a_stopped_pool_refuses_the_job() {
    let pool = ThreadPool::new(1);
    park::run_until(|_| pool.stop()).unwrap();
    assert!(pool.submit(|_| Ok(())).wait().unwrap_err().check::<PoolStopped>());
    adds_up(&pool.stats());
}

#[test]
fn a_result_may_outlive_the_pool() {
    let pool = ThreadPool::new(1);
    let remote = pool.submit(|_| Ok(5));
    drop(pool);
    assert_eq!(remote.wait().unwrap(), 5);
}

#[test]
fn many_threads_submit() {
    let pool = ThreadPool::new(3);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let pool = pool.clone();
            thread::spawn(move || {
                (0..500u64).map(|number| pool.submit(move |_| Ok(number)).wait().unwrap()).sum::<u64>()
            })
        })
        .collect();
    let sum: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(sum, 4 * (0..500).sum::<u64>());
    assert_eq!(pool.stats().done, 2000);
}

/// A waker that panics.
struct PanicsOnWake;

impl Wake for PanicsOnWake {
    fn wake(self: Arc<Self>) {
        std::panic::resume_unwind(Box::new("a waker"));
    }
}

/// Polls `remote` once with a waker that panics.
fn awaited<T: Send + 'static>(remote: RemoteFuture<T>) -> Pin<Box<RemoteFuture<T>>> {
    let mut remote = Box::pin(remote);
    let waker = Waker::from(Arc::new(PanicsOnWake));
    assert!(remote.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    remote
}

#[test]
fn a_waker_that_panics_delays_no_other_job() {
    let pool = ThreadPool::new(1);
    let (release, released) = mpsc::channel();
    let done = awaited(pool.submit(move |_| Ok(released.recv_timeout(LIMIT)?)));
    release.send(()).unwrap();
    assert_eq!(pool.submit(|_| Ok(5)).wait().unwrap(), 5);
    drop(done);

    // The deadline of a stop: a running job and a queued one, each followed by others.
    let pool = ThreadPool::new(2);
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(parking_lot::Mutex::new(released));
    let hangs = || {
        let ((begun, has_begun), released) = (mpsc::channel(), released.clone());
        let remote = pool.submit(move |_| {
            begun.send(()).unwrap();
            let _ = released.lock().recv_timeout(LIMIT);
            Ok(())
        });
        has_begun.recv_timeout(LIMIT).unwrap();
        remote
    };
    let (first, second) = (awaited(hangs()), hangs());
    let (third, fourth) = (awaited(pool.submit(|_| Ok(()))), pool.submit(|_| Ok(())));
    let stopped = park::run_until(|_| pool.stop_within(Backlog::Run, Duration::ZERO));
    assert!(stopped.unwrap_err().check::<StopTimedOut>());
    assert!(fourth.wait().unwrap_err().check::<Cancelled>());
    assert!(second.wait().unwrap_err().check::<Abandoned>());
    drop((first, third, release));
}
