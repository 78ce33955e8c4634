//! A round: pools, two loops, threads without a loop, and peers.

use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use deferred_smol::net::listen_on_tcp;
use deferred_smol::{Failure, Reactor, ReactorHandle};
use deferred_threadpool::testing::shuffle_completions;
use deferred_threadpool::{PoolStats, PoolStopped, ThreadPool, ThreadPoolBuilder, park};
use fastrand::Rng;

use crate::actor::Actor;
use crate::jobs::{job, pause};
use crate::ledger::Ledger;
use crate::peers::{Peer, rude};

pub(crate) fn play(ledger: &Arc<Ledger>, seed: u64) {
    let mut random = Rng::with_seed(seed);
    let pools: Vec<_> = (0..random.u32(1..3)).map(|_| pool(&mut random).build()).collect();
    for pool in pools.clone() {
        ledger.note(move || format!("{pool:?}"));
    }
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    let addresses = [0, 1].map(|number: usize| listeners[number].local_addr().expect("it is bound"));
    let (sender, handles) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        for listener in listeners {
            let (random, pools, sender) = (random.fork(), &pools[..], sender.clone());
            scope.spawn(move || a_loop(ledger, random, pools, listener, addresses, &sender));
        }
        drop(sender);
        let reactors: Vec<ReactorHandle> = handles.iter().collect();
        for _ in 0..random.u32(..4) {
            let random = random.fork();
            scope.spawn(move || rude(ledger, addresses, random));
        }
        for _ in 0..random.u32(..3) {
            let (random, pools, reactors) = (random.fork(), &pools[..], reactors.clone());
            scope.spawn(move || outsider(ledger, random, pools, &reactors));
        }
    });
    for pool in &pools {
        pool.adjust_pool_size(0, 2); // another thread may have set it to zero
        let has_room = park::run_until(|_| pool.reserve());
        if has_room.is_err_and(|failure| !failure.check::<PoolStopped>()) {
            ledger.problem("a pool has no room");
        }
        if park::run_until(|_| pool.stop()).is_err() {
            ledger.problem("a pool does not stop");
        }
        let stats = pool.stats();
        if !is_over(&stats) {
            ledger.problem(format!("the pool's numbers do not add up: {stats:?}"));
        }
    }
    ledger.forget_notes();
}

fn pool(random: &mut Rng) -> ThreadPoolBuilder {
    let pool = ThreadPool::builder()
        .min_threads(random.usize(..2))
        .max_threads(random.usize(1..4))
        .keep_alive(Duration::from_micros(random.u64(..2000)))
        .queue_limit(if random.u8(..3) == 0 { 3 } else { usize::MAX });
    if random.u8(..3) == 0 { pool.spin_before_sleep(Duration::from_micros(20)) } else { pool }
}

/// Returns `true` if every submitted job has one outcome and no thread is left.
fn is_over(stats: &PoolStats) -> bool {
    let ended = stats.done + stats.failed + stats.panicked + stats.cancelled + stats.refused;
    let left = stats.threads + stats.busy + stats.queued + stats.abandoned;
    left == 0 && ended == stats.submitted
}

fn a_loop(
    ledger: &Arc<Ledger>,
    mut random: Rng,
    pools: &[ThreadPool],
    listener: TcpListener,
    addresses: [SocketAddr; 2],
    sender: &std::sync::mpsc::Sender<ReactorHandle>,
) {
    let life = Duration::from_micros(random.u64(..15_000));
    let main = |reactor: &Reactor| {
        let _ = sender.send(reactor.handle());
        let ordered = random.u8(..6) == 0;
        if ordered {
            shuffle_completions(reactor, random.u64(..));
        }
        if random.u8(..3) == 0 {
            reactor.set_calls_per_turn(random.usize(1..8));
        }
        let begins = random.u32(1..10);
        let actor = Actor::new(ledger, reactor, random.fork(), pools, addresses);
        let serves = actor.clone();
        let port = listen_on_tcp(reactor, listener, move |_| {
            if serves.below(30) == 0 {
                crate::ledger::panics();
            }
            Peer::new(&serves, false)
        });
        let port = port.expect("it can be watched");
        (0..begins).for_each(|_| actor.act());
        // If results are delivered in a random order, all may wait for the result of a job whose
        // pool has no threads left.
        let ends = port.clone();
        reactor.call_later(life, move || actor.end(&ends, !ordered));
        Ok::<_, Failure>(port)
    };
    let port = deferred_smol::run(main).expect("it serves");
    if !port.is_empty() {
        ledger.problem(format!("{} connections are left in a port whose loop has ended", port.len()));
    }
}

/// Uses pools and loops from a thread without a loop.
fn outsider(ledger: &Arc<Ledger>, mut random: Rng, pools: &[ThreadPool], reactors: &[ReactorHandle]) {
    for _ in 0..random.u32(..30) {
        let pool = &pools[random.usize(..pools.len())];
        match random.u8(..8) {
            0..4 => {
                let remote = pool.submit(job(ledger, random.fork()));
                pause(&mut random);
                // The result may have a destructor that panics.
                let _ = catch_unwind(AssertUnwindSafe(|| match random.u8(..3) {
                    0 => drop(remote),
                    1 => drop(remote.wait_timeout(Duration::from_micros(300))),
                    // A job that waits in a pool left without threads never runs.
                    _ => drop(remote.wait_timeout(Duration::from_millis(20))),
                }));
            }
            4 | 5 => {
                let token = ledger.token("call from outside");
                let _ = reactors[random.usize(..reactors.len())].call_from_thread(move || drop(token));
            }
            6 => {
                let asks = &reactors[random.usize(..reactors.len())];
                let _ = asks.blocking_call_from_thread_timeout(Duration::from_millis(1), || Ok::<_, Failure>(1));
            }
            _ if random.u8(..30) == 0 => reactors[random.usize(..reactors.len())].stop(),
            _ => pause(&mut random),
        }
    }
}
