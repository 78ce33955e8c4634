//! A loop that performs random operations until it ends in one of several ways.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use deferred_smol::net::{Port, connect_tcp};
use deferred_smol::{CancelHandle, Deferred, Failure, Reactor, gather, gather_cancelling, inline_callbacks, race};
use deferred_threadpool::{Backlog, StopTimedOut, ThreadPool};
use fastrand::Rng;

use crate::jobs::job;
use crate::ledger::{Ledger, Token};
use crate::peers::Peer;

pub(crate) struct Actor {
    pub(crate) ledger: Arc<Ledger>,
    reactor: Reactor,
    random: RefCell<Rng>,
    pools: Vec<ThreadPool>,
    addresses: [SocketAddr; 2],
    /// Handles of Deferreds that may be cancelled.
    handles: RefCell<Vec<CancelHandle>>,
    budget: RefCell<u32>,
    /// The number of unfinished jobs of this loop, for each pool.
    out: RefCell<BTreeMap<usize, u32>>,
}

impl Actor {
    pub(crate) fn new(
        ledger: &Arc<Ledger>,
        reactor: &Reactor,
        mut random: Rng,
        pools: &[ThreadPool],
        addresses: [SocketAddr; 2],
    ) -> Rc<Actor> {
        let (pools, budget) = (pools.to_vec(), RefCell::new(random.u32(10..200)));
        let (ledger, reactor, random) = (ledger.clone(), reactor.clone(), RefCell::new(random));
        Rc::new(Actor {
            ledger,
            reactor,
            random,
            pools,
            addresses,
            handles: RefCell::default(),
            budget,
            out: RefCell::default(),
        })
    }

    pub(crate) fn below(&self, limit: u32) -> u32 {
        self.random.borrow_mut().u32(..limit)
    }

    pub(crate) fn fork(&self) -> Rng {
        self.random.borrow_mut().fork()
    }

    fn soon(&self) -> Duration {
        Duration::from_micros(u64::from(self.below(3000)))
    }

    /// Returns a pool that several loops share, or the reactor's default pool, and its number.
    fn pool(&self) -> (usize, ThreadPool) {
        let number = self.below(self.pools.len() as u32 + 1) as usize;
        (number, self.pools.get(number).cloned().unwrap_or_else(|| ThreadPool::for_reactor(&self.reactor)))
    }

    /// Submits a job whose Deferred fires before the stop of the pool does.
    fn job_in(self: &Rc<Self>, number: usize, pool: &ThreadPool) -> Deferred<Token> {
        *self.out.borrow_mut().entry(number).or_default() += 1;
        let actor = self.clone();
        pool.defer_to_thread_with(job(&self.ledger, self.fork())).add_both(move |result| {
            *actor.out.borrow_mut().entry(number).or_default() -= 1;
            result
        })
    }

    pub(crate) fn job(self: &Rc<Self>) -> Deferred<Token> {
        let (number, pool) = self.pool();
        self.job_in(number, &pool)
    }

    /// Checks that the Deferred of a stop of this pool fires after those of all its jobs.
    fn ends_last(self: &Rc<Self>, number: usize, stopped: Deferred<()>) -> Deferred<()> {
        let actor = self.clone();
        stopped.add_both(move |stopped| {
            let is_end = stopped.as_ref().err().is_none_or(|failure| failure.check::<StopTimedOut>());
            let out = actor.out.borrow().get(&number).copied().unwrap_or_default();
            if is_end && out > 0 {
                actor.ledger.problem(format!("a pool has ended, {stopped:?}, and {out} of its jobs have not fired"));
            }
            stopped
        })
    }

    /// [Watches](Ledger::watch) a Deferred, and may cancel it later or give it a timeout.
    pub(crate) fn watch_some<T: 'static>(&self, what: &'static str, deferred: Deferred<T>) -> Deferred<()> {
        let mut deferred = match self.below(6) {
            0 => deferred.add_timeout(self.soon(), &self.reactor),
            _ => deferred,
        };
        if self.below(3) == 0 {
            self.handles.borrow_mut().push(deferred.cancel_handle());
        }
        self.ledger.watch(what, deferred)
    }

    fn submit(self: &Rc<Self>) -> Deferred<()> {
        let (number, pool) = self.pool();
        let job = || job(&self.ledger, self.fork());
        match self.below(8) {
            0 => {
                // The result arrives through a `RemoteFuture`, as it would without a loop.
                let remote = pool.submit(job());
                self.watch_some("remote job", inline_callbacks(remote))
            }
            1 => {
                let (room, job) = (pool.reserve(), job());
                self.watch_some("job with room", room.add_callback(move |()| pool.defer_to_thread_with(job)))
            }
            2 => {
                // The job's thread fires the Deferred, if the job runs.
                let (deferred, resolver) = self.reactor.remote();
                let random = self.fork();
                pool.call_in_thread(move || {
                    let mut random = random;
                    crate::jobs::pause(&mut random);
                    resolver.callback(());
                    Ok(())
                });
                self.watch_some("fired by a job", deferred)
            }
            _ => self.watch_some("job", self.job_in(number, &pool)),
        }
    }

    /// Submits a job that fills a queue, and starts a coroutine that empties it.
    fn feed(&self) -> Deferred<()> {
        let limit = (self.below(2) == 0).then(|| 1 + self.below(3) as usize);
        let (queue, sender) = self.reactor.remote_queue(limit);
        let (ledger, count) = (self.ledger.clone(), self.below(20));
        self.pool().1.call_in_thread(move || {
            for _ in 0..count {
                // The send fails after the loop has ended.
                if sender.send_blocking(ledger.token("sent")).is_err() {
                    break;
                }
            }
            Ok(())
        });
        let token = self.ledger.token("coroutine");
        let got = inline_callbacks(async move {
            let _token = token;
            while queue.get().await.is_ok() {}
            Ok(())
        });
        self.watch_some("consumer", got)
    }

    fn connect(self: &Rc<Self>) -> Deferred<()> {
        let address = self.addresses[self.below(2) as usize];
        let timeout = Duration::from_micros(u64::from(self.below(20_000)));
        let connected = connect_tcp(&self.reactor, address, timeout, Peer::new(self, true));
        let ledger = self.ledger.clone();
        let closed = connected.add_callback(move |transport| ledger.watch("closed", transport.closed()));
        self.watch_some("connection", closed)
    }

    fn several(self: &Rc<Self>) -> Deferred<()> {
        let jobs = (0..self.below(6)).map(|_| self.submit()).collect::<Vec<_>>();
        match self.below(3) {
            0 => self.watch_some("gather", gather(jobs).map_err(Failure::from)),
            1 => self.watch_some("gather_cancelling", gather_cancelling(jobs).map_err(Failure::from)),
            _ => self.watch_some("race", race(jobs).map_err(Failure::from)),
        }
    }

    fn stop_pool(self: &Rc<Self>) -> Deferred<()> {
        let (number, pool) = self.pool();
        let backlog = if self.below(2) == 0 { Backlog::Run } else { Backlog::Cancel };
        let stopped = match self.below(3) {
            0 => pool.stop(),
            1 => pool.stop_with(backlog),
            _ => pool.stop_within(backlog, self.soon()),
        };
        self.watch_some("stop of a pool", self.ends_last(number, stopped))
    }

    fn coroutine(self: &Rc<Self>) -> Deferred<()> {
        let (actor, token) = (self.clone(), self.ledger.token("coroutine"));
        let runs = inline_callbacks(async move {
            let _token = token;
            for _ in 0..actor.below(5) {
                actor.submit().await?;
                actor.reactor.sleep(actor.soon()).await?;
                actor.act();
            }
            Ok(())
        });
        self.watch_some("coroutine's end", runs)
    }

    /// Performs one operation, and possibly more later.
    pub(crate) fn act(self: &Rc<Self>) {
        if *self.budget.borrow() == 0 {
            return;
        }
        *self.budget.borrow_mut() -= 1;
        match self.below(64) {
            0..12 => drop(self.submit()),
            12..20 => drop(self.connect()),
            20..24 => drop(self.several()),
            24..28 => drop(self.feed()),
            28..32 => drop(self.coroutine()),
            32..36 => {
                let handle = {
                    let mut handles = self.handles.borrow_mut();
                    let number = self.below(handles.len() as u32 + 1) as usize;
                    (number < handles.len()).then(|| handles.swap_remove(number))
                };
                if let Some(handle) = handle {
                    handle.cancel();
                }
            }
            36 => self.pool().1.adjust_pool_size(self.below(3) as usize, self.below(5) as usize),
            37 if self.below(4) == 0 => drop(self.stop_pool()),
            38 => {
                // Calls from another thread, possibly too late.
                let handle = self.reactor.handle();
                let (token, late) = (self.ledger.token("call from a thread"), self.below(2) == 0);
                self.pool().1.call_in_thread(move || {
                    if late {
                        std::thread::sleep(Duration::from_micros(300));
                    }
                    let _ = handle.call_from_thread(move || drop(token));
                    Ok(())
                });
            }
            39 => {
                let asks = self.reactor.handle();
                let asked = self.pool().1.defer_to_thread(move || {
                    asks.blocking_call_from_thread_timeout(Duration::from_millis(2), || Ok::<_, Failure>(7))
                });
                drop(self.watch_some("job that asks the loop", asked));
            }
            40 => drop(self.watch_some("sleep", self.reactor.sleep(self.soon()))),
            _ => {}
        }
        for _ in 0..self.below(4) {
            let actor = self.clone();
            let _ = self.reactor.call_later(self.soon(), move || actor.act());
        }
    }

    /// Ends the loop in a random way.
    pub(crate) fn end(self: &Rc<Self>, port: &Port, may_wait: bool) {
        let stops = self.reactor.clone();
        let stop = move || stops.stop();
        match self.below(4) {
            0 => {
                let down = port.shut_down(Duration::from_micros(u64::from(self.below(5000))));
                let (ledger, port) = (self.ledger.clone(), port.clone());
                drop(self.ledger.watch("shut_down", down).add_callback(move |()| {
                    if !port.is_empty() {
                        ledger.problem("a port is shut down, and has connections");
                    }
                    let _: () = stop();
                    Ok(())
                }));
            }
            1 => {
                port.stop_listening();
                stop();
            }
            2 if may_wait => {
                let stopped = self.pools[0].stop_within(Backlog::Run, self.soon());
                drop(self.ledger.watch("stop", self.ends_last(0, stopped)).add_callback(move |()| {
                    let _: () = stop();
                    Ok(())
                }));
            }
            _ => stop(),
        }
        self.handles.borrow_mut().clear();
    }
}
