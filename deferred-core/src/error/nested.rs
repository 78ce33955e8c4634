//! Errors inside errors, however deep: dropped, looked through and printed without recursion.

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
use super::{BuiltinError, Failure, FailureGroup, FirstError};

/// How many errors inside each other are printed. Of the others there is a number, and the
/// innermost.
const PRINTED: usize = 8;

/// What an error holds, with whatever errors that holds.
pub(super) enum Nested {
    Held(Held),
    Reason(Arc<dyn Error + Send + Sync>),
    /// Of a panic.
    Payload(Box<dyn Any + Send>),
}

impl Nested {
    fn drop_here(self) {
        match self {
            Nested::Held(held) => drop(held),
            Nested::Reason(reason) => drop(reason),
            // An error is dropped in places where nothing may panic, so the payload's destructor
            // may not either. What that has thrown is leaked: it might do the same.
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
    /// What was dropped inside such a drop. Without a destructor, since it is empty, and without
    /// memory, outside of one.
    static LEFT: ManuallyDrop<RefCell<Vec<Nested>>> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// Drops it; inside the drop of another one, after that.
pub(super) fn drop_flat(nested: Nested) {
    if DROPPING.replace(true) {
        LEFT.with(|left| left.borrow_mut().push(nested));
        return;
    }
    let _rest = Rest;
    nested.drop_here();
}

/// Dropped, also by the panic of a destructor, it drops what is left.
struct Rest;

impl Drop for Rest {
    fn drop(&mut self) {
        while let Some(next) = LEFT.with(|left| left.borrow_mut().pop()) {
            let rest = Rest;
            next.drop_here();
            mem::forget(rest);
        }
        LEFT.with(|left| left.replace(Vec::new()));
        DROPPING.set(false);
    }
}

/// The failure inside a [`FirstError`].
fn first_inside<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a FirstError<Failure>> {
    error.downcast_ref()
}

/// The error of the library's in it: one of its own, or the one that all of the errors inside it
/// are.
pub(super) fn interrupt_inside(failure: &Failure) -> Option<&BuiltinError> {
    let (mut found, mut left, mut next) = (None::<&BuiltinError>, Vec::new(), Some(failure));
    // A shared failure stands in many places: looking into each again would double with each level.
    let mut seen = BTreeSet::new();
    while let Some(failure) = next.take().or_else(|| left.pop()) {
        match failure.held() {
            Held::Builtin(builtin) => {
                let first = *found.get_or_insert(builtin);
                if mem::discriminant(first) != mem::discriminant(builtin) {
                    return None;
                }
            }
            Held::Other { error, .. } => {
                if let Some(first) = first_inside(&**error) {
                    next = Some(&first.error);
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
            Held::Shared(_) => return None,
        }
    }
    found
}

/// The cause of the innermost error of a failure.
pub(super) fn source_inside(mut failure: &Failure) -> Option<&(dyn Error + 'static)> {
    while let Some(first) = first_inside(failure.error()) {
        failure = &first.error;
    }
    failure.error().source()
}

/// Prints it inside so many others.
pub(super) fn write_inside(mut failure: &Failure, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (mut printed, mut passed) = (depth, 0);
    loop {
        let error = failure.error();
        let group = error.downcast_ref::<FailureGroup<Failure>>();
        let (prefix, inner) = if let Some(first) = first_inside(error) {
            (first.index.map(|index| format!("number {index} failed: ")), &first.error)
        } else if let Some((group, [only])) = group.map(|group| (group, group.errors())) {
            ((!group.is_whole()).then(|| "all 1 failed: ".to_owned()), only)
        } else {
            if passed > 0 {
                write!(f, "({passed} more inside each other): ")?;
            }
            return match group {
                Some(group) => group.write(printed, f),
                None => write!(f, "{error}"),
            };
        };
        if let Some(prefix) = prefix {
            if printed < PRINTED {
                f.write_str(&prefix)?;
                printed += 1;
            } else {
                passed += 1;
            }
        }
        failure = inner;
    }
}

/// Whether one that is inside so many others is named without what is in it.
pub(super) fn is_too_deep(depth: usize) -> bool {
    depth >= PRINTED
}
