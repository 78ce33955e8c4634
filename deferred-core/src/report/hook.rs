//! The hooks for reports.
//!
//! A hook is user code: it may drop Deferreds that hold errors, set hooks and remove them. So no
//! lock and no borrow is held while one runs, or while its captures are dropped. A clone of the
//! counted pointer is called.
//!
//! The hooks of a thread are numbered in the order in which they are set. While one runs,
//! `MIN_HOOK` holds the next number, and only hooks from that number on are called: those that were
//! set meanwhile. This ends the recursion of a hook that causes a report itself.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use parking_lot::RwLock;

use super::print::{print, to_standard_error};
use super::{Level, Report, Reportable, Subject, Unhandled};
use crate::error::{Panicked, drop_payload};
use crate::numbered::Numbered;

type ProcessHook = Arc<dyn Fn(&Report<'_>) + Send + Sync>;

static PROCESS_HOOK: RwLock<Option<ProcessHook>> = RwLock::new(None);

#[derive(Clone)]
enum ThreadHook {
    Unhandled(Rc<dyn Fn(&Unhandled<'_>)>),
    All(Rc<dyn Fn(&Report<'_>)>),
}

impl ThreadHook {
    fn is_for(&self, report: &Report<'_>) -> bool {
        matches!((self, report.0), (ThreadHook::All(_), _) | (_, Subject::Unhandled(_)))
    }

    fn call(&self, report: &Report<'_>) {
        match (self, report.0) {
            (ThreadHook::All(hook), _) => hook(report),
            (ThreadHook::Unhandled(hook), Subject::Unhandled(unhandled)) => hook(unhandled),
            (ThreadHook::Unhandled(_), Subject::Other(..)) => {}
        }
    }
}

thread_local! {
    /// The hooks of this thread, by ascending number.
    static THREAD_HOOKS: RefCell<Numbered<ThreadHook>> = const { RefCell::new(Numbered::new()) };
    /// The number of the next hook of this thread. Like `MIN_HOOK` it has no destructor, so both
    /// outlive `THREAD_HOOKS`.
    static NEXT: Cell<u64> = const { Cell::new(0) };
    /// Set while a hook of this thread runs: hooks below this number are not called.
    static MIN_HOOK: Cell<Option<u64>> = const { Cell::new(None) };
    /// The number of reports that are being made.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Sets the hook to call for reports, on every thread that has no hook of its own for them. It
/// replaces the previous one.
///
/// The hook runs on the thread that makes the report, where it happens: for an unhandled error where
/// that is dropped, which may be in the middle of other code. So it should only record the report.
/// It is called for each unhandled error, also for a [`Cancelled`](crate::Cancelled), which is not
/// printed by default. A panic of the hook is caught and reported on standard error, together with
/// the report. Reports that the hook itself causes are printed.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, Failure, report};
///
/// report::set_hook(|report| eprintln!("{:?}: {report}", report.level()));
/// drop(Deferred::<u32>::fail(Failure::msg("nothing handles this")));
/// # report::take_hook();
/// ```
pub fn set_hook(hook: impl Fn(&Report<'_>) + Send + Sync + 'static) {
    let before = PROCESS_HOOK.write().replace(Arc::new(hook));
    // The captures of the previous hook are dropped after the lock is released.
    drop(before);
}

/// Removes the hook that [`set_hook`] has set, and returns it.
///
/// # Examples
///
/// A hook in addition to the previous one:
///
/// ```
/// use deferred_core::report;
///
/// let before = report::take_hook();
/// report::set_hook(move |report| {
///     println!("{}", report.kind());
///     match &before {
///         Some(before) => before(report),
///         None => report.print(),
///     }
/// });
/// ```
#[expect(clippy::type_complexity, reason = "so that it can be read where it is documented")]
pub fn take_hook() -> Option<Arc<dyn Fn(&Report<'_>) + Send + Sync>> {
    PROCESS_HOOK.write().take()
}

/// Sets the hook to call for reports of this thread, until the returned guard is dropped.
///
/// This is for tests, which run concurrently, and for programs that embed code with Deferreds. The
/// hook has priority over that of the process and over those that were set on this thread before.
/// Each guard removes its own hook; guards can be dropped in any order.
///
/// The calls and panics of the hook are treated as described at [`set_hook`]. While a hook runs, it
/// can set another one, which is then called for the reports that the first one causes.
///
/// While the thread-locals of a thread are being destroyed, this has no effect.
///
/// # Examples
///
/// ```
/// use deferred_core::{Deferred, Failure, report};
///
/// let _hook = report::on_report(|report| assert_eq!(report.kind(), "unhandled_error"));
/// drop(Deferred::<u32>::fail(Failure::msg("nothing handles this")));
/// ```
pub fn on_report(hook: impl Fn(&Report<'_>) + 'static) -> HookGuard {
    add(ThreadHook::All(Rc::new(hook)))
}

/// Sets the hook to call for unhandled errors on this thread, until the returned guard is dropped.
///
/// It is a hook like that of [`report::on_report`](on_report), for reports of this kind only. It is
/// called for each such error, also for a [`Cancelled`](crate::Cancelled). `to_string()` of its
/// argument returns the report that would be printed by default.
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
    add(ThreadHook::Unhandled(Rc::new(hook)))
}

fn add(hook: ThreadHook) -> HookGuard {
    let number = NEXT.replace(NEXT.get() + 1);
    // If the thread is ending, the closure is dropped, and the hook with it.
    let _ = THREAD_HOOKS.try_with(move |here| here.borrow_mut().push(number, hook));
    HookGuard { number, this_thread: PhantomData }
}

/// A guard that removes a hook of this thread when dropped. [`on_unhandled`] and [`on_report`]
/// create it.
#[must_use = "the hook is removed at once if this is not bound to a variable"]
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

/// The number of reports that can be made inside of each other, by hooks and by the printing of values.
const MAX_DEPTH: u32 = 16;

/// Calls the hook for a report, or prints it. Does not unwind. Drops a report that is made inside of
/// many others, which would go on forever.
pub(super) fn call(report: &Report<'_>) {
    let outer = RestoreDepth(DEPTH.get());
    if outer.0 == MAX_DEPTH {
        return;
    }
    DEPTH.set(outer.0 + 1);
    let min_hook = MIN_HOOK.get();
    let thread_hook = THREAD_HOOKS.try_with(|here| {
        let here = here.borrow();
        let mut hooks = here.iter_back().take_while(|(number, _)| min_hook.is_none_or(|min| *number >= min));
        hooks.find(|(_, hook)| hook.is_for(report)).map(|(_, hook)| hook.clone())
    });
    let process_hook = || if min_hook.is_none() { PROCESS_HOOK.read().clone() } else { None };
    if let Ok(Some(hook)) = thread_hook {
        guarded(report, move || hook.call(report));
    } else if let Some(hook) = process_hook() {
        guarded(report, move || hook(report));
    } else {
        guarded(report, || print(report));
    }
}

/// Calls `hook` with a report, like a hook that [`set_hook`] has set. This is for a hook that the
/// user has given for this kind of report, such as that of a [`Watchdog`](crate::Watchdog).
pub fn send_to<T: Reportable>(value: &T, hook: impl FnOnce(&T)) {
    guarded(&Report::of(value), || hook(value));
}

/// Calls `hook` with [`MIN_HOOK`] raised. Catches its panic, and a panic in the captures of a hook
/// that was removed while it ran.
pub(super) fn guarded(report: &Report<'_>, hook: impl FnOnce()) {
    let outer = RestoreMinHook(MIN_HOOK.replace(Some(NEXT.get())));
    if let Err(payload) = catch_unwind(AssertUnwindSafe(hook)) {
        let kind = catch_unwind(AssertUnwindSafe(|| report.kind())).unwrap_or("of an unknown kind");
        let panicked = HookPanicked { kind, message: Panicked::new(payload).message().to_owned() };
        // Printing may be what panicked.
        for report in [&Report::of(&panicked), report] {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| to_standard_error(report))) {
                drop_payload(payload);
            }
        }
    }
    drop(outer);
}

/// Restores [`DEPTH`] when dropped.
struct RestoreDepth(u32);

impl Drop for RestoreDepth {
    fn drop(&mut self) {
        DEPTH.set(self.0);
    }
}

/// Restores [`MIN_HOOK`] when dropped.
struct RestoreMinHook(Option<u64>);

impl Drop for RestoreMinHook {
    fn drop(&mut self) {
        MIN_HOOK.set(self.0);
    }
}

/// The report of a hook for reports that has panicked, or of a value that panicked when it was
/// printed. It is printed to standard error, and so is the report for which the hook was called.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HookPanicked {
    /// The kind of the report for which the hook was called.
    pub kind: &'static str,
    /// The message of the panic.
    pub message: String,
}

impl fmt::Display for HookPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HookPanicked { kind, message } = self;
        write!(f, "the hook for a report ({kind}), or the printing of that, panicked: {message}")
    }
}

impl Reportable for HookPanicked {
    fn kind(&self) -> &'static str {
        "hook_panicked"
    }

    fn level(&self) -> Level {
        Level::Error
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::super::unhandled;
    use super::*;
    use crate::error::{BuiltinError, DeferredError, Failure};

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
        unhandled(&Failure::msg(text), Location::caller(), Location::caller());
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
        impl DeferredError for Hostile {}
        unhandled(&Hostile, Location::caller(), Location::caller());
    }
}
