//! The inbox: the queue of posted calls, and the sleep of the driver.
//!
//! # The protocol
//!
//! An inbox is a queue of calls and the state of the driver, both protected by one lock:
//!
//! - `Awake`: the driver is in a turn, or begins one without being woken;
//! - `Asleep(waker)`: the last turn found nothing to do, and the driver waits for a deadline or for
//!   this waker;
//! - `Gone`: the reactor is closed.
//!
//! A thread that **posts** takes the lock, and finds one of the three. `Gone`: the call is returned
//! to the caller. `Awake`: the call is queued, and nothing else happens. `Asleep`: the call is
//! queued, the waker is taken out, the state becomes `Awake`, and the waker is called after the
//! lock is released.
//!
//! The reactor **takes** the whole queue at the start of a turn, leaves an empty one with the
//! memory of the last, and sets the state to `Awake`. At the end of a turn it wants to **sleep**:
//! under the lock it checks the queue once more, and only if that is empty the state becomes
//! `Asleep`.
//!
//! Consequences:
//!
//! 1. *No wake-up is lost.* The last check and the change to `Asleep` are one step. The check sees
//!    a post before it; a post after it finds the waker.
//! 2. *One wake-up per sleep.* The first thread that posts takes the waker out; the next one finds
//!    `Awake`. A thousand posts to a sleeping loop wake it once, and posts to a running one never
//!    do.
//! 3. *A wake-up that comes too early does no harm*: the driver turns, finds the post, or finds
//!    nothing and sleeps again. Nor does one that comes too late, for a sleep that a timer has
//!    ended: it causes a turn without work.
//! 4. *Nothing is posted to a closed reactor.* Closing takes the queue and sets `Gone` in one step.
//!    A post is before that, and the closing drops it, or after it, and is returned.
//! 5. *No user code runs under the lock*: calls are boxed before and dropped after, wakers are
//!    cloned before and called or dropped after. So a waker may take any lock, and a destructor may
//!    post.
//!
//! The reactor's own thread uses the same state to wake the driver ([`Inbox::wake`]) for an earlier
//! timer or a stop that was requested while the reactor sleeps. The loom tests beside this file
//! check 1, 2 and 4.

#[cfg(all(test, loom))]
mod loom_tests;

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;
use std::thread::{self, ThreadId};

use super::Reactor;
use super::sync::Mutex;
use super::undriven::UndrivenCheck;
use crate::deferred::Deferred;
use crate::error::CallSite;
use crate::instant::Instant;

/// A posted call. It runs once, in a turn, on the reactor's thread.
pub(crate) trait Call: Send {
    fn call(self: Box<Self>, reactor: &Reactor, at: CallSite) -> Deferred<()>;
}

/// A call in the queue, with the location that posted it.
pub(crate) struct Posted {
    pub(super) call: Box<dyn Call>,
    pub(super) at: CallSite,
}

/// The inbox of a reactor; see the page above.
pub(super) struct Inbox {
    state: Mutex<State>,
    thread: ThreadId,
    undriven: UndrivenCheck,
}

struct State {
    calls: VecDeque<Posted>,
    /// The time of the first of them.
    since: Option<Instant>,
    driver: Driver,
}

enum Driver {
    Awake,
    Asleep(Waker),
    Gone,
}

impl State {
    fn wake_driver(&mut self) -> Option<Waker> {
        match mem::replace(&mut self.driver, Driver::Awake) {
            Driver::Awake => None,
            Driver::Asleep(waker) => Some(waker),
            Driver::Gone => {
                self.driver = Driver::Gone;
                None
            }
        }
    }
}

impl Inbox {
    pub(super) fn new() -> Inbox {
        let state = Mutex::new(State { calls: VecDeque::new(), since: None, driver: Driver::Awake });
        Inbox { state, thread: thread::current().id(), undriven: UndrivenCheck::new() }
    }

    /// Returns the thread that created the inbox: the reactor's.
    pub(super) fn thread(&self) -> ThreadId {
        self.thread
    }

    pub(super) fn undriven(&self) -> &UndrivenCheck {
        &self.undriven
    }

    /// Posts a call, from any thread. Returns the call if the reactor is closed.
    pub(super) fn post<C: Call + 'static>(&self, call: Box<C>, at: CallSite) -> Result<(), Box<C>> {
        let mut state = self.state.lock();
        if let Driver::Gone = state.driver {
            return Err(call);
        }
        if state.calls.is_empty() {
            state.since = Some(Instant::now());
        }
        state.calls.push_back(Posted { call, at });
        let waker = state.wake_driver();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state.lock().driver, Driver::Gone)
    }

    /// Wakes the driver if it sleeps.
    pub(super) fn wake(&self) {
        let waker = self.state.lock().wake_driver();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns the number of calls, and the time of the first one.
    pub(super) fn depth(&self) -> (usize, Option<Instant>) {
        let state = self.state.lock();
        (state.calls.len(), state.since.filter(|_| !state.calls.is_empty()))
    }

    /// Begins a turn: takes all calls, in the order in which they were posted, and the time of the
    /// first one. `spare` is an empty queue whose memory the next calls use.
    pub(super) fn take(&self, spare: VecDeque<Posted>) -> (VecDeque<Posted>, Option<Instant>) {
        let mut state = self.state.lock();
        let since = state.since.take();
        let calls = mem::replace(&mut state.calls, spare);
        let waker = state.wake_driver();
        drop(state);
        drop(waker); // not called: the driver is already awake
        (calls, since)
    }

    /// Ends a turn. Returns `true` if the driver may sleep, `false` if calls were posted meanwhile
    /// or the reactor is closed.
    pub(super) fn sleep(&self, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut state = self.state.lock();
        if !state.calls.is_empty() {
            return false;
        }
        let before = match state.driver {
            Driver::Gone => return false,
            Driver::Awake | Driver::Asleep(_) => mem::replace(&mut state.driver, Driver::Asleep(waker)),
        };
        drop(state);
        drop(before);
        true
    }

    /// Refuses posts from now on. Returns the queued calls, for the caller to drop.
    pub(super) fn close(&self) -> VecDeque<Posted> {
        let mut state = self.state.lock();
        let calls = mem::take(&mut state.calls);
        let waker = state.wake_driver();
        state.driver = Driver::Gone;
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        calls
    }
}
