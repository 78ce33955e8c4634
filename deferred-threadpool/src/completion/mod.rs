//! Delivery of results to the caller: to the Deferreds of a reactor, or to a `RemoteFuture`.
//!
//! - this file: `ReactorJobs`, the pending jobs of a reactor and the delivery of their results;
//! - `list`: sending finished jobs to a reactor; its documentation states the protocol;
//! - `pending`: the Deferreds of pending jobs, in slabs by type;
//! - `remote`: jobs of callers without a reactor;
//! - `order`: delivers results in a random order, for tests.

mod list;
mod order;
mod pending;
mod remote;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::panic::Location;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use deferred_core::context;
use deferred_core::inspect::{self, Kind};
use deferred_core::{Abandoned, Deferred, Failure, Reactor, ReactorHandle, RemoteResolver};

use crate::error::StopTimedOut;
use crate::job::{
    AnyJob, CompletionSink, Job, JobInfo, JobKey, JobState, drop_ignoring_panic, drop_refused, ignore_panic, in_context,
};
use crate::sync::preemption_point;
use crate::worker::{StopWaiter, Waiter, Workers};
use list::{CompletionList, Pushed};
use order::Order;
use pending::{Completed, PendingJob, Removed, Slabs, Submitted};

pub(crate) use remote::{remote_stop_waiter, submit_remote};

/// Submits a job to the pool. Returns a Deferred of this reactor for its result.
#[track_caller]
pub(crate) fn submit<F, T>(workers: &Arc<Workers>, reactor: &Reactor, closure: F) -> Deferred<T>
where
    F: FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static,
    T: Send + 'static,
{
    if reactor.is_closed() {
        return Deferred::fail(drop_refused(closure, Abandoned::because("its reactor is closed").into()));
    }
    let location = Location::caller();
    let closure = in_context(location, closure);
    let jobs = ReactorJobs::of(reactor);
    let (number, slab) = jobs.slabs.for_type::<T>();
    let key = slab.reserve(number);
    match workers.submit(Box::new(JobState::Closure(closure)), JobInfo::new(location, jobs.sender.clone(), key)) {
        Err((job, why)) => {
            slab.release(key);
            Deferred::fail(drop_refused(job, why))
        }
        Ok(number) => {
            let canceller = jobs.clone();
            let (deferred, resolver) = Deferred::with_canceller(move || {
                canceller.cancel(key);
                None
            });
            // The result cannot be delivered before this: deliveries are in turns of this thread.
            let submitted = Submitted { workers: workers.clone(), number, location };
            let order = jobs.submitted.replace(jobs.submitted.get() + 1);
            pending::fill(&*slab, key, order, PendingJob { resolver, submitted });
            if jobs.order.borrow().is_some() {
                jobs.add_to_order(key);
            }
            let deferred = if inspect::is_enabled() { describe(deferred, workers, number) } else { deferred };
            // Until the deadline.
            if context::deadline().is_some() { deferred.add_timeout(Duration::MAX, reactor) } else { deferred }
        }
    }
}

fn describe<T: 'static>(deferred: Deferred<T>, workers: &Arc<Workers>, number: u64) -> Deferred<T> {
    let workers = Arc::downgrade(workers);
    deferred.describe(move |it| {
        it.set_kind(Kind::Job);
        it.set_details(workers.upgrade().map_or_else(String::new, |workers| workers.describe_job(number)));
    })
}

/// Sets a random order, determined by `seed`, for the delivery of this reactor's results.
pub(crate) fn shuffle(reactor: &Reactor, seed: u64) {
    let jobs = ReactorJobs::of(reactor);
    let mut order = jobs.order.borrow_mut();
    match &mut *order {
        // Results that have arrived still wait to be drawn.
        Some(order) => order.reseed(seed),
        None => *order = Some(Order::new(seed)),
    }
}

/// Returns a Deferred of this reactor for the end of a pool, and the waiter that completes it.
#[track_caller]
pub(crate) fn stop_waiter(reactor: &Reactor, workers: &Arc<Workers>) -> (Deferred<()>, Box<dyn StopWaiter>) {
    let (deferred, resolver) = reactor.remote();
    let sender = ReactorJobs::of(reactor).sender.clone();
    (deferred, Box::new(ReactorStopWaiter { sender, workers: Arc::downgrade(workers), resolver }))
}

/// Returns the number of ended pools whose waiters still wait for jobs of this reactor.
#[cfg(all(test, not(loom)))]
pub(crate) fn ended_pools(reactor: &Reactor) -> usize {
    ReactorJobs::of(reactor).ended_pools.borrow().len()
}

/// The waiter that fires a reactor's Deferred when a pool has ended.
struct ReactorStopWaiter {
    sender: Arc<CompletionSender>,
    workers: Weak<Workers>,
    resolver: RemoteResolver<()>,
}

impl Waiter for ReactorStopWaiter {
    fn is_cancelled(&self) -> bool {
        self.resolver.is_cancelled()
    }
}

impl StopWaiter for ReactorStopWaiter {
    /// Sends the end through the completion list, so that earlier results are delivered before it.
    fn complete(self: Box<Self>, result: Result<(), StopTimedOut>) {
        let ReactorStopWaiter { sender, workers, resolver } = *self;
        sender.push(Event::PoolEnded(workers, resolver, result));
    }
}

/// An element of a reactor's completion list.
enum Event {
    JobCompleted(JobKey, Completed),
    PoolEnded(Weak<Workers>, RemoteResolver<()>, Result<(), StopTimedOut>),
}

/// The part of `ReactorJobs` that other threads use: its completion list and the reactor's handle.
struct CompletionSender {
    list: CompletionList<Event>,
    reactor: ReactorHandle,
}

impl CompletionSender {
    fn push(&self, event: Event) {
        preemption_point();
        match self.list.push(event) {
            Pushed::AlreadyPosted => {}
            Pushed::Post => self.post_delivery(),
            Pushed::Closed(event) => drop(event),
        }
    }

    fn post_delivery(&self) {
        self.post(ReactorJobs::deliver);
    }

    /// Calls `f` in a turn of the reactor.
    fn post(&self, f: fn(&ReactorJobs, &Reactor)) {
        preemption_point();
        // An error means that the reactor is closed, which empties the list.
        // The results are those of several jobs.
        let _ = context::without(|| {
            self.reactor.call_from_thread_with(move |reactor| f(&ReactorJobs::of(reactor), reactor))
        });
    }
}

impl CompletionSink for CompletionSender {
    fn complete(&self, key: JobKey, job: Box<dyn AnyJob>) {
        self.push(Event::JobCompleted(key, Completed::Job(job)));
    }

    fn abandon(&self, key: JobKey, why: Failure) {
        self.push(Event::JobCompleted(key, Completed::Abandoned(why)));
    }
}

/// The pending jobs of one reactor. An extension of the reactor owns it.
struct ReactorJobs {
    sender: Arc<CompletionSender>,
    slabs: Slabs,
    /// The number of jobs that were ever submitted.
    submitted: Cell<u64>,
    /// Events that were taken out of the list and have not been delivered.
    undelivered: RefCell<VecDeque<Event>>,
    /// The random order of results, if a test has set one.
    order: RefCell<Option<Order<Completed>>>,
    /// Pools that have ended while results of their jobs are still to be delivered.
    ended_pools: RefCell<Vec<EndedPool>>,
}

/// A pool that has ended, with its waiters and the jobs of this reactor that are delivered first.
struct EndedPool {
    workers: Weak<Workers>,
    pending: BTreeSet<JobKey>,
    waiters: Vec<(RemoteResolver<()>, Result<(), StopTimedOut>)>,
}

impl ReactorJobs {
    fn of(reactor: &Reactor) -> Rc<ReactorJobs> {
        let make = || {
            let sender = Arc::new(CompletionSender { list: CompletionList::new(), reactor: reactor.handle() });
            CloseOnDrop(Rc::new(ReactorJobs {
                sender,
                slabs: Slabs::default(),
                submitted: Cell::new(0),
                undelivered: RefCell::default(),
                order: RefCell::default(),
                ended_pools: RefCell::default(),
            }))
        };
        reactor.extension(make).0.clone()
    }

    /// Delivers a batch of events, in a turn.
    fn deliver(&self, reactor: &Reactor) {
        let mut undelivered = self.undelivered.borrow_mut();
        if undelivered.is_empty() {
            let spare = mem::take(&mut *undelivered);
            *undelivered = self.sender.list.take(spare);
        } else {
            undelivered.extend(self.sender.list.take(VecDeque::new()));
        }
        let batch = undelivered.len().min(reactor.calls_per_turn());
        if undelivered.len() > 1 && self.sender.list.post_next() {
            self.sender.post_delivery();
        }
        drop(undelivered);
        for _ in 0..batch {
            let Some(event) = self.undelivered.borrow_mut().pop_front() else { break };
            let (key, completed) = match event {
                Event::JobCompleted(key, completed) => (key, completed),
                Event::PoolEnded(workers, resolver, result) => {
                    self.await_jobs(workers, (resolver, result));
                    self.complete_ended_pools(None);
                    continue;
                }
            };
            let completed = match &mut *self.order.borrow_mut() {
                None => Some(completed),
                Some(order) => order.arrive(key, completed),
            };
            if let Some(completed) = completed {
                self.deliver_job(reactor, key, completed);
            }
        }
        self.deliver_drawn(reactor);
    }

    fn deliver_job(&self, reactor: &Reactor, key: JobKey, completed: Completed) {
        if let Some(slab) = self.slabs.get(key) {
            slab.deliver(reactor, key, completed);
        }
        self.complete_ended_pools(Some(key));
    }

    /// Delivers the drawn result, if results have a random order and it has arrived. The next
    /// result is drawn in a later turn, after the callbacks of this result have run.
    fn deliver_drawn(&self, reactor: &Reactor) {
        let drawn = self.order.borrow_mut().as_mut().and_then(Order::next);
        if let Some((key, completed)) = drawn {
            self.deliver_job(reactor, key, completed);
            self.post_draw();
        }
    }

    /// Stores a waiter of an ended pool until the pool's jobs are delivered. Each pool has one set
    /// of jobs, for any number of waiters.
    fn await_jobs(&self, workers: Weak<Workers>, waiter: (RemoteResolver<()>, Result<(), StopTimedOut>)) {
        let mut ended_pools = self.ended_pools.borrow_mut();
        match ended_pools.iter_mut().find(|ended| ended.workers.ptr_eq(&workers)) {
            // A pool that has ended gets no further jobs.
            Some(ended) => ended.waiters.push(waiter),
            None => {
                let pending = self.slabs.keys_of_pool(&workers);
                ended_pools.push(EndedPool { workers, pending, waiters: vec![waiter] });
            }
        }
    }

    /// Completes the waiters of ended pools without pending jobs. `removed` is a job that was
    /// delivered or cancelled.
    fn complete_ended_pools(&self, removed: Option<JobKey>) {
        let complete: Vec<EndedPool> = {
            let mut ended_pools = self.ended_pools.borrow_mut();
            if ended_pools.is_empty() {
                return;
            }
            if let Some(removed) = removed {
                ended_pools.iter_mut().for_each(|ended| _ = ended.pending.remove(&removed));
            }
            let (complete, left) = mem::take(&mut *ended_pools).into_iter().partition(|ended| ended.pending.is_empty());
            *ended_pools = left;
            complete
        };
        for (resolver, result) in complete.into_iter().flat_map(|ended| ended.waiters) {
            match result {
                Ok(()) => resolver.callback(()),
                Err(error) => resolver.errback(error),
            }
        }
    }

    #[cold]
    fn add_to_order(&self, key: JobKey) {
        if let Some(order) = &mut *self.order.borrow_mut() {
            order.add(key);
        }
        self.post_draw();
    }

    fn post_draw(&self) {
        if self.order.borrow().as_ref().is_some_and(Order::needs_draw) {
            self.sender.post(|jobs, reactor| {
                jobs.order.borrow_mut().as_mut().map(Order::draw);
                jobs.deliver_drawn(reactor);
            });
        }
    }

    /// Cancels a job whose Deferred is being cancelled.
    fn cancel(&self, key: JobKey) {
        let removed = self.slabs.get(key).and_then(|slab| slab.remove(key));
        if let Some(Removed { submitted, resolver }) = removed {
            let arrived = self.order.borrow_mut().as_mut().and_then(|order| order.remove(key));
            self.complete_ended_pools(Some(key));
            self.post_draw();
            // These drop values of the user. Their panics do not change the result of the cancel.
            ignore_panic(|| submitted.workers.cancel(submitted.number));
            drop_ignoring_panic(arrived);
            drop(resolver);
        }
    }
}

/// The extension of the reactor, a value that the reactor stores and drops when it is closed. The
/// drop closes its `ReactorJobs`, to which cancellers of Deferreds refer too, possibly longer than
/// the reactor exists.
struct CloseOnDrop(Rc<ReactorJobs>);

impl Drop for CloseOnDrop {
    /// Abandons all pending jobs, because the reactor is closed.
    fn drop(&mut self) {
        let events = self.0.sender.list.close();
        let (undelivered, order) = (self.0.undelivered.take(), self.0.order.take());
        let removed = self.0.slabs.remove_all();
        // In reverse order: a thread freed by one cancel could otherwise begin a job that is
        // cancelled next.
        for Removed { submitted, .. } in removed.iter().rev() {
            ignore_panic(|| submitted.workers.cancel(submitted.number)); // which drops the closure
        }
        drop(removed); // each resolver fires `Abandoned`
        // One by one: two panics in one drop would abort the process.
        let arrived = order.map(Order::into_arrived).into_iter().flatten();
        undelivered.into_iter().chain(events).for_each(drop_ignoring_panic);
        arrived.for_each(drop_ignoring_panic);
    }
}
