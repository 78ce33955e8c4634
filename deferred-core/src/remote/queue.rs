//! Values from other threads, into a queue of the loop.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::panic::Location;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::error::{CallSite, DeferredError, Failure};
use crate::reactor::{Reactor, ReactorHandle};
use crate::sync::{DeferredQueue, Feeder, Overflow, QueueOverflow};

/// How many values come out in one call of a turn, so that a flood of them keeps nothing else
/// waiting.
const BATCH: usize = 256;

impl Reactor {
    /// A queue of this thread, and what feeds it from any other: for callbacks that come many
    /// times.
    ///
    /// With a limit, so many values at most are on the way or wait in the queue, and
    /// [`RemoteSender::send`] refuses more. What is put into the queue here counts too, and is not
    /// refused.
    ///
    /// The queue is closed when the last sender is dropped, and at the latest with the reactor. On
    /// a closed reactor it is closed already.
    ///
    /// # Panics
    ///
    /// If the limit is 0: nothing could ever be sent.
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
    #[track_caller]
    pub fn remote_queue<T: Send + 'static>(&self, limit: Option<usize>) -> (DeferredQueue<T>, RemoteSender<T>) {
        self.remote_queue_typed(limit)
    }

    /// [`remote_queue`](Self::remote_queue) with an error type of yours.
    ///
    /// # Panics
    ///
    /// If the limit is 0.
    #[track_caller]
    pub fn remote_queue_typed<T: Send + 'static, E: DeferredError>(
        &self,
        limit: Option<usize>,
    ) -> (DeferredQueue<T, E>, RemoteSender<T, E>) {
        assert!(limit != Some(0), "with a limit of 0 nothing could ever be sent");
        let queue = DeferredQueue::<T, E>::typed(None, None);
        let way = Way { pending: VecDeque::new(), inside: 0, calls: 0, ended: false, closed: false };
        let shared =
            Arc::new(Shared { way: Mutex::new(way), room: Condvar::new(), limit: limit.unwrap_or(usize::MAX) });
        queue.set_feeder(shared.clone());
        let key = self.keep(Fed { queue: queue.clone() }, None);
        let ends = Ends { shared, reactor: self.handle(), key, at: Location::caller(), feeds: PhantomData };
        (queue, RemoteSender { ends: Arc::new(ends) })
    }
}

/// Feeds a [`DeferredQueue`] of a reactor from any thread; [`Reactor::remote_queue`] gives it.
///
/// Clones feed the same queue. When the last one is dropped the queue is closed, once all that was
/// sent is in it.
pub struct RemoteSender<T: Send + 'static, E: DeferredError = Failure> {
    ends: Arc<Ends<T, E>>,
}

/// Dropped with the last sender.
struct Ends<T: Send + 'static, E: DeferredError> {
    shared: Arc<Shared<T>>,
    reactor: ReactorHandle,
    /// By which the reactor keeps the [`Fed`].
    key: Option<u64>,
    at: CallSite,
    /// Both ways: the key is used with the types that it was made for.
    feeds: PhantomData<fn(E) -> E>,
}

struct Shared<T> {
    way: Mutex<Way<T>>,
    /// Somebody may send again.
    room: Condvar,
    limit: usize,
}

struct Way<T> {
    /// Sent, and not in the queue yet.
    pending: VecDeque<T>,
    /// How many are on the way or in the queue.
    inside: usize,
    /// How many calls are posted that take them out. There are none pending without one, whenever a
    /// getter is told: it may turn the loop, and wait for them.
    calls: usize,
    /// The senders are gone, or have closed it.
    ended: bool,
    /// The queue is closed, or nobody can get from it any more.
    closed: bool,
}

/// What the reactor keeps: dropped with it, it ends the queue.
struct Fed<T: 'static, E: DeferredError> {
    queue: DeferredQueue<T, E>,
}

impl<T: 'static, E: DeferredError> Drop for Fed<T, E> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl<T> Shared<T> {
    /// Nothing is sent from now on. Gives what was on the way: its destructors are the program's,
    /// and run when everybody has been told.
    fn close(&self) -> VecDeque<T> {
        let mut way = self.way.lock();
        way.closed = true;
        let on_the_way = mem::take(&mut way.pending);
        drop(way);
        self.room.notify_all();
        on_the_way
    }
}

impl<T: 'static> Feeder for Arc<Shared<T>> {
    /// Those that were sent were counted before.
    fn count(&self, came: usize, went: usize) {
        let mut way = self.way.lock();
        way.inside = way.inside.saturating_add(came).saturating_sub(went);
        let room = way.inside < self.limit;
        drop(way);
        if went > 0 && room {
            self.room.notify_one();
        }
    }

    /// Whoever waits for room would wait for ever.
    fn ended(&self) -> Box<dyn Any> {
        Box::new(self.close())
    }
}

impl<T: Send + 'static, E: DeferredError> RemoteSender<T, E> {
    /// Sends a value, which comes into the queue in a turn, behind those that this thread has sent
    /// before. Does not wait.
    ///
    /// # Errors
    ///
    /// With the value: if the limit is reached; if the queue, the sender or the reactor is closed,
    /// or nobody can get from the queue any more.
    pub fn send(&self, value: T) -> Result<(), QueueOverflow<T>> {
        self.ends.send(value, |_| false)
    }

    /// As [`send`](Self::send), and where the limit is reached it blocks this thread until there is
    /// room.
    ///
    /// # Errors
    ///
    /// With the value: if the queue, the sender or the reactor is closed, also while it waits. On
    /// the reactor's own thread it does not wait, since the loop would wait for itself, and refuses
    /// as `send` does.
    pub fn send_blocking(&self, value: T) -> Result<(), QueueOverflow<T>> {
        let ends = &*self.ends;
        ends.send(value, |way| {
            let waits = !ends.reactor.is_on_its_thread();
            if waits {
                ends.shared.room.wait(way);
            }
            waits
        })
    }

    /// Ends it for all senders: the queue is closed once what was sent before is in it.
    pub fn close(&self) {
        self.ends.end();
    }
}

impl<T: Send + 'static, E: DeferredError> Ends<T, E> {
    fn send(
        &self,
        value: T,
        wait_for_room: impl Fn(&mut MutexGuard<'_, Way<T>>) -> bool,
    ) -> Result<(), QueueOverflow<T>> {
        let mut way = self.shared.way.lock();
        loop {
            if way.closed || way.ended {
                return Err(QueueOverflow::new(value, Overflow::Closed));
            }
            if way.inside >= self.shared.limit {
                if wait_for_room(&mut way) {
                    continue;
                }
                return Err(QueueOverflow::new(value, Overflow::Full));
            }
            if way.calls > 0 {
                way.inside += 1;
                way.pending.push_back(value);
                return Ok(());
            }
            // Posted first: so a value that is pending is never without a call that takes it out.
            way.calls += 1;
            drop(way);
            if !self.post() {
                return Err(QueueOverflow::new(value, Overflow::Closed));
            }
            way = self.shared.way.lock();
        }
    }

    fn end(&self) {
        let mut way = self.shared.way.lock();
        way.ended = true;
        let post = way.calls == 0;
        way.calls += usize::from(post);
        drop(way);
        self.shared.room.notify_all();
        if post {
            self.post();
        }
    }

    /// Posts the call that takes values out. Says whether the reactor took it.
    fn post(&self) -> bool {
        let Some(key) = self.key else { return false };
        let posted = post::<T, E>(&self.reactor, key, self.shared.clone());
        if !posted {
            self.shared.close();
        }
        posted
    }
}

fn post<T: Send + 'static, E: DeferredError>(reactor: &ReactorHandle, key: u64, shared: Arc<Shared<T>>) -> bool {
    let next = reactor.clone();
    reactor.call_from_thread_with(move |reactor| take_result::<T, E>(reactor, &next, key, &shared)).is_ok()
}

/// Moves values into the queue.
fn take_result<T: Send + 'static, E: DeferredError>(
    reactor: &Reactor,
    handle: &ReactorHandle,
    key: u64,
    shared: &Arc<Shared<T>>,
) {
    let Some(queue) = reactor.look::<Fed<T, E>, _>(key, |fed| fed.queue.clone()) else { return };
    shared.way.lock().calls -= 1;
    for _ in 0..BATCH {
        // Closed here, or left with the reactor's handle and this one.
        if queue.is_closed() || queue.is_orphan(2) {
            drop(reactor.claim::<Fed<T, E>>(key));
            return;
        }
        let mut way = shared.way.lock();
        let Some(value) = way.pending.pop_front() else {
            let ends = way.ended && way.calls == 0;
            drop(way);
            if ends {
                drop(reactor.claim::<Fed<T, E>>(key));
            }
            return;
        };
        let post_next = !way.pending.is_empty() && way.calls == 0;
        way.calls += usize::from(post_next);
        drop(way);
        if post_next && !post::<T, E>(handle, key, shared.clone()) {
            shared.close();
        }
        let _ = queue.put_sent(value); // refused only by a closed queue, which the next round sees
    }
    // If there are more, a call is posted.
}

impl<T: Send + 'static, E: DeferredError> Drop for Ends<T, E> {
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
