//! Values, from who puts them to who gets them.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use super::waiters::Waiters;
use crate::deferred::Deferred;
use crate::engine::run_soon;
use crate::error::{BuiltinError, CallSite, Cancelled, DeferredError, Failure};

/// Values that wait for getters, or getters that wait for values: first come, first served.
///
/// Clones mean the same queue.
///
/// Twisted's `DeferredQueue`, with a put that waits, and an end.
///
/// # Examples
///
/// ```
/// use deferred_core::DeferredQueue;
///
/// let jobs = DeferredQueue::new();
/// let first = jobs.get();
/// jobs.put("first").unwrap();
/// jobs.put("second").unwrap();
/// assert_eq!(first.try_take().unwrap().unwrap(), "first");
/// assert_eq!(jobs.get().try_take().unwrap().unwrap(), "second");
/// ```
pub struct DeferredQueue<T: 'static, E: DeferredError = Failure> {
    queue: Rc<Queue<T, E>>,
}

struct Queue<T: 'static, E: DeferredError> {
    size: usize,
    backlog: usize,
    values: RefCell<VecDeque<T>>,
    getters: Waiters<(), T, E>,
    putters: Waiters<T, (), E>,
    closed: Cell<bool>,
    /// Who feeds it from elsewhere.
    feeder: OnceCell<Box<dyn Feeder>>,
}

/// What feeds a queue from elsewhere, and is told what becomes of it.
pub(crate) trait Feeder {
    /// So many values have come into the queue by others, and so many have left it.
    fn count(&self, came: usize, went: usize);

    /// The queue takes nothing more: it was closed, or nobody but the feeder has it any more and
    /// nobody waits for a value. Gives what was on the way, to be dropped when everybody has been
    /// told.
    fn ended(&self) -> Box<dyn Any>;
}

impl<T: 'static> DeferredQueue<T> {
    /// One that takes any number of values, and any number of getters.
    #[must_use]
    pub fn new() -> DeferredQueue<T> {
        DeferredQueue::typed(None, None)
    }

    /// One in which at most `size` values wait for getters, and at most `backlog` getters for
    /// values. `None` is no limit.
    #[must_use]
    pub fn with_limits(size: Option<usize>, backlog: Option<usize>) -> DeferredQueue<T> {
        DeferredQueue::typed(size, backlog)
    }
}

impl<T: 'static> Default for DeferredQueue<T> {
    fn default() -> Self {
        DeferredQueue::new()
    }
}

impl<T: 'static, E: DeferredError> DeferredQueue<T, E> {
    /// [`with_limits`](DeferredQueue::with_limits) for an error type of your own.
    #[must_use]
    pub fn typed(size: Option<usize>, backlog: Option<usize>) -> DeferredQueue<T, E> {
        let queue = Queue {
            size: size.unwrap_or(usize::MAX),
            backlog: backlog.unwrap_or(usize::MAX),
            values: RefCell::default(),
            getters: Waiters::new(),
            putters: Waiters::new(),
            closed: Cell::new(false),
            feeder: OnceCell::new(),
        };
        DeferredQueue { queue: Rc::new(queue) }
    }

    /// Hands a value to the getter that waits first, whose callbacks run inside this call, or lets
    /// it wait.
    ///
    /// Twisted's `put`.
    ///
    /// # Errors
    ///
    /// With the value, if so many values wait as the queue's size allows, or if it is closed.
    pub fn put(&self, value: T) -> Result<(), QueueOverflow<T>> {
        self.queue.count(1, 0);
        self.put_sent(value).inspect_err(|_| self.queue.count(0, 1))
    }

    /// [`put`](Self::put) for a value that was counted when it was sent.
    pub(crate) fn put_sent(&self, value: T) -> Result<(), QueueOverflow<T>> {
        let queue = &*self.queue;
        if queue.closed.get() {
            return Err(QueueOverflow { value, why: Overflow::Closed });
        }
        if let Some(((), getter)) = queue.getters.first() {
            queue.count(0, 1);
            getter.callback(value);
            return Ok(());
        }
        if !queue.has_room() {
            return Err(QueueOverflow { value, why: Overflow::Full });
        }
        queue.values.borrow_mut().push_back(value);
        Ok(())
    }

    /// As [`put`](Self::put), and waits in line where there is no room: its Deferred fires once the
    /// value has a place in the queue, or is with a getter.
    ///
    /// # Errors
    ///
    /// Through the Deferred: of a closed queue, [`Cancelled`] with the reason [`QueueClosed`]. The
    /// value is dropped.
    ///
    /// # Cancellation
    ///
    /// Gives up the place in line and drops the value.
    #[track_caller]
    pub fn put_wait(&self, value: T) -> Deferred<(), E> {
        let at = Location::caller();
        match self.put(value) {
            Ok(()) => Deferred::with_result(Ok(()), at, at),
            Err(QueueOverflow { value, why: Overflow::Full }) => {
                self.queue.putters.wait(value, &self.queue, |queue| &queue.putters, |_| (), at)
            }
            Err(QueueOverflow { .. }) => Deferred::with_result(Err(closed()), at, at),
        }
    }

    /// A Deferred for the next value: it has it at once if one waits.
    ///
    /// # Errors
    ///
    /// Through the Deferred, [`Cancelled`] with a reason: [`QueueUnderflow`] if so many getters
    /// wait as the queue's backlog allows, for which [`get_unless_full`](Self::get_unless_full)
    /// says it at once; [`QueueClosed`] if it is closed and empty, or is closed while this waits.
    ///
    /// # Cancellation
    ///
    /// Gives up the place in line; no value is lost. One that has its value keeps it.
    #[track_caller]
    pub fn get(&self) -> Deferred<T, E> {
        let at = Location::caller();
        self.get_at(at).unwrap_or_else(|full| Deferred::with_result(Err(cancelled(full)), at, at))
    }

    /// As [`get`](Self::get), which is Twisted's.
    ///
    /// # Errors
    ///
    /// If so many getters wait as the queue's backlog allows.
    #[track_caller]
    pub fn get_unless_full(&self) -> Result<Deferred<T, E>, QueueUnderflow> {
        self.get_at(Location::caller())
    }

    fn get_at(&self, at: CallSite) -> Result<Deferred<T, E>, QueueUnderflow> {
        let queue = &*self.queue;
        if let Some(value) = self.try_get() {
            return Ok(Deferred::with_result(Ok(value), at, at));
        }
        if queue.closed.get() {
            return Ok(Deferred::with_result(Err(closed()), at, at));
        }
        if queue.getters.len() >= queue.backlog {
            return Err(QueueUnderflow);
        }
        Ok(queue.getters.wait((), &self.queue, |queue| &queue.getters, |_| (), at))
    }

    /// The next value, if one waits.
    #[must_use]
    pub fn try_get(&self) -> Option<T> {
        let queue = &*self.queue;
        let value = queue.values.borrow_mut().pop_front();
        // A value that waited for room comes in, or over.
        let (moved, putter) = match queue.putters.first() {
            Some((moved, putter)) => (Some(moved), Some(putter)),
            None => (None, None),
        };
        let value = match (value, moved) {
            (Some(value), Some(moved)) => {
                queue.values.borrow_mut().push_back(moved);
                Some(value)
            }
            (value, moved) => value.or(moved),
        };
        if value.is_some() {
            queue.count(usize::from(putter.is_some()), 1);
        }
        if let Some(putter) = putter {
            putter.callback(());
        }
        value
    }

    /// Has it told what becomes of the queue, of which it keeps one handle itself. Once.
    pub(crate) fn set_feeder(&self, feeder: impl Feeder + 'static) {
        let set = self.queue.feeder.set(Box::new(feeder));
        debug_assert!(set.is_ok(), "it is set once");
    }

    /// Nobody can get from it: only so many handles are left, which are the feeder's, and nobody
    /// waits.
    pub(crate) fn is_orphan(&self, handles: usize) -> bool {
        Rc::strong_count(&self.queue) <= handles && self.waiting() == 0
    }

    /// Puts a value that was got back to the front, for a drop: a getter has it after the callback
    /// that runs.
    pub(super) fn put_back(&self, value: T) {
        match self.queue.getters.first() {
            Some(((), getter)) => run_soon(getter.source.set_result(Ok(value))),
            None => {
                self.queue.values.borrow_mut().push_front(value);
                self.queue.count(1, 0);
            }
        }
    }

    /// Takes no more values. Those that wait, for getters and for room, are still given out;
    /// getters that wait, and those that come when the queue is empty, get [`Cancelled`] with the
    /// reason [`QueueClosed`], in here.
    ///
    /// Calling it again does nothing.
    pub fn close(&self) {
        self.queue.closed.set(true);
        // Dropped last, since its destructors are the program's.
        let _on_the_way = self.queue.feeder.get().map(|feeder| feeder.ended());
        while let Some(((), getter)) = self.queue.getters.first() {
            getter.fire(Err(closed()));
        }
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.closed.get()
    }

    /// How many values wait for getters.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.values.borrow().len()
    }

    /// Whether no value waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many getters wait for values.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.getters.len()
    }
}

impl<T: 'static, E: DeferredError> Queue<T, E> {
    fn has_room(&self) -> bool {
        self.values.borrow().len() < self.size
    }

    fn count(&self, came: usize, went: usize) {
        if let Some(feeder) = self.feeder.get() {
            feeder.count(came, went);
        }
    }
}

fn cancelled<E: DeferredError>(why: impl Error + Send + Sync + 'static) -> E {
    BuiltinError::from(Cancelled::because(why)).into()
}

fn closed<E: DeferredError>() -> E {
    cancelled(QueueClosed)
}

impl<T: 'static, E: DeferredError> Clone for DeferredQueue<T, E> {
    fn clone(&self) -> Self {
        DeferredQueue { queue: self.queue.clone() }
    }
}

impl<T: 'static, E: DeferredError> Drop for DeferredQueue<T, E> {
    fn drop(&mut self) {
        // This one and the feeder's are still counted. The feeder's own, which may be the one that
        // goes, has closed it.
        if let Some(feeder) = self.queue.feeder.get().filter(|_| !self.is_closed() && self.is_orphan(2)) {
            let _on_the_way = feeder.ended();
            let _out_of_reach = self.queue.values.take();
        }
    }
}

impl<T: 'static, E: DeferredError> fmt::Debug for DeferredQueue<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredQueue")
            .field("len", &self.len())
            .field("waiting", &self.waiting())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// A [`DeferredQueue`] does not take a value; here it is.
///
/// Twisted's `QueueOverflow`.
#[derive(Clone, PartialEq, Eq)]
pub struct QueueOverflow<T> {
    value: T,
    why: Overflow,
}

/// Why a [`DeferredQueue`] does not take a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// So many values wait as its size allows.
    Full,
    /// It is closed.
    Closed,
}

impl<T> QueueOverflow<T> {
    pub(crate) fn new(value: T, why: Overflow) -> Self {
        QueueOverflow { value, why }
    }

    /// The value.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Why.
    #[must_use]
    pub fn why(&self) -> Overflow {
        self.why
    }
}

impl<T> fmt::Debug for QueueOverflow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueOverflow").field("why", &self.why).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for QueueOverflow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.why {
            Overflow::Full => "the queue is full: as many values wait as its size allows",
            Overflow::Closed => "the queue is closed and takes no more values",
        })
    }
}

impl<T> Error for QueueOverflow<T> {}

/// As many getters wait for a [`DeferredQueue`] as its backlog allows.
///
/// Twisted's `QueueUnderflow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueUnderflow;

impl fmt::Display for QueueUnderflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("as many getters wait for the queue as its backlog allows")
    }
}

impl Error for QueueUnderflow {}

/// A [`DeferredQueue`] is closed and empty. It is the [reason](Cancelled::reason) of what its
/// getters get then.
///
/// # Examples
///
/// ```
/// use deferred_core::{Cancelled, DeferredQueue, QueueClosed};
///
/// let queue = DeferredQueue::<u32>::new();
/// let waiting = queue.get();
/// queue.close();
/// let cancelled = waiting.try_take().unwrap().unwrap_err().downcast::<Cancelled>().unwrap();
/// assert!(cancelled.reason().unwrap().is::<QueueClosed>());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueClosed;

impl fmt::Display for QueueClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue is closed")
    }
}

impl Error for QueueClosed {}
