//! `DeferredQueue`: a FIFO queue of values and of getters.

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

/// A FIFO queue of values that wait for getters, or of getters that wait for values.
///
/// Clones refer to the same queue.
///
/// Twisted's `DeferredQueue`, extended by a put that waits and by `close`.
///
/// # Examples
///
/// ```
/// use deferred_core::testing::success_result_of;
/// use deferred_core::DeferredQueue;
///
/// let jobs = DeferredQueue::new();
/// let first = jobs.get();
/// jobs.put("first").unwrap();
/// jobs.put("second").unwrap();
/// assert_eq!(success_result_of(first), "first");
/// assert_eq!(success_result_of(jobs.get()), "second");
/// ```
#[doc(alias = "channel")]
#[doc(alias = "mpsc")]
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
    /// The source that feeds the queue from other threads.
    feeder: OnceCell<Box<dyn Feeder>>,
}

/// A source that feeds a queue from other threads and counts its values.
pub(crate) trait Feeder {
    /// Called when `added` values have entered the queue from elsewhere, and `removed` values have
    /// left it.
    fn count(&self, added: usize, removed: usize);

    /// Called when the queue takes no more values: it was closed, or only the feeder refers to it
    /// and no getter waits. Returns the values in transit, for the caller to drop after all waiters
    /// have been notified.
    fn ended(&self) -> Box<dyn Any>;
}

impl<T: 'static> DeferredQueue<T> {
    /// Creates a queue without limits.
    #[must_use]
    pub fn new() -> DeferredQueue<T> {
        DeferredQueue::typed(None, None)
    }

    /// Creates a queue in which at most `size` values and at most `backlog` getters can wait.
    /// `None` is no limit.
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
    /// Like [`with_limits`](DeferredQueue::with_limits), but for an error type of your own.
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

    /// Passes a value to the first waiting getter, whose callbacks run inside this call. If none
    /// waits, adds the value to the queue.
    ///
    /// Twisted's `put`.
    ///
    /// # Errors
    ///
    /// Returns [`QueueOverflow`] with the value if the queue is full or closed.
    pub fn put(&self, value: T) -> Result<(), QueueOverflow<T>> {
        self.queue.count(1, 0);
        self.put_sent(value).inspect_err(|_| self.queue.count(0, 1))
    }

    /// Like [`put`](Self::put), but for a value that was counted when it was sent.
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

    /// Like [`put`](Self::put), but waits while the queue is full. The returned Deferred fires once
    /// the value is in the queue, or was passed to a getter.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with [`Cancelled`] with the reason [`QueueClosed`] if the queue
    /// is closed. The value is dropped.
    ///
    /// # Cancellation
    ///
    /// A cancel removes the put from the queue of waiting puts and drops its value.
    #[track_caller]
    pub fn put_wait(&self, value: T) -> Deferred<(), E> {
        let at = Location::caller();
        match self.put(value) {
            Ok(()) => Deferred::with_result(Ok(()), at, at),
            Err(QueueOverflow { value, why: Overflow::Full }) => {
                self.queue.putters.wait(value, &self.queue, |queue| &queue.putters, |_| (), Queue::describe_put, at)
            }
            Err(QueueOverflow { .. }) => Deferred::with_result(Err(closed()), at, at),
        }
    }

    /// Returns a Deferred for the next value. It is ready at once if there is a value.
    ///
    /// # Errors
    ///
    /// The returned Deferred fails with [`Cancelled`] and one of these reasons:
    ///
    /// - [`QueueUnderflow`] if the backlog is full, which
    ///   [`get_unless_full`](Self::get_unless_full) reports at once;
    /// - [`QueueClosed`] if the queue is closed and empty, or is closed while the getter waits.
    ///
    /// # Cancellation
    ///
    /// A cancel removes the getter from the queue of getters; no value is lost. It has no effect on
    /// a Deferred that already has its value: if that is dropped, so is the value. So a branch of
    /// `select!` takes values from [`stream`](Self::stream), whose `next()` loses none.
    #[track_caller]
    pub fn get(&self) -> Deferred<T, E> {
        let at = Location::caller();
        self.get_at(at).unwrap_or_else(|full| Deferred::with_result(Err(cancelled(full)), at, at))
    }

    /// Like [`get`](Self::get), but fails at once if the backlog is full, as Twisted's `get` does.
    ///
    /// # Errors
    ///
    /// Returns [`QueueUnderflow`] if the backlog is full.
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
        Ok(queue.getters.wait((), &self.queue, |queue| &queue.getters, |_| (), Queue::describe_get, at))
    }

    /// Returns the next value, if there is one.
    #[must_use]
    pub fn try_get(&self) -> Option<T> {
        let queue = &*self.queue;
        let value = queue.values.borrow_mut().pop_front();
        if !queue.putters.is_empty() {
            return self.get_beside_put(value);
        }
        if value.is_some() {
            queue.count(0, 1);
        }
        value
    }

    /// Returns the first value while a put waits, whose value moves into the queue, or directly to
    /// the caller if the queue was empty.
    #[cold]
    fn get_beside_put(&self, first: Option<T>) -> Option<T> {
        let queue = &*self.queue;
        let (moved, putter) = queue.putters.first()?;
        let value = match first {
            Some(first) => {
                queue.values.borrow_mut().push_back(moved);
                first
            }
            None => moved,
        };
        queue.count(1, 1);
        putter.callback(());
        Some(value)
    }

    /// Sets the feeder, once. The feeder keeps one handle of the queue itself.
    pub(crate) fn set_feeder(&self, feeder: impl Feeder + 'static) {
        let set = self.queue.feeder.set(Box::new(feeder));
        debug_assert!(set.is_ok(), "the feeder is set once");
    }

    /// Returns `true` if nothing can get from the queue: at most `handles` handles are left, which
    /// belong to the feeder, and no getter waits.
    pub(crate) fn is_orphan(&self, handles: usize) -> bool {
        Rc::strong_count(&self.queue) <= handles && self.waiting() == 0
    }

    /// Returns a value to the front of the queue, for a destructor: a waiting getter gets it after
    /// the callback that runs now.
    pub(super) fn put_back(&self, value: T) {
        match self.queue.getters.first() {
            Some(((), getter)) => run_soon(getter.source.set_result(Ok(value))),
            None => {
                self.queue.values.borrow_mut().push_front(value);
                self.queue.count(1, 0);
            }
        }
    }

    /// Closes the queue to new values. Values in the queue, and the values of waiting puts, can
    /// still be taken. Waiting getters, and getters that find the queue empty, fail with
    /// [`Cancelled`] with the reason [`QueueClosed`]; waiting ones inside this call.
    ///
    /// A further call does nothing.
    pub fn close(&self) {
        self.queue.closed.set(true);
        // Dropped last, since the destructors of the values are user code.
        let _in_transit = self.queue.feeder.get().map(|feeder| feeder.ended());
        while let Some(((), getter)) = self.queue.getters.first() {
            getter.fire(Err(closed()));
        }
    }

    /// Returns `true` if the queue is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.closed.get()
    }

    /// Returns the number of values in the queue.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.values.borrow().len()
    }

    /// Returns `true` if there is no value in the queue.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of waiting getters.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.getters.len()
    }
}

impl<T: 'static, E: DeferredError> Queue<T, E> {
    fn describe_get(&self) -> String {
        format!("for a value of a queue, {} waiting", self.getters.len())
    }

    fn describe_put(&self) -> String {
        format!("for room in a queue of {}, {} waiting", self.size, self.putters.len())
    }

    fn has_room(&self) -> bool {
        self.values.borrow().len() < self.size
    }

    fn count(&self, added: usize, removed: usize) {
        if let Some(feeder) = self.feeder.get() {
            feeder.count(added, removed);
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
        // `Rc::strong_count` still includes this handle and the feeder's. If this is the feeder's
        // own, the queue is closed already.
        if let Some(feeder) = self.queue.feeder.get().filter(|_| !self.is_closed() && self.is_orphan(2)) {
            let _in_transit = feeder.ended();
            let _unreachable = self.queue.values.take();
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

/// The error of a put that a [`DeferredQueue`] refused. It holds the value.
///
/// Twisted's `QueueOverflow`.
#[derive(Clone, PartialEq, Eq)]
pub struct QueueOverflow<T> {
    value: T,
    why: Overflow,
}

/// The reason why a [`DeferredQueue`] refused a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The queue is full.
    Full,
    /// The queue is closed.
    Closed,
}

impl<T> QueueOverflow<T> {
    pub(crate) fn new(value: T, why: Overflow) -> Self {
        QueueOverflow { value, why }
    }

    /// Returns the refused value.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Returns the reason why the value was refused.
    #[must_use]
    pub fn reason(&self) -> Overflow {
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
            Overflow::Full => "the queue is full",
            Overflow::Closed => "the queue is closed and takes no more values",
        })
    }
}

impl<T> Error for QueueOverflow<T> {}

/// The error of a get that exceeds the backlog of a [`DeferredQueue`].
///
/// Twisted's `QueueUnderflow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueUnderflow;

impl fmt::Display for QueueUnderflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the backlog of the queue is full: too many getters wait")
    }
}

impl Error for QueueUnderflow {}

/// The error of a get from a closed and empty [`DeferredQueue`], or of a
/// [`put_wait`](DeferredQueue::put_wait) to a closed one: the [reason](Cancelled::reason) of the
/// `Cancelled`.
///
/// # Examples
///
/// ```
/// use deferred_core::testing::failure_result_of;
/// use deferred_core::{Cancelled, DeferredQueue, QueueClosed};
///
/// let queue = DeferredQueue::<u32>::new();
/// let waiting = queue.get();
/// queue.close();
/// let cancelled = failure_result_of(waiting).downcast::<Cancelled>().unwrap();
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
