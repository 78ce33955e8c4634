//! Cancelled jobs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use deferred_threadpool::{Backlog, Cancelled, Failure, Job, ThreadPool, TimedOut, park};

use crate::{LIMIT, adds_up, all, hold, until};

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_job_cancelled_while_it_waits_never_runs_and_is_dropped_at_once() {
    let pool = ThreadPool::new(1);
    let capture = Arc::new(());
    let results = all(|_| {
        let (holding, release) = hold(&pool);
        let held = capture.clone();
        let queued = pool.defer_to_thread(move || unreachable!("{held:?}"));
        assert_eq!(Arc::strong_count(&capture), 2);
        queued.cancel();
        assert_eq!(Arc::strong_count(&capture), 1);
        release.send(()).unwrap();
        vec![queued, holding]
    });
    assert!(results[0].as_ref().unwrap_err().check::<Cancelled>());
    assert!(results[1].is_ok());
}

#[test]
fn a_job_cancelled_while_it_runs_continues_and_its_result_is_dropped() {
    let pool = ThreadPool::new(1);
    let result = Arc::new(());
    let late = result.clone();
    let outcome = park::run_until(|_| {
        let (begun, has_begun) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let mut deferred = pool.defer_to_thread(move || {
            begun.send(()).unwrap();
            released.recv_timeout(LIMIT)?;
            Ok(late)
        });
        has_begun.recv_timeout(LIMIT).unwrap();
        deferred.cancel();
        release.send(()).unwrap();
        let cancelled = deferred.peek().unwrap().unwrap_err().check::<Cancelled>();
        // When this job runs, the pool's only thread is free again, so the late result has been
        // posted.
        pool.defer_to_thread(move || Ok(cancelled))
    });
    assert!(outcome.unwrap());
    assert_eq!(Arc::strong_count(&result), 1);
}

#[test]
fn a_running_job_observes_the_stop_flag_and_its_thread_counts_as_abandoned() {
    let pool = ThreadPool::new(1);
    let (begun, has_begun) = mpsc::channel();
    let (stopped, has_stopped) = mpsc::channel();
    let result = park::run_until(|_| {
        let job = pool.defer_to_thread_with(move |job: &Job<'_>| {
            begun.send(job.is_cancelled()).unwrap();
            while !job.is_cancelled() {
                thread::yield_now();
            }
            stopped.send(()).unwrap();
            Ok(())
        });
        assert!(!has_begun.recv_timeout(LIMIT).unwrap());
        job.cancel();
        let stats = pool.stats();
        assert_eq!((stats.cancelled, stats.submitted), (1, 1));
        assert!(stats.abandoned == stats.busy);
        adds_up(&stats);
        job
    });
    assert!(result.unwrap_err().check::<Cancelled>());
    has_stopped.recv_timeout(LIMIT).unwrap();
    until(|| pool.stats().busy == 0);
    let stats = pool.stats();
    assert_eq!((stats.cancelled, stats.done, stats.abandoned), (1, 0, 0));
    adds_up(&stats);
}

#[test]
fn a_flag_is_for_one_job_and_not_for_the_next_of_its_thread() {
    let pool = ThreadPool::new(1);
    park::run_until(|_| {
        let (begun, has_begun) = mpsc::channel();
        let first = pool.defer_to_thread_with(move |job: &Job<'_>| {
            begun.send(()).unwrap();
            while !job.is_cancelled() {
                thread::yield_now();
            }
            Ok(())
        });
        has_begun.recv_timeout(LIMIT).unwrap();
        first.cancel();
        drop(first.add_errback(|failure| failure.trap::<Cancelled>().map(drop)));
        pool.defer_to_thread_with(|job: &Job<'_>| Ok(job.is_cancelled())).add_callback(|cancelled| assert!(!cancelled))
    })
    .unwrap();
}

#[test]
fn a_late_result_is_dropped_in_its_thread() {
    struct SendThreadOnDrop(mpsc::Sender<thread::ThreadId>);
    impl Drop for SendThreadOnDrop {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }
    let (sender, dropped) = mpsc::channel();
    let (begun, has_begun) = mpsc::channel();
    let pool = ThreadPool::new(1);
    let result = park::run_until(|_| {
        let job = pool.defer_to_thread_with(move |job: &Job<'_>| {
            begun.send(thread::current().id()).unwrap();
            while !job.is_cancelled() {
                thread::yield_now();
            }
            Ok(SendThreadOnDrop(sender))
        });
        let there = has_begun.recv_timeout(LIMIT).unwrap();
        job.cancel();
        assert_eq!(dropped.recv_timeout(LIMIT).unwrap(), there);
        job
    });
    assert!(result.is_err());
}

#[test]
fn a_late_result_whose_destructor_panics_ends_no_thread() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("a destructor"));
        }
    }
    let pool = ThreadPool::new(1);
    let (begun, has_begun) = mpsc::channel();
    let runs = pool.submit(move |job| {
        begun.send(()).unwrap();
        while !job.is_cancelled() {
            thread::yield_now();
        }
        Ok(Panics)
    });
    has_begun.recv_timeout(LIMIT).unwrap();
    drop(runs);
    assert_eq!(pool.submit(|_| Ok(5)).wait().unwrap(), 5);
    assert_eq!((pool.stats().threads, pool.stats().abandoned), (1, 0));
}

#[test]
fn a_job_cancelled_after_its_result_was_delivered_drops_the_result() {
    let pool = ThreadPool::new(1);
    let value = Arc::new(());
    let result = value.clone();
    park::run_until(|_| {
        let job = pool.defer_to_thread(move || Ok(result));
        until(|| pool.stats().done == 1);
        job.cancel();
        assert!(job.try_take().unwrap().unwrap_err().check::<Cancelled>());
        pool.defer_to_thread(|| Ok(()))
    })
    .unwrap();
    assert_eq!(Arc::strong_count(&value), 1);
    assert_eq!((pool.stats().done, pool.stats().cancelled), (2, 0));
    adds_up(&pool.stats());
}

#[test]
fn a_timeout_cancels_queued_and_running_jobs() {
    let pool = ThreadPool::new(1);
    let results = all(|reactor| {
        let soon = Duration::from_millis(5);
        let runs = pool.defer_to_thread_with(|job: &Job<'_>| {
            while !job.is_cancelled() {
                thread::yield_now();
            }
            Ok(())
        });
        let waits = pool.defer_to_thread(|| -> Result<(), _> { unreachable!() });
        vec![waits.add_timeout(soon, reactor), runs.add_timeout(soon * 2, reactor)]
    });
    assert!(results.into_iter().all(|result| result.unwrap_err().check::<TimedOut>()));
    until(|| pool.stats().busy == 0);
    assert_eq!(pool.stats().cancelled, 2);
    adds_up(&pool.stats());
}

#[test]
fn cancelled_queued_jobs_never_run_and_the_others_keep_their_order() {
    let pool = ThreadPool::new(1);
    let (sender, ran) = mpsc::channel();
    all(|_| {
        let (holding, release) = hold(&pool);
        let mut jobs: Vec<_> = (0..1000)
            .map(|number| {
                let sender = sender.clone();
                pool.defer_to_thread(move || Ok(sender.send(number)?))
            })
            .collect();
        jobs.iter().enumerate().filter(|(number, _)| number % 3 != 0).for_each(|(_, job)| job.cancel());
        assert_eq!(pool.stats().queued, 334);
        adds_up(&pool.stats());
        release.send(()).unwrap();
        jobs.push(holding);
        jobs
    });
    assert!(ran.try_iter().eq((0..1000).filter(|number| number % 3 == 0)));
}

#[test]
fn a_delivered_result_of_a_cancelled_job_is_not_mistaken_for_the_next_jobs() {
    let pool = ThreadPool::new(1);
    let second = park::run_until(|_| {
        let first = pool.defer_to_thread(|| Ok(1));
        until(|| pool.stats().done == 1);
        thread::sleep(Duration::from_millis(1)); // the job is counted a moment before its result is delivered
        first.cancel();
        let second = pool.defer_to_thread(|| Ok(2)); // reuses the slot of the first
        first.add_errback(|failure| failure.trap::<Cancelled>().map(|_| 0)).add_callback(|_| second)
    });
    assert_eq!(second.unwrap(), 2);
}

#[test]
fn a_cancel_stays_a_cancel_even_if_the_destructor_of_the_job_panics() {
    struct PanicOnDrop;
    impl Drop for PanicOnDrop {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("a destructor")); // bypasses the panic hook, which would print
        }
    }
    let pool = ThreadPool::new(1);
    let results = all(|reactor| {
        let (holding, release) = hold(&pool);
        let job = |bomb| {
            pool.defer_to_thread(move || {
                drop(bomb);
                Ok(())
            })
        };
        let cancelled = job(PanicOnDrop);
        cancelled.cancel();
        let late = job(PanicOnDrop).add_timeout(Duration::from_millis(1), reactor).add_both(move |result| {
            release.send(())?;
            result
        });
        vec![cancelled, late, holding]
    });
    assert!(results[0].as_ref().unwrap_err().check::<Cancelled>());
    assert!(results[1].as_ref().unwrap_err().check::<TimedOut>());
    assert_eq!(pool.stats().cancelled, 2);
}

/// A job that waits until its cancel sends a message to it.
fn interruptible(job: &Job<'_>) -> Result<u32, Failure> {
    let (interrupt, interrupted) = mpsc::channel();
    let _interrupts = job.on_cancel(move || interrupt.send(()).unwrap());
    interrupted.recv_timeout(LIMIT)?;
    Ok(1)
}

#[test]
fn a_cancel_or_timeout_interrupts_the_running_job_and_frees_its_thread() {
    let pool = ThreadPool::new(1);
    for times_out in [false, true] {
        let failure = park::run_until(|reactor| {
            let mut running = pool.defer_to_thread_with(interruptible);
            if times_out {
                return running.add_timeout(20 * MS, reactor);
            }
            let cancel = running.cancel_handle();
            reactor.call_later(20 * MS, move || cancel.cancel());
            running
        });
        let failure = failure.unwrap_err();
        assert!(failure.check::<TimedOut>() == times_out && failure.check::<Cancelled>() != times_out);
        assert_eq!(pool.submit(|_| Ok(1)).wait().unwrap(), 1);
    }
    // The same for a `RemoteFuture`, which is dropped, and for a pool that is stopped.
    drop(pool.submit(interruptible).wait_timeout(20 * MS).unwrap_err());
    assert_eq!(pool.submit(|_| Ok(1)).wait().unwrap(), 1);
    let running = pool.submit(interruptible);
    let stopped = park::run_until(|_| pool.stop_within(Backlog::Run, 20 * MS));
    assert!(stopped.is_err());
    assert!(running.wait().is_err());
    until(|| pool.stats().threads == 0);
}

#[test]
fn a_cancel_before_the_call_is_registered_makes_it_at_once() {
    let pool = ThreadPool::new(1);
    let (begun, has_begun) = mpsc::channel();
    let (cancelled, is_cancelled) = mpsc::channel();
    let (called, was_called) = mpsc::channel();
    let running = pool.submit(move |job| {
        begun.send(()).unwrap();
        is_cancelled.recv_timeout(LIMIT)?;
        let _interrupts = job.on_cancel(move || called.send(thread::current().id()).unwrap());
        Ok(thread::current().id())
    });
    has_begun.recv().unwrap();
    drop(running);
    cancelled.send(()).unwrap();
    let on = was_called.recv_timeout(LIMIT).unwrap();
    assert_eq!(pool.submit(|_| Ok(thread::current().id())).wait().unwrap(), on, "on the job's thread");
}

#[test]
fn a_dropped_guard_removes_its_call_and_waits_for_one_that_runs() {
    let pool = ThreadPool::new(1);
    let (steps, order) = mpsc::channel();
    let (begun, has_begun) = mpsc::channel();
    let running = pool.submit(move |job| {
        drop(job.on_cancel(|| unreachable!("its guard is dropped")));
        let calls = steps.clone();
        let first = job.on_cancel(move || {
            calls.send("the call begins").unwrap();
            thread::sleep(20 * MS);
            calls.send("the call ends").unwrap();
        });
        let panics = job.on_cancel(|| panic!("it is ignored"));
        begun.send(()).unwrap();
        while !job.is_cancelled() {
            thread::yield_now();
        }
        drop(first);
        drop(panics);
        steps.send("the guard is dropped").unwrap();
        Ok(())
    });
    has_begun.recv().unwrap();
    drop(running); // which makes the calls
    let order: Vec<_> = order.iter().take(3).collect();
    let removed_before = order == ["the guard is dropped"];
    assert!(removed_before || order == ["the call begins", "the call ends", "the guard is dropped"], "{order:?}");
}

#[test]
fn a_job_is_never_interrupted_by_the_cancel_of_another_one() {
    let pool = ThreadPool::new(2);
    for round in 0..500_u64 {
        let (wrong, held) = (Arc::new(AtomicUsize::new(0)), Arc::new(()));
        let jobs: Vec<_> = (0..4)
            .map(|number| {
                let (wrong, held) = (wrong.clone(), held.clone());
                pool.submit(move |job| {
                    let is_wanted = number % 2 == 0;
                    let interrupts = job.on_cancel(move || {
                        wrong.fetch_add(usize::from(is_wanted), Ordering::SeqCst);
                    });
                    for _ in 0..round % 7 {
                        thread::yield_now();
                    }
                    drop((interrupts, held));
                    Ok(number)
                })
            })
            .collect();
        for (number, job) in jobs.into_iter().enumerate() {
            if number % 2 == 0 {
                assert_eq!(job.wait().unwrap(), number as u64);
            } else {
                drop(job);
            }
        }
        until(|| Arc::strong_count(&held) == 1);
        assert_eq!(wrong.load(Ordering::SeqCst), 0, "a job was interrupted that was not cancelled");
    }
}
