//! Permits, of which there is a number.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use super::permit::{NotHeld, Permit};
use super::waiters::Waiters;
use crate::deferred::{Deferred, IntoDeferred, maybe_deferred_at};
use crate::engine::{Fired, StageOutput, run_soon};
use crate::error::{CallSite, DeferredError, Failure};

/// A number of permits, for which callers wait in line: first come, first served, also where a
/// later one wants fewer.
///
/// A permit that is given back goes to the first in line without being free in between, so nobody
/// overtakes. Clones mean the same semaphore.
///
/// Twisted's `DeferredSemaphore`, whose permits must all be given back by hand.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, DeferredSemaphore};
///
/// let connections = DeferredSemaphore::new(2);
/// let (answer, resolver) = Deferred::<u32>::new();
/// let first = connections.run(|| answer);
/// let second = connections.run(|| Ok(2));
/// assert!(second.is_ready());
/// assert_eq!(connections.available(), 1);
/// resolver.callback(1);
/// assert_eq!(connections.available(), 2);
/// # drop(first);
/// ```
pub struct DeferredSemaphore<E: DeferredError = Failure> {
    permits: Rc<Permits<E>>,
}

/// What a semaphore is.
pub(super) struct Permits<E: DeferredError> {
    limit: usize,
    free: Cell<usize>,
    waiters: Waiters<usize, Permit<E>, E>,
}

impl<E: DeferredError> Permits<E> {
    pub(super) fn new(limit: usize) -> Rc<Self> {
        Rc::new(Permits { limit, free: Cell::new(limit), waiters: Waiters::new() })
    }

    fn take(self: &Rc<Self>, count: usize) -> Permit<E> {
        self.free.set(self.free.get() - count);
        Permit::new(self.clone(), count)
    }

    pub(super) fn try_acquire(self: &Rc<Self>, count: usize) -> Option<Permit<E>> {
        (self.waiters.is_empty() && count <= self.free.get()).then(|| self.take(count))
    }

    pub(super) fn acquire(self: &Rc<Self>, count: usize, at: CallSite) -> Deferred<Permit<E>, E> {
        assert!(count <= self.limit, "{count} permits were asked for, and there are only {}", self.limit);
        match self.try_acquire(count) {
            Some(permit) => Deferred::with_result(Ok(permit), at, at),
            // One that goes may have held up those behind him.
            None => self.waiters.wait(count, self, |permits| &permits.waiters, |permits| permits.hand_out(), at),
        }
    }

    /// Takes permits for the first in line, if there are enough for him.
    #[inline]
    fn serve(self: &Rc<Self>) -> Option<Fired> {
        let (count, resolver) = self.waiters.first_if(|count| *count <= self.free.get())?;
        Some(resolver.source.set_result(Ok(self.take(count))))
    }

    /// Serves all for whom there are enough, now.
    fn hand_out(self: &Rc<Self>) {
        while let Some(fired) = self.serve() {
            fired.run();
        }
    }

    fn put_back(&self, count: usize) {
        self.free.set(self.free.get() + count);
        debug_assert!(self.free.get() <= self.limit);
    }

    pub(super) fn give_back(self: &Rc<Self>, count: usize) {
        self.put_back(count);
        self.hand_out();
    }

    pub(super) fn give_back_soon(self: &Rc<Self>, count: usize) {
        // They are taken for him before anybody else can ask.
        self.put_back(count);
        while let Some(fired) = self.serve() {
            run_soon(fired);
        }
    }

    pub(super) fn release(self: &Rc<Self>, count: usize) -> Result<(), NotHeld> {
        if count > self.limit - self.free.get() {
            return Err(NotHeld);
        }
        self.give_back(count);
        Ok(())
    }

    pub(super) fn run<R: IntoDeferred<E>>(
        self: &Rc<Self>,
        count: usize,
        f: impl FnOnce() -> R + 'static,
        at: CallSite,
    ) -> Deferred<R::Value, E> {
        self.acquire(count, at).add_stage_at(at, move |permit| {
            let permit = match permit {
                Ok(permit) => permit,
                Err(error) => return StageOutput::Ready(Err(error)),
            };
            // Dropped in a stage, after which the loop serves the next in line: a million of them
            // need no stack.
            match maybe_deferred_at(at, f).try_take() {
                Ok(result) => {
                    drop(permit);
                    StageOutput::Ready(result)
                }
                Err(waiting) => {
                    let done = waiting.add_stage_at(at, move |result| {
                        drop(permit);
                        StageOutput::Ready(result)
                    });
                    done.into_output()
                }
            }
        })
    }

    pub(super) fn available(&self) -> usize {
        self.free.get()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiters.len()
    }
}

impl DeferredSemaphore {
    /// One with so many permits.
    ///
    /// # Panics
    ///
    /// If there are none.
    #[must_use]
    pub fn new(permits: usize) -> DeferredSemaphore {
        DeferredSemaphore::typed(permits)
    }
}

impl<E: DeferredError> DeferredSemaphore<E> {
    /// [`new`](DeferredSemaphore::new) for an error type of your own.
    ///
    /// # Panics
    ///
    /// If there are none.
    #[must_use]
    pub fn typed(permits: usize) -> DeferredSemaphore<E> {
        assert!(permits > 0, "a semaphore without permits would let nobody pass");
        DeferredSemaphore { permits: Permits::new(permits) }
    }

    /// A Deferred for one permit: it has it at once if one is free and nobody waits.
    ///
    /// # Cancellation
    ///
    /// Gives up the place in line. One that has its permit already keeps it.
    #[track_caller]
    pub fn acquire(&self) -> Deferred<Permit<E>, E> {
        self.permits.acquire(1, Location::caller())
    }

    /// A Deferred for `count` permits, which it gets together. Who comes later waits, also for
    /// fewer.
    ///
    /// # Panics
    ///
    /// If there are not so many at all.
    ///
    /// # Cancellation
    ///
    /// As [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_many(&self, count: usize) -> Deferred<Permit<E>, E> {
        self.permits.acquire(count, Location::caller())
    }

    /// `count` permits, if they are free and nobody waits.
    #[must_use]
    pub fn try_acquire(&self, count: usize) -> Option<Permit<E>> {
        self.permits.try_acquire(count)
    }

    /// Gives back `count` permits that were [detached](Permit::detach); the callbacks of whoever
    /// gets them run inside this call, as with [`Permit::release`].
    ///
    /// It asks only whether so many are held, not by whom. Twisted's `release`.
    ///
    /// # Errors
    ///
    /// If fewer are held; nothing has happened then.
    pub fn release(&self, count: usize) -> Result<(), NotHeld> {
        self.permits.release(count)
    }

    /// Calls `f` with one permit taken, which is given back when what `f` returns is there.
    ///
    /// The permit is given back before the callbacks of the Deferred that this returns.
    ///
    /// # Cancellation
    ///
    /// Gives up the place in line, or cancels what `f` has returned.
    #[track_caller]
    pub fn run<R: IntoDeferred<E>>(&self, f: impl FnOnce() -> R + 'static) -> Deferred<R::Value, E> {
        self.permits.run(1, f, Location::caller())
    }

    /// [`run`](Self::run) with `count` permits.
    ///
    /// # Panics
    ///
    /// If there are not so many at all.
    #[track_caller]
    pub fn run_many<R: IntoDeferred<E>>(&self, count: usize, f: impl FnOnce() -> R + 'static) -> Deferred<R::Value, E> {
        self.permits.run(count, f, Location::caller())
    }

    /// How many are free.
    #[must_use]
    pub fn available(&self) -> usize {
        self.permits.available()
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.permits.waiting()
    }

    /// How many there are.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.permits.limit
    }
}

impl<E: DeferredError> Clone for DeferredSemaphore<E> {
    fn clone(&self) -> Self {
        DeferredSemaphore { permits: self.permits.clone() }
    }
}

impl<E: DeferredError> fmt::Debug for DeferredSemaphore<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredSemaphore")
            .field("limit", &self.limit())
            .field("available", &self.available())
            .field("waiting", &self.waiting())
            .finish()
    }
}
