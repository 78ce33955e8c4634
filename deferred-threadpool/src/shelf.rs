//! The Deferreds that wait for jobs, a shelf for each type, so that none needs a box.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::panic::Location;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use deferred_core::{Failure, Reactor, Resolver};

use crate::job::{Key, Task};
use crate::workers::Workers;

/// What has come home.
pub(crate) enum Arrived {
    Task(Box<dyn Task>),
    /// It runs on, and nobody shall wait for it.
    GivenUp(Failure),
}

/// All shelves of a reactor.
#[derive(Default)]
pub(crate) struct Shelves {
    all: RefCell<Vec<Rc<dyn AnyShelf>>>,
    by_type: RefCell<BTreeMap<TypeId, u32>>,
}

/// What a reactor knows of a job that is out.
pub(crate) struct Waiting<T> {
    pub(crate) resolver: Resolver<T>,
    pub(crate) out: Out,
}

/// Where it is.
pub(crate) struct Out {
    pub(crate) workers: Arc<Workers>,
    pub(crate) number: u64,
    pub(crate) at: &'static Location<'static>,
}

/// One that nobody waits for any more: dropping the resolver abandons its Deferred.
pub(crate) struct TakenOut {
    pub(crate) out: Out,
    pub(crate) resolver: Box<dyn Any>,
}

impl Shelves {
    /// The shelf for jobs of this type, and its number.
    pub(crate) fn of<T: 'static>(&self) -> (u32, Rc<dyn AnyShelf>) {
        let mut all = self.all.borrow_mut();
        let number = *self.by_type.borrow_mut().entry(TypeId::of::<T>()).or_insert_with(|| {
            all.push(Rc::new(Shelf::<T>::default()));
            all.len() as u32 - 1
        });
        (number, all[number as usize].clone())
    }

    pub(crate) fn get(&self, key: Key) -> Option<Rc<dyn AnyShelf>> {
        self.all.borrow().get(key.shelf as usize).cloned()
    }

    /// Those whose jobs are this pool's.
    pub(crate) fn out_of(&self, workers: &Weak<Workers>) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        self.all.borrow().iter().zip(0..).for_each(|(shelf, number)| shelf.out_of(workers, number, &mut keys));
        keys
    }

    /// Everybody, in the order in which their jobs were given. Nobody stays.
    pub(crate) fn take_all(&self) -> Vec<TakenOut> {
        let shelves = self.all.take();
        let mut all: Vec<_> = shelves.iter().flat_map(|shelf| shelf.take_all()).collect();
        all.sort_unstable_by_key(|(made, _)| *made);
        all.into_iter().map(|(_, gone)| gone).collect()
    }
}

/// A slab. A key is of no use once its place is free.
struct Shelf<T> {
    places: RefCell<Places<T>>,
}

struct Places<T> {
    all: Vec<Place<T>>,
    free: Vec<u32>,
}

struct Place<T> {
    round: u32,
    /// With how many were made before it.
    waiting: Option<(u64, Waiting<T>)>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Shelf { places: RefCell::new(Places { all: Vec::new(), free: Vec::new() }) }
    }
}

/// A shelf, whatever its type.
pub(crate) trait AnyShelf {
    fn as_any(&self) -> &dyn Any;

    /// A key for somebody who comes soon, on the shelf with this number.
    fn reserve(&self, shelf: u32) -> Key;

    /// He does not come.
    fn cede(&self, key: Key);

    /// His job is home, or given up. He is told, if he is still there.
    fn deliver(&self, reactor: &Reactor, key: Key, arrived: Arrived);

    /// He waits no more.
    fn take_out(&self, key: Key) -> Option<TakenOut>;

    /// Adds those whose jobs are this pool's, on the shelf with this number.
    fn out_of(&self, workers: &Weak<Workers>, shelf: u32, keys: &mut BTreeSet<Key>);

    /// All of them, each with its number.
    fn take_all(&self) -> Vec<(u64, TakenOut)>;
}

/// Puts somebody in the place that was reserved for him.
pub(crate) fn fill<T: 'static>(shelf: &dyn AnyShelf, key: Key, made: u64, waiting: Waiting<T>) {
    let shelf: &Shelf<T> = shelf.as_any().downcast_ref().expect("a shelf is of its type");
    shelf.places.borrow_mut().all[key.place as usize].waiting = Some((made, waiting));
}

impl<T> Shelf<T> {
    fn take(&self, key: Key) -> Option<Waiting<T>> {
        let places = &mut *self.places.borrow_mut();
        let place = places.all.get_mut(key.place as usize).filter(|place| place.round == key.round)?;
        place.round = place.round.wrapping_add(1);
        places.free.push(key.place);
        place.waiting.take().map(|(_, waiting)| waiting)
    }
}

impl<T: 'static> AnyShelf for Shelf<T> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn reserve(&self, shelf: u32) -> Key {
        let places = &mut *self.places.borrow_mut();
        let place = places.free.pop().unwrap_or_else(|| {
            places.all.push(Place { round: 0, waiting: None });
            places.all.len() as u32 - 1
        });
        Key { shelf, place, round: places.all[place as usize].round }
    }

    fn cede(&self, key: Key) {
        drop(self.take(key)); // it is empty
    }

    fn deliver(&self, reactor: &Reactor, key: Key, arrived: Arrived) {
        let waiting = self.take(key);
        let Some(Waiting { resolver, out }) = waiting else { return }; // what it has brought is dropped
        reactor.call_as_posted(out.at, || match arrived {
            Arrived::Task(task) => {
                let mut slot = None;
                task.give(&mut slot);
                if let Some(result) = slot {
                    resolver.fire(result);
                }
            }
            Arrived::GivenUp(why) => resolver.errback(why),
        });
    }

    fn take_out(&self, key: Key) -> Option<TakenOut> {
        let Waiting { resolver, out } = self.take(key)?;
        Some(TakenOut { out, resolver: Box::new(resolver) })
    }

    fn out_of(&self, workers: &Weak<Workers>, shelf: u32, keys: &mut BTreeSet<Key>) {
        let places = self.places.borrow();
        if places.free.len() == places.all.len() {
            return; // which is usual when a pool ends, and there may be many places
        }
        for (place, number) in places.all.iter().zip(0..) {
            let waiting = place.waiting.as_ref();
            if waiting.is_some_and(|(_, waiting)| Arc::as_ptr(&waiting.out.workers) == workers.as_ptr()) {
                keys.insert(Key { shelf, place: number, round: place.round });
            }
        }
    }

    fn take_all(&self) -> Vec<(u64, TakenOut)> {
        let places = mem::take(&mut self.places.borrow_mut().all);
        let waiting = places.into_iter().filter_map(|place| place.waiting);
        let gone =
            waiting.map(|(made, Waiting { resolver, out })| (made, TakenOut { out, resolver: Box::new(resolver) }));
        gone.collect()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_was_ceded_is_for_the_next_one_under_another_key() {
        let shelf = Shelf::<u8>::default();
        let (first, other) = (shelf.reserve(0), shelf.reserve(0));
        assert_ne!(first.place, other.place);
        shelf.cede(first);
        let next = shelf.reserve(0);
        assert_eq!(next.place, first.place);
        assert_ne!(next, first);
    }
}
