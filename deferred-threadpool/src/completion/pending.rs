//! The Deferreds of pending jobs. They are in slabs, one for each result type, so that none needs a
//! box.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::panic::Location;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use deferred_core::{Failure, Reactor, Resolver};

use crate::job::{AnyJob, JobKey};
use crate::worker::Workers;

/// The outcome of a job, as the reactor receives it.
pub(super) enum Completed {
    /// The job with its result.
    Job(Box<dyn AnyJob>),
    /// The error of a job that still runs and whose result will be ignored.
    Abandoned(Failure),
}

/// The slabs of a reactor.
#[derive(Default)]
pub(super) struct Slabs {
    all: RefCell<Vec<Rc<dyn AnySlab>>>,
    by_type: RefCell<BTreeMap<TypeId, u32>>,
}

/// A pending job of a reactor.
pub(super) struct PendingJob<T> {
    pub(super) resolver: Resolver<T>,
    pub(super) submitted: Submitted,
}

/// The pool and the number of a submitted job, and the location of the submission.
pub(super) struct Submitted {
    pub(super) workers: Arc<Workers>,
    pub(super) number: u64,
    pub(super) location: &'static Location<'static>,
}

/// A pending job that was removed. Dropping the resolver fires `Abandoned` in its Deferred.
pub(super) struct Removed {
    pub(super) submitted: Submitted,
    pub(super) resolver: Box<dyn Any>,
}

impl Slabs {
    /// Returns the slab for results of type `T`, and its number.
    pub(super) fn for_type<T: 'static>(&self) -> (u32, Rc<dyn AnySlab>) {
        let mut all = self.all.borrow_mut();
        let number = *self.by_type.borrow_mut().entry(TypeId::of::<T>()).or_insert_with(|| {
            all.push(Rc::new(Slab::<T>::default()));
            all.len() as u32 - 1
        });
        (number, all[number as usize].clone())
    }

    pub(super) fn get(&self, key: JobKey) -> Option<Rc<dyn AnySlab>> {
        self.all.borrow().get(key.slab as usize).cloned()
    }

    /// Returns the keys of the pending jobs of one pool.
    pub(super) fn keys_of_pool(&self, workers: &Weak<Workers>) -> BTreeSet<JobKey> {
        let mut keys = BTreeSet::new();
        self.all.borrow().iter().zip(0..).for_each(|(slab, number)| slab.keys_of_pool(workers, number, &mut keys));
        keys
    }

    /// Removes all pending jobs. Returns them in the order in which they were submitted.
    pub(super) fn remove_all(&self) -> Vec<Removed> {
        let slabs = self.all.take();
        let mut all: Vec<_> = slabs.iter().flat_map(|slab| slab.remove_all()).collect();
        all.sort_unstable_by_key(|(order, _)| *order);
        all.into_iter().map(|(_, removed)| removed).collect()
    }
}

/// A slab of pending jobs with one result type. The generation of a key shows whether its slot has
/// been reused.
struct Slab<T> {
    slots: RefCell<Slots<T>>,
}

struct Slots<T> {
    all: Vec<Slot<T>>,
    free: Vec<u32>,
}

struct Slot<T> {
    generation: u32,
    /// The pending job, with the number of jobs that were submitted before it.
    pending: Option<(u64, PendingJob<T>)>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { slots: RefCell::new(Slots { all: Vec::new(), free: Vec::new() }) }
    }
}

/// A slab without its type.
pub(super) trait AnySlab {
    fn as_any(&self) -> &dyn Any;

    /// Reserves a slot for a job that is being submitted. `slab` is the number of this slab.
    fn reserve(&self, slab: u32) -> JobKey;

    /// Releases a reserved slot that will not be used.
    fn release(&self, key: JobKey);

    /// Removes a job and fires its Deferred, if it is still pending.
    fn deliver(&self, reactor: &Reactor, key: JobKey, completed: Completed);

    /// Removes a job, if it is still pending.
    fn remove(&self, key: JobKey) -> Option<Removed>;

    /// Adds the keys of the pending jobs of one pool to `keys`. `slab` is the number of this slab.
    fn keys_of_pool(&self, workers: &Weak<Workers>, slab: u32, keys: &mut BTreeSet<JobKey>);

    /// Removes all jobs. Returns each with the number of jobs that were submitted before it.
    fn remove_all(&self) -> Vec<(u64, Removed)>;
}

/// Puts a job into the slot that was reserved for it. `order` is the number of jobs that were
/// submitted before it.
pub(super) fn fill<T: 'static>(slab: &dyn AnySlab, key: JobKey, order: u64, pending: PendingJob<T>) {
    let slab: &Slab<T> = slab.as_any().downcast_ref().expect("the slab is for results of this type");
    slab.slots.borrow_mut().all[key.slot as usize].pending = Some((order, pending));
}

impl<T> Slab<T> {
    fn take(&self, key: JobKey) -> Option<PendingJob<T>> {
        let slots = &mut *self.slots.borrow_mut();
        let slot = slots.all.get_mut(key.slot as usize).filter(|slot| slot.generation == key.generation)?;
        slot.generation = slot.generation.wrapping_add(1);
        slots.free.push(key.slot);
        slot.pending.take().map(|(_, pending)| pending)
    }
}

impl<T: 'static> AnySlab for Slab<T> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn reserve(&self, slab: u32) -> JobKey {
        let slots = &mut *self.slots.borrow_mut();
        let slot = slots.free.pop().unwrap_or_else(|| {
            slots.all.push(Slot { generation: 0, pending: None });
            slots.all.len() as u32 - 1
        });
        JobKey { slab, slot, generation: slots.all[slot as usize].generation }
    }

    fn release(&self, key: JobKey) {
        drop(self.take(key)); // the slot is empty
    }

    fn deliver(&self, reactor: &Reactor, key: JobKey, completed: Completed) {
        let pending = self.take(key);
        let Some(PendingJob { resolver, submitted }) = pending else { return }; // drops the result
        reactor.call_as_posted(submitted.location, || match completed {
            Completed::Job(job) => {
                let mut slot = None;
                job.take_result(&mut slot);
                if let Some(result) = slot {
                    resolver.fire(result);
                }
            }
            Completed::Abandoned(why) => resolver.errback(why),
        });
    }

    fn remove(&self, key: JobKey) -> Option<Removed> {
        let PendingJob { resolver, submitted } = self.take(key)?;
        Some(Removed { submitted, resolver: Box::new(resolver) })
    }

    fn keys_of_pool(&self, workers: &Weak<Workers>, slab: u32, keys: &mut BTreeSet<JobKey>) {
        let slots = self.slots.borrow();
        if slots.free.len() == slots.all.len() {
            return; // the usual case at the end of a pool; there may be many slots
        }
        for (slot, number) in slots.all.iter().zip(0..) {
            let pending = slot.pending.as_ref();
            if pending.is_some_and(|(_, pending)| Arc::as_ptr(&pending.submitted.workers) == workers.as_ptr()) {
                keys.insert(JobKey { slab, slot: number, generation: slot.generation });
            }
        }
    }

    fn remove_all(&self) -> Vec<(u64, Removed)> {
        let slots = mem::take(&mut self.slots.borrow_mut().all);
        let pending = slots.into_iter().filter_map(|slot| slot.pending);
        let removed = pending.map(|(order, PendingJob { resolver, submitted })| {
            (order, Removed { submitted, resolver: Box::new(resolver) })
        });
        removed.collect()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_released_slot_is_reused_under_another_key() {
        let slab = Slab::<u8>::default();
        let (first, other) = (slab.reserve(0), slab.reserve(0));
        assert_ne!(first.slot, other.slot);
        slab.release(first);
        let next = slab.reserve(0);
        assert_eq!(next.slot, first.slot);
        assert_ne!(next, first);
    }
}
