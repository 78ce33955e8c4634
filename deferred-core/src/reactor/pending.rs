//! `Reactor::pending`: the list of what is pending.

use std::collections::HashMap;

use super::Reactor;
use crate::inspect::{self, Kind, Pending, PendingItem, PendingReport};
use crate::report;

impl Reactor {
    /// Lists what is pending: the Deferreds of this thread that were created while
    /// [inspection](crate::inspect) was on, and the timers of this reactor.
    ///
    /// It takes time in proportion to their number. See also
    /// [`ReactorHandle::pending`](crate::ReactorHandle::pending), for other threads.
    ///
    /// # Examples
    ///
    /// ```
    /// use deferred_core::{Deferred, inspect, park};
    /// use std::time::Duration;
    ///
    /// let _on = inspect::enable();
    /// park::run(|reactor| {
    ///     let (answer, resolver) = Deferred::<u32>::new();
    ///     let (reactor, stopper) = (reactor.clone(), reactor.clone());
    ///     stopper.call_later(Duration::from_millis(1), move || {
    ///         eprintln!("{}", reactor.pending());
    ///         resolver.callback(42);
    ///         reactor.stop();
    ///     });
    ///     drop(answer);
    /// });
    /// ```
    #[must_use]
    pub fn pending(&self) -> Pending {
        let pending = Pending::collect();
        // The timer of a Deferred that sleeps is in the list already.
        let sleeping = pending.items().iter().filter(|item| item.kind() == Kind::Timer);
        let mut listed: HashMap<_, usize> = HashMap::new();
        sleeping.for_each(|item| *listed.entry(item.made_at()).or_default() += 1);
        let timers = self.delayed_calls().into_iter().filter(|call| match listed.get_mut(call.registered_at()) {
            Some(count @ 1..) => {
                *count -= 1;
                false
            }
            _ => true,
        });
        pending.with(timers.map(|call| PendingItem::timer(call.registered_at(), call.left())))
    }

    /// Reports what is pending.
    pub(super) fn report_pending(&self, cause: &'static str) {
        report::send(&PendingReport::new(cause, self.pending()));
    }

    /// Reports what is pending, if inspection is on.
    pub(super) fn report_pending_if_inspected(&self, cause: &'static str) {
        if inspect::is_enabled() {
            self.report_pending(cause);
        }
    }
}
