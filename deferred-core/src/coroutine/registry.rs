//! Wakers for what is no Deferred.
//!
//! A `Waker` holds a key and the way to the thread of its coroutine, never the coroutine: it may
//! live as long as it likes, and after the end of the coroutine it does nothing.
//!
//! Most coroutines wait for Deferreds only and need none, so one is lent to each poll from a
//! [`Spare`]. Where the poll has cloned it, which the reference count tells, it stays with that
//! coroutine, and the next one gets a new one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::task::{Wake, Waker};

use super::task::Coroutine;
use crate::reactor::{Reactor, ReactorHandle};

/// A number that no other thread, or coroutine, has had or will have.
fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // ORDERING: only the number matters.
    NEXT.fetch_add(1, Ordering::Relaxed)
}

thread_local! {
    static THREAD: u64 = unique();
    static KEYS: Cell<u64> = const { Cell::new(0) };
    /// Those that a waker may wake, by key.
    static REACHABLE: Reachable = const { Reachable(RefCell::new(BTreeMap::new())) };
    /// For coroutines without a reactor.
    static SPARE: Spare = const { Spare::new() };
}

struct Reachable(RefCell<BTreeMap<u64, Pin<Rc<dyn Coroutine>>>>);

/// Abandons the coroutines: no waker can reach them once the thread ends.
impl Drop for Reachable {
    fn drop(&mut self) {
        for coroutine in self.0.take().into_values() {
            coroutine.abandon();
        }
    }
}

/// What a coroutine is known by on its thread.
pub(super) fn new_key() -> u64 {
    KEYS.with(|keys| {
        keys.set(keys.get() + 1);
        keys.get()
    })
}

/// Lets wakers reach it until it is [`forgotten`](forget).
pub(super) fn remember(key: u64, coroutine: Pin<Rc<dyn Coroutine>>) {
    let _ = REACHABLE.try_with(|reachable| reachable.0.borrow_mut().insert(key, coroutine));
}

pub(super) fn forget(key: u64) {
    let forgotten = REACHABLE.try_with(|reachable| reachable.0.borrow_mut().remove(&key));
    drop(forgotten); // behind the borrow
}

pub(super) fn find(key: u64) -> Option<Pin<Rc<dyn Coroutine>>> {
    REACHABLE.try_with(|reachable| reachable.0.borrow().get(&key).cloned()).ok().flatten()
}

/// On its own thread.
fn wake_here(key: u64) {
    if let Some(coroutine) = find(key) {
        coroutine.woken();
    }
}

/// What a waker refers to.
struct Wakes {
    thread: u64,
    reactor: Option<ReactorHandle>,
    /// Of the coroutine that has it, once a poll has kept it; 0 before.
    key: AtomicU64,
    /// Woken since the last poll has begun.
    woken: AtomicBool,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // ORDERING: whatever the waking thread did before is seen by the poll that clears this; and
        // one that finds it set relies on the poll that is to come. SeqCst with `key`, see
        // `Lent::keep`.
        if self.woken.swap(true, Ordering::SeqCst) {
            return;
        }
        let key = self.key.load(Ordering::SeqCst);
        if key == 0 {
            return; // the poll still goes on, and looks at `woken` when it is done
        }
        if THREAD.try_with(|thread| *thread == self.thread).unwrap_or(false) {
            wake_here(key);
        } else if let Some(reactor) = &self.reactor {
            // Refused only where there is nothing left to wake.
            let _ = reactor.call_from_thread(move || wake_here(key));
        }
    }
}

/// A waker, and a look at it: at who else has it, and at whether it was woken.
pub(super) struct Lent {
    waker: Waker,
    wakes: Arc<Wakes>,
}

impl Lent {
    #[cold]
    fn new(reactor: Option<&Reactor>) -> Rc<Lent> {
        let wakes = Arc::new(Wakes {
            thread: THREAD.with(|thread| *thread),
            reactor: reactor.map(Reactor::handle),
            key: AtomicU64::new(0),
            woken: AtomicBool::new(false),
        });
        Rc::new(Lent { waker: wakes.clone().into(), wakes })
    }

    /// A poll begins.
    #[inline(always)]
    pub(super) fn begin(&self) -> &Waker {
        if self.is_woken() {
            // ORDERING: see `wake_by_ref`.
            self.wakes.woken.swap(false, Ordering::SeqCst);
        }
        &self.waker
    }

    /// The poll has kept a clone, so that it belongs to the coroutine with this key from now on.
    ///
    /// ORDERING: another thread that wakes it meanwhile sets `woken` and then looks at `key`; here
    /// `key` is set, and then `woken` is looked at. So one of the two sees the other.
    pub(super) fn keep(&self, key: u64) {
        self.wakes.key.store(key, Ordering::SeqCst);
    }

    /// Somebody has a clone.
    #[inline(always)]
    pub(super) fn is_kept(&self) -> bool {
        if Arc::strong_count(&self.wakes) > 2 {
            return true;
        }
        // ORDERING: a thread that has dropped its clone may have woken it before, which is seen by
        // `is_woken` then.
        fence(Ordering::Acquire);
        false
    }

    /// It was woken since the poll has begun.
    #[inline(always)]
    pub(super) fn is_woken(&self) -> bool {
        self.wakes.woken.load(Ordering::SeqCst)
    }
}

/// The waker that nobody has kept, of a reactor or of a thread.
pub(crate) struct Spare(Cell<Option<Rc<Lent>>>);

impl Spare {
    pub(crate) const fn new() -> Spare {
        Spare(Cell::new(None))
    }
}

#[inline(always)]
pub(super) fn lend(reactor: Option<&Reactor>) -> Rc<Lent> {
    let spare = match reactor {
        Some(reactor) => reactor.spare_waker().0.take(),
        None => SPARE.try_with(|spare| spare.0.take()).ok().flatten(),
    };
    spare.unwrap_or_else(|| Lent::new(reactor))
}

/// Gives back one that nobody has kept.
#[inline(always)]
pub(super) fn give_back(lent: Rc<Lent>, reactor: Option<&Reactor>) {
    let before = match reactor {
        Some(reactor) => reactor.spare_waker().0.replace(Some(lent)),
        None => SPARE.try_with(|spare| spare.0.replace(Some(lent))).ok().flatten(),
    };
    drop(before); // behind the access
}
