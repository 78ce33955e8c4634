//! Twisted's Deferred for Rust, typed: callbacks and errbacks in Twisted's order, cancellation, and
//! errors that never vanish.
//!
//! A [`Deferred`] is a result that may not be there yet, with the callbacks that wait for it. Its
//! other half, the [`Resolver`], fires it.
//!
//! ```
//! use deferred_core::{Deferred, Failure};
//!
//! let (deferred, resolver) = Deferred::<u32>::new();
//! let deferred = deferred
//!     .add_callback(|rows| if rows > 0 { Ok(rows * 2) } else { Err(Failure::msg("no rows")) })
//!     .add_errback(|failure| {
//!         println!("{failure}");
//!         Ok(0)
//!     })
//!     .map(|n| format!("{n} of them"));
//! resolver.callback(21);
//! assert_eq!(deferred.try_take().unwrap().unwrap(), "42 of them");
//! ```
//!
//! # Where to find what
//!
//! - [`Deferred`], [`Resolver`], [`CancelHandle`], [`Pause`]; [`IntoDeferred`] is what callbacks
//!   may return;
//! - coroutines: [`inline_callbacks`] runs an `async` block that awaits Deferreds, and whatever
//!   else can be awaited;
//! - many at once: [`gather`], [`deferred_list`], [`race`], [`first_success`],
//!   [`first_completion`]; a call for each of many items: [`concurrent`], [`fold`]; one result for
//!   many: [`Deferred::share`]; [`scope`], which leaves no orphans;
//! - waiting in line: [`DeferredQueue`], [`DeferredLock`], [`DeferredSemaphore`], [`Gate`];
//! - the loop: [`Reactor`], [`LoopingCall`], [`Deferred::add_timeout`], [`Reactor::retry`],
//!   [`Cooperator`]; [`park`] runs it on a bare thread, an adapter crate on an executor; [`Clock`]
//!   is for tests;
//! - from other threads: [`ReactorHandle`] posts calls, [`RemoteResolver`] fires a Deferred,
//!   [`RemoteSender`] feeds a queue, [`RemoteFuture`] waits for a Deferred, or for a
//!   [`RemoteCompleter`] of any thread;
//! - what blocks the loop is named by a [`Watchdog`];
//! - [`testing`]: what tests of your own want;
//! - errors: [`Failure`] holds any; [`BuiltinError`] is what the library itself says;
//!   [`DeferredError`] lets an error type of your own take part; [`on_unhandled`] hears of errors
//!   that nobody handled.
//!
//! # Depth
//!
//! The library never recurses: a million Deferreds, coroutines or gathers that wait for each other
//! fire, are cancelled and are dropped on a small stack, and so do a million waiters who hand a
//! permit on by dropping it. Your own callbacks may: a callback added to a Deferred that is ready
//! runs inside `add_callback`, and a [`Resolver`] that you fire inside a callback runs the other
//! Deferred's callbacks there.

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
