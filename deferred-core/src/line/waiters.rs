//! Who waits, in the order in which they came.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::Location;
use std::rc::{Rc, Weak};

use crate::deferred::{Deferred, Resolver};
use crate::error::Fault;

/// What he waits for, and what tells him that he has it.
type Waiter<W, T, E> = (W, Resolver<T, E>);

/// A line of waiters, each with something that says what it waits for.
pub(super) struct Waiters<W, T, E: Fault> {
    line: RefCell<Line<Waiter<W, T, E>>>,
    /// How many have come.
    came: Cell<u64>,
}

/// By number. Who gives up leaves a hole: the first place is none, and at most half of all are.
struct Line<X> {
    places: VecDeque<(u64, Option<X>)>,
    holes: usize,
}

impl<X> Line<X> {
    fn len(&self) -> usize {
        self.places.len() - self.holes
    }

    fn remove(&mut self, number: u64) -> Option<X> {
        let index = self.places.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        let gone = self.places[index].1.take()?;
        self.holes += 1;
        if self.holes > self.places.len() / 2 {
            self.places.retain(|(_, place)| place.is_some());
            self.holes = 0;
        }
        self.skip_holes();
        Some(gone)
    }

    fn first(&self) -> Option<&X> {
        self.places.front()?.1.as_ref()
    }

    fn pop(&mut self) -> Option<X> {
        let (_, first) = self.places.pop_front()?;
        self.skip_holes();
        first
    }

    #[inline]
    fn skip_holes(&mut self) {
        while let Some((_, None)) = self.places.front() {
            self.places.pop_front();
            self.holes -= 1;
        }
    }
}

impl<W: 'static, T: 'static, E: Fault> Waiters<W, T, E> {
    pub(super) fn new() -> Self {
        Waiters { line: RefCell::new(Line { places: VecDeque::new(), holes: 0 }), came: Cell::new(0) }
    }

    /// Puts somebody at the end of the line that `waiters` finds. A cancel takes him out again, and then calls `left`.
    pub(super) fn wait<O: 'static>(
        &self,
        want: W,
        owner: &Rc<O>,
        waiters: impl Fn(&O) -> &Waiters<W, T, E> + 'static,
        left: impl FnOnce(&Rc<O>) + 'static,
        at: &'static Location<'static>,
    ) -> Deferred<T, E> {
        let number = self.came.replace(self.came.get() + 1);
        let owner: Weak<O> = Rc::downgrade(owner);
        let (deferred, resolver) = Deferred::typed_with_canceller_at(at, move || {
            if let Some(owner) = owner.upgrade() {
                let gone = waiters(&owner).line.borrow_mut().remove(number);
                drop(gone); // behind the borrow
                left(&owner);
            }
            None
        });
        self.line.borrow_mut().places.push_back((number, Some((want, resolver))));
        deferred
    }

    /// Takes the first out, if `fits` says so.
    pub(super) fn first_if(&self, fits: impl FnOnce(&W) -> bool) -> Option<Waiter<W, T, E>> {
        let mut line = self.line.borrow_mut();
        if fits(&line.first()?.0) { line.pop() } else { None }
    }

    pub(super) fn first(&self) -> Option<Waiter<W, T, E>> {
        self.first_if(|_| true)
    }

    pub(super) fn len(&self) -> usize {
        self.line.borrow().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
