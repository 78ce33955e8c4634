//! `RemoteSender`: values from other threads into a queue of the loop.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::panic::Location;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::context;
use crate::error::{CallSite, DeferredError, Failure};
use crate::reactor::{Reactor, ReactorHandle};
use crate::sync::{DeferredQueue, Feeder, Overflow, QueueOverflow};

/// The number of values that one posted call moves into the queue. More values wait for the next
/// call, so that a flood of them does not hold up the loop.
const BATCH: usize = 256;

impl Reactor {
    /// Creates a queue of this thread and the [`RemoteSender`] that feeds it from any thread. Use
    /// it for a foreign library's callback that is called many times.
    ///
    /// With a limit, at most that number of values are in transit or in the queue, and
    /// [`RemoteSender::send`] refuses more. `None` sets no limit. Values that this thread puts into
    /// the queue count too, and are not refused.
    ///
    /// The queue is closed when the last sender is dropped, and at the latest with the reactor. On
    /// a closed reactor it is closed from the start.
    ///
    /// # Panics
    ///
    /// Panics if the limit is 0: no value could ever be sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use deferred_core::{inline_callbacks, park};
    ///
    /// let sum = park::run_until(|reactor| {
    ///     let (readings, sender) = reactor.remote_queue::<u32>(None);
    ///     thread::spawn(move || (1..=4).for_each(|n| sender.send(n).expect("the loop runs")));
    ///     inline_callbacks(async move {
    ///         let mut sum = 0;
    ///         while let Ok(reading) = readings.get().await {
    ///             sum += reading;
    ///         }
    ///         Ok(sum)
    ///     })
    /// });
    /// assert_eq!(sum.unwrap(), 10);
    /// ```
    #[doc(alias = "channel")]
    #[doc(alias = "mpsc")]
    #[track_caller]
    pub fn remote_queue<T: Send + 'static>(&self, limit: Option<usize>) -> (DeferredQueue<T>, RemoteSender<T>) {
        self.remote_queue_typed(limit)
    }

    /// Like [`remote_queue`](Self::remote_queue), but for an error type of your own.
    ///
    /// # Panics
    ///
    /// Panics if the limit is 0.
    #[track_caller]
    pub fn remote_queue_typed<T: Send + 'static, E: DeferredError>(
        &self,
        limit: Option<usize>,
    ) -> (DeferredQueue<T, E>, RemoteSender<T, E>) {
        assert!(limit != Some(0), "a remote queue with a limit of 0 could never take a value");
        let queue = DeferredQueue::<T, E>::typed(None, None);
        let channel = Channel { pending: VecDeque::new(), inside: 0, calls: 0, ended: false, closed: false };
        let shared = Arc::new(Shared {
            channel: Mutex::new(channel),
            capacity: Condvar::new(),
            limit: limit.unwrap_or(usize::MAX),
        });
        queue.set_feeder(shared.clone());
        let key = self.keep(FedQueue { queue: queue.clone() }, None);
        let ends = SenderState { shared, reactor: self.handle(), key, at: Location::caller(), feeds: PhantomData };
        (queue, RemoteSender { ends: Arc::new(ends) })
    }
}

/// The sending half of a remote queue: feeds a [`DeferredQueue`] of a reactor from any thread.
/// [`Reactor::remote_queue`] creates it.
///
/// Clones feed the same queue. Dropping the last one closes the queue, after all values that were
/// sent are in it.
#[doc(alias = "channel")]
#[doc(alias = "mpsc")]
pub struct RemoteSender<T: Send + 'static, E: DeferredError = Failure> {
    ends: Arc<SenderState<T, E>>,
}

/// The state that all clones of a sender share. It is dropped with the last one.
struct SenderState<T: Send + 'static, E: DeferredError> {
    shared: Arc<Shared<T>>,
    reactor: ReactorHandle,
    /// The key of the [`FedQueue`] in the reactor's registry.
    key: Option<u64>,
    at: CallSite,
    /// Makes the type invariant: the key must be used with the types for which it was created.
    feeds: PhantomData<fn(E) -> E>,
}

struct Shared<T> {
    channel: Mutex<Channel<T>>,
    /// Notified when a sender that blocks may send.
    capacity: Condvar,
    limit: usize,
}

struct Channel<T> {
    /// Values that were sent and are not in the queue yet.
    pending: VecDeque<T>,
    /// The number of values in transit or in the queue.
    inside: usize,
    /// The number of posted calls that will move values into the queue.
    ///
    /// While values are pending there is at least one, also while a getter runs: that getter may
    /// turn the loop and wait for them.
    calls: usize,
    /// All senders were dropped, or one of them has closed the channel.
    ended: bool,
    /// The queue is closed, or nothing can get from it any more.
    closed: bool,
}

/// The entry in the reactor's registry. Dropping it closes the queue.
struct FedQueue<T: 'static, E: DeferredError> {
    queue: DeferredQueue<T, E>,
}

impl<T: 'static, E: DeferredError> Drop for FedQueue<T, E> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl<T> Shared<T> {
    /// Closes the channel. Returns the values in transit, for the caller to drop after all senders
    /// have been notified: their destructors are user code.
    fn close(&self) -> VecDeque<T> {
        let mut channel = self.channel.lock();
        channel.closed = true;
        let in_transit = mem::take(&mut channel.pending);
        drop(channel);
        self.capacity.notify_all();
        in_transit
    }
}

impl<T: 'static> Feeder for Arc<Shared<T>> {
    /// Counts values that this thread has put into the queue, and values that left it. Sent values
    /// were counted before.
    fn count(&self, added: usize, removed: usize) {
        let mut channel = self.channel.lock();
        channel.inside = channel.inside.saturating_add(added).saturating_sub(removed);
        let capacity = channel.inside < self.limit;
        drop(channel);
        if removed > 0 && capacity {
            self.capacity.notify_one();
        }
    }

    /// Closes the channel, so that no sender blocks forever.
    fn ended(&self) -> Box<dyn Any> {
        Box::new(self.close())
    }
}

impl<T: Send + 'static, E: DeferredError> RemoteSender<T, E> {
    /// Sends a value without blocking. A turn puts it into the queue, after the values that this
    /// thread has sent before.
    ///
    /// # Errors
    ///
    /// Returns [`QueueOverflow`] with the value if the limit is reached, if the queue, the sender
    /// or the reactor is closed, or if nothing can get from the queue any more.
    pub fn send(&self, value: T) -> Result<(), QueueOverflow<T>> {
        self.ends.send(value, |_| false)
    }

    /// Like [`send`](Self::send), but blocks this thread while the limit is reached.
    ///
    /// # Errors
    ///
    /// Returns [`QueueOverflow`] with the value if the queue, the sender or the reactor is closed,
    /// also while it blocks. On the reactor's own thread it never blocks, since the loop would wait
    /// for itself, and fails like `send`.
    pub fn send_blocking(&self, value: T) -> Result<(), QueueOverflow<T>> {
        let ends = &*self.ends;
        ends.send(value, |channel| {
            let waits = !ends.reactor.is_on_its_thread();
            if waits {
                ends.shared.capacity.wait(channel);
            }
            waits
        })
    }

    /// Closes the channel for all senders. The queue is closed after all values that were sent are
    /// in it.
    pub fn close(&self) {
        self.ends.end();
    }
}

impl<T: Send + 'static, E: DeferredError> SenderState<T, E> {
    fn send(
        &self,
        value: T,
        wait_for_capacity: impl Fn(&mut MutexGuard<'_, Channel<T>>) -> bool,
    ) -> Result<(), QueueOverflow<T>> {
        let mut channel = self.shared.channel.lock();
        loop {
            if channel.closed || channel.ended {
                return Err(QueueOverflow::new(value, Overflow::Closed));
            }
            if channel.inside >= self.shared.limit {
                if wait_for_capacity(&mut channel) {
                    continue;
                }
                return Err(QueueOverflow::new(value, Overflow::Full));
            }
            if channel.calls > 0 {
                channel.inside += 1;
                channel.pending.push_back(value);
                return Ok(());
            }
            // The call is posted first, so that a pending value always has a call that will move
            // it.
            channel.calls += 1;
            drop(channel);
            if !self.post() {
                return Err(QueueOverflow::new(value, Overflow::Closed));
            }
            channel = self.shared.channel.lock();
        }
    }

    fn end(&self) {
        let mut channel = self.shared.channel.lock();
        channel.ended = true;
        let post = channel.calls == 0;
        channel.calls += usize::from(post);
        drop(channel);
        self.shared.capacity.notify_all();
        if post {
            self.post();
        }
    }

    /// Posts the call that moves values into the queue. Returns `false` if the reactor is closed.
    fn post(&self) -> bool {
        let Some(key) = self.key else { return false };
        // The values are those of several senders.
        let posted = context::without(|| post::<T, E>(&self.reactor, key, self.shared.clone()));
        if !posted {
            self.shared.close();
        }
        posted
    }
}

fn post<T: Send + 'static, E: DeferredError>(reactor: &ReactorHandle, key: u64, shared: Arc<Shared<T>>) -> bool {
    let next = reactor.clone();
    reactor.call_from_thread_with(move |reactor| move_values::<T, E>(reactor, &next, key, &shared)).is_ok()
}

/// Moves pending values into the queue, and posts another call if there are more.
fn move_values<T: Send + 'static, E: DeferredError>(
    reactor: &Reactor,
    handle: &ReactorHandle,
    key: u64,
    shared: &Arc<Shared<T>>,
) {
    let Some(queue) = reactor.with::<FedQueue<T, E>, _>(key, |fed| fed.queue.clone()) else { return };
    shared.channel.lock().calls -= 1;
    for _ in 0..BATCH {
        // Closed on this thread, or only this clone and the registry's are left.
        if queue.is_closed() || queue.is_orphan(2) {
            drop(reactor.claim::<FedQueue<T, E>>(key));
            return;
        }
        let mut channel = shared.channel.lock();
        let Some(value) = channel.pending.pop_front() else {
            let ends = channel.ended && channel.calls == 0;
            drop(channel);
            if ends {
                drop(reactor.claim::<FedQueue<T, E>>(key));
            }
            return;
        };
        let post_next = !channel.pending.is_empty() && channel.calls == 0;
        channel.calls += usize::from(post_next);
        drop(channel);
        if post_next && !post::<T, E>(handle, key, shared.clone()) {
            shared.close();
        }
        let _ = queue.put_sent(value); // an error means that the queue is closed, which the next round detects
    }
    // A call for the remaining values is posted.
}

impl<T: Send + 'static, E: DeferredError> Drop for SenderState<T, E> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<T: Send + 'static, E: DeferredError> Clone for RemoteSender<T, E> {
    fn clone(&self) -> Self {
        RemoteSender { ends: self.ends.clone() }
    }
}

impl<T: Send + 'static, E: DeferredError> fmt::Debug for RemoteSender<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSender").field("at", &format_args!("{}", self.ends.at)).finish_non_exhaustive()
    }
}
