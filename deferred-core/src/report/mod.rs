//! Reports: the problems that no caller receives, such as unhandled errors.
//!
//! By default a report goes to standard error, or with the feature `tracing` to an event of the
//! target `deferred`, if there is a subscriber. A program can receive the reports instead:
//!
//! - [`set_hook`] sets a function for all reports of the process;
//! - [`on_report`] sets one for the reports of the current thread, which is for tests;
//! - [`on_unhandled`] sets one for the unhandled errors of the current thread.
//!
//! | kind | value | the report says that |
//! | --- | --- | --- |
//! | `unhandled_error` | [`Unhandled`](Report::unhandled) | nothing has handled an error |
//! | `blocked_loop` | [`Blocked`](crate::Blocked) | a call holds the loop for too long (needs a [`Watchdog`](crate::Watchdog)) |
//! | `undriven_reactor` | [`Undriven`](crate::Undriven) | nothing runs the turns of a reactor that something waits for |
//! | `shutdown_timed_out` | [`ShutdownTimedOut`](crate::ShutdownTimedOut) | the shutdown has not waited for Deferreds |
//! | `pending` | [`PendingReport`](crate::inspect::PendingReport) | these Deferreds are pending |
//! | `stuck_pool` | `StuckPool` of deferred-threadpool | all threads of a pool are busy, and jobs wait |
//! | `rollback_failed` | `RollbackFailed` of deferred-threadpool | a connection of a database was closed |
//! | `return_failed` | `ReturnFailed` of deferred-threadpool | the hook `on_return` has failed, and a connection was closed |
//! | `reactor_closed` | [`AbandonedCount`] | nothing has handled `Abandoned` errors |
//! | `hook_panicked` | [`HookPanicked`] | a hook has panicked |
//! | `repeated` | [`Repeated`] | reports were only counted |
//!
//! The last three are made only where no hook is: `reactor_closed` and `repeated` replace others,
//! and `hook_panicked` is about the hook.
//!
//! # Floods
//!
//! Without a hook, reports of one kind and one location are printed at most [ten times a
//! minute](set_max_per_minute). Others are counted. Their number is reported when it reaches 100,
//! and for each further 1,000; otherwise with a later report, or when a reactor is closed. Hooks
//! are called for every report.
//!
//! # Examples
//!
//! ```
//! use deferred_core::report;
//!
//! report::set_hook(|report| {
//!     if report.kind() == "blocked_loop" {
//!         // For example, count it in a metric.
//!     }
//!     report.print(); // as without a hook
//! });
//! # report::take_hook();
//! ```

mod closing;
mod flood;
mod hook;
mod print;
mod unhandled;

use std::any::Any;
use std::fmt;
use std::panic::Location;

use crate::error::{BuiltinError, of_user};

pub use closing::AbandonedCount;
pub(crate) use closing::{abandoned, closing, refusing};
pub use flood::{Repeated, set_max_per_minute};
pub use hook::{HookGuard, HookPanicked, on_report, on_unhandled, send_to, set_hook, take_hook};
pub use unhandled::Unhandled;
pub(crate) use unhandled::{last_unhandled, unhandled, unhandled_count};

/// The severity of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The program works as it should.
    Info,
    /// Something is slow, or may not end.
    Warning,
    /// Something was lost.
    Error,
}

/// A report, as a hook receives it. `Display` prints its text, of one or more lines, without a
/// final line break.
#[derive(Clone, Copy)]
pub struct Report<'a>(Subject<'a>);

#[derive(Clone, Copy)]
enum Subject<'a> {
    Unhandled(&'a Unhandled<'a>),
    /// The value, and the same to be downcast. (A trait object can be cast to `Any` from Rust 1.86
    /// on.)
    Other(&'a dyn Reportable, &'a dyn Any),
}

impl<'a> Report<'a> {
    fn of<T: Reportable>(value: &'a T) -> Report<'a> {
        Report(Subject::Other(value, value))
    }

    /// Returns the kind, such as `unhandled_error`. See the [table](self).
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.0 {
            Subject::Unhandled(_) => "unhandled_error",
            Subject::Other(value, _) => value.kind(),
        }
    }

    /// Returns the severity.
    #[must_use]
    pub fn level(&self) -> Level {
        match self.0 {
            Subject::Unhandled(_) => Level::Error,
            Subject::Other(value, _) => value.level(),
        }
    }

    /// Returns the location that the report is about, if there is one: for an unhandled error,
    /// where the program made the error, or its Deferred if this library made it.
    #[must_use]
    pub fn location(&self) -> Option<&'static Location<'static>> {
        match self.0 {
            Subject::Unhandled(unhandled) => unhandled.error_made_at().and_then(of_user).or(Some(unhandled.made_at())),
            Subject::Other(value, _) => value.location(),
        }
    }

    /// Returns the unhandled error, if the report is about one.
    #[must_use]
    pub fn unhandled(&self) -> Option<&'a Unhandled<'a>> {
        if let Subject::Unhandled(unhandled) = self.0 { Some(unhandled) } else { None }
    }

    /// Returns the value of the report, if it is a `T`, such as [`Blocked`](crate::Blocked).
    #[must_use]
    pub fn downcast_ref<T: 'static>(&self) -> Option<&'a T> {
        match self.0 {
            Subject::Unhandled(_) => None,
            Subject::Other(_, any) => any.downcast_ref(),
        }
    }

    /// Returns `true` for the unhandled error of a cancel, which is not printed by default: see
    /// [`Cancelled`](crate::Cancelled).
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let unhandled = self.unhandled();
        unhandled.is_some_and(|it| !it.reports_cancelled && matches!(it.builtin(), Some(BuiltinError::Cancelled(_))))
    }

    /// Does what is done without a hook: prints the report to standard error, or emits an event.
    /// Does nothing if it [is about a cancel](Self::is_cancelled).
    pub fn print(&self) {
        print::print(self);
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Subject::Unhandled(unhandled) => fmt::Display::fmt(unhandled, f),
            Subject::Other(value, _) => fmt::Display::fmt(value, f),
        }
    }
}

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Subject::Unhandled(unhandled) => fmt::Debug::fmt(unhandled, f),
            Subject::Other(value, _) => fmt::Debug::fmt(value, f),
        }
    }
}

/// The value of a report. A library can [send](send()) reports of its own.
///
/// # Examples
///
/// ```
/// use std::fmt;
/// use deferred_core::report::{self, Level, Reportable};
///
/// #[derive(Debug)]
/// struct Reconnected { attempts: u32 }
///
/// impl fmt::Display for Reconnected {
///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
///         write!(f, "connected again after {} attempts", self.attempts)
///     }
/// }
///
/// impl Reportable for Reconnected {
///     fn kind(&self) -> &'static str {
///         "reconnected"
///     }
///     fn level(&self) -> Level {
///         Level::Warning
///     }
/// }
///
/// report::send(&Reconnected { attempts: 3 });
/// ```
pub trait Reportable: Any + fmt::Display + fmt::Debug {
    /// Returns the kind, as one word in lower case.
    fn kind(&self) -> &'static str;

    /// Returns the severity.
    fn level(&self) -> Level;

    /// Returns the location that the report is about. Defaults to `None`.
    fn location(&self) -> Option<&'static Location<'static>> {
        None
    }

    /// Returns `true` if such reports are [limited](self#floods) without a hook. Defaults to
    /// `true`.
    fn is_limited(&self) -> bool {
        true
    }
}

/// Sends a report: to the hook of this thread, else to the hook of the process, else to standard
/// error or an event. Does not panic.
pub fn send<T: Reportable>(value: &T) {
    hook::call(&Report::of(value));
}
