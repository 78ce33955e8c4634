//! The reactor's end: who waits for which job, and the results that come home.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

use deferred_core::{Abandoned, Deferred, Failure, Reactor, ReactorHandle, Resolver};

use crate::home::{Brought, List};
use crate::job::{Ending, Job, Owner, Slip, Task, Work};
use crate::replay::Order;
use crate::workers::Workers;

/// Gives the job to the pool, and a Deferred of this reactor for its result.
#[track_caller]
pub(crate) fn submit<F, T>(workers: &Arc<Workers>, reactor: &Reactor, call: F) -> Deferred<T>
where
    F: FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static,
    T: Send + 'static,
{
    if reactor.is_closed() {
        return Deferred::fail(Abandoned::new());
    }
    let at = Location::caller();
    let home = Home::of(reactor);
    let key = home.cells.borrow_mut().reserve();
    let owner: Arc<dyn Owner> = home.arrivals.clone();
    let task = Box::new(Homing { work: Work::Call(call) });
    match workers.submit(task, Slip::new(at, owner, key)) {
        Err((task, why)) => {
            home.cells.borrow_mut().free(key);
            drop(task);
            Deferred::fail(why)
        }
        Ok(number) => {
            let cancels = home.clone();
            let (deferred, resolver) = Deferred::with_canceller(move || {
                cancels.cancel(key);
                None
            });
            // It is not home before this: deliveries are in turns of this thread.
            let waits: Box<dyn Waits> = Box::new(Waiting(resolver));
            home.cells.borrow_mut().fill(key, Cell { waits, workers: workers.clone(), number, at });
            if home.order.borrow().is_some() {
                home.is_out(key);
            }
            deferred
        }
    }
}

/// Lets the results of this reactor's jobs arrive in this order.
pub(crate) fn order(reactor: &Reactor, order: Order<Arrived>) {
    Home::of(reactor).order.replace(Some(order));
}

/// A job of a reactor.
struct Homing<F, T> {
    work: Work<F, T>,
}

impl<F, T> Task for Homing<F, T>
where
    F: FnOnce(&Job<'_>) -> Result<T, Failure> + Send + 'static,
    T: Send + 'static,
{
    fn run(&mut self, job: &Job<'_>) -> Ending {
        self.work.run(job)
    }

    fn refuse(&mut self, why: Failure) {
        self.work.refuse(why);
    }

    fn deliver(self: Box<Self>, cell: Box<dyn Any>) {
        let waiting: Box<Waiting<T>> = cell.downcast().expect("a key is used with the type that it was given for");
        if let Some(result) = self.work.into_result() {
            waiting.0.fire(result);
        }
    }
}

/// A Deferred that waits for a job.
trait Waits {
    fn fail(self: Box<Self>, why: Failure);

    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

struct Waiting<T>(Resolver<T>);

impl<T: 'static> Waits for Waiting<T> {
    fn fail(self: Box<Self>, why: Failure) {
        self.0.errback(why);
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// What a reactor knows of a job that is out.
struct Cell {
    waits: Box<dyn Waits>,
    workers: Arc<Workers>,
    number: u64,
    at: &'static Location<'static>,
}

/// What has come home.
pub(crate) enum Arrived {
    Task(Box<dyn Task>),
    /// It runs on, and nobody shall wait for it.
    GivenUp(Failure),
}

/// What the threads see of a reactor.
struct Arrivals {
    list: List<(u64, Arrived)>,
    reactor: ReactorHandle,
}

impl Arrivals {
    fn bring(&self, key: u64, arrived: Arrived) {
        match self.list.bring((key, arrived)) {
            Brought::Done => {}
            Brought::Post => self.post(),
            Brought::Closed(arrived) => drop(arrived),
        }
    }

    fn post(&self) {
        self.call(Home::deliver);
    }

    /// In a turn.
    fn call(&self, what: fn(&Home, &Reactor)) {
        // Refused by a closed reactor, which empties the list.
        let _ = self.reactor.call_from_thread(move || {
            if let Some(reactor) = Reactor::current() {
                what(&Home::of(&reactor), &reactor);
            }
        });
    }
}

impl Owner for Arrivals {
    fn take_home(&self, key: u64, task: Box<dyn Task>) {
        self.bring(key, Arrived::Task(task));
    }

    fn give_up(&self, key: u64, why: Failure) {
        self.bring(key, Arrived::GivenUp(why));
    }
}

/// The jobs of one reactor that are out.
struct Home {
    arrivals: Arc<Arrivals>,
    cells: RefCell<Cells>,
    /// They are home, and not delivered yet.
    waiting: RefCell<VecDeque<(u64, Arrived)>>,
    /// For tests.
    order: RefCell<Option<Order<Arrived>>>,
}

impl Home {
    fn of(reactor: &Reactor) -> Rc<Home> {
        let make = || {
            let arrivals = Arc::new(Arrivals { list: List::new(), reactor: reactor.handle() });
            Lives(Rc::new(Home {
                arrivals,
                cells: RefCell::default(),
                waiting: RefCell::default(),
                order: RefCell::default(),
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
        let batch = waiting.len().min(reactor.batch());
        if waiting.len() > 1 && self.arrivals.list.post_next() {
            self.arrivals.post();
        }
        drop(waiting);
        for _ in 0..batch {
            let Some((key, arrived)) = self.waiting.borrow_mut().pop_front() else { break };
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

    fn deliver_one(&self, reactor: &Reactor, key: u64, arrived: Arrived) {
        let cell = self.cells.borrow_mut().free(key);
        let Some(cell) = cell else { return }; // cancelled: what it has brought is dropped here
        reactor.call_as_posted(cell.at, || match arrived {
            Arrived::Task(task) => task.deliver(cell.waits.into_any()),
            Arrived::GivenUp(why) => cell.waits.fail(why),
        });
    }

    /// The one whose turn it is, if results have an order and it is there. The next one is drawn in another turn, when the
    /// callbacks of this one have given their jobs.
    fn deliver_drawn(&self, reactor: &Reactor) {
        let drawn = self.order.borrow_mut().as_mut().and_then(Order::next);
        if let Some((key, arrived)) = drawn {
            self.deliver_one(reactor, key, arrived);
            self.post_draw();
        }
    }

    #[cold]
    fn is_out(&self, key: u64) {
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
    fn cancel(&self, key: u64) {
        let cell = self.cells.borrow_mut().free(key);
        if let Some(Cell { waits, workers, number, .. }) = cell {
            workers.cancel(number);
            drop(waits);
            let arrived = self.order.borrow_mut().as_mut().and_then(|order| order.is_gone(key));
            drop(arrived);
            self.post_draw();
        }
    }
}

/// What lives as long as the reactor: the Deferreds, whose cancellers know their home, may live longer.
struct Lives(Rc<Home>);

impl Drop for Lives {
    /// The reactor is closed.
    fn drop(&mut self) {
        let arrived = self.0.arrivals.list.close();
        let (waiting, order) = (self.0.waiting.take(), self.0.order.take());
        let cells = self.0.cells.borrow_mut().take_all();
        for Cell { workers, number, .. } in &cells {
            workers.cancel(*number);
        }
        drop(cells); // each fires Abandoned
        drop((waiting, order, arrived));
    }
}

/// A slab. A key is of no use once its cell is free.
#[derive(Default)]
struct Cells {
    slots: Vec<Slot>,
    free: Vec<usize>,
    made: u64,
}

struct Slot {
    /// How often it was used.
    round: u32,
    /// With how many were made before it.
    cell: Option<(u64, Cell)>,
}

impl Cells {
    /// A key for a cell that is filled soon.
    fn reserve(&mut self) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { round: 0, cell: None });
            self.slots.len() - 1
        });
        index as u64 | u64::from(self.slots[index].round) << 32
    }

    fn fill(&mut self, key: u64, cell: Cell) {
        self.made += 1;
        self.slots[key as u32 as usize].cell = Some((self.made, cell));
    }

    /// What was there, if this key's time is not over.
    fn free(&mut self, key: u64) -> Option<Cell> {
        let index = key as u32 as usize;
        let slot = self.slots.get_mut(index).filter(|slot| u64::from(slot.round) == key >> 32)?;
        slot.round = slot.round.wrapping_add(1);
        self.free.push(index);
        slot.cell.take().map(|(_, cell)| cell)
    }

    /// In the order in which they were made.
    fn take_all(&mut self) -> Vec<Cell> {
        let mut all: Vec<_> = mem::take(self).slots.into_iter().filter_map(|slot| slot.cell).collect();
        all.sort_unstable_by_key(|(made, _)| *made);
        all.into_iter().map(|(_, cell)| cell).collect()
    }
}
