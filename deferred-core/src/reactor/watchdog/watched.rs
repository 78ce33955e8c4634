//! What a loop that is watched writes down.
//!
//! The number of the call that runs, and a word for its kind and place: the address of the
//! `Location`, and below it three bits. The thread reads both without any order between them; it
//! believes them only after it has found the same ones twice, which is when they have stood still.
//!
//! An address is not a reference again without unsafe code. So the loop tells each new one to a
//! table that both share, and remembers which ones it has told, by their low bits. A line of code
//! has one address, so they are few.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::CallKind;
use crate::error::CallSite;
use crate::histogram::Histogram;

const KIND_BITS: u32 = 3;
const TOLD: usize = 256;

/// The loop's side.
pub(in crate::reactor) struct Watched {
    shared: Arc<Shared>,
    number: Cell<u64>,
    told: Box<[Cell<u64>; TOLD]>,
    turns: RefCell<Histogram>,
    lateness: RefCell<Histogram>,
}

/// What both sides see.
pub(super) struct Shared {
    number: AtomicU64,
    call: AtomicU64,
    /// In a turn.
    busy: AtomicBool,
    /// The thread waits to be woken by the next turn.
    asleep: AtomicBool,
    closed: Mutex<bool>,
    wakes: Condvar,
    places: Mutex<HashMap<u64, CallSite>>,
    blocked: AtomicU64,
}

/// What the loop runs, as the thread finds it.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Seen {
    pub(super) number: u64,
    call: u64,
}

impl Shared {
    /// None between two turns.
    pub(super) fn look(&self) -> Option<Seen> {
        let busy = self.busy.load(Ordering::Relaxed);
        let seen = Seen { number: self.number.load(Ordering::Relaxed), call: self.call.load(Ordering::Relaxed) };
        busy.then_some(seen)
    }

    pub(super) fn what(&self, seen: Seen) -> (CallKind, Option<CallSite>) {
        let kind = CallKind::ALL[seen.call as usize % (1 << KIND_BITS)];
        (kind, self.places.lock().get(&(seen.call >> KIND_BITS)).copied())
    }

    /// One more held the loop for too long.
    pub(super) fn count(&self) {
        self.blocked.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for so long. False if the reactor is closed.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let mut closed = self.closed.lock();
        if !*closed {
            self.wakes.wait_for(&mut closed, time);
        }
        !*closed
    }

    /// Waits for the next turn. False if the reactor is closed.
    pub(super) fn wait_for_a_turn(&self) -> bool {
        let mut closed = self.closed.lock();
        // Each side says what it does and then looks at the other, in one order that all see: so
        // the loop sees that this thread sleeps, or this thread that there is a turn.
        self.asleep.store(true, Ordering::SeqCst);
        while !*closed && !self.busy.load(Ordering::SeqCst) && self.asleep.load(Ordering::SeqCst) {
            self.wakes.wait(&mut closed);
        }
        self.asleep.store(false, Ordering::SeqCst);
        !*closed
    }

    fn wake(&self) {
        // Behind the lock: whoever has said that it sleeps does so by now.
        let _closed = self.closed.lock();
        self.asleep.store(false, Ordering::SeqCst);
        self.wakes.notify_all();
    }
}

impl Watched {
    pub(super) fn new() -> Watched {
        let shared = Shared {
            number: AtomicU64::new(0),
            call: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            closed: Mutex::new(false),
            wakes: Condvar::new(),
            places: Mutex::default(),
            blocked: AtomicU64::new(0),
        };
        Watched {
            shared: Arc::new(shared),
            number: Cell::new(0),
            told: Box::new([const { Cell::new(0) }; TOLD]),
            turns: RefCell::default(),
            lateness: RefCell::default(),
        }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    pub(super) fn turns(&self) -> Histogram {
        self.turns.borrow().clone()
    }

    pub(super) fn lateness(&self) -> Histogram {
        self.lateness.borrow().clone()
    }

    pub(super) fn blocked(&self) -> u64 {
        self.shared.blocked.load(Ordering::Relaxed)
    }

    /// The call that begins now.
    #[inline]
    pub(in crate::reactor) fn begin(&self, kind: CallKind, at: CallSite) {
        let place = ptr::from_ref(at).addr() as u64;
        let told = &self.told[(place >> 3) as usize % TOLD];
        if told.get() != place {
            told.set(place);
            self.shared.places.lock().insert(place, at);
        }
        self.note(place << KIND_BITS | kind as u64);
    }

    #[inline]
    fn note(&self, call: u64) {
        let number = self.number.get() + 1;
        self.number.set(number);
        self.shared.call.store(call, Ordering::Relaxed);
        self.shared.number.store(number, Ordering::Relaxed);
    }

    /// Until the guard is dropped there is a turn. One inside another one gives the call of that
    /// back at its end.
    pub(in crate::reactor) fn turn(&self) -> Watching<'_> {
        let outer = self.shared.call.load(Ordering::Relaxed);
        let nested = self.shared.busy.swap(true, Ordering::SeqCst);
        self.note(CallKind::Turn as u64);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.shared.wake();
        }
        Watching { watched: self, outer: nested.then_some(outer), begun: Instant::now() }
    }

    pub(in crate::reactor) fn late(&self, by: Duration) {
        self.lateness.borrow_mut().record(by);
    }

    /// The thread ends, soon.
    pub(in crate::reactor) fn close(&self) {
        *self.shared.closed.lock() = true;
        self.shared.wake();
    }
}

/// A turn that is watched.
pub(in crate::reactor) struct Watching<'a> {
    watched: &'a Watched,
    outer: Option<u64>,
    begun: Instant,
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        let Watched { shared, turns, .. } = self.watched;
        turns.borrow_mut().record(self.begun.elapsed());
        self.watched.note(self.outer.unwrap_or(CallKind::Turn as u64));
        if self.outer.is_none() {
            shared.busy.store(false, Ordering::SeqCst);
        }
    }
}
