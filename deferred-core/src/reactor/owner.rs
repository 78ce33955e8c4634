//! Who ends a reactor, and how.

use std::ops::Deref;

use super::turn::guarded;
use super::{Life, Reactor};
use crate::engine::enter;
use crate::error;

/// Owns a [`Reactor`], to which it derefs, and closes it when it is dropped; [`Reactor::new`] gives
/// it.
///
/// # Examples
///
/// ```
/// # use std::time::Duration;
/// # use deferred_core::Reactor;
/// let owner = Reactor::new();
/// let clone = owner.clone(); // a `Reactor`
/// let call = owner.call_later(Duration::ZERO, move || clone.stop());
/// drop(owner);
/// assert!(!call.active());
/// ```
#[derive(Debug)]
#[must_use = "dropping it closes the reactor"]
pub struct ReactorOwner {
    reactor: Reactor,
}

impl ReactorOwner {
    pub(super) fn new(reactor: Reactor) -> Self {
        ReactorOwner { reactor }
    }
}

impl Deref for ReactorOwner {
    type Target = Reactor;

    fn deref(&self) -> &Reactor {
        &self.reactor
    }
}

impl Drop for ReactorOwner {
    fn drop(&mut self) {
        self.reactor.close();
    }
}

impl Reactor {
    /// Ends the reactor, whatever clones of it live. Drivers call this when the loop has stopped;
    /// see [the end](Self#the-end).
    ///
    /// In this order: posting is refused from now on, and a sleeping driver is woken; calls that
    /// were posted are dropped, then those that wait for the startup or the shutdown, then timers;
    /// each Deferred that waits for a [`RemoteResolver`](crate::RemoteResolver) fires
    /// [`Abandoned`](crate::Abandoned), and that of a [`LoopingCall`](crate::LoopingCall) as if
    /// that were stopped, in the order they were made, in here; extensions are dropped. Calling it
    /// again does nothing.
    ///
    /// Deferreds that fail with `Abandoned` in here, and that nobody handles, are told to hooks one
    /// by one; where no hook is set, standard error gets one line with their number.
    pub fn close(&self) {
        let core = &*self.core;
        if core.life.replace(Life::Closed) == Life::Closed {
            return;
        }
        if let Some(watched) = core.watched.get() {
            watched.close();
        }
        let _entered = self.enter();
        let told = error::closing();
        // Everything is taken out before it is dropped: destructors and errbacks may use the
        // reactor, and find it closed.
        let kept = core.kept.close();
        let extensions = core.extensions.close();
        let posted = core.posted.take().into_iter().chain(core.inbox.close());
        // What the drops fire is fired before this returns, also where a callback has called it.
        enter(|| {
            for posted in posted {
                guarded(posted.at, || drop(posted.call));
            }
            core.events.close();
            core.timers.close();
            drop(kept);
            drop(extensions);
        });
        drop(told);
    }
}
