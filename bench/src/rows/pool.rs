//! The pool, beside tokio's, smol's, and bare threads.

use std::cell::{Cell, OnceCell, RefCell};
use std::hint::black_box;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use deferred_core::{Deferred, LoopingCall, Reactor, ReactorOwner, park};
use deferred_threadpool::ThreadPool;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::sample::{Cores, Row, Side};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = vec![
        one_at_a_time("pool/one at a time, one core", Cores::One, false),
        one_at_a_time("pool/one at a time, across two", Cores::Two, false),
        one_at_a_time("pool/one at a time, unpinned", Cores::Any, false),
        one_at_a_time("pool/one at a time, one core, CPU", Cores::One, true),
        one_at_a_time("pool/one at a time, across two, CPU", Cores::Two, true),
        one_at_a_time("pool/one at a time, unpinned, CPU", Cores::Any, true),
        beside_bare_wakes(),
    ];
    rows.extend(other_peers());
    rows.extend(on_smol());
    rows.extend(spinning());
    rows.push(part_of_the_loop());
    rows.push(at_once("pool/100,000 at once", Cores::Any));
    rows.push(at_once("pool/100,000 at once, one core", Cores::One));
    rows.push(own_part());
    rows.push(from_four_threads());
    rows.push(ten_idle());
    rows.push(paced("pool/paced, CPU", OURS, park::run));
    rows.push(paced("pool/paced through smol, CPU", "the same, smol's driver", deferred_smol::run));
    rows
}

pub(super) const OURS: &str = "defer_to_thread, callback, park";
pub(super) const TOKIO: &str = "tokio: a task per job that awaits spawn_blocking";

const IN_A_ROW: u64 = 200;

pub(super) fn pool(threads: usize, cores: Cores) -> ThreadPool {
    ThreadPool::builder().max_threads(threads).on_thread_start(move || cores.pin_worker()).build()
}

pub(super) fn tokio(threads: usize, cores: Cores) -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(threads)
        .on_thread_start(move || cores.pin_worker())
        .build()
        .expect("a runtime")
}

/// The work of a job.
pub(super) fn job(number: u64) -> u64 {
    black_box(number) + 1
}

fn side(what: &'static str, cores: Cores, cpu: bool, operation: impl Fn() + 'static) -> Side {
    let side = if cpu { Side::cpu(what, operation) } else { Side::new(what, operation) };
    side.on(cores)
}

/// Submits a job whose callback submits the next one.
pub(super) fn in_a_row(pool: ThreadPool, left: u64, reactor: Reactor) {
    let again = pool.clone();
    drop(pool.defer_to_thread_on(&reactor.clone(), move || Ok(job(left))).add_callback(move |sum| {
        black_box(sum);
        if left > 1 {
            in_a_row(again, left - 1, reactor);
        } else {
            reactor.stop();
        }
    }));
}

/// Runs jobs on the loop with this name, in a process whose system calls are counted.
pub(crate) fn jobs_in_a_row(name: &str, jobs: u64, one_core: bool) -> Option<()> {
    let cores = if one_core { Cores::One } else { Cores::Any };
    cores.pin_this();
    let pool = pool(1, cores);
    match name {
        "park" => park::run(|reactor| in_a_row(pool, jobs, reactor.clone())),
        "smol" => deferred_smol::run(|reactor| in_a_row(pool, jobs, reactor.clone())),
        "mio" => deferred_mio::run(|reactor| in_a_row(pool, jobs, reactor.clone())),
        "tokio" => tokios_in_a_row(&tokio(1, cores), jobs),
        _ => return None,
    }
    Some(())
}

fn ours_in_a_row(pool: &ThreadPool) {
    park::run(|reactor| in_a_row(pool.clone(), IN_A_ROW, reactor.clone()));
}

fn ours_in_a_row_on_smol(pool: &ThreadPool) {
    deferred_smol::run(|reactor| in_a_row(pool.clone(), IN_A_ROW, reactor.clone()));
}

pub(super) fn tokios_in_a_row(runtime: &Runtime, jobs: u64) {
    runtime.block_on(async move {
        for number in 0..jobs {
            let task = tokio::spawn(async move {
                let sum = tokio::task::spawn_blocking(move || job(number)).await.expect("it returns");
                black_box(sum);
            });
            task.await.expect("it returns");
        }
    });
}

fn one_at_a_time(name: &'static str, cores: Cores, cpu: bool) -> Row {
    let (pool, runtime) = (pool(1, cores), tokio(1, cores));
    Row {
        name,
        per: IN_A_ROW as u32,
        unit: "job",
        ours: side(OURS, cores, cpu, move || ours_in_a_row(&pool)),
        peer: side(TOKIO, cores, cpu, move || tokios_in_a_row(&runtime, IN_A_ROW)),
    }
}

/// A round trip: two wake-ups of a sleeping thread.
fn beside_bare_wakes() -> Row {
    let cores = Cores::Two;
    let pool = pool(1, cores);
    let other = OnceCell::new();
    Row {
        name: "pool/one at a time, beside bare wakes",
        per: IN_A_ROW as u32,
        unit: "job",
        ours: side(OURS, cores, false, move || ours_in_a_row(&pool)),
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
    }
}

/// A thread that waits until the flag is `true`, sets it to `false` and wakes this thread.
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

const BATCH: u64 = 1000;

/// The loop's part of a job. Its thread waits while the worker runs the jobs, so that its
/// count of instructions does not depend on the worker.
fn part_of_the_loop() -> Row {
    let (pool, runtime) = (pool(1, Cores::Any), tokio(1, Cores::Any));
    let reactor = OnceCell::<ReactorOwner>::new();
    Row {
        name: "pool/the loop's part of a job",
        per: BATCH as u32,
        unit: "job",
        ours: Side::new("defer_to_thread, callback, a turn", move || {
            let reactor = reactor.get_or_init(Reactor::new);
            let left = Rc::new(Cell::new(BATCH));
            let submit = |job: Boxed| {
                let job = move || {
                    job();
                    Ok(())
                };
                drop(pool.defer_to_thread_on(reactor, job));
            };
            let worker = Held::new(submit);
            for number in 0..BATCH {
                let left = left.clone();
                drop(pool.defer_to_thread_on(reactor, move || Ok(job(number))).add_callback(move |sum| {
                    black_box(sum);
                    left.set(left.get() - 1);
                }));
            }
            worker.run_until_idle(submit);
            while left.get() > 0 {
                let _ = reactor.turn(Waker::noop());
            }
        }),
        peer: Side::new(TOKIO, move || {
            runtime.block_on(async {
                let worker = Held::new(|job| drop(runtime.spawn_blocking(job)));
                let tasks = (0..BATCH).map(|number| {
                    tokio::spawn(async move {
                        black_box(tokio::task::spawn_blocking(move || job(number)).await.expect("it returns"));
                    })
                });
                let tasks: Vec<_> = tasks.collect();
                // Each task submits its job when it is first polled.
                tokio::task::yield_now().await;
                worker.run_until_idle(|job| drop(runtime.spawn_blocking(job)));
                for task in tasks {
                    task.await.expect("it returns");
                }
            });
        }),
    }
}

type Boxed = Box<dyn FnOnce() + Send>;

/// A worker that is held until all jobs are queued.
struct Held(mpsc::Sender<()>);

impl Held {
    fn new(submit: impl FnOnce(Boxed)) -> Held {
        let (release, held) = mpsc::channel();
        submit(Box::new(move || held.recv().expect("the sender lives")));
        Held(release)
    }

    /// Lets the worker run, and waits until it has run all jobs.
    fn run_until_idle(self, submit: impl FnOnce(Boxed)) {
        let (last, ran) = mpsc::channel();
        submit(Box::new(move || last.send(()).expect("the receiver lives")));
        self.0.send(()).expect("the worker waits");
        ran.recv().expect("the worker lives");
    }
}

const AT_ONCE: u64 = 100_000;
const THREADS: usize = 4;

fn ours_at_once(pool: &ThreadPool, jobs: u64) {
    let left = Rc::new(Cell::new(jobs));
    park::run(|reactor| {
        for number in 0..jobs {
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

fn at_once(name: &'static str, cores: Cores) -> Row {
    let per = AT_ONCE as u32;
    Row { name, per, unit: "job", ours: ours_of(AT_ONCE, cores), peer: tokios_of(AT_ONCE, cores) }
}

/// Submits this number of jobs at once.
pub(super) fn ours_of(jobs: u64, cores: Cores) -> Side {
    let pool = pool(THREADS, cores);
    Side::new(OURS, move || ours_at_once(&pool, jobs)).on(cores)
}

pub(super) fn tokios_of(jobs: u64, cores: Cores) -> Side {
    let runtime = tokio(THREADS, cores);
    Side::new(TOKIO, move || runtime.block_on(tokios_at_once(runtime.handle(), jobs))).on(cores)
}

/// Compares with the same Deferreds fired without a pool.
fn own_part() -> Row {
    let pool = pool(THREADS, Cores::Any);
    Row {
        name: "pool/100,000 at once, pool overhead",
        per: AT_ONCE as u32,
        unit: "job",
        ours: Side::new(OURS, move || ours_at_once(&pool, AT_ONCE)),
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
    }
}

const IDLE: usize = 10;

/// Ten jobs that sleep for a millisecond, on ten idle threads.
fn ten_idle() -> Row {
    let (pool, runtime) = (pool(IDLE, Cores::Any), tokio(IDLE, Cores::Any));
    let nap = || thread::sleep(Duration::from_millis(1));
    Row {
        name: "pool/ten jobs for ten idle threads",
        per: 1,
        unit: "ten jobs",
        ours: Side::new(OURS, move || {
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
        peer: Side::new(TOKIO, move || {
            runtime.block_on(async {
                let tasks: Vec<_> = (0..IDLE)
                    .map(|_| tokio::spawn(async move { tokio::task::spawn_blocking(nap).await.expect("it returns") }))
                    .collect();
                for task in tasks {
                    task.await.expect("it returns");
                }
            });
        }),
    }
}

/// Peers that run no callback on a loop, down to a pair of channels. All threads run on one core,
/// because threads inherit the core of the thread that starts them.
fn other_peers() -> Vec<Row> {
    let cores = Cores::One;
    let row = |name, peer: Side| {
        let pool = pool(1, cores);
        let ours = side(OURS, cores, false, move || ours_in_a_row(&pool));
        Row { name, per: IN_A_ROW as u32, unit: "job", ours, peer: peer.on(cores) }
    };
    let runtime = tokio(1, cores);
    let handles = Side::new("tokio: spawn_blocking, its JoinHandle awaited", move || {
        runtime.block_on(async {
            for number in 0..IN_A_ROW {
                black_box(tokio::task::spawn_blocking(move || job(number)).await.expect("it returns"));
            }
        });
    });
    let unblock = Side::new("smol: unblock awaited", || {
        smol::block_on(async {
            for number in 0..IN_A_ROW {
                black_box(smol::unblock(move || job(number)).await);
            }
        });
    });
    let worker = OnceCell::new();
    let channels = Side::new("a pair of channels and a thread", move || {
        let (jobs, sums) = worker.get_or_init(|| {
            let (jobs, todo) = mpsc::channel::<u64>();
            let (done, sums) = mpsc::channel();
            thread::spawn(move || todo.into_iter().try_for_each(|number| done.send(job(number))));
            (jobs, sums)
        });
        for number in 0..IN_A_ROW {
            jobs.send(number).expect("the thread lives");
            black_box(sums.recv().expect("the thread lives"));
        }
    });
    vec![
        row("pool/one at a time, beside handles", handles),
        row("pool/one at a time, beside unblock", unblock),
        row("pool/one at a time, beside channels", channels),
    ]
}

fn on_smol() -> Vec<Row> {
    let row = |name, cores, cpu| {
        let (pool, runtime) = (pool(1, cores), tokio(1, cores));
        Row {
            name,
            per: IN_A_ROW as u32,
            unit: "job",
            ours: side("defer_to_thread, callback, smol's driver", cores, cpu, move || ours_in_a_row_on_smol(&pool)),
            peer: side(TOKIO, cores, cpu, move || tokios_in_a_row(&runtime, IN_A_ROW)),
        }
    };
    vec![
        row("pool/through smol, one core", Cores::One, false),
        row("pool/through smol, across two", Cores::Two, false),
        row("pool/through smol, one core, CPU", Cores::One, true),
        row("pool/through smol, across two, CPU", Cores::Two, true),
    ]
}

fn spinning() -> Vec<Row> {
    let row = |name, cores: Cores| {
        let (without, with) = (pool(1, cores), OnceCell::new());
        Row {
            name,
            per: IN_A_ROW as u32,
            unit: "job",
            ours: side("a worker that spins for 50 us before it sleeps", cores, false, move || {
                let pool = with.get_or_init(|| {
                    let builder = ThreadPool::builder().max_threads(1).spin_before_sleep(Duration::from_micros(50));
                    builder.on_thread_start(move || cores.pin_worker()).build()
                });
                ours_in_a_row(pool);
            }),
            peer: side("one that does not", cores, false, move || ours_in_a_row(&without)),
        }
    };
    vec![
        row("pool/spinning, one core", Cores::One),
        row("pool/spinning, across two", Cores::Two),
        row("pool/spinning, unpinned", Cores::Any),
    ]
}

const SUBMITTERS: u64 = 4;

/// Four loops that share a pool.
fn from_four_threads() -> Row {
    let (pool, shared) = (pool(THREADS, Cores::Any), tokio(THREADS, Cores::Any));
    fn threads(run: impl Fn() + Clone + Send + 'static) {
        let threads: Vec<_> = (0..SUBMITTERS).map(|_| thread::spawn(run.clone())).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("it returns"));
    }
    Row {
        name: "pool/100,000 at once, four loops",
        per: AT_ONCE as u32,
        unit: "job",
        ours: Side::new(OURS, move || {
            let pool = pool.clone();
            threads(move || ours_at_once(&pool, AT_ONCE / SUBMITTERS));
        }),
        peer: Side::new("tokio: four runtimes that use the blocking pool of one", move || {
            let handle = shared.handle().clone();
            threads(move || {
                let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(tokios_at_once(&handle, AT_ONCE / SUBMITTERS));
            });
        }),
    }
}

async fn tokios_at_once(blocking: &Handle, jobs: u64) {
    let tasks: Vec<_> = (0..jobs)
        .map(|number| {
            let blocking = blocking.clone();
            tokio::spawn(async move {
                black_box(blocking.spawn_blocking(move || job(number)).await.expect("it returns"));
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("it returns");
    }
}

const PACED: u32 = 20;

/// A job that sleeps for a millisecond, every five milliseconds: the process is mostly idle.
fn paced(name: &'static str, what: &'static str, run: fn(fn(&Reactor) -> ())) -> Row {
    thread_local!(static POOL: ThreadPool = pool(2, Cores::Any));
    fn main(reactor: &Reactor) {
        let left = Rc::new(Cell::new(PACED));
        let stops = reactor.clone();
        let jobs = LoopingCall::new(reactor, move || {
            let (left, stops) = (left.clone(), stops.clone());
            let nap = || {
                thread::sleep(Duration::from_millis(1));
                Ok(())
            };
            drop(POOL.with(|pool| pool.defer_to_thread(nap)).add_callback(move |()| {
                left.set(left.get() - 1);
                if left.get() == 0 {
                    stops.stop();
                }
            }));
        });
        drop(jobs.start(Duration::from_millis(5)));
    }
    let runtime = tokio(2, Cores::Any);
    Row {
        name,
        per: PACED,
        unit: "job",
        ours: Side::cpu(what, move || run(main)),
        peer: Side::cpu(TOKIO, move || {
            runtime.block_on(async {
                let mut ticks = tokio::time::interval(Duration::from_millis(5));
                let mut tasks = Vec::new();
                for _ in 0..PACED {
                    ticks.tick().await;
                    tasks.push(tokio::spawn(async {
                        let nap = || thread::sleep(Duration::from_millis(1));
                        tokio::task::spawn_blocking(nap).await.expect("it returns");
                    }));
                }
                for task in tasks {
                    task.await.expect("it returns");
                }
            });
        }),
    }
}
