//! Twisted's Deferred for Rust, typed: callbacks and errbacks in Twisted's order, cancellation, and
//! errors that are never lost silently.
//!
//! A [`Deferred`] is a result that may not be ready yet, with the callbacks that wait for it. Its
//! other half, the [`Resolver`], fires it.
//!
//! ```
//! use deferred_core::testing::success_result_of;
//! use deferred_core::{Deferred, Failure};
//!
//! let (deferred, resolver) = Deferred::<u32>::new();
//! let deferred = deferred
//!     .add_callback(|rows| if rows > 0 { Ok(rows * 2) } else { Err(Failure::msg("no rows")) })
//!     .add_errback(|failure| {
//!         println!("{failure}");
//!         Ok(0)
//!     })
//!     .map(|n| format!("{n} rows"));
//! resolver.callback(21);
//! assert_eq!(success_result_of(deferred), "42 rows");
//! ```
//!
//! # Overview
//!
//! - Callbacks: [`Deferred`], [`Resolver`], [`CancelHandle`], [`Pause`]; [`IntoDeferred`] is the
//!   return type of callbacks.
//! - Coroutines: [`inline_callbacks`] runs an `async` block that awaits Deferreds and other futures.
//! - Several Deferreds: [`gather`], [`deferred_list`], [`race`], [`first_success`],
//!   [`first_completion`]; a call for each of many items: [`concurrent`], [`fold`]; several observers:
//!   [`Deferred::share`]; structured concurrency: [`scope`].
//! - Queues and locks: [`DeferredQueue`], [`DeferredLock`], [`DeferredSemaphore`], [`Gate`].
//! - The event loop: [`Reactor`], [`LoopingCall`], [`Deferred::add_timeout`], [`Reactor::retry`],
//!   [`Cooperator`]. [`park`] runs it on a bare thread, an adapter crate on an executor. [`Watchdog`]
//!   reports calls that block it.
//! - Other threads: [`ReactorHandle`] posts calls, [`RemoteResolver`] fires a Deferred,
//!   [`RemoteSender`] feeds a queue, [`RemoteFuture`] waits for a Deferred or a [`RemoteCompleter`].
//! - Errors: [`Failure`] holds any error, [`BuiltinError`] the library's own; [`DeferredError`] is the
//!   trait of error types; [`on_unhandled`] sets a hook for unhandled errors.
//! - Tests: [`testing`], and [`Clock`], a reactor with manual time.
//!
//! # Depth
//!
//! The library never recurses: a million Deferreds, coroutines or gathers that wait for each other
//! fire, are cancelled and are dropped on a small stack. So do a million waiters that pass a permit on
//! by dropping it. Your own callbacks may recurse: a callback that is added to a ready Deferred runs
//! inside `add_callback`, and a [`Resolver`] that a callback fires runs the other Deferred's callbacks
//! inside that call.
//!
//! # Source
//!
//! Each folder imports only the folders above it:
//!
//! - `error`: error types, trails, and reports of unhandled errors;
//! - `engine`: the blocks of pending Deferreds and the run loop; `engine/raw` has all unsafe code;
//! - `deferred`: `Deferred` and `Resolver`, the typed interface of the engine;
//! - `reactor`: the event loop, its timers and its drivers;
//! - `coroutine`: `async` blocks that await Deferreds;
//! - `sync`: queue, semaphore, lock and gate;
//! - `combine`: `gather`, `race` and other functions of several Deferreds;
//! - `remote`: results, values and calls that cross threads;
//! - `time`: `LoopingCall`, `Cooperator`, timeouts, retries and the test clock;
//! - `testing`: helpers for tests.

#![deny(unsafe_code)]

mod abort;
mod combine;
mod coroutine;
mod deferred;
mod engine;
mod error;
mod histogram;
mod numbered;
mod reactor;
mod remote;
mod sync;
pub mod testing;
mod time;
#[cfg(doctest)]
mod variance;

pub use combine::{
    Concurrent, FirstSuccess, Scope, Shared, Tuple, concurrent, deferred_list, first_completion, first_success, fold,
    gather, gather_cancelling, gather_tuple, race, repeat_times, scope, typed_scope,
};
pub use coroutine::{Wait, inline_callbacks};
pub use deferred::{CancelHandle, Deferred, IntoDeferred, Pause, Resolver, maybe_deferred, repeat_until, try_deferred};
pub use error::{
    Abandoned, BuiltinError, Cancelled, Cycle, DeferredError, Failure, FailureGroup, FirstError, HookGuard,
    NestedDeferred, NoReactor, Panicked, ShareError, TimedOut, Trail, Trapped, Unhandled, on_unhandled,
    set_unhandled_hook, take_unhandled_hook,
};
pub use histogram::Histogram;
pub use reactor::{
    Blocked, CallKind, Closed, DelayedCall, EnterGuard, Inactive, LoopTimes, NotRestartable, Outcome, Phase, Reactor,
    ReactorHandle, ReactorOwner, ShutdownTimedOut, SystemEvent, SystemEventTrigger, Turn, Watchdog, driver, park,
    set_blocked_hook, take_blocked_hook,
};
pub use remote::{RemoteCompleter, RemoteFuture, RemoteResolver, RemoteSender, WouldDeadlock};
pub use sync::{
    DeferredLock, DeferredQueue, DeferredSemaphore, Gate, GateClosed, GateGuard, NotHeld, Overflow, Permit,
    QueueClosed, QueueOverflow, QueueSink, QueueStream, QueueUnderflow,
};
pub use time::{Backoff, Clock, CooperativeTask, Cooperator, LoopingCall, TaskFinished, TaskStopped};
