//! The latency of pool jobs under load: from their submission until their callback runs.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use deferred_core::{LoopingCall, Reactor, park};
use deferred_threadpool::ThreadPool;
use tokio::runtime::Runtime;
use tokio::time::MissedTickBehavior;

use super::pool::{OURS, TOKIO, job, pool, tokio};
use crate::plan::{Group, Records};
use crate::record::{Point, Record, Spread};
use crate::sample::{Cores, Effort};

/// The percentiles that are reported.
const ROWS: [(&str, f64); 2] = [("load/pool, median", 0.5), ("load/pool, 99th percentile", 0.99)];

/// Jobs are submitted in bursts, since neither side's timers are finer.
const EVERY: Duration = Duration::from_millis(1);
const BURSTS: [u64; 9] = [1, 2, 5, 10, 20, 50, 100, 200, 500];
const THREADS: usize = 4;

pub(crate) fn group() -> Group {
    Group { rows: ROWS.map(|(row, _)| row.to_owned()).to_vec(), measure: run }
}

/// The latency of each job of a sample.
type Latencies = Rc<RefCell<Vec<Duration>>>;

fn run(effort: Effort) -> Records {
    let (rounds, bursts) = if effort.is_quick() { (1, 10) } else { (9, 200) };
    let cores = Cores::Two;
    cores.pin_this();
    let (pool, runtime) = (pool(THREADS, cores), tokio(THREADS, cores));
    let mut points = ROWS.map(|_| Vec::new());
    for burst in BURSTS {
        let mut samples = ROWS.map(|_| (Vec::new(), Vec::new()));
        for _ in 0..rounds {
            let (mut ours, mut peer) = (ours(&pool, burst, bursts), tokios(&runtime, burst, bursts));
            ours.sort();
            peer.sort();
            for ((_, part), samples) in ROWS.iter().zip(&mut samples) {
                samples.0.push(percentile(&ours, *part));
                samples.1.push(percentile(&peer, *part));
            }
        }
        let size = burst as f64 / EVERY.as_secs_f64();
        for (points, (ours, peer)) in points.iter_mut().zip(samples) {
            points.push(Point { size, ours: Spread::of(ours).median, peer: Some(Spread::of(peer).median) });
        }
    }
    let records = ROWS.iter().zip(points);
    Ok(records
        .map(|((row, _), points)| Record::curve(row, "us per job", OURS, TOKIO, "jobs per second", points))
        .collect())
}

/// Returns a percentile in microseconds.
fn percentile(sorted: &[Duration], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6
}

fn ours(pool: &ThreadPool, burst: u64, bursts: u64) -> Vec<Duration> {
    let latencies = Latencies::default();
    let all = latencies.clone();
    let pool = pool.clone();
    park::run(move |reactor| {
        let begun = Cell::new(0);
        let reactor = reactor.clone();
        let looping = LoopingCall::new(&reactor.clone(), move || {
            if begun.get() < bursts {
                begun.set(begun.get() + 1);
                submit(&pool, &reactor, burst, burst * bursts, &all);
            }
        });
        drop(looping.start(EVERY));
    });
    latencies.take()
}

/// Submits a burst; the last job of all stops the loop.
fn submit(pool: &ThreadPool, reactor: &Reactor, burst: u64, total: u64, latencies: &Latencies) {
    for number in 0..burst {
        let (latencies, stops) = (latencies.clone(), reactor.clone());
        let given = Instant::now();
        drop(pool.defer_to_thread_on(reactor, move || Ok(job(number))).add_callback(move |_| {
            let mut latencies = latencies.borrow_mut();
            latencies.push(given.elapsed());
            if latencies.len() as u64 == total {
                stops.stop();
            }
        }));
    }
}

fn tokios(runtime: &Runtime, burst: u64, bursts: u64) -> Vec<Duration> {
    runtime.block_on(async {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut tasks = Vec::with_capacity((burst * bursts) as usize);
        for _ in 0..bursts {
            ticks.tick().await;
            for number in 0..burst {
                let given = Instant::now();
                tasks.push(tokio::spawn(async move {
                    tokio::task::spawn_blocking(move || job(number)).await.expect("it returns");
                    given.elapsed()
                }));
            }
        }
        let mut latencies = Vec::with_capacity(tasks.len());
        for task in tasks {
            latencies.push(task.await.expect("it returns"));
        }
        latencies
    })
}
