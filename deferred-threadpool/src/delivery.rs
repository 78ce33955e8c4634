//! The reactor's end: who waits for which job, and the results that come home.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::panic::Location;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use deferred_core::{Abandoned, Deferred, Failure, Reactor, ReactorHandle, RemoteResolver};

use crate::error::StopTimedOut;
use crate::home::{Brought, List};
use crate::job::{Job, Key, Owner, Slip, Task, Work, drop_guarded, drop_refused, guarded};
use crate::line::Waits;
use crate::replay::Order;
use crate::shelf::{self, Arrived, Out, Shelves, TakenOut, Waiting};
use crate::sync::step;
use crate::workers::Workers;

/// Gives the job to the pool, and a Deferred of this reactor for its result.
#[track_caller]
pub(crate) fn submit<F, T>(workers: &Arc<Workers>, reactor: &Reactor, call: F) -> Deferred<T>
where
    F: FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static,
    T: Send + 'static,
{
    if reactor.is_closed() {
        return Deferred::fail(drop_refused(call, Abandoned::because("its reactor is closed").into()));
    }
    let at = Location::caller();
    let home = Home::of(reactor);
    let (number, shelf) = home.shelves.of::<T>();
    let key = shelf.reserve(number);
    match workers.submit(Box::new(Work::Call(call)), Slip::new(at, home.arrivals.clone(), key)) {
        Err((task, why)) => {
            shelf.cede(key);
            Deferred::fail(drop_refused(task, why))
        }
        Ok(number) => {
            let cancels = home.clone();
            let (deferred, resolver) = Deferred::with_canceller(move || {
                cancels.cancel(key);
                None
            });
            // It is not home before this: deliveries are in turns of this thread.
            let waiting = Waiting { resolver, out: Out { workers: workers.clone(), number, at } };
            shelf::fill(&*shelf, key, home.made.replace(home.made.get() + 1), waiting);
            if home.order.borrow().is_some() {
                home.is_out(key);
            }
            deferred
        }
    }
}

/// Lets the results of this reactor's jobs arrive in this order.
pub(crate) fn order(reactor: &Reactor, seed: u64) {
    let home = Home::of(reactor);
    let mut order = home.order.borrow_mut();
    match &mut *order {
        // What has arrived waits for its turn still.
        Some(order) => order.reseed(seed),
        None => *order = Some(Order::new(seed)),
    }
}

/// A Deferred of this reactor for the end of a pool, and what tells it.
#[track_caller]
pub(crate) fn ender(reactor: &Reactor, workers: &Arc<Workers>) -> (Deferred<()>, Ender) {
    let (deferred, resolver) = reactor.remote();
    let arrivals = Home::of(reactor).arrivals.clone();
    (deferred, Ender { arrivals, workers: Arc::downgrade(workers), resolver })
}

/// How many pools' ends wait for jobs of this reactor.
#[cfg(all(test, not(loom)))]
pub(crate) fn ends(reactor: &Reactor) -> usize {
    Home::of(reactor).ends.borrow().len()
}

/// Hears that a pool which was stopped has no thread any more, or that it has some past its
/// deadline.
pub(crate) struct Ender {
    arrivals: Arc<Arrivals>,
    workers: Weak<Workers>,
    resolver: RemoteResolver<()>,
}

impl Waits for Ender {
    fn is_cancelled(&self) -> bool {
        self.resolver.is_cancelled()
    }
}

impl Ender {
    /// No job of the pool is to come home any more that is not on its way: behind those of this
    /// reactor it is told.
    pub(crate) fn tell(self, ended: Result<(), StopTimedOut>) {
        let Ender { arrivals, workers, resolver } = self;
        arrivals.bring(Comes::Ended(workers, resolver, ended));
    }
}

/// What comes to a reactor, one behind the other.
enum Comes {
    Job(Key, Arrived),
    Ended(Weak<Workers>, RemoteResolver<()>, Result<(), StopTimedOut>),
}

/// What the threads see of a reactor.
struct Arrivals {
    list: List<Comes>,
    reactor: ReactorHandle,
}

impl Arrivals {
    fn bring(&self, comes: Comes) {
        step();
        match self.list.bring(comes) {
            Brought::Done => {}
            Brought::Post => self.post(),
            Brought::Closed(comes) => drop(comes),
        }
    }

    fn post(&self) {
        self.call(Home::deliver);
    }

    /// In a turn.
    fn call(&self, what: fn(&Home, &Reactor)) {
        step();
        // Refused by a closed reactor, which empties the list.
        let _ = self.reactor.call_from_thread_with(move |reactor| what(&Home::of(reactor), reactor));
    }
}

impl Owner for Arrivals {
    fn take_home(&self, key: Key, task: Box<dyn Task>) {
        self.bring(Comes::Job(key, Arrived::Task(task)));
    }

    fn give_up(&self, key: Key, why: Failure) {
        self.bring(Comes::Job(key, Arrived::GivenUp(why)));
    }
}

/// The jobs of one reactor that are out.
struct Home {
    arrivals: Arc<Arrivals>,
    shelves: Shelves,
    /// How many jobs were given.
    made: Cell<u64>,
    /// They are home, and not delivered yet.
    waiting: RefCell<VecDeque<Comes>>,
    /// For tests.
    order: RefCell<Option<Order<Arrived>>>,
    /// The ends of pools that are told behind jobs which are on their way.
    ends: RefCell<Vec<End>>,
}

/// The end of a pool, for all who wait for it, and the jobs of this reactor that are delivered
/// first.
struct End {
    workers: Weak<Workers>,
    behind: BTreeSet<Key>,
    waiting: Vec<(RemoteResolver<()>, Result<(), StopTimedOut>)>,
}

impl Home {
    fn of(reactor: &Reactor) -> Rc<Home> {
        let make = || {
            let arrivals = Arc::new(Arrivals { list: List::new(), reactor: reactor.handle() });
            Lives(Rc::new(Home {
                arrivals,
                shelves: Shelves::default(),
                made: Cell::new(0),
                waiting: RefCell::default(),
                order: RefCell::default(),
                ends: RefCell::default(),
            }))
        };
        reactor.extension(make).0.clone()
    }

    /// A batch of what has come home.
    fn deliver(&self, reactor: &Reactor) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            let spare = mem::take(&mut *waiting);
            *waiting = self.arrivals.list.take(spare);
        } else {
            waiting.extend(self.arrivals.list.take(VecDeque::new()));
        }
        let batch = waiting.len().min(reactor.calls_per_turn());
        if waiting.len() > 1 && self.arrivals.list.post_next() {
            self.arrivals.post();
        }
        drop(waiting);
        for _ in 0..batch {
            let Some(comes) = self.waiting.borrow_mut().pop_front() else { break };
            let (key, arrived) = match comes {
                Comes::Job(key, arrived) => (key, arrived),
                Comes::Ended(workers, resolver, ended) => {
                    self.await_jobs(workers, (resolver, ended));
                    self.tell_ends(None);
                    continue;
                }
            };
            let arrived = match &mut *self.order.borrow_mut() {
                None => Some(arrived),
                Some(order) => order.arrives(key, arrived),
            };
            if let Some(arrived) = arrived {
                self.deliver_one(reactor, key, arrived);
            }
        }
        self.deliver_drawn(reactor);
    }

    fn deliver_one(&self, reactor: &Reactor, key: Key, arrived: Arrived) {
        if let Some(shelf) = self.shelves.get(key) {
            shelf.deliver(reactor, key, arrived);
        }
        self.tell_ends(Some(key));
    }

    /// The one whose turn it is, if results have an order and it is there. The next one is drawn in
    /// another turn, when the callbacks of this one have given their jobs.
    fn deliver_drawn(&self, reactor: &Reactor) {
        let drawn = self.order.borrow_mut().as_mut().and_then(Order::next);
        if let Some((key, arrived)) = drawn {
            self.deliver_one(reactor, key, arrived);
            self.post_draw();
        }
    }

    /// Keeps the end of a pool until its jobs are delivered. There is one set of those for each
    /// pool, however many wait.
    fn await_jobs(&self, workers: Weak<Workers>, waits: (RemoteResolver<()>, Result<(), StopTimedOut>)) {
        let mut ends = self.ends.borrow_mut();
        match ends.iter_mut().find(|end| end.workers.ptr_eq(&workers)) {
            // A pool that has ended takes no more jobs.
            Some(end) => end.waiting.push(waits),
            None => ends.push(End { behind: self.shelves.out_of(&workers), workers, waiting: vec![waits] }),
        }
    }

    /// This job is delivered or cancelled: tells the ends that have no other before them.
    fn tell_ends(&self, gone: Option<Key>) {
        let told: Vec<End> = {
            let mut ends = self.ends.borrow_mut();
            if ends.is_empty() {
                return;
            }
            if let Some(gone) = gone {
                ends.iter_mut().for_each(|end| _ = end.behind.remove(&gone));
            }
            let (told, left) = mem::take(&mut *ends).into_iter().partition(|end| end.behind.is_empty());
            *ends = left;
            told
        };
        for (resolver, ended) in told.into_iter().flat_map(|end| end.waiting) {
            match ended {
                Ok(()) => resolver.callback(()),
                Err(overdue) => resolver.errback(overdue),
            }
        }
    }

    #[cold]
    fn is_out(&self, key: Key) {
        if let Some(order) = &mut *self.order.borrow_mut() {
            order.is_out(key);
        }
        self.post_draw();
    }

    fn post_draw(&self) {
        if self.order.borrow().as_ref().is_some_and(Order::is_waiting) {
            self.arrivals.call(|home, reactor| {
                home.order.borrow_mut().as_mut().map(Order::draw);
                home.deliver_drawn(reactor);
            });
        }
    }

    /// The Deferred of this job is being cancelled.
    fn cancel(&self, key: Key) {
        let gone = self.shelves.get(key).and_then(|shelf| shelf.take_out(key));
        if let Some(TakenOut { out, resolver }) = gone {
            let arrived = self.order.borrow_mut().as_mut().and_then(|order| order.is_gone(key));
            self.tell_ends(Some(key));
            self.post_draw();
            // These drop what is the user's, and may panic, which is not the outcome of the cancel.
            guarded(|| out.workers.cancel(out.number));
            drop_guarded(arrived);
            drop(resolver);
        }
    }
}

/// What lives as long as the reactor: the Deferreds, whose cancellers know their home, may live
/// longer.
struct Lives(Rc<Home>);

impl Drop for Lives {
    /// The reactor is closed.
    fn drop(&mut self) {
        let arrived = self.0.arrivals.list.close();
        let (waiting, order) = (self.0.waiting.take(), self.0.order.take());
        let all = self.0.shelves.take_all();
        // The last ones first: a thread whose job is told so would begin one that waits behind it.
        for TakenOut { out, .. } in all.iter().rev() {
            guarded(|| out.workers.cancel(out.number)); // which drops the closure
        }
        drop(all); // each fires Abandoned
        // One by one: two that panic in one drop would end the program.
        let ordered = order.map(Order::into_arrived).into_iter().flatten();
        waiting.into_iter().chain(arrived).for_each(drop_guarded);
        ordered.for_each(drop_guarded);
    }
}
