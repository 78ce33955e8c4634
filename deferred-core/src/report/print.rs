//! Prints reports for which there is no hook.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Report, Subject, Unhandled, closing, flood};
use crate::error::BuiltinError;

/// Prints the report, or counts it.
pub(super) fn print(report: &Report<'_>) {
    let is_abandoned = |it: &Unhandled<'_>| matches!(it.builtin(), Some(BuiltinError::Abandoned(_)));
    if report.is_cancelled() || report.unhandled().is_some_and(is_abandoned) && closing::count() {
        return;
    }
    let is_limited = if let Subject::Other(value, _) = report.0 { value.is_limited() } else { true };
    let mut omitted = Vec::new();
    let is_admitted = !is_limited || flood::admit(report, &mut omitted);
    omitted.iter().for_each(|repeated| emit(&Report::of(repeated)));
    if is_admitted {
        emit(report);
    }
}

/// Emits an event, or prints the report.
pub(super) fn emit(report: &Report<'_>) {
    if !trace(report) {
        to_standard_error(report);
    }
}

/// Prints the report in one piece, so that those of several threads do not mix. Ignores a closed
/// standard error.
pub(super) fn to_standard_error(report: &Report<'_>) {
    static HAS_HELPED: AtomicBool = AtomicBool::new(false);

    let is_first = matches!(report.0, Subject::Unhandled(_)) && !HAS_HELPED.swap(true, Ordering::Relaxed);
    let help = if is_first {
        "\n    help: add an errback to the Deferred, or handle the error in the coroutine or the protocol that returns it"
    } else {
        ""
    };
    let _ = std::io::stderr().write_all(format!("deferred: {report}{help}\n").as_bytes());
}

/// Emits an event. Returns `false` if there is no subscriber, or if this thread emits another
/// event: a subscriber that causes a report would be called without end.
#[cfg(feature = "tracing")]
fn trace(report: &Report<'_>) -> bool {
    use std::cell::Cell;

    use tracing::field::{debug, display};
    use tracing::subscriber::NoSubscriber;

    use super::Level;

    thread_local!(static EMITS: Cell<bool> = const { Cell::new(false) });

    /// Ends the event, also by a panic of a subscriber.
    struct Emits;

    impl Drop for Emits {
        fn drop(&mut self) {
            EMITS.set(false);
        }
    }

    if tracing::dispatcher::get_default(|subscriber| subscriber.is::<NoSubscriber>()) || EMITS.replace(true) {
        return false;
    }
    let _emits = Emits;
    let location = report.location().map(display);
    let made_at = report.unhandled().map(|unhandled| display(unhandled.made_at()));
    let last_added_at = report.unhandled().map(|unhandled| display(unhandled.last_added_at()));
    // The text of a list of what is pending has all of it.
    let value = if let Subject::Other(value, _) = report.0 { Some(debug(value)) } else { None };
    let value = value.filter(|_| report.kind() != "pending");
    macro_rules! event {
        ($level:ident) => {
            tracing::event!(
                target: "deferred",
                tracing::Level::$level,
                kind = report.kind(),
                location,
                made_at,
                last_added_at,
                value,
                "{report}"
            )
        };
    }
    match report.level() {
        Level::Info => event!(INFO),
        Level::Warning => event!(WARN),
        Level::Error => event!(ERROR),
    }
    true
}

#[cfg(not(feature = "tracing"))]
fn trace(_: &Report<'_>) -> bool {
    false
}
