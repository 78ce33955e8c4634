//! The wakers of coroutines, for futures that are not Deferreds.
//!
//! A waker holds the key of its coroutine and a handle to that coroutine's reactor, never the
//! coroutine itself. So it may outlive the coroutine, and does nothing then.
//!
//! Most coroutines await only Deferreds and need no waker. Each poll therefore borrows one from a
//! [`WakerCache`]. If the poll has cloned the waker, which the reference count shows, the waker
//! stays with that coroutine, and the next poll creates another one.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::{Wake, Waker};

use super::{Reactor, ReactorHandle};
use crate::atomic::AtomicU64;
use crate::context;

thread_local! {
    static THREAD: u64 = unique();
    /// The cache of coroutines without a reactor. It has no destructor, which each access would
    /// check; [`AtThreadEnd`] empties it.
    static WITHOUT_REACTOR: ManuallyDrop<WakerCache> = const { ManuallyDrop::new(WakerCache::new()) };
    static AT_THREAD_END: AtThreadEnd = const { AtThreadEnd };
}

struct AtThreadEnd;

impl Drop for AtThreadEnd {
    fn drop(&mut self) {
        drop(WITHOUT_REACTOR.with(|cache| cache.0.take()));
    }
}

/// Returns a number that no other thread has had or will have.
fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // ORDERING: only the number matters.
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The state that all clones of a waker share.
struct WakerState {
    thread: u64,
    reactor: Option<ReactorHandle>,
    /// Wakes the coroutine with a key, on its own thread.
    wake: fn(u64),
    /// The key of the coroutine that owns the waker; 0 while the waker is only borrowed.
    key: AtomicU64,
    /// `true` if the waker was called since the last poll began.
    woken: AtomicBool,
}

impl Wake for WakerState {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // ORDERING: the poll that clears `woken` sees everything that the waking thread did before.
        // A thread that finds it set relies on that poll, which is still to come. SeqCst with
        // `key`: see `WakerHandle::set_owner`.
        if self.woken.swap(true, Ordering::SeqCst) {
            return;
        }
        let key = self.key.load(Ordering::SeqCst);
        if key == 0 {
            return; // the poll is still running, and checks `woken` at its end
        }
        if THREAD.try_with(|thread| *thread == self.thread).unwrap_or(false) {
            (self.wake)(key);
        } else if let Some(reactor) = &self.reactor {
            let wake = self.wake;
            // An error means that the reactor is closed, which has ended the coroutine.
            let _ = context::without(|| reactor.call_from_thread(move || wake(key)));
        }
    }
}

/// A waker together with its state: whether it was cloned, and whether it was called.
pub(crate) struct WakerHandle {
    waker: Waker,
    state: Arc<WakerState>,
    /// A clone because of which the waker counts as cloned, so that no cache keeps it.
    _never_cached: Option<Arc<WakerState>>,
}

impl WakerHandle {
    /// Creates a waker that calls `wake` with the key of its coroutine.
    #[cold]
    pub(crate) fn new(reactor: Option<&Reactor>, wake: fn(u64)) -> Rc<WakerHandle> {
        let state = Arc::new(WakerState {
            thread: THREAD.with(|thread| *thread),
            reactor: reactor.map(Reactor::handle),
            wake,
            key: AtomicU64::new(0),
            woken: AtomicBool::new(false),
        });
        // An error means that the thread ends, and nothing empties the cache any more.
        let never_cached = AT_THREAD_END.try_with(|_| ()).is_err().then(|| state.clone());
        Rc::new(WakerHandle { waker: state.clone().into(), state, _never_cached: never_cached })
    }

    /// Borrows the cached waker of `reactor`, or of the thread. Another coroutine that is polled
    /// meanwhile needs one of its own.
    #[inline]
    pub(crate) fn borrow(reactor: &Option<Reactor>) -> Option<Rc<WakerHandle>> {
        match reactor {
            Some(reactor) => reactor.core.waker.0.take(),
            None => WITHOUT_REACTOR.with(|cache| cache.0.take()),
        }
    }

    /// Returns a waker to the cache of which no clone exists, and which is not woken.
    #[inline]
    pub(crate) fn return_to_cache(self: Rc<Self>, reactor: &Option<Reactor>) {
        let before = match reactor {
            Some(reactor) => reactor.core.waker.0.replace(Some(self)),
            None => WITHOUT_REACTOR.with(|cache| cache.0.replace(Some(self))),
        };
        drop(before); // after the access to the cache
    }

    #[inline]
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Clears `woken` before a further poll.
    #[inline]
    pub(crate) fn clear_woken(&self) {
        if self.is_woken() {
            // ORDERING: see `wake_by_ref`.
            self.state.woken.swap(false, Ordering::SeqCst);
        }
    }

    /// Makes the coroutine with this key the owner, because a poll has kept a clone.
    ///
    /// ORDERING: a thread that calls the waker meanwhile sets `woken` and then reads `key`. This
    /// thread sets `key`, and reads `woken` afterwards. So at least one of the two sees the other.
    pub(crate) fn set_owner(&self, key: u64) {
        self.state.key.store(key, Ordering::SeqCst);
    }

    /// Returns `true` if a clone of the waker exists.
    #[inline]
    pub(crate) fn is_cloned(&self) -> bool {
        if Arc::strong_count(&self.state) > 2 {
            return true;
        }
        // ORDERING: a thread that has dropped its clone may have called it before; `is_woken` sees
        // that then.
        fence(Ordering::Acquire);
        false
    }

    /// Returns `true` if the waker was called since the last poll began.
    #[inline]
    pub(crate) fn is_woken(&self) -> bool {
        self.state.woken.load(Ordering::SeqCst)
    }
}

/// The waker of a reactor, or of a thread, that no coroutine owns. It is not woken.
pub(super) struct WakerCache(Cell<Option<Rc<WakerHandle>>>);

impl WakerCache {
    pub(super) const fn new() -> WakerCache {
        WakerCache(Cell::new(None))
    }
}
