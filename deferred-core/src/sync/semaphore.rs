//! `DeferredSemaphore`: permits with a FIFO queue of waiters.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use super::permit::{NotHeld, Permit};
use super::waiters::Waiters;
use crate::context::Context;
use crate::deferred::{Deferred, IntoDeferred, maybe_deferred_at};
use crate::engine::{Fired, StageOutput, run_soon};
use crate::error::{CallSite, DeferredError, Failure};

/// A semaphore with a FIFO queue of waiters. A waiter that needs fewer permits does not overtake
/// one that needs more.
///
/// A released permit goes directly to the first waiter, so no other caller can take it in between.
/// Clones refer to the same semaphore.
///
/// Twisted's `DeferredSemaphore`, whose permits must be released by hand.
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
#[doc(alias = "Semaphore")]
pub struct DeferredSemaphore<E: DeferredError = Failure> {
    permits: Rc<Permits<E>>,
}

/// The state of a semaphore or a lock.
pub(super) struct Permits<E: DeferredError> {
    limit: usize,
    free: Cell<usize>,
    /// The location where a permit was last taken.
    taken_at: Cell<Option<CallSite>>,
    /// The number of permits for which each waiter waits.
    waiters: Waiters<usize, Permit<E>, E>,
}

impl<E: DeferredError> Permits<E> {
    pub(super) fn new(limit: usize) -> Rc<Self> {
        Rc::new(Permits { limit, free: Cell::new(limit), taken_at: Cell::new(None), waiters: Waiters::new() })
    }

    fn take(self: &Rc<Self>, count: usize, at: CallSite) -> Permit<E> {
        self.taken_at.set(Some(at));
        self.free.set(self.free.get() - count);
        Permit::new(self.clone(), count)
    }

    pub(super) fn try_acquire(self: &Rc<Self>, count: usize, at: CallSite) -> Option<Permit<E>> {
        (self.waiters.is_empty() && count <= self.free.get()).then(|| self.take(count, at))
    }

    pub(super) fn acquire(self: &Rc<Self>, count: usize, at: CallSite) -> Deferred<Permit<E>, E> {
        assert!(
            count <= self.limit,
            "{count} permits were requested from a semaphore of {}, which can never succeed",
            self.limit
        );
        match self.try_acquire(count, at) {
            Some(permit) => Deferred::with_result(Ok(permit), at, at),
            // A waiter that is cancelled may have held up later ones.
            None => {
                let serve = |permits: &Rc<Self>| permits.serve_waiters();
                self.waiters.wait(count, self, |permits| &permits.waiters, serve, Self::describe, at)
            }
        }
    }

    /// Takes permits for the first waiter, if enough are free.
    // As `#[inline]`, a lock that is handed over takes 2 % more instructions (bench: sync/).
    #[inline(always)]
    fn serve(self: &Rc<Self>) -> Option<Fired> {
        let (count, resolver) = self.waiters.first_if(|count| *count <= self.free.get())?;
        let at = resolver.source.made();
        Some(resolver.source.set_result(Ok(self.take(count, at))))
    }

    /// Serves waiters, inside this call, while enough permits are free.
    fn serve_waiters(self: &Rc<Self>) {
        while let Some(fired) = self.serve() {
            fired.run();
        }
    }

    /// Says for what a waiter waits.
    fn describe(&self) -> String {
        let what = match self.limit {
            1 => "for a lock".to_owned(),
            limit => format!("for a semaphore with {} of {limit} permits free", self.free.get()),
        };
        let taken = self.taken_at.get().map_or_else(String::new, |at| format!(", last taken at {at}"));
        format!("{what}{taken}, {} waiting", self.waiters.len())
    }

    fn put_back(&self, count: usize) {
        self.free.set(self.free.get() + count);
        debug_assert!(self.free.get() <= self.limit);
    }

    pub(super) fn release_and_serve(self: &Rc<Self>, count: usize) {
        self.put_back(count);
        self.serve_waiters();
    }

    pub(super) fn release_soon(self: &Rc<Self>, count: usize) {
        // The permits are taken for the waiter at once, so that no other caller can overtake it.
        self.put_back(count);
        while let Some(fired) = self.serve() {
            run_soon(fired);
        }
    }

    pub(super) fn release(self: &Rc<Self>, count: usize) -> Result<(), NotHeld> {
        if count > self.limit - self.free.get() {
            return Err(NotHeld);
        }
        self.release_and_serve(count);
        Ok(())
    }

    pub(super) fn run<R: IntoDeferred<E>>(
        self: &Rc<Self>,
        count: usize,
        f: impl FnOnce() -> R + 'static,
        at: CallSite,
    ) -> Deferred<R::Value, E> {
        let context = Context::current();
        self.acquire(count, at).add_stage_at(at, move |permit| {
            let permit = match permit {
                Ok(permit) => permit,
                Err(error) => return StageOutput::Ready(Err(error)),
            };
            // Dropped in a stage, after which the run loop serves the next waiter: a million of
            // them need no stack.
            match context.run(|| maybe_deferred_at(at, f)).try_take() {
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
    /// Creates a semaphore with this number of permits.
    ///
    /// # Panics
    ///
    /// Panics if `permits` is 0.
    #[must_use]
    pub fn new(permits: usize) -> DeferredSemaphore {
        DeferredSemaphore::typed(permits)
    }
}

impl<E: DeferredError> DeferredSemaphore<E> {
    /// Like [`new`](DeferredSemaphore::new), but for an error type of your own.
    ///
    /// # Panics
    ///
    /// Panics if `permits` is 0.
    #[must_use]
    pub fn typed(permits: usize) -> DeferredSemaphore<E> {
        assert!(permits > 0, "a semaphore needs at least one permit");
        DeferredSemaphore { permits: Permits::new(permits) }
    }

    /// Returns a Deferred that fires with one [`Permit`]. It is ready at once if a permit is free
    /// and no other caller waits.
    ///
    /// # Cancellation
    ///
    /// A cancel removes the caller from the queue. It has no effect on a Deferred that already has
    /// its permit.
    #[track_caller]
    pub fn acquire(&self) -> Deferred<Permit<E>, E> {
        self.permits.acquire(1, Location::caller())
    }

    /// Returns a Deferred that fires with `count` permits, as one [`Permit`]. Later callers wait,
    /// even if they need fewer.
    ///
    /// # Panics
    ///
    /// Panics if `count` exceeds the [`limit`](Self::limit).
    ///
    /// # Cancellation
    ///
    /// Like [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_many(&self, count: usize) -> Deferred<Permit<E>, E> {
        self.permits.acquire(count, Location::caller())
    }

    /// Acquires `count` permits, as one [`Permit`], if they are free and no other caller waits.
    /// Returns `None` also if `count` exceeds the limit.
    #[must_use]
    #[track_caller]
    pub fn try_acquire(&self, count: usize) -> Option<Permit<E>> {
        self.permits.try_acquire(count, Location::caller())
    }

    /// Releases `count` permits that were [detached](Permit::detach). The callbacks of the next
    /// waiters run inside this call, as with [`Permit::release`].
    ///
    /// It checks only the number of held permits, not their owner.
    ///
    /// Twisted's `release`.
    ///
    /// # Errors
    ///
    /// Returns [`NotHeld`] if fewer permits are held. Nothing is released then.
    pub fn release(&self, count: usize) -> Result<(), NotHeld> {
        self.permits.release(count)
    }

    /// Calls `f` with one permit acquired. The permit is released when the result of `f` is ready.
    /// That of a cancelled job is ready before its thread is: to limit jobs, limit the threads of
    /// their pool.
    ///
    /// The release happens before the callbacks of the returned Deferred.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with the error or panic of `f`.
    ///
    /// # Cancellation
    ///
    /// A cancel removes the caller from the queue, or cancels the Deferred that `f` returned.
    #[track_caller]
    pub fn run<R: IntoDeferred<E>>(&self, f: impl FnOnce() -> R + 'static) -> Deferred<R::Value, E> {
        self.permits.run(1, f, Location::caller())
    }

    /// Like [`run`](Self::run), but with `count` permits.
    ///
    /// # Panics
    ///
    /// Panics if `count` exceeds the [`limit`](Self::limit).
    #[track_caller]
    pub fn run_many<R: IntoDeferred<E>>(&self, count: usize, f: impl FnOnce() -> R + 'static) -> Deferred<R::Value, E> {
        self.permits.run(count, f, Location::caller())
    }

    /// Returns the number of free permits.
    #[must_use]
    pub fn available(&self) -> usize {
        self.permits.available()
    }

    /// Returns the number of waiters.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.permits.waiting()
    }

    /// Returns the total number of permits.
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
