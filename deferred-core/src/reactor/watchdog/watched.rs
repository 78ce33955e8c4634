//! The state that a watched loop shares with the watchdog's thread.
//!
//! It is the number of the call that runs, and a word with its kind and location: the address of
//! the `Location`, and below it three bits. The thread reads both without any order between them.
//! It relies on them only after it has found the same values twice.
//!
//! Safe code cannot turn the address back into a reference. So the loop adds each new location to a
//! table that both share, and remembers, by their low bits, which ones it has added. A line of code
//! has one address, so there are few.

use std::cell::Cell;
use std::collections::HashMap;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::CallKind;
use crate::atomic::AtomicU64;
use crate::error::CallSite;

const KIND_BITS: u32 = 3;
const KNOWN_LOCATIONS: usize = 256;

/// The loop's side of the watchdog.
pub(in crate::reactor) struct Watched {
    shared: Arc<Shared>,
    number: Cell<u64>,
    known: Box<[Cell<u64>; KNOWN_LOCATIONS]>,
}

/// The state that both sides share.
pub(super) struct Shared {
    number: AtomicU64,
    call: AtomicU64,
    /// Whether a turn runs.
    busy: AtomicBool,
    /// Whether the thread waits for the next turn to wake it.
    asleep: AtomicBool,
    closed: Mutex<bool>,
    wakes: Condvar,
    locations: Mutex<HashMap<u64, CallSite>>,
    blocked: AtomicU64,
    /// Whether a call was reported since the loop asked last.
    reported: AtomicBool,
}

/// The call that the loop runs, as the thread has read it.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct CurrentCall {
    pub(super) number: u64,
    call: u64,
}

impl Shared {
    /// Returns the call that the loop runs. `None` between two turns.
    pub(super) fn current_call(&self) -> Option<CurrentCall> {
        let busy = self.busy.load(Ordering::Relaxed);
        let current =
            CurrentCall { number: self.number.load(Ordering::Relaxed), call: self.call.load(Ordering::Relaxed) };
        busy.then_some(current)
    }

    pub(super) fn describe(&self, current: CurrentCall) -> (CallKind, Option<CallSite>) {
        let kind = CallKind::ALL[current.call as usize % (1 << KIND_BITS)];
        (kind, self.locations.lock().get(&(current.call >> KIND_BITS)).copied())
    }

    /// Counts a call that held the loop for too long.
    pub(super) fn count(&self) {
        self.blocked.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes for the loop that a call is reported.
    pub(super) fn note_reported(&self) {
        self.reported.store(true, Ordering::Relaxed);
    }

    /// Waits for `time`. Returns `false` if the reactor is closed.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let mut closed = self.closed.lock();
        if !*closed {
            self.wakes.wait_for(&mut closed, time);
        }
        !*closed
    }

    /// Waits for the next turn. Returns `false` if the reactor is closed.
    pub(super) fn wait_for_a_turn(&self) -> bool {
        let mut closed = self.closed.lock();
        // Each side sets its own flag and then reads the other's, all in one total order. So the
        // loop finds that this thread sleeps, or this thread finds that a turn runs.
        self.asleep.store(true, Ordering::SeqCst);
        while !*closed && !self.busy.load(Ordering::SeqCst) && self.asleep.load(Ordering::SeqCst) {
            self.wakes.wait(&mut closed);
        }
        self.asleep.store(false, Ordering::SeqCst);
        !*closed
    }

    fn wake(&self) {
        // Under the lock: a thread that has set `asleep` waits by now.
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
            locations: Mutex::default(),
            blocked: AtomicU64::new(0),
            reported: AtomicBool::new(false),
        };
        Watched {
            shared: Arc::new(shared),
            number: Cell::new(0),
            known: Box::new([const { Cell::new(0) }; KNOWN_LOCATIONS]),
        }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    pub(in crate::reactor) fn blocked(&self) -> u64 {
        self.shared.blocked.load(Ordering::Relaxed)
    }

    /// Returns `true` if a call was reported since the last call of this.
    pub(in crate::reactor) fn take_reported(&self) -> bool {
        self.shared.reported.load(Ordering::Relaxed) && self.shared.reported.swap(false, Ordering::Relaxed)
    }

    /// Calls `f` in a turn, whose last call has ended. The time of `f` counts for no call.
    pub(in crate::reactor) fn unwatched(&self, f: impl FnOnce()) {
        self.note(CallKind::Turn as u64);
        self.shared.busy.store(false, Ordering::SeqCst);
        f();
        self.shared.busy.store(true, Ordering::SeqCst);
    }

    /// Stores the call that begins now.
    #[inline]
    pub(in crate::reactor) fn begin(&self, kind: CallKind, at: CallSite) {
        let location = ptr::from_ref(at).addr() as u64;
        let known = &self.known[(location >> 3) as usize % KNOWN_LOCATIONS];
        if known.get() != location {
            known.set(location);
            self.shared.locations.lock().insert(location, at);
        }
        self.note(location << KIND_BITS | kind as u64);
    }

    #[inline]
    fn note(&self, call: u64) {
        let number = self.number.get() + 1;
        self.number.set(number);
        self.shared.call.store(call, Ordering::Relaxed);
        self.shared.number.store(number, Ordering::Relaxed);
    }

    /// Marks a turn until the returned guard is dropped. At the end of a nested turn, the call of
    /// the outer one is stored again.
    pub(in crate::reactor) fn turn(&self) -> Watching<'_> {
        let outer = self.shared.call.load(Ordering::Relaxed);
        let nested = self.shared.busy.swap(true, Ordering::SeqCst);
        self.note(CallKind::Turn as u64);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.shared.wake();
        }
        Watching { watched: self, outer: nested.then_some(outer) }
    }

    /// Ends the thread soon.
    pub(in crate::reactor) fn close(&self) {
        *self.shared.closed.lock() = true;
        self.shared.wake();
    }
}

/// The guard of a watched turn.
pub(in crate::reactor) struct Watching<'a> {
    watched: &'a Watched,
    outer: Option<u64>,
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.watched.note(self.outer.unwrap_or(CallKind::Turn as u64));
        if self.outer.is_none() {
            self.watched.shared.busy.store(false, Ordering::SeqCst);
        }
    }
}
