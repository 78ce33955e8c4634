//! The pool, beside tokio's, smol's, and bare threads.

use std::cell::{Cell, OnceCell, RefCell};
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use deferred_core::{Deferred, Reactor, park};
use deferred_threadpool::ThreadPool;
use tokio::runtime::{Builder, Runtime};

use crate::runner::{Bar, Cores, Row, Side};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = vec![];
    for (name, cores, bar) in [
        ("pool/one at a time, one core", Cores::One, 0.58),
        ("pool/one at a time, across two", Cores::Two, 1.0),
        ("pool/one at a time, unpinned", Cores::Any, 1.0),
    ] {
        rows.push(one_at_a_time(name, cores, bar, false));
    }
    for (name, cores) in [
        ("pool/one at a time, one core, CPU", Cores::One),
        ("pool/one at a time, across two, CPU", Cores::Two),
        ("pool/one at a time, unpinned, CPU", Cores::Any),
    ] {
        rows.push(one_at_a_time(name, cores, 1.0, true));
    }
    rows.push(beside_bare_wakes());
    rows.push(at_once("pool/100,000 at once", Cores::Any, 0.4));
    rows.push(at_once("pool/100,000 at once, one core", Cores::One, 0.2));
    rows.push(own_part());
    rows.push(ten_idle());
    rows
}

const IN_A_ROW: u64 = 1000;

fn pool(threads: usize, cores: Cores) -> ThreadPool {
    ThreadPool::builder().max_threads(threads).on_thread_start(move || cores.pin_worker()).build()
}

fn tokio(threads: usize, cores: Cores) -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(threads)
        .on_thread_start(move || cores.pin_worker())
        .build()
        .expect("a runtime")
}

/// What the jobs do.
fn job(number: u64) -> u64 {
    black_box(number) + 1
}

fn side(what: &'static str, cores: Cores, cpu: bool, operation: impl Fn() + 'static) -> Side {
    let side = if cpu { Side::cpu(what, operation) } else { Side::new(what, operation) };
    side.on(cores)
}

fn ours_in_a_row(pool: &ThreadPool) {
    fn next(pool: ThreadPool, left: u64, reactor: Reactor) {
        let again = pool.clone();
        drop(pool.defer_to_thread_on(&reactor.clone(), move || Ok(job(left))).add_callback(move |sum| {
            black_box(sum);
            if left > 1 {
                next(again, left - 1, reactor);
            } else {
                reactor.stop();
            }
        }));
    }
    park::run(|reactor| next(pool.clone(), IN_A_ROW, reactor.clone()));
}

fn one_at_a_time(name: &'static str, cores: Cores, bar: f64, cpu: bool) -> Row {
    let (pool, runtime) = (pool(1, cores), tokio(1, cores));
    Row {
        name,
        per: IN_A_ROW as u32,
        unit: "job",
        ours: side("defer_to_thread, callback, park", cores, cpu, move || ours_in_a_row(&pool)),
        peer: side("tokio: a task per job that awaits spawn_blocking", cores, cpu, move || {
            runtime.block_on(async {
                for number in 0..IN_A_ROW {
                    let task = tokio::spawn(async move {
                        let sum = tokio::task::spawn_blocking(move || job(number)).await.expect("it returns");
                        black_box(sum);
                    });
                    task.await.expect("it returns");
                }
            });
        }),
        bar: Bar::Ratio(bar),
    }
}

/// There and back: two wake-ups of a sleeping thread.
fn beside_bare_wakes() -> Row {
    let cores = Cores::Two;
    let pool = pool(1, cores);
    let other = OnceCell::new();
    Row {
        name: "pool/one at a time, beside bare wakes",
        per: IN_A_ROW as u32,
        unit: "job",
        ours: side("defer_to_thread, callback, park", cores, false, move || ours_in_a_row(&pool)),
        peer: side("unpark a thread, which unparks this one", cores, false, move || {
            let (other, turn) = other.get_or_init(|| partner(cores));
            for _ in 0..IN_A_ROW {
                turn.store(true, Ordering::Release);
                other.unpark();
                while turn.load(Ordering::Acquire) {
                    thread::park();
                }
            }
        }),
        bar: Bar::Ratio(1.1),
    }
}

/// Whenever the word is true, it makes it false and wakes this thread.
fn partner(cores: Cores) -> (thread::Thread, Arc<AtomicBool>) {
    let turn = Arc::new(AtomicBool::new(false));
    let (here, word) = (thread::current(), turn.clone());
    let partner = thread::spawn(move || {
        cores.pin_worker();
        loop {
            while !word.load(Ordering::Acquire) {
                thread::park();
            }
            word.store(false, Ordering::Release);
            here.unpark();
        }
    });
    (partner.thread().clone(), turn)
}

const AT_ONCE: u64 = 100_000;
const THREADS: usize = 4;

fn ours_at_once(pool: &ThreadPool) {
    let left = Rc::new(Cell::new(AT_ONCE));
    park::run(|reactor| {
        for number in 0..AT_ONCE {
            let (left, stops) = (left.clone(), reactor.clone());
            drop(pool.defer_to_thread_on(reactor, move || Ok(job(number))).add_callback(move |sum| {
                black_box(sum);
                left.set(left.get() - 1);
                if left.get() == 0 {
                    stops.stop();
                }
            }));
        }
    });
}

fn at_once(name: &'static str, cores: Cores, bar: f64) -> Row {
    let (pool, runtime) = (pool(THREADS, cores), tokio(THREADS, cores));
    Row {
        name,
        per: AT_ONCE as u32,
        unit: "job",
        ours: side("defer_to_thread, callback, park", cores, false, move || ours_at_once(&pool)),
        peer: side("tokio: a task per job that awaits spawn_blocking", cores, false, move || {
            runtime.block_on(async {
                let tasks: Vec<_> = (0..AT_ONCE)
                    .map(|number| {
                        tokio::spawn(async move {
                            black_box(tokio::task::spawn_blocking(move || job(number)).await.expect("it returns"));
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.expect("it returns");
                }
            });
        }),
        bar: Bar::Ratio(bar),
    }
}

/// The same Deferreds without a pool.
fn own_part() -> Row {
    let pool = pool(THREADS, Cores::Any);
    Row {
        name: "pool/100,000 at once, its own part",
        per: AT_ONCE as u32,
        unit: "job",
        ours: Side::new("defer_to_thread, callback, park", move || ours_at_once(&pool)),
        peer: Side::new("the same Deferreds, fired in one call of the loop", || {
            let left = Rc::new(Cell::new(AT_ONCE));
            park::run(|reactor| {
                let resolvers = Rc::new(RefCell::new(Vec::new()));
                for _ in 0..AT_ONCE {
                    let (left, stops) = (left.clone(), reactor.clone());
                    let (deferred, resolver) = Deferred::<u64>::new();
                    drop(deferred.add_callback(move |sum| {
                        black_box(sum);
                        left.set(left.get() - 1);
                        if left.get() == 0 {
                            stops.stop();
                        }
                    }));
                    resolvers.borrow_mut().push(resolver);
                }
                reactor.call_later(Duration::ZERO, move || {
                    for (number, resolver) in resolvers.take().into_iter().enumerate() {
                        resolver.callback(job(number as u64));
                    }
                });
            });
        }),
        bar: Bar::Extra(250.0),
    }
}

const IDLE: usize = 10;

/// Ten jobs that sleep for a millisecond, for ten threads that sleep.
fn ten_idle() -> Row {
    let (pool, runtime) = (pool(IDLE, Cores::Any), tokio(IDLE, Cores::Any));
    let nap = || thread::sleep(Duration::from_millis(1));
    Row {
        name: "pool/ten jobs for ten idle threads",
        per: 1,
        unit: "ten jobs of 1 ms",
        ours: Side::new("defer_to_thread, callback, park", move || {
            let left = Rc::new(Cell::new(IDLE));
            park::run(|reactor| {
                for _ in 0..IDLE {
                    let (left, stops) = (left.clone(), reactor.clone());
                    drop(
                        pool.defer_to_thread_on(reactor, move || {
                            nap();
                            Ok(())
                        })
                        .add_callback(move |()| {
                            left.set(left.get() - 1);
                            if left.get() == 0 {
                                stops.stop();
                            }
                        }),
                    );
                }
            });
        }),
        peer: Side::new("tokio: a task per job that awaits spawn_blocking", move || {
            runtime.block_on(async {
                let tasks: Vec<_> = (0..IDLE)
                    .map(|_| tokio::spawn(async move { tokio::task::spawn_blocking(nap).await.expect("it returns") }))
                    .collect();
                for task in tasks {
                    task.await.expect("it returns");
                }
            });
        }),
        bar: Bar::Ratio(1.0),
    }
}
