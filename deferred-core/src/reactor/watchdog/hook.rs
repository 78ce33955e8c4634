//! The hooks for calls that block the loop.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::RwLock;

use super::Blocked;
use crate::error::{drop_payload, to_standard_error};

pub(super) type BlockedHook = Arc<dyn Fn(&Blocked) + Send + Sync>;

static GLOBAL_HOOK: RwLock<Option<BlockedHook>> = RwLock::new(None);

/// Sets the hook to call for calls that block a loop, for each [`Watchdog`](crate::Watchdog) that
/// has no hook of its own.
///
/// The hook runs on the thread of the watchdog. If it panics, that is reported on standard error.
/// It replaces the hook that was set before.
///
/// # Examples
///
/// ```
/// deferred_core::set_blocked_hook(|blocked| {
///     if !blocked.has_ended() {
///         eprintln!("{} at {:?}", blocked.kind(), blocked.registered_at());
///     }
/// });
/// ```
pub fn set_blocked_hook(hook: impl Fn(&Blocked) + Send + Sync + 'static) {
    let before = GLOBAL_HOOK.write().replace(Arc::new(hook));
    drop(before); // after the lock is released
}

/// Removes the hook that [`set_blocked_hook`] has set, and returns it.
#[expect(clippy::type_complexity, reason = "so that it can be read where it is documented")]
pub fn take_blocked_hook() -> Option<Arc<dyn Fn(&Blocked) + Send + Sync>> {
    GLOBAL_HOOK.write().take()
}

pub(super) fn report(own: Option<&BlockedHook>, blocked: &Blocked) {
    let hook = own.cloned().or_else(|| GLOBAL_HOOK.read().clone());
    let called = catch_unwind(AssertUnwindSafe(|| match hook {
        Some(hook) => hook(blocked),
        None => default_report(blocked),
    }));
    if let Err(payload) = called {
        drop_payload(payload);
        to_standard_error(&format!(
            "deferred: a hook for calls that block the loop panicked; it was called for: {blocked}"
        ));
    }
}

#[cfg(feature = "tracing")]
fn default_report(blocked: &Blocked) {
    if tracing::dispatcher::get_default(|subscriber| subscriber.is::<tracing::subscriber::NoSubscriber>()) {
        return to_standard_error(&blocked.to_string());
    }
    tracing::warn!(target: "deferred", "{blocked}");
}

#[cfg(not(feature = "tracing"))]
fn default_report(blocked: &Blocked) {
    to_standard_error(&blocked.to_string());
}
