//! Who hears of errors that nobody handled.
//!
//! A hook is code of the user: it may drop Deferreds that hold errors, set hooks and drop them. So
//! no lock and no borrow is held while one runs, or while the captures of one are dropped; what
//! runs is a clone of the counted pointer.
//!
//! Hooks of a thread are numbered in the order they are set. While one runs, `FLOOR` holds the
//! number the next would get, and only hooks from there on may be told: those that were set
//! meanwhile. That is what ends the recursion of a hook that leaves an error itself.

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

type HookHere = Rc<dyn Fn(&Unhandled<'_>)>;
type HookEverywhere = Arc<dyn Fn(&Unhandled<'_>) + Send + Sync>;

static EVERYWHERE: RwLock<Option<HookEverywhere>> = RwLock::new(None);

thread_local! {
    /// The hooks of this thread, by ascending number.
    static HERE: RefCell<Numbered<HookHere>> = const { RefCell::new(Numbered::new()) };
    /// The number of the next hook of this thread. This and `FLOOR` have no destructor, so they
    /// outlive `HERE`.
    static NEXT: Cell<u64> = const { Cell::new(0) };
    /// Set while this thread tells somebody: hooks below this number are not told.
    static FLOOR: Cell<Option<u64>> = const { Cell::new(None) };
    /// While this thread closes a reactor: how many Deferreds were abandoned by that, of which the
    /// default does not tell one by one.
    static ABANDONED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Sets who is told of errors that nobody handles, on every thread that has no hook of its own.
///
/// The hook is told of each such error, [`Cancelled`](crate::Cancelled) among them; `to_string()`
/// gives the report that would have been printed. It replaces the one that was set before.
///
/// A hook runs where the error was dropped, which may be in the middle of other code, so it should
/// only note the error. If it panics, that is caught and told on standard error, with the error.
/// Errors that it leaves unhandled itself are printed to standard error.
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
/// drop(Deferred::<u32>::fail(Failure::msg("nobody asks for me")));
/// ```
pub fn set_unhandled_hook(hook: impl Fn(&Unhandled<'_>) + Send + Sync + 'static) {
    let before = EVERYWHERE.write().replace(Arc::new(hook));
    // What it captures is dropped here, behind the lock.
    drop(before);
}

/// Takes the hook that [`set_unhandled_hook`] has set, if any. Errors are then told as if none had
/// ever been set.
///
/// # Examples
///
/// A hook that is told besides the one that was there:
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
pub fn take_unhandled_hook() -> Option<HookEverywhere> {
    EVERYWHERE.write().take()
}

/// Sets who is told of errors that nobody handles on this thread, until the guard is dropped.
///
/// This is for tests, which run side by side, and for whoever embeds code that uses Deferreds. The
/// hook goes before that of the process and before those that were set on this thread earlier. Each
/// guard removes its own hook, in whichever order guards are dropped.
///
/// What is said at [`set_unhandled_hook`] about what a hook hears of, and about its panics, holds
/// for this one too. A hook may set a further one while it runs, which is then told of the errors
/// that it leaves itself.
///
/// A thread that is ending, so that its thread-locals are already gone, has no hook any more;
/// setting one there has no effect.
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
/// let told = errors.clone();
/// let hook = on_unhandled(move |unhandled| told.borrow_mut().push(unhandled.downcast_ref::<Failure>().unwrap().to_string()));
/// drop(Deferred::<u32>::fail(Failure::msg("nobody asks for me")));
/// drop(hook);
/// assert_eq!(errors.take(), ["nobody asks for me"]);
/// ```
pub fn on_unhandled(hook: impl Fn(&Unhandled<'_>) + 'static) -> HookGuard {
    let number = NEXT.replace(NEXT.get() + 1);
    let hook: HookHere = Rc::new(hook);
    // If the thread is ending, the closure that would add the hook is dropped, and the hook with
    // it.
    let _ = HERE.try_with(move |here| here.borrow_mut().push(number, hook));
    HookGuard { number, this_thread: PhantomData }
}

/// Removes a hook of this thread when it is dropped; [`on_unhandled`] gives it.
#[must_use = "the hook is removed when this is dropped"]
pub struct HookGuard {
    number: u64,
    /// The hook is in the thread-locals of the thread that set it, so the guard stays there.
    this_thread: PhantomData<*const ()>,
}

impl Drop for HookGuard {
    fn drop(&mut self) {
        let removed = HERE.try_with(|here| here.borrow_mut().remove(self.number));
        // What it captures is dropped here, behind the borrow.
        drop(removed);
    }
}

impl fmt::Debug for HookGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookGuard").finish_non_exhaustive()
    }
}

/// Tells whoever is to hear of it. Does not unwind.
pub(super) fn tell(unhandled: &Unhandled<'_>) {
    let floor = FLOOR.get();
    let here = HERE.try_with(|here| {
        let here = here.borrow();
        let (_, hook) = here.last().filter(|(number, _)| floor.is_none_or(|floor| *number >= floor))?;
        Some(hook.clone())
    });
    let everywhere = || if floor.is_none() { EVERYWHERE.read().clone() } else { None };
    if let Ok(Some(hook)) = here {
        guarded(unhandled, move || hook(unhandled));
    } else if let Some(hook) = everywhere() {
        guarded(unhandled, move || hook(unhandled));
    } else {
        guarded(unhandled, || by_default(unhandled, floor.is_some()));
    }
}

/// Runs what tells of `unhandled`, with the floor raised. A panic of it ends here, and so does one
/// of the captures of a hook that was removed while it ran.
fn guarded(unhandled: &Unhandled<'_>, tell: impl FnOnce()) {
    let outer = Floor(FLOOR.replace(Some(NEXT.get())));
    if let Err(payload) = catch_unwind(AssertUnwindSafe(tell)) {
        complain(unhandled, payload);
    }
    drop(outer);
}

/// Restores the floor when it is dropped.
struct Floor(Option<u64>);

impl Drop for Floor {
    fn drop(&mut self) {
        FLOOR.set(self.0);
    }
}

/// What is told where no hook is set. `inside` is whether this thread is telling of another error,
/// in which case it gets to standard error: a subscriber of `tracing` that leaves an error would
/// otherwise be told of it without end.
fn by_default(unhandled: &Unhandled<'_>, inside: bool) {
    match unhandled.builtin() {
        Some(BuiltinError::Cancelled(_)) if !unhandled.aloud => return,
        Some(BuiltinError::Abandoned(_)) => {
            if let Some(number) = ABANDONED.get() {
                return ABANDONED.set(Some(number + 1));
            }
        }
        _ => {}
    }
    if inside || !trace(unhandled) {
        to_standard_error(&unhandled.to_string());
    }
}

/// Makes an event of it; false if nobody has subscribed to events, since an error must not vanish.
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

/// Until the guard is dropped this thread closes a reactor. Then the default tells how many
/// Deferreds that has abandoned.
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
                "deferred: the reactor has ended; of the Deferreds that waited for it and were abandoned, nobody handled \
                 {number}"
            ));
        }
    }
}

/// Says that a hook, or what prints the error, panicked, and what was to be told, which nobody else
/// may have heard of.
fn complain(unhandled: &Unhandled<'_>, payload: Box<dyn Any + Send>) {
    let panicked = Panicked::new(payload);
    to_standard_error(&format!("deferred: the hook for unhandled errors, or the printing of one, {panicked}"));
    // To print the error may be just what panicked.
    match catch_unwind(AssertUnwindSafe(|| unhandled.to_string())) {
        Ok(report) => to_standard_error(&report),
        Err(payload) => drop_payload(payload),
    }
}

/// Writes it in one piece, so that reports of several threads do not mix. Where standard error is
/// closed there is nobody left to tell.
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

    /// An error that is left unhandled when this is dropped.
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
    fn a_hook_of_one_thread_hears_nothing_of_another() {
        let log = Log::default();
        let _hook = log.hook("here");
        std::thread::spawn(|| fail("elsewhere")).join().unwrap();
        assert_eq!(log.take(), NONE);
    }

    #[test]
    fn an_error_left_by_a_hook_goes_to_the_hooks_set_meanwhile_and_else_to_none() {
        let log = Log::default();
        let _outer = log.hook("outer");
        let told = log.clone();
        let _hook = on_unhandled(move |unhandled| {
            told.add("hook", unhandled);
            fail("nobody hears this");
            {
                let _inner = told.hook("inner");
                fail("left");
            }
            fail("nor this");
        });
        fail("first");
        fail("second");
        assert_eq!(log.take(), ["hook first", "inner left", "hook second", "inner left"]);
    }

    #[test]
    fn a_hook_set_by_a_hook_may_stay() {
        let log = Log::default();
        let kept = Rc::new(RefCell::new(Vec::new()));
        let (told, keep) = (log.clone(), kept.clone());
        let _hook = on_unhandled(move |_| keep.borrow_mut().push(told.hook("stays")));
        fail("a");
        fail("b");
        assert_eq!(log.take(), ["stays b"]);
    }

    #[test]
    fn a_hook_may_remove_itself_and_what_it_captures_may_fail() {
        let log = Log::default();
        let _outer = log.hook("outer");
        let own = Rc::new(RefCell::new(None));
        let (told, guard, leaves) = (log.clone(), own.clone(), Leaves("nobody hears this: a hook runs"));
        *own.borrow_mut() = Some(on_unhandled(move |unhandled| {
            let _captured = &leaves;
            drop(guard.take());
            told.add("hook", unhandled);
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
    fn a_panic_of_a_hook_ends_there_and_the_hook_stays() {
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
    fn a_thread_that_unwinds_or_ends_still_tells() {
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
            // Never dropped, so the thread-local drops the hook.
            let leaves = Leaves("ends with its hook");
            std::mem::forget(on_unhandled(move |_| {
                let _captured = &leaves;
            }));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn an_error_whose_debug_panics_is_no_harm() {
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
