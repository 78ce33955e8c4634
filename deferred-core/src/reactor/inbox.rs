//! The inbox: how other threads reach a reactor, and how its driver goes to sleep without missing
//! anything.
//!
//! # The protocol
//!
//! An inbox is a queue of calls and one word about the driver, both behind one lock:
//!
//! - `Awake`: the driver is in a turn, or comes back to one without being told to;
//! - `Asleep(waker)`: the last turn found nothing to do and said so to its driver, which waits for
//!   a deadline or for this waker;
//! - `Gone`: the reactor is closed.
//!
//! Whoever **posts** takes the lock, and finds one of the three. `Gone`: the call goes back to the
//! caller. `Awake`: it is queued, and nothing else happens. `Asleep`: it is queued, the waker is
//! taken out, the word becomes `Awake`, and the waker is woken after the lock is released.
//!
//! The reactor **takes** the whole queue at the start of a turn, leaving an empty one with the
//! memory of the last, and says `Awake`. At the end of a turn it wants to **sleep**: under the lock
//! it looks at the queue once more, and only if that is empty the word becomes `Asleep`.
//!
//! What follows:
//!
//! 1. *No wake-up is lost.* The last look and the falling asleep are one step. A post before it is
//!    seen by the look, a post after it finds the waker.
//! 2. *One wake per sleep.* A waker is taken out by the first who posts; the next one finds
//!    `Awake`. A thousand posts to a sleeping loop wake it once, and posts to a running one never
//!    do.
//! 3. *A waker that is too early does no harm*: the driver turns, finds the post, or finds nothing
//!    and sleeps again. Nor does one that is too late, from a sleep that a timer has ended: a turn
//!    that had nothing to do.
//! 4. *Nothing is posted to a closed reactor.* Closing takes the queue and says `Gone` in one step.
//!    A post is before it, and dropped by the closing, or after it, and returned.
//! 5. *No foreign code runs under the lock*: calls are boxed before and dropped after, wakers are
//!    cloned before and woken or dropped after. So a waker may take any lock it likes, and a
//!    destructor may post.
//!
//! The reactor's own thread wakes the driver by the same word ([`Inbox::wake`]): an earlier timer
//! or a stop, made while the reactor sleeps. The loom tests beside this file replay 1, 2 and 4.

#[cfg(all(test, loom))]
mod loom_tests;

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;
use std::thread::{self, ThreadId};

use super::Reactor;
use super::sync::Mutex;
use crate::deferred::Deferred;
use crate::error::CallSite;

/// What can be posted. It runs once, in a turn, on the reactor's thread.
pub(crate) trait Call: Send {
    fn call(self: Box<Self>, reactor: &Reactor, at: CallSite) -> Deferred<()>;
}

/// A call in the queue, and the place that posted it.
pub(crate) struct Posted {
    pub(super) call: Box<dyn Call>,
    pub(super) at: CallSite,
}

/// See the page above.
pub(super) struct Inbox {
    state: Mutex<State>,
    home: ThreadId,
}

struct State {
    calls: VecDeque<Posted>,
    driver: Driver,
}

enum Driver {
    Awake,
    Asleep(Waker),
    Gone,
}

impl State {
    fn rouse(&mut self) -> Option<Waker> {
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
        let state = Mutex::new(State { calls: VecDeque::new(), driver: Driver::Awake });
        Inbox { state, home: thread::current().id() }
    }

    /// The thread that made it, which is the reactor's.
    pub(super) fn home(&self) -> ThreadId {
        self.home
    }

    /// From any thread. Gives the call back if the reactor is closed.
    pub(super) fn post<C: Call + 'static>(&self, call: Box<C>, at: CallSite) -> Result<(), Box<C>> {
        let mut state = self.state.lock();
        if let Driver::Gone = state.driver {
            return Err(call);
        }
        state.calls.push_back(Posted { call, at });
        let sleeper = state.rouse();
        drop(state);
        if let Some(waker) = sleeper {
            waker.wake();
        }
        Ok(())
    }

    #[cfg(all(unix, feature = "signals"))]
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state.lock().driver, Driver::Gone)
    }

    /// Wakes the driver if it sleeps.
    pub(super) fn wake(&self) {
        let sleeper = self.state.lock().rouse();
        if let Some(waker) = sleeper {
            waker.wake();
        }
    }

    /// Begins a turn: all calls, in the order they came. `spare` is an empty queue whose memory the
    /// next ones get.
    pub(super) fn take(&self, spare: VecDeque<Posted>) -> VecDeque<Posted> {
        let mut state = self.state.lock();
        let calls = mem::replace(&mut state.calls, spare);
        let waker = state.rouse();
        drop(state);
        drop(waker); // the driver came by itself
        calls
    }

    /// Ends a turn: asleep from now on, or false, since something has come.
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

    /// No post from now on. Gives what was still queued, for the caller to drop.
    pub(super) fn close(&self) -> VecDeque<Posted> {
        let mut state = self.state.lock();
        let calls = mem::take(&mut state.calls);
        let sleeper = state.rouse();
        state.driver = Driver::Gone;
        drop(state);
        if let Some(waker) = sleeper {
            waker.wake();
        }
        calls
    }
}
