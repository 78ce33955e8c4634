//! What the pool promises about each job.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::error::Error;
use std::io;
use std::panic;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use deferred_threadpool::{
    Abandoned, Cancelled, Deferred, Failure, NoReactor, NoThread, Panicked, PoolStopped, Reactor, ThreadPool,
    defer_to_thread, park,
};

/// Longer than anything here takes: when it passes, something hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs what `main` returns to its end, and gives the results in the order they came.
fn all<T: 'static>(main: impl FnOnce(&Reactor) -> Vec<Deferred<T>>) -> Vec<Result<T, Failure>> {
    let results = Rc::new(RefCell::new(Vec::new()));
    park::run(|reactor| {
        let deferreds = main(reactor);
        let left = Rc::new(Cell::new(deferreds.len()));
        for deferred in deferreds {
            let (results, left, reactor) = (results.clone(), left.clone(), reactor.clone());
            deferred.add_both(move |result| {
                results.borrow_mut().push(result);
                left.set(left.get() - 1);
                if left.get() == 0 {
                    reactor.stop();
                }
                Ok(())
            });
        }
    });
    results.take()
}

/// A job that holds its thread until the sender is used, and says when it has begun.
fn hold(pool: &ThreadPool) -> (Deferred<()>, mpsc::Sender<()>) {
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let deferred = pool.defer_to_thread(move || {
        begun.send(()).unwrap();
        released.recv_timeout(LIMIT)?;
        Ok(())
    });
    has_begun.recv_timeout(LIMIT).unwrap();
    (deferred, release)
}

#[test]
fn a_job_runs_in_another_thread_and_its_callbacks_in_this_one() {
    let here = thread::current().id();
    let result = park::run_until(|_| {
        defer_to_thread(|| Ok(thread::current().id())).add_callback(|there| Ok((there, thread::current().id())))
    });
    let (job, callback) = result.unwrap();
    assert_ne!(job, here);
    assert_eq!(callback, here);
}

#[test]
fn an_error_arrives_at_the_errback() {
    let result = park::run_until(|_| defer_to_thread(|| Ok(std::fs::read("/no/such/file")?)));
    assert_eq!(result.unwrap_err().downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_panic_arrives_at_the_errback_and_the_thread_lives_on() {
    let pool = ThreadPool::new(1);
    let results = all(|_| {
        vec![
            pool.defer_to_thread(|| -> Result<_, Failure> { panic!("the job's own") }),
            pool.defer_to_thread(|| Ok(thread::current().name().map(str::to_owned))),
        ]
    });
    let [Err(failure), Ok(name)] = results.as_slice() else { panic!("{results:?}") };
    assert_eq!(failure.downcast_ref::<Panicked>().unwrap().message(), "the job's own");
    assert_eq!(name.as_deref(), Some("deferred-pool-1"));
}

#[test]
fn jobs_of_one_thread_run_in_the_order_they_were_given() {
    let pool = ThreadPool::new(1);
    let results = all(|_| (0..100).map(|number| pool.defer_to_thread(move || Ok(number))).collect());
    assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
}

#[test]
fn as_many_jobs_run_at_once_as_there_may_be_threads() {
    let pool = ThreadPool::builder().max_threads(4).name("four").build();
    let barrier = Arc::new(Barrier::new(4));
    let results = all(|_| {
        (0..12)
            .map(|_| {
                let barrier = barrier.clone();
                pool.defer_to_thread(move || {
                    barrier.wait(); // hangs unless four of them meet
                    Ok(thread::current().name().unwrap().to_owned())
                })
            })
            .collect()
    });
    let names: HashSet<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(names, ["four-1", "four-2", "four-3", "four-4"].map(str::to_owned).into());
}

#[test]
fn a_thread_that_waits_is_used_before_a_new_one_is_started() {
    const JOBS: usize = 1000;
    let pool = ThreadPool::new(JOBS);
    // A result is posted a moment before its thread waits again, so that the next job may need another one. Not always.
    let names: HashSet<_> = (0..JOBS)
        .map(|_| {
            park::run_until(|_| pool.defer_to_thread(|| Ok(thread::current().name().unwrap().to_owned()))).unwrap()
        })
        .collect();
    assert!(names.len() < JOBS / 2, "{} threads for jobs one at a time", names.len());
}

#[test]
fn a_pool_crosses_threads() {
    fn crosses<T: Send + Sync + Clone>() {}
    crosses::<ThreadPool>();
}

thread_local!(static FAREWELL: RefCell<Option<Farewell>> = const { RefCell::new(None) });

/// Says that its thread ends.
struct Farewell(mpsc::Sender<()>);

impl Drop for Farewell {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// Runs a job, and gives its thread's name and what hears of the end of that thread.
fn visit(pool: &ThreadPool) -> (String, mpsc::Receiver<()>) {
    let (sender, ended) = mpsc::channel();
    let name = park::run_until(|_| {
        pool.defer_to_thread(move || {
            FAREWELL.set(Some(Farewell(sender)));
            Ok(thread::current().name().unwrap().to_owned())
        })
    });
    (name.unwrap(), ended)
}

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
    thread::sleep(Duration::from_millis(20)); // in which the last one must not end
    assert_eq!((pool.stats().threads, pool.stats().idle), (1, 1));
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
fn a_job_cancelled_while_it_runs_goes_on_and_its_result_is_dropped() {
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
        // The pool's only thread is free again when this one runs: the late result was posted before.
        pool.defer_to_thread(move || Ok(cancelled))
    });
    assert!(outcome.unwrap());
    assert_eq!(Arc::strong_count(&result), 1);
}

#[test]
fn dropping_the_pool_finishes_what_runs_and_runs_what_waits() {
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
fn stopping_runs_what_was_given_refuses_what_comes_later_and_tells_the_end() {
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
    // Which of the two threads posts first, this one or the pool's, is open.
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
fn as_many_threads_stay_as_the_minimum_says() {
    let pool = ThreadPool::builder().min_threads(1).max_threads(2).keep_alive(Duration::ZERO).build();
    let barrier = Arc::new(Barrier::new(2));
    let ends = Rc::new(RefCell::new(Vec::new()));
    all(|_| {
        (0..2)
            .map(|_| {
                let (sender, ended) = mpsc::channel();
                ends.borrow_mut().push(ended);
                let barrier = barrier.clone();
                pool.defer_to_thread(move || {
                    barrier.wait();
                    FAREWELL.set(Some(Farewell(sender)));
                    Ok(())
                })
            })
            .collect()
    });
    let ends = ends.take();
    let ended = || ends.iter().filter(|end| end.try_recv().is_ok()).count();
    while ended() == 0 {
        thread::yield_now();
    }
    thread::sleep(Duration::from_millis(20)); // in which the other one must not end
    assert_eq!(ended(), 0);
    drop(pool);
    while ended() == 0 {
        thread::yield_now();
    }
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
fn closing_the_reactor_abandons_its_jobs_and_ends_its_default_pool() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let capture = Arc::new(());
    let (release, released) = mpsc::channel::<()>();
    park::run(|reactor| {
        // Ten hold all threads of the default pool, the others wait.
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
    drop(release); // the ten end
    while Arc::strong_count(&capture) > 1 {
        thread::yield_now();
    }
}

#[test]
fn a_job_that_waits_longer_than_its_reactor_never_runs() {
    let pool = ThreadPool::new(1);
    let ran = Arc::new(AtomicUsize::new(0));
    let counter = ran.clone();
    let release = park::run(|reactor| {
        let (holding, release) = hold(&pool);
        let queued = pool.defer_to_thread(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        for deferred in [holding, queued] {
            deferred.add_both(|result| {
                assert!(result.unwrap_err().check::<Abandoned>());
                Ok(())
            });
        }
        reactor.stop();
        release
    });
    release.send(()).unwrap();
    // The only thread comes to this job when it is done with those two.
    assert!(park::run_until(|_| pool.defer_to_thread(|| Ok(()))).is_ok());
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

#[test]
fn without_a_reactor_the_deferred_fails_at_once() {
    let capture = Arc::new(());
    let held = capture.clone();
    let deferred = defer_to_thread(move || {
        drop(held);
        Ok(())
    });
    assert!(deferred.try_take().unwrap().unwrap_err().check::<NoReactor>());
    let deferred = ThreadPool::new(1).defer_to_thread(|| Ok(()));
    assert!(deferred.try_take().unwrap().unwrap_err().check::<NoReactor>());
    assert_eq!(Arc::strong_count(&capture), 1);
}

#[test]
fn on_a_closed_reactor_the_deferred_is_abandoned_at_once() {
    let reactor = Reactor::new();
    reactor.close();
    let deferred = ThreadPool::new(1).defer_to_thread_on(&reactor, || -> Result<(), Failure> { unreachable!() });
    assert!(deferred.try_take().unwrap().unwrap_err().check::<Abandoned>());
}

#[test]
fn a_job_without_a_thread_to_run_it_fails() {
    let pool = ThreadPool::builder().stack_size(1 << 60).build();
    let results = all(|_| (0..3).map(|_| pool.defer_to_thread(|| Ok(()))).collect());
    assert_eq!(results.len(), 3);
    for result in results {
        let failure = result.unwrap_err();
        assert!(failure.downcast_ref::<NoThread>().unwrap().source().is_some());
    }
}

#[test]
fn one_pool_serves_reactors_on_many_threads() {
    let pool = ThreadPool::new(2);
    let loops: Vec<_> = (0..4)
        .map(|offset| {
            let pool = pool.clone();
            thread::spawn(move || {
                let results =
                    all(|_| (0..100).map(|number| pool.defer_to_thread(move || Ok(number + offset))).collect());
                results.into_iter().map(Result::unwrap).sum::<i32>()
            })
        })
        .collect();
    let sums: Vec<_> = loops.into_iter().map(|running| running.join().unwrap()).collect();
    assert_eq!(sums, (0..4).map(|offset| 4950 + 100 * offset).collect::<Vec<_>>());
}

// Under stress -------------------------------------------------------------------------------------------------------

/// A generator whose sequence its seed decides.
#[derive(Clone)]
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % limit
    }

    fn pause(&mut self) {
        match self.below(4) {
            0 => thread::yield_now(),
            1 => (0..self.below(200)).for_each(|_| std::hint::spin_loop()),
            _ => {}
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Totals {
    done: usize,
    failed: usize,
    panicked: usize,
    cancelled: usize,
    abandoned: usize,
}

impl Totals {
    fn count(&mut self, result: Result<(), Failure>) {
        let kind = match result {
            Ok(()) => &mut self.done,
            Err(failure) if failure.check::<Panicked>() => &mut self.panicked,
            Err(failure) if failure.check::<Cancelled>() => &mut self.cancelled,
            Err(failure) if failure.check::<Abandoned>() => &mut self.abandoned,
            Err(_) => &mut self.failed,
        };
        *kind += 1;
    }

    fn sum(&self) -> usize {
        self.done + self.failed + self.panicked + self.cancelled + self.abandoned
    }
}

/// One loop that gives jobs to a shared pool, cancels some, and in the middle may drop its clone of the pool.
fn submitter(mut random: Seeded, mut pool: Option<ThreadPool>, jobs: usize, ran: &Arc<AtomicUsize>) -> Totals {
    let drop_at = random.below(2 * jobs as u64) as usize;
    let results = all(|_| {
        let mut deferreds: Vec<Deferred<()>> = Vec::new();
        for number in 0..jobs {
            if number == drop_at {
                pool = None;
            }
            let Some(pool) = &pool else { break };
            let (ran, mut inside) = (ran.clone(), Seeded(random.below(u64::MAX)));
            deferreds.push(pool.defer_to_thread(move || {
                ran.fetch_add(1, Ordering::SeqCst);
                inside.pause();
                match inside.below(8) {
                    0 => panic::resume_unwind(Box::new("stress")), // past the panic hook, which would print
                    1 => Err("x".parse::<u8>().unwrap_err().into()),
                    _ => Ok(()),
                }
            }));
            random.pause();
            if random.below(3) == 0 {
                deferreds[random.below(deferreds.len() as u64) as usize].cancel();
            }
        }
        deferreds.push(Deferred::succeed(())); // one at least; not counted below
        deferreds
    });
    let mut totals = Totals::default();
    results.into_iter().for_each(|result| totals.count(result));
    totals.done -= 1;
    assert_eq!(totals.abandoned, 0);
    if drop_at >= jobs {
        assert_eq!(totals.sum(), jobs);
    }
    totals
}

#[test]
fn each_job_ends_in_one_way_whatever_happens() {
    for seed in 0..300 {
        let mut random = Seeded(seed);
        let keep_alive = Duration::from_micros(random.below(200));
        let pool = ThreadPool::builder().max_threads(1 + random.below(4) as usize).keep_alive(keep_alive).build();
        let ran = Arc::new(AtomicUsize::new(0));
        let (sender, finished) = mpsc::channel();
        for _ in 0..4 {
            let (random, pool, ran) = (Seeded(random.below(u64::MAX)), pool.clone(), ran.clone());
            let sender = sender.clone();
            thread::spawn(move || sender.send(submitter(random, Some(pool), 40, &ran)));
        }
        drop((pool, sender));
        let totals: Vec<_> = (0..4)
            .map(|_| finished.recv_timeout(LIMIT).unwrap_or_else(|error| panic!("seed {seed}: {error}")))
            .collect();
        let by_job: usize = totals.iter().map(|totals| totals.done + totals.failed + totals.panicked).sum();
        let cancelled: usize = totals.iter().map(|totals| totals.cancelled).sum();
        let ran = ran.load(Ordering::SeqCst);
        // A cancelled job may have run.
        assert!(by_job <= ran && ran <= by_job + cancelled, "seed {seed}: {ran} ran, {totals:?}");
    }
}

#[test]
fn a_job_that_comes_while_the_only_thread_gives_up_is_not_left_behind() {
    let mut random = Seeded(7);
    for _ in 0..50 {
        let pool = ThreadPool::builder().max_threads(1).keep_alive(Duration::from_micros(random.below(100))).build();
        let (sender, finished) = mpsc::channel();
        let mut pauses = random.clone();
        random.below(2);
        thread::spawn(move || {
            for _ in 0..100 {
                assert!(park::run_until(|_| pool.defer_to_thread(|| Ok(()))).is_ok());
                (0..pauses.below(20)).for_each(|_| pauses.pause());
            }
            sender.send(())
        });
        finished.recv_timeout(LIMIT).unwrap();
    }
}
