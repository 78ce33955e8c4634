//! `ReactorOwner`, and the closing of a reactor.

use std::ops::Deref;

use super::turn::guarded;
use super::{Life, Reactor};
use crate::engine::enter;
use crate::report;

/// The owner of a [`Reactor`], to which it derefs. Dropping it closes the reactor. [`Reactor::new`]
/// creates it.
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
    /// Closes the reactor, even while clones of it exist. Drivers call this after the loop has
    /// stopped; see [the end](Self#the-end). A second call does nothing.
    ///
    /// In this order:
    ///
    /// 1. New posts are refused, and a sleeping driver is woken.
    /// 2. Posted calls that have not run are dropped.
    /// 3. Calls that wait for the startup or the shutdown are dropped, then timers.
    /// 4. In the order of their creation, and inside this call: Deferreds of
    ///    [`RemoteResolver`](crate::RemoteResolver)s, cooperative tasks and remote futures fail
    ///    with [`Abandoned`](crate::Abandoned), remote queues are closed, and each started
    ///    [`LoopingCall`](crate::LoopingCall) stops.
    /// 5. Extensions are dropped.
    ///
    /// Jobs of a pool, calls of other threads and Deferreds that an ended coroutine awaits are
    /// cancelled. Other Deferreds are not: a library whose requests must be stopped needs a
    /// [shutdown trigger](Self::add_system_event_trigger) that cancels them.
    ///
    /// If Deferreds fail with `Abandoned` inside this call and nothing handles that, hooks are
    /// called for each of them. Without a hook, one line on standard error reports their number.
    pub fn close(&self) {
        let core = &*self.core;
        if core.life.replace(Life::Closed) == Life::Closed {
            return;
        }
        if let Some(watched) = core.watched.get() {
            watched.close();
        }
        let _entered = self.enter();
        let report = report::closing();
        // Everything is taken out before it is dropped: destructors and errbacks may use the
        // reactor, and find it closed.
        let registered = core.registry.close();
        let extensions = core.extensions.close();
        let posted = core.posted.take().into_iter().chain(core.inbox.close());
        // As a level of its own, so that the Deferreds fire before this returns, even if a callback
        // called it.
        enter(|| {
            for posted in posted {
                guarded(posted.at, || drop(posted.call));
            }
            core.events.close();
            core.timers.close();
            drop(registered);
            drop(extensions);
        });
        drop(report);
    }
}
