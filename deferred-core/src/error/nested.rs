//! Nested errors of any depth: dropped, searched and printed without recursion.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::mem::{self, ManuallyDrop};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;

use super::failure::Held;
use super::interop::ReportError;
use super::wrapped::Wrapped;
use super::{BuiltinError, Failure, FailureGroup, FirstError, write_texts};

/// The number of nested errors that are printed. Of deeper ones, only their number and the
/// innermost one are printed.
const MAX_PRINTED: usize = 8;

/// The contents of an error, which may be further errors.
pub(super) enum Nested {
    Held(Held),
    Reason(Arc<dyn Error + Send + Sync>),
    /// The payload of a panic.
    Payload(Box<dyn Any + Send>),
}

impl Nested {
    fn drop_here(self) {
        match self {
            Nested::Held(held) => drop(held),
            Nested::Reason(reason) => drop(reason),
            // Errors are dropped where nothing may panic, so a panic of the payload's destructor is
            // caught. Its own payload is leaked, since dropping that may panic too.
            Nested::Payload(payload) => {
                if let Err(thrown) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                    mem::forget(thrown);
                }
            }
        }
    }
}

thread_local! {
    static DROPPING: Cell<bool> = const { Cell::new(false) };
    /// The errors that were dropped inside such a drop. It has no destructor, since outside of a
    /// drop it is empty and owns no memory.
    static PENDING: ManuallyDrop<RefCell<Vec<Nested>>> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// Drops `nested`. If this is called inside the drop of another nested error, drops it after that
/// one.
pub(super) fn drop_flat(nested: Nested) {
    if DROPPING.replace(true) {
        PENDING.with(|left| left.borrow_mut().push(nested));
        return;
    }
    let _pending = DropPending;
    nested.drop_here();
}

/// Drops the pending errors when it is dropped, even during a panic of a destructor.
struct DropPending;

impl Drop for DropPending {
    fn drop(&mut self) {
        while let Some(next) = PENDING.with(|left| left.borrow_mut().pop()) {
            let pending = DropPending;
            next.drop_here();
            mem::forget(pending);
        }
        PENDING.with(|left| left.replace(Vec::new()));
        DROPPING.set(false);
    }
}

/// Returns the [`FirstError`] that an error is, if it is one.
fn first_inside<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a FirstError<Failure>> {
    error.downcast_ref()
}

/// Returns the built-in error inside a failure: its own, or the one that all errors inside it have
/// in common.
pub(super) fn builtin_inside(failure: &Failure) -> Option<&BuiltinError> {
    let (mut found, mut left, mut next) = (None::<&BuiltinError>, Vec::new(), Some(failure));
    // A shared failure may occur many times. Searching it each time would take exponential time.
    let mut seen = BTreeSet::new();
    while let Some(failure) = next.take().or_else(|| left.pop()) {
        let error = match failure.held() {
            Held::Builtin(builtin) => Err(builtin),
            Held::Other { error, .. } => match error.downcast_ref::<ReportError>() {
                Some(report) => Err(report.builtin()?),
                None => Ok(error),
            },
            Held::Shared(_) => return None,
        };
        match error {
            Err(builtin) => {
                let first = *found.get_or_insert(builtin);
                if mem::discriminant(first) != mem::discriminant(builtin) {
                    return None;
                }
            }
            Ok(error) => {
                if let Some(first) = first_inside(&**error) {
                    next = Some(&first.error);
                } else if let Some(wrapped) = error.downcast_ref::<Wrapped>() {
                    next = Some(&wrapped.failure);
                } else {
                    let group = error.downcast_ref::<FailureGroup<Failure>>()?;
                    let (first, others) = group.errors().split_first()?;
                    if !others.is_empty() && !seen.insert(ptr::from_ref(group)) {
                        continue;
                    }
                    next = Some(first);
                    left.extend(others.iter().rev());
                }
            }
        }
    }
    found
}

/// Returns the cause of the innermost error of a failure.
pub(super) fn source_inside(mut failure: &Failure) -> Option<&(dyn Error + 'static)> {
    while let Some(first) = first_inside(failure.error()) {
        failure = &first.error;
    }
    failure.error().source()
}

/// Prints a failure that is nested `depth` levels deep, with or without the causes of the error.
pub(super) fn write_inside(
    mut failure: &Failure,
    depth: usize,
    mut causes: bool,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let (mut printed, mut skipped) = (depth, 0);
    loop {
        let error = failure.error();
        let group = error.downcast_ref::<FailureGroup<Failure>>();
        let (prefix, inner) = if let Some(first) = first_inside(error) {
            (first.index.map(|index| format!("Deferred {index} failed: ")), &first.error)
        } else if let Some((group, [only])) = group.map(|group| (group, group.errors())) {
            causes = true; // a group has no cause of its own
            ((!group.is_whole()).then(|| "all 1 failed: ".to_owned()), only)
        } else {
            if skipped > 0 {
                write!(f, "({skipped} more nested errors): ")?;
            }
            return match group {
                Some(group) => group.write(printed, f),
                None if causes => write_with_causes(error, printed, f),
                None => write!(f, "{error}"),
            };
        };
        if let Some(prefix) = prefix {
            if printed < MAX_PRINTED {
                f.write_str(&prefix)?;
                printed += 1;
            } else {
                skipped += 1;
            }
        }
        failure = inner;
    }
}

/// Prints an error that is nested `depth` levels deep with its causes. Groups among them print their
/// members as still deeper.
fn write_with_causes(error: &(dyn Error + 'static), depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    nested_in(depth, || write_texts(error, f)).unwrap_or_else(|| write!(f, "{error}"))
}

thread_local!(static REASON_DEPTH: Cell<usize> = const { Cell::new(0) });

/// Returns the number of reasons and groups in which an error is printed now.
pub(super) fn reason_depth() -> usize {
    REASON_DEPTH.get()
}

/// Calls `f`, which looks at the reason of a cancel. Returns `None` if that is nested too deep in
/// those of others, for which `f` would call this.
pub(super) fn within_reason<R>(f: impl FnOnce() -> R) -> Option<R> {
    nested_in(0, f)
}

/// Like [`within_reason`], but at least one deeper than `depth`.
fn nested_in<R>(depth: usize, f: impl FnOnce() -> R) -> Option<R> {
    struct Restore(usize);

    impl Drop for Restore {
        fn drop(&mut self) {
            REASON_DEPTH.set(self.0);
        }
    }

    let before = REASON_DEPTH.get();
    let depth = before.max(depth);
    if depth >= MAX_PRINTED {
        return None;
    }
    REASON_DEPTH.set(depth + 1);
    let _restore = Restore(before);
    Some(f())
}

/// Returns `true` if an error this deep is printed without its contents.
pub(super) fn is_too_deep(depth: usize) -> bool {
    depth >= MAX_PRINTED
}
