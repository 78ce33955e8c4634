//! All operations concurrently, in an order drawn from a seed.

use std::cell::Cell;
use std::panic;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use deferred_threadpool::{
    Abandoned, Backlog, Cancelled, Deferred, Failure, Job, NoReactor, Panicked, PoolStopped, QueueFull, ThreadPool,
    park,
};

use crate::{LIMIT, adds_up};

/// A pseudorandom generator.
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

/// The results of the Deferreds of one loop, or of the `RemoteFuture`s of one thread.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    done: u64,
    failed: u64,
    panicked: u64,
    cancelled: u64,
    refused: u64,
    abandoned: u64,
}

impl Totals {
    fn count(&mut self, result: Result<(), Failure>) {
        let kind = match result {
            Ok(()) => &mut self.done,
            Err(failure) if failure.check::<Panicked>() => &mut self.panicked,
            Err(failure) if failure.check::<Cancelled>() => &mut self.cancelled,
            Err(failure) if failure.check::<Abandoned>() => &mut self.abandoned,
            Err(failure) if failure.check::<PoolStopped>() || failure.check::<QueueFull>() => &mut self.refused,
            Err(_) => &mut self.failed,
        };
        *kind += 1;
    }

    fn sum(&self) -> u64 {
        self.done + self.failed + self.panicked + self.cancelled + self.refused + self.abandoned
    }
}

/// A job that may take a while and ends in a random way.
fn job(mut random: Seeded, ran: &Arc<AtomicUsize>) -> impl FnOnce(&Job<'_>) -> Result<(), Failure> + Send + use<> {
    let ran = ran.clone();
    move |job| {
        ran.fetch_add(1, Ordering::SeqCst);
        random.pause();
        match random.below(8) {
            0 => panic::resume_unwind(Box::new("stress")), // bypasses the panic hook, which would print
            1 => Err(Failure::msg("stress")),
            2 => {
                (0..random.below(50)).take_while(|_| !job.is_cancelled()).for_each(|_| thread::yield_now());
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Runs a loop that submits jobs to a shared pool, cancels some, reads the statistics, changes the
/// size of the pool, and may end before the jobs do.
fn submitter(mut random: Seeded, pool: &ThreadPool, jobs: u64, ran: &Arc<AtomicUsize>) -> Totals {
    let ends_early = random.below(6) == 0;
    let totals = Rc::new(Cell::new(Totals::default()));
    park::run(|reactor| {
        if random.below(3) == 0 {
            reactor.set_calls_per_turn(1 + random.below(8) as usize);
        }
        let mut deferreds: Vec<Deferred<()>> = Vec::new();
        for _ in 0..jobs {
            deferreds.push(pool.defer_to_thread_with(job(Seeded(random.below(u64::MAX)), ran)));
            random.pause();
            match random.below(40) {
                0..13 => deferreds[random.below(deferreds.len() as u64) as usize].cancel(),
                13 => pool.adjust_pool_size(random.below(3) as usize, random.below(5) as usize),
                14 => adds_up(&pool.stats()),
                _ => {}
            }
        }
        // Another thread may have set the maximum to zero; all jobs must run.
        pool.adjust_pool_size(0, 1 + random.below(4) as usize);
        for deferred in deferreds {
            let (totals, reactor) = (totals.clone(), reactor.clone());
            drop(deferred.add_both(move |result| {
                let mut counted = totals.get();
                counted.count(result);
                totals.set(counted);
                if counted.sum() == jobs {
                    reactor.stop();
                }
            }));
        }
        if ends_early {
            reactor.call_later(Duration::from_micros(random.below(300)), {
                let reactor = reactor.clone();
                move || reactor.stop()
            });
        }
    });
    let totals = totals.get();
    assert_eq!(totals.sum(), jobs, "each Deferred has fired: {totals:?}");
    totals
}

/// Like [`submitter`], but without a loop.
fn remote_submitter(mut random: Seeded, pool: &ThreadPool, jobs: u64, ran: &Arc<AtomicUsize>) -> Totals {
    let mut totals = Totals::default();
    for _ in 0..jobs {
        let remote = pool.submit(job(Seeded(random.below(u64::MAX)), ran));
        random.pause();
        if random.below(3) == 0 {
            drop(remote);
            totals.cancelled += 1; // possibly finished or refused; the result is not read
        } else {
            totals.count(remote.wait());
        }
    }
    totals
}

/// Runs one round, and panics with the seed if a check fails.
fn round(seed: u64, jobs: u64) {
    let mut random = Seeded(seed);
    let pool = ThreadPool::builder()
        .max_threads(1 + random.below(4) as usize)
        .keep_alive(Duration::from_micros(random.below(200)))
        .queue_limit(if random.below(3) == 0 { 5 } else { usize::MAX })
        .spin_before_sleep(Duration::from_micros([0, 20][random.below(2) as usize]))
        .build();
    let ran = Arc::new(AtomicUsize::new(0));
    let stops = random.below(4) == 0;
    let (sender, finished) = mpsc::channel();
    for number in 0..4 {
        let (random, pool, ran, sender) = (Seeded(random.below(u64::MAX)), pool.clone(), ran.clone(), sender.clone());
        thread::spawn(move || {
            let totals = if number < 3 {
                submitter(random, &pool, jobs, &ran)
            } else {
                remote_submitter(random, &pool, jobs.min(100), &ran)
            };
            drop(pool);
            sender.send(totals)
        });
    }
    drop(sender);
    let wait = || finished.recv_timeout(LIMIT).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    if stops {
        (0..random.below(200)).for_each(|_| thread::yield_now());
        let backlog = if random.below(2) == 0 { Backlog::Run } else { Backlog::Cancel };
        // A stop in the middle. Another thread may set the maximum to zero afterwards, so this does
        // not wait for the end.
        drop(pool.stop_with(backlog).add_errback(|failure| failure.trap::<NoReactor>().map(drop)));
        adds_up(&pool.stats());
    }
    let totals: Vec<_> = (0..4).map(|_| wait()).collect();
    let (ended, is_ended) = mpsc::channel();
    let last = pool.clone();
    thread::spawn(move || ended.send(park::run_until(|_| last.stop()).is_ok()));
    assert!(is_ended.recv_timeout(LIMIT).unwrap_or_else(|error| panic!("seed {seed}: the stop: {error}")));
    let stats = pool.stats();
    adds_up(&stats);
    assert_eq!((stats.threads, stats.queued, stats.busy, stats.abandoned), (0, 0, 0, 0), "seed {seed}: {stats:?}");
    let sum = |of: fn(&Totals) -> u64| totals[..3].iter().map(of).sum::<u64>();
    let ran = ran.load(Ordering::SeqCst) as u64;
    // A cancelled job may have run, and a job whose Deferred was cancelled at the last moment may
    // have finished.
    let by_result = stats.done + stats.failed + stats.panicked;
    assert!(by_result <= ran && ran <= by_result + stats.cancelled, "seed {seed}: {ran} ran, {stats:?}");
    assert!(sum(|totals| totals.panicked) <= stats.panicked && sum(|totals| totals.refused) <= stats.refused);
}

#[test]
fn each_job_ends_exactly_once() {
    for seed in 0..3000 {
        round(seed, 40);
    }
}

#[test]
fn more_jobs_than_any_batch_end_exactly_once() {
    for seed in 0..4 {
        round(10_000 + seed, 7_000);
    }
}

#[test]
fn a_job_submitted_while_the_only_thread_ends_is_run() {
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
