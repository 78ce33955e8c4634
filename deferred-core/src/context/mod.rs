//! Values that follow the work: a request id, a user, a deadline.
//!
//! [`with_context`] makes a value current for a call. The value is current again in everything that
//! this call starts:
//!
//! - coroutines ([`inline_callbacks`](crate::inline_callbacks)), each time they are resumed, and
//!   their destructors;
//! - timers, [`LoopingCall`](crate::LoopingCall)s, retries, the functions of
//!   [`concurrent`](crate::concurrent) and [`Cooperator`](crate::Cooperator), and calls at the
//!   startup and the shutdown;
//! - calls from other threads
//!   ([`ReactorHandle::call_from_thread`](crate::ReactorHandle::call_from_thread) and the like),
//!   which have the context of the code that posts them: a thread of your own has none, unless it
//!   [takes one along](Context);
//! - jobs of a thread pool, in their thread;
//! - the callbacks of network protocols: they have the context in which `listen` or `connect` was
//!   called.
//!
//! Such code has its own context only, whatever is current in the code that resumes it: a coroutine
//! that was started without a context has none when a call with a context fires the Deferred that
//! it awaits. After a call, a panic or a cancel, the context of before is current again.
//!
//! A single callback runs in the context of the code that fires its Deferred. With the crate
//! feature `context`, callbacks, errbacks and cancellers have the context in which they were added.
//!
//! Values are found by their type, so a type of your own is best. They are shared, also with other
//! threads. There is no guard that makes a value current until it is dropped: it could live across
//! an `await`, and then be current in other code.
//!
//! With the crate feature `tracing`, the current span follows in the same way, and each job and
//! connection (level `DEBUG`) and each coroutine (level `TRACE`) has a span of its own inside of
//! it, of the target `deferred`.
//!
//! A span cannot be left, so code that was started outside of any span runs in the span of the code
//! that resumes it, if that has one.
//!
//! An error keeps the context in which it was made ([`Failure::context`](crate::Failure::context)),
//! and the [report](crate::report) of an unhandled error is made in that.
//!
//! Twisted's `twisted.python.context`, which does not follow coroutines and threads.
//!
//! # Deadlines
//!
//! [`with_deadline`] adds a deadline. Deadlines nest: the nearest one counts. A deadline cancels
//! nothing by itself. [`Deferred::add_timeout`](crate::Deferred::add_timeout) ends at the deadline
//! if that is sooner; with [`Duration::MAX`](std::time::Duration::MAX) it ends only then. The
//! Deferred of a job fails with [`TimedOut`](crate::TimedOut) at the deadline. A job that has not
//! begun by then is not run; while one runs, `Job::is_cancelled` returns `true` from then on.
//!
//! # Examples
//!
//! ```
//! use deferred_core::{Deferred, context, inline_callbacks, with_context};
//!
//! struct RequestId(u32);
//!
//! fn log(text: &str) -> String {
//!     let id = context::get::<RequestId>().map_or(0, |id| id.0);
//!     format!("request {id}: {text}")
//! }
//!
//! let (page, resolver) = Deferred::<String>::new();
//! let request = with_context(RequestId(7), || {
//!     inline_callbacks(async move {
//!         let page = page.await?;
//!         Ok(log(&page))
//!     })
//! });
//! assert_eq!(log("outside"), "request 0: outside");
//! resolver.callback("done".to_owned());
//! assert_eq!(request.try_take().unwrap().unwrap(), "request 7: done");
//! ```

mod current;
mod future;
mod span;

use std::any::{Any, TypeId};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

pub(crate) use current::Entered;
pub use future::InContext;
use span::Span;

use crate::instant::Instant;

/// Calls `f` with `value` as the current value of its type. See the [module](self).
///
/// The value replaces one of the same type. It is dropped when all that was started with it is
/// dropped.
pub fn with_context<T: Send + Sync + 'static, R>(value: T, f: impl FnOnce() -> R) -> R {
    let mut values = current::values().map_or_else(Values::default, |values| (*values).clone());
    values.entries.retain(|(id, _)| *id != TypeId::of::<T>());
    values.entries.push((TypeId::of::<T>(), Arc::new(value)));
    Context::with_values(values).run(f)
}

/// Calls `f` with a deadline, unless the current one is sooner. See the [module](self#deadlines).
///
/// It is a time of the clock of the reactor, which for all but a [`Clock`](crate::Clock) is the
/// system's. See also [`Reactor::with_timeout`](crate::Reactor::with_timeout).
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use deferred_core::context;
///
/// let soon = Instant::now() + Duration::from_secs(1);
/// context::with_deadline(soon, || {
///     context::with_deadline(soon + Duration::from_secs(1), || assert_eq!(context::deadline(), Some(soon)));
/// });
/// ```
pub fn with_deadline<R>(deadline: Instant, f: impl FnOnce() -> R) -> R {
    let mut values = current::values().map_or_else(Values::default, |values| (*values).clone());
    values.deadline = Some(values.deadline.map_or(deadline, |sooner| sooner.min(deadline)));
    Context::with_values(values).run(f)
}

/// Returns the current value of type `T`.
#[must_use]
pub fn get<T: Send + Sync + 'static>() -> Option<Arc<T>> {
    current::values()?.get()
}

/// Returns the current deadline.
#[inline]
#[must_use]
pub fn deadline() -> Option<Instant> {
    current::values()?.deadline
}

/// Calls `f` without a context. This is for work that outlives what has started it, such as a
/// connection that later requests use too.
///
/// # Examples
///
/// ```
/// use deferred_core::{context, with_context};
///
/// with_context(7_u32, || {
///     context::without(|| assert!(context::get::<u32>().is_none()));
/// });
/// ```
pub fn without<R>(f: impl FnOnce() -> R) -> R {
    Context::new().run(f)
}

#[derive(Clone, Default)]
struct Values {
    /// One for each type.
    entries: Vec<(TypeId, Arc<dyn Any + Send + Sync>)>,
    deadline: Option<Instant>,
}

impl Values {
    fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let (_, value) = self.entries.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.clone().downcast().ok()
    }
}

/// A set of values, and a deadline. Clones share them.
///
/// [`current`](Self::current) and [`run`](Self::run) take it along to where this library cannot: to
/// the callback of another library, or to a thread.
///
/// # Examples
///
/// ```
/// use std::thread;
/// use deferred_core::{context::{self, Context}, with_context};
///
/// with_context(7_u32, || {
///     let context = Context::current();
///     let seen = thread::spawn(move || context.run(|| *context::get::<u32>().unwrap()));
///     assert_eq!(seen.join().unwrap(), 7);
/// });
/// ```
#[derive(Clone, Default)]
pub struct Context {
    values: Option<Arc<Values>>,
    span: Span,
}

impl Context {
    /// Returns the empty context.
    #[must_use]
    pub const fn new() -> Context {
        Context { values: None, span: Span::none() }
    }

    fn with_values(values: Values) -> Context {
        Context { values: Some(Arc::new(values)), span: Span::none() }
    }

    /// Returns the current context.
    #[inline]
    #[must_use]
    pub fn current() -> Context {
        Context { values: current::values(), span: Span::current() }
    }

    /// Returns the current context. With the feature `tracing` it has a span of its own, for a
    /// coroutine.
    #[inline]
    pub(crate) fn for_coroutine(at: &'static Location<'static>) -> Context {
        Context { values: current::values(), span: Span::coroutine(at) }
    }

    /// Returns the current context, for a job that is submitted at `at`. With the feature `tracing`
    /// it has a span of its own. This is for a pool.
    #[inline]
    #[must_use]
    pub fn for_job(at: &'static Location<'static>) -> Context {
        Context { values: current::values(), span: Span::job(at) }
    }

    /// Returns the current context, for a network connection that was requested at `at`. With the
    /// feature `tracing` it has a span of its own, with the name that `peer` returns. This is for
    /// an adapter with a network.
    #[must_use]
    pub fn for_connection(at: &'static Location<'static>, peer: &dyn Fn() -> String) -> Context {
        Context { values: current::values(), span: Span::connection(at, peer) }
    }

    /// Calls `f` in this context.
    #[inline]
    pub fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        let _entered = self.enter();
        f()
    }

    /// Returns `true` if this context has no values, no deadline and no span.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_none() && self.span.is_none()
    }

    /// Returns `true` if the current context has no values, no deadline and no span.
    #[inline]
    pub(crate) fn is_current_empty() -> bool {
        current::are_none(&None) && Span::current().is_none()
    }

    /// Returns `true` if [`enter`](Self::enter) would change nothing.
    #[inline]
    pub(crate) fn is_current_and_empty(&self) -> bool {
        current::are_none(&self.values) && self.span.is_none()
    }

    /// Makes this context the current one until the returned guard is dropped.
    #[inline]
    pub(crate) fn enter(&self) -> Entered<'_> {
        Entered::new(&self.values, &self.span)
    }

    /// Returns the value of type `T`.
    #[must_use]
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.values.as_ref()?.get()
    }

    /// Returns the deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.values.as_ref()?.deadline
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.as_ref().map_or(0, |values| values.entries.len());
        f.debug_struct("Context").field("values", &values).field("deadline", &self.deadline()).finish()
    }
}
