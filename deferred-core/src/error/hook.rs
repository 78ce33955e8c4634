//! The hooks for unhandled errors.
//!
//! A hook is user code: it may drop Deferreds that hold errors, set hooks and remove them. So no
//! lock and no borrow is held while one runs, or while its captures are dropped. A clone of the
//! counted pointer is called.
//!
//! The hooks of a thread are numbered in the order in which they are set. While one runs,
//! `MIN_HOOK` holds the next number, and only hooks from that number on are called: those that were
//! set meanwhile. This ends the recursion of a hook that leaves an error unhandled itself.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::Write;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use parking_lot::RwLock;

use super::{BuiltinError, Panicked, Unhandled, drop_payload};
use crate::numbered::Numbered;

type ThreadHook = Rc<dyn Fn(&Unhandled<'_>)>;
type GlobalHook = Arc<dyn Fn(&Unhandled<'_>) + Send + Sync>;

static GLOBAL_HOOK: RwLock<Option<GlobalHook>> = RwLock::new(None);

thread_local! {
    /// The hooks of this thread, by ascending number.
    static THREAD_HOOKS: RefCell<Numbered<ThreadHook>> = const { RefCell::new(Numbered::new()) };
    /// The number of the next hook of this thread. Like `MIN_HOOK` it has no destructor, so both
    /// outlive `THREAD_HOOKS`.
    static NEXT: Cell<u64> = const { Cell::new(0) };
    /// Set while a hook of this thread runs: hooks below this number are not called.
    static MIN_HOOK: Cell<Option<u64>> = const { Cell::new(None) };
    /// While this thread closes a reactor: the number of Deferreds that this has abandoned, which
    /// the default report only counts.
    static ABANDONED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Sets the hook to call for unhandled errors, on every thread without a hook of its own.
///
/// The hook is called for each such error, also for a [`Cancelled`](crate::Cancelled).
/// `to_string()` of its argument returns the report that would be printed by default. The new hook
/// replaces the previous one.
///
/// A hook runs where the error is dropped, which may be in the middle of other code, so it should
/// only record the error. A panic of the hook is caught and reported on standard error, together
/// with the error. Errors that the hook itself leaves unhandled are printed to standard error.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, Failure, BuiltinError, set_unhandled_hook};
///
/// set_unhandled_hook(|unhandled| {
///     if !matches!(unhandled.builtin(), Some(BuiltinError::Cancelled(_))) {
///         eprintln!("{unhandled}");
///     }
/// });
/// drop(Deferred::<u32>::fail(Failure::msg("nothing handles this")));
/// ```
pub fn set_unhandled_hook(hook: impl Fn(&Unhandled<'_>) + Send + Sync + 'static) {
    let before = GLOBAL_HOOK.write().replace(Arc::new(hook));
    // The captures of the previous hook are dropped after the lock is released.
    drop(before);
}

/// Removes the hook that [`set_unhandled_hook`] has set, and returns it. Errors are then reported
/// by default.
///
/// # Examples
///
/// A hook in addition to the previous one:
///
/// ```
/// use deferred_core::{set_unhandled_hook, take_unhandled_hook};
///
/// let before = take_unhandled_hook();
/// set_unhandled_hook(move |unhandled| {
///     println!("made at {}", unhandled.made_at());
///     if let Some(before) = &before {
///         before(unhandled);
///     }
/// });
/// ```
pub fn take_unhandled_hook() -> Option<GlobalHook> {
    GLOBAL_HOOK.write().take()
}

/// Sets the hook to call for unhandled errors on this thread, until the returned guard is dropped.
///
/// This is for tests, which run concurrently, and for programs that embed code with Deferreds. The
/// hook has priority over the process-wide one and over those that were set on this thread before.
/// Each guard removes its own hook; guards can be dropped in any order.
///
/// The calls and panics of the hook are treated as described at [`set_unhandled_hook`]. While a
/// hook runs, it can set another one, which is then called for the errors that the first one leaves
/// unhandled.
///
/// While the thread-locals of a thread are being destroyed, this has no effect.
///
/// # Examples
///
/// ```
/// use std::cell::RefCell;
/// use std::rc::Rc;
///
/// use deferred_core::{Deferred, Failure, on_unhandled};
///
/// let errors = Rc::new(RefCell::new(Vec::new()));
/// let log = errors.clone();
/// let hook = on_unhandled(move |unhandled| log.borrow_mut().push(unhandled.downcast_ref::<Failure>().unwrap().to_string()));
/// drop(Deferred::<u32>::fail(Failure::msg("nothing handles this")));
/// drop(hook);
/// assert_eq!(errors.take(), ["nothing handles this"]);
/// ```
pub fn on_unhandled(hook: impl Fn(&Unhandled<'_>) + 'static) -> HookGuard {
    let number = NEXT.replace(NEXT.get() + 1);
    let hook: ThreadHook = Rc::new(hook);
    // If the thread is ending, the closure is dropped, and the hook with it.
    let _ = THREAD_HOOKS.try_with(move |here| here.borrow_mut().push(number, hook));
    HookGuard { number, this_thread: PhantomData }
}

/// A guard that removes a hook of this thread when dropped. [`on_unhandled`] creates it.
#[must_use = "the hook is removed when this is dropped"]
pub struct HookGuard {
    number: u64,
    /// The hook is in a thread-local, so the guard must stay on the thread that set it.
    this_thread: PhantomData<*const ()>,
}

impl Drop for HookGuard {
    fn drop(&mut self) {
        let removed = THREAD_HOOKS.try_with(|here| here.borrow_mut().remove(self.number));
        // The captures of the removed hook are dropped after the borrow ends.
        drop(removed);
    }
}

impl fmt::Debug for HookGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookGuard").finish_non_exhaustive()
    }
}

/// Calls the hook for an unhandled error, or prints the default report. Does not unwind.
pub(super) fn call(unhandled: &Unhandled<'_>) {
    let min_hook = MIN_HOOK.get();
    let thread_hook = THREAD_HOOKS.try_with(|here| {
        let here = here.borrow();
        let (_, hook) = here.last().filter(|(number, _)| min_hook.is_none_or(|min| *number >= min))?;
        Some(hook.clone())
    });
    let global_hook = || if min_hook.is_none() { GLOBAL_HOOK.read().clone() } else { None };
    if let Ok(Some(hook)) = thread_hook {
        guarded(unhandled, move || hook(unhandled));
    } else if let Some(hook) = global_hook() {
        guarded(unhandled, move || hook(unhandled));
    } else {
        guarded(unhandled, || default_report(unhandled, min_hook.is_some()));
    }
}

/// Calls `report` with [`MIN_HOOK`] raised. Catches its panic, and a panic in the captures of a
/// hook that was removed while it ran.
fn guarded(unhandled: &Unhandled<'_>, report: impl FnOnce()) {
    let outer = RestoreMinHook(MIN_HOOK.replace(Some(NEXT.get())));
    if let Err(payload) = catch_unwind(AssertUnwindSafe(report)) {
        report_hook_panic(unhandled, payload);
    }
    drop(outer);
}

/// Restores [`MIN_HOOK`] when dropped.
struct RestoreMinHook(Option<u64>);

impl Drop for RestoreMinHook {
    fn drop(&mut self) {
        MIN_HOOK.set(self.0);
    }
}

/// Prints the default report, for an error without a hook. `nested` is `true` if this thread is
/// reporting another error. The report then goes to standard error, since a subscriber of `tracing`
/// that leaves an error unhandled would be called without end.
fn default_report(unhandled: &Unhandled<'_>, nested: bool) {
    match unhandled.builtin() {
        Some(BuiltinError::Cancelled(_)) if !unhandled.reports_cancelled => return,
        Some(BuiltinError::Abandoned(_)) => {
            if let Some(number) = ABANDONED.get() {
                return ABANDONED.set(Some(number + 1));
            }
        }
        _ => {}
    }
    if nested || !trace(unhandled) {
        to_standard_error(&unhandled.to_string());
    }
}

/// Emits an event. Returns `false` if there is no subscriber, since the error must not vanish.
#[cfg(feature = "tracing")]
fn trace(unhandled: &Unhandled<'_>) -> bool {
    use tracing::subscriber::NoSubscriber;

    if tracing::dispatcher::get_default(|subscriber| subscriber.is::<NoSubscriber>()) {
        return false;
    }
    tracing::error!(
        target: "deferred",
        made_at = %unhandled.made_at(),
        last_added_at = %unhandled.last_added_at(),
        "{unhandled}"
    );
    true
}

#[cfg(not(feature = "tracing"))]
fn trace(_: &Unhandled<'_>) -> bool {
    false
}

/// Marks that this thread closes a reactor, until the returned guard is dropped. The default report
/// then prints the number of Deferreds that this has abandoned.
pub(crate) fn closing() -> Closing {
    Closing { outer: ABANDONED.replace(Some(0)) }
}

pub(crate) struct Closing {
    outer: Option<u64>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(number @ 1..) = ABANDONED.replace(self.outer) {
            to_standard_error(&format!(
                "deferred: the reactor has ended; unhandled errors of Deferreds that it abandoned: \
                 {number}"
            ));
        }
    }
}

/// Reports the panic of a hook, or of the printing of an error, and the error itself, which may not
/// have been reported.
fn report_hook_panic(unhandled: &Unhandled<'_>, payload: Box<dyn Any + Send>) {
    let panicked = Panicked::new(payload);
    to_standard_error(&format!("deferred: the hook for unhandled errors, or the printing of one, {panicked}"));
    // Printing the error may be what panicked.
    match catch_unwind(AssertUnwindSafe(|| unhandled.to_string())) {
        Ok(report) => to_standard_error(&report),
        Err(payload) => drop_payload(payload),
    }
}

/// Writes a text in one piece, so that reports of several threads do not mix. Ignores a closed
/// standard error.
pub(crate) fn to_standard_error(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::super::{Failure, report};
    use super::*;

    #[derive(Clone, Default)]
    struct Log(Rc<RefCell<Vec<String>>>);

    impl Log {
        fn hook(&self, name: &'static str) -> HookGuard {
            let log = self.clone();
            on_unhandled(move |unhandled| log.add(name, unhandled))
        }

        fn add(&self, name: &str, unhandled: &Unhandled<'_>) {
            self.0.borrow_mut().push(format!("{name} {:?}", unhandled.error()));
        }

        fn take(&self) -> Vec<String> {
            self.0.take()
        }
    }

    #[track_caller]
    fn fail(text: &str) {
        report(&Failure::msg(text), Location::caller(), Location::caller());
    }

    /// A value that leaves an error unhandled when dropped.
    struct Leaves(&'static str);

    impl Drop for Leaves {
        fn drop(&mut self) {
            fail(self.0);
        }
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn guards_may_be_dropped_in_any_order() {
        let log = Log::default();
        let (first, second, third) = (log.hook("first"), log.hook("second"), log.hook("third"));
        drop(second);
        fail("a");
        drop(third);
        fail("b");
        let fourth = log.hook("fourth");
        drop(first);
        fail("c");
        drop(fourth);
        assert_eq!(log.take(), ["third a", "first b", "fourth c"]);
    }

    #[test]
    fn a_thread_hook_is_not_called_for_errors_of_other_threads() {
        let log = Log::default();
        let _hook = log.hook("here");
        std::thread::spawn(|| fail("elsewhere")).join().unwrap();
        assert_eq!(log.take(), NONE);
    }

    #[test]
    fn an_error_left_by_a_hook_goes_only_to_hooks_set_meanwhile() {
        let log = Log::default();
        let _outer = log.hook("outer");
        let inner = log.clone();
        let _hook = on_unhandled(move |unhandled| {
            inner.add("hook", unhandled);
            fail("not reported to a hook");
            {
                let _inner = inner.hook("inner");
                fail("left");
            }
            fail("nor is this");
        });
        fail("first");
        fail("second");
        assert_eq!(log.take(), ["hook first", "inner left", "hook second", "inner left"]);
    }

    #[test]
    fn a_hook_set_by_a_hook_may_stay() {
        let log = Log::default();
        let guards = Rc::new(RefCell::new(Vec::new()));
        let (inner, keep) = (log.clone(), guards.clone());
        let _hook = on_unhandled(move |_| keep.borrow_mut().push(inner.hook("stays")));
        fail("a");
        fail("b");
        assert_eq!(log.take(), ["stays b"]);
    }

    #[test]
    fn a_hook_may_remove_itself_and_its_captures_may_leave_errors() {
        let log = Log::default();
        let _outer = log.hook("outer");
        let own = Rc::new(RefCell::new(None));
        let (inner, guard, leaves) = (log.clone(), own.clone(), Leaves("not reported to a hook: a hook runs"));
        *own.borrow_mut() = Some(on_unhandled(move |unhandled| {
            let _captured = &leaves;
            drop(guard.take());
            inner.add("hook", unhandled);
        }));
        fail("a");
        fail("b");
        assert_eq!(log.take(), ["hook a", "outer b"]);

        let leaves = Leaves("left by captures");
        drop(on_unhandled(move |_| {
            let _captured = &leaves;
        }));
        assert_eq!(log.take(), ["outer left by captures"]);
    }

    #[test]
    fn a_panic_of_a_hook_is_caught_and_the_hook_stays() {
        let calls = Rc::new(Cell::new(0));
        let counted = calls.clone();
        let _hook = on_unhandled(move |_| {
            counted.set(counted.get() + 1);
            panic!("the hook's own");
        });
        fail("a");
        fail("b");
        assert_eq!(calls.get(), 2);
    }

    #[test]
    fn errors_are_reported_while_a_thread_unwinds_or_ends() {
        let log = Log::default();
        let hook = log.hook("hook");
        let unwound = catch_unwind(|| {
            let _leaves = Leaves("unwinds");
            panic!("on purpose");
        });
        assert!(unwound.is_err());
        assert_eq!(log.take(), ["hook unwinds"]);
        drop(hook);

        thread_local!(static LAST: RefCell<Option<(HookGuard, Leaves)>> = const { RefCell::new(None) });
        std::thread::spawn(|| {
            LAST.with(|last| *last.borrow_mut() = Some((on_unhandled(|_| ()), Leaves("ends"))));
            // The guard is leaked, so the destructor of the thread-local drops the hook.
            let leaves = Leaves("ends with its hook");
            std::mem::forget(on_unhandled(move |_| {
                let _captured = &leaves;
            }));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn an_error_whose_debug_panics_is_reported_without_it() {
        struct Hostile;
        impl fmt::Debug for Hostile {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("not to be printed")
            }
        }
        impl From<BuiltinError> for Hostile {
            fn from(_: BuiltinError) -> Self {
                Hostile
            }
        }
        impl super::super::DeferredError for Hostile {}
        report(&Hostile, Location::caller(), Location::caller());
    }
}
