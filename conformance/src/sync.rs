//! The steps on queues, locks and semaphores.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use deferred_core::{Deferred, DeferredLock, DeferredQueue, DeferredSemaphore, Permit};
use serde_json::{Value as Json, json};

use crate::action::{run, run_deferred};
use crate::scenario::{Action, Name, SyncStep};
use crate::world::World;

/// The objects that the steps of this family create.
#[derive(Default)]
pub(crate) struct Lines {
    queues: RefCell<BTreeMap<Name, DeferredQueue<Json>>>,
    holds: RefCell<BTreeMap<Name, Hold>>,
}

/// An object with permits.
#[derive(Clone)]
enum Hold {
    Lock(DeferredLock),
    Semaphore(DeferredSemaphore),
}

impl Lines {
    fn queue(&self, name: &Name) -> Option<DeferredQueue<Json>> {
        self.queues.borrow().get(name).cloned()
    }

    fn hold(&self, name: &Name) -> Option<Hold> {
        self.holds.borrow().get(name).cloned()
    }
}

/// Plays a step. Returns `None`, without an effect, if the step does not apply.
pub(crate) fn play(world: &Rc<World>, step: &SyncStep) -> Option<()> {
    let lines = &world.lines;
    match step {
        SyncStep::Queue(name, size, backlog) => {
            let mut queues = lines.queues.borrow_mut();
            if queues.contains_key(name) {
                return None;
            }
            queues.insert(Name::clone(name), DeferredQueue::with_limits(*size, *backlog));
        }
        SyncStep::Put(name, value) => {
            if lines.queue(name)?.put(value.clone()).is_err() {
                world.trace(json!(["overflow", &**name]));
            }
        }
        SyncStep::Get(name, queue) => {
            world.is_free(name)?;
            match lines.queue(queue)?.get_unless_full() {
                Ok(deferred) => world.make(name, deferred, None),
                Err(_) => world.trace(json!(["underflow", &**queue])),
            }
        }
        SyncStep::Lock(name) => make(lines, name, || Hold::Lock(DeferredLock::new()))?,
        SyncStep::Semaphore(name, permits) => make(lines, name, || Hold::Semaphore(DeferredSemaphore::new(*permits)))?,
        SyncStep::Acquire(name, hold) => {
            world.is_free(name)?;
            let permit = match lines.hold(hold)? {
                Hold::Lock(lock) => lock.acquire(),
                Hold::Semaphore(semaphore) => semaphore.acquire(),
            };
            let detached = permit.map(|permit| {
                Permit::detach(permit);
                json!("permit")
            });
            world.make(name, detached, None);
        }
        SyncStep::Release(name) => match lines.hold(name)? {
            Hold::Lock(lock) => lock.release().ok()?,
            Hold::Semaphore(semaphore) => semaphore.release(1).ok()?,
        },
        SyncStep::Run(name, hold, action) => {
            world.is_free(name)?;
            let hold = lines.hold(hold)?;
            world.make(name, with_permit(world, hold, action), None);
        }
    }
    Some(())
}

fn make(lines: &Lines, name: &Name, hold: impl FnOnce() -> Hold) -> Option<()> {
    let mut holds = lines.holds.borrow_mut();
    if holds.contains_key(name) {
        return None;
    }
    holds.insert(Name::clone(name), hold());
    Some(())
}

fn with_permit(world: &Rc<World>, hold: Hold, action: &Rc<Action>) -> Deferred<Json> {
    let (world, action) = (Rc::clone(world), Rc::clone(action));
    if action.may_defer() {
        let f = move || run_deferred(&world, &action, Ok(Json::Null));
        match hold {
            Hold::Lock(lock) => lock.run(f),
            Hold::Semaphore(semaphore) => semaphore.run(f),
        }
    } else {
        let f = move || run(&world, &action, Ok(Json::Null));
        match hold {
            Hold::Lock(lock) => lock.run(f),
            Hold::Semaphore(semaphore) => semaphore.run(f),
        }
    }
}
