//! Twisted's Deferred for Rust, typed: callbacks and errbacks in Twisted's order, cancellation, and
//! errors that are reported if nothing handles them.
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
//! # Terms
//!
//! | term | meaning |
//! | --- | --- |
//! | fire | set the result of a Deferred, by its [`Resolver`] or by a cancel; runs its callbacks |
//! | pending | not ready: a Deferred that has not fired, is paused, or waits for another one |
//! | ready | with a final result, which [`Deferred::try_take`] returns |
//! | errback | a callback for errors |
//! | unhandled | of an error: no errback or other code received it before its Deferred was dropped |
//! | trail | the source locations that an error passed |
//! | reactor, loop | the event loop of a thread: timers, posted calls and woken coroutines |
//! | turn | one round of the loop |
//! | driver | code that runs the turns and sleeps between them, such as [`park`] or deferred-smol |
//! | post | to send a call to the loop's thread, which runs it in a turn |
//!
//! # Overview
//!
//! - [`Deferred`], [`Resolver`], [`CancelHandle`] and [`Pause`] are the basis. [`IntoDeferred`] is
//!   the trait of the return types of callbacks: `Result`, `Deferred` and `()`.
//! - [`inline_callbacks`] runs a coroutine: an `async` block that awaits Deferreds and other
//!   futures.
//! - [`gather`], [`deferred_list`], [`race`], [`first_success`] and [`first_completion`] combine
//!   several Deferreds. [`concurrent`] and [`fold`] make a call for each of many items.
//!   [`Deferred::share`] passes one result to several observers. [`scope`] is for structured concurrency.
//! - [`DeferredQueue`], [`DeferredLock`], [`DeferredSemaphore`] and [`Gate`] coordinate callbacks
//!   and coroutines.
//! - [`Reactor`] is the event loop, [`park`] its driver for a bare thread. The reactor has timers,
//!   [`LoopingCall`], [`Deferred::add_timeout`], [`Reactor::retry`] and [`Cooperator`].
//!   [`Watchdog`] reports calls that block it.
//! - Other threads post calls with a [`ReactorHandle`] or await their results
//!   ([`call`](ReactorHandle::call)), fire a Deferred with a [`RemoteResolver`], feed a queue with
//!   a [`RemoteSender`], and wait for a [`RemoteFuture`]. A [`ReactorThread`] is a loop on a thread
//!   of its own, with state that only that thread uses.
//! - [`Failure`] holds any error, and [`BuiltinError`] is the library's own. [`DeferredError`] is
//!   the trait of error types. [`report`] is for unhandled errors and other problems that no caller
//!   receives; [`on_unhandled`] sets a hook for the former.
//! - [`with_context`] makes a value current in everything that a call starts; [`context`] has
//!   deadlines too.
//! - [`inspect`] and [`Reactor::pending`] list what is pending, and on what.
//! - [`testing`] has helpers for tests, also for those of a [driver](testing::driver), and
//!   [`Clock`] is a reactor with manual time.
//!
//! # Depth
//!
//! The library does not recurse over chains. A chain of a million Deferreds, coroutines or gathers that wait for
//! each other can be fired, cancelled and dropped on a small stack. A million waiters can pass on
//! one permit by dropping it. Your own callbacks may recurse: a callback that is added to a ready
//! Deferred runs inside `add_callback`, and a [`Resolver`] that a callback fires runs the other
//! Deferred's callbacks inside that call.
//!
//! # Crate features
//!
//! - `signals` (default): [`Reactor::stop_on_signals`], which the drivers' `run`, `run_until` and
//!   `react` call.
//! - `tracing`: [reports](report) are events instead of lines on standard error, and the current
//!   span follows with the [`context`].
//! - `context`: callbacks and cancellers run in the [`context`] in which they were added.
//!
//! # Source
//!
//! Each folder or file imports only those above it:
//!
//! - `abort`, `atomic`, `numbered`, `histogram`, `instant`: helpers: an abort after a panic outside of
//!   stages, counters, a map of ascending numbers, a distribution of durations, the time;
//! - `error`: error types and trails;
//! - `context`: values that follow the work, and deadlines;
//! - `report`: reports of unhandled errors and other problems, and the hooks for them;
//! - `engine`: the blocks of pending Deferreds and the run loop; `engine/raw` has all unsafe code;
//! - `deferred`: `Deferred` and `Resolver`, the typed interface of the engine;
//! - `inspect`: the list of what is pending, and on what;
//! - `reactor`: the event loop, its timers and its drivers;
//! - `coroutine`: `async` blocks that await Deferreds;
//! - `sync`: queue, semaphore, lock and gate;
//! - `combine`: `gather`, `race` and other functions of several Deferreds;
//! - `remote`: results, values and blocking calls between threads (posted calls are in `reactor`);
//! - `time`: `LoopingCall`, `Cooperator`, timeouts, retries and the test clock;
//! - `testing`: helpers for tests.

#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod abort;
mod atomic;
mod combine;
pub mod context;
mod coroutine;
mod deferred;
mod engine;
mod error;
mod histogram;
pub mod inspect;
mod instant;
mod numbered;
mod reactor;
mod remote;
pub mod report;
mod sync;
pub mod testing;
mod time;
#[cfg(doctest)]
mod variance;

pub use combine::{
    Concurrent, FirstSuccess, Scope, Shared, Tuple, concurrent, deferred_list, first_completion, first_success, fold,
    gather, gather_cancelling, gather_tuple, race, repeat_times, scope, typed_scope,
};
pub use context::with_context;
pub use coroutine::{Wait, inline_callbacks};
pub use deferred::{CancelHandle, Deferred, IntoDeferred, Pause, Resolver, maybe_deferred, repeat_until, try_deferred};
pub use error::{
    Abandoned, BuiltinError, Cancelled, Cycle, DeferredError, Failure, FailureGroup, FirstError, NestedDeferred,
    NoReactor, Panicked, ShareError, SharedFailure, TimedOut, Trail, Trapped, find_error,
};
pub use histogram::Histogram;
pub use instant::Instant;
pub use reactor::{
    Blocked, CallKind, Closed, DelayedCall, EnterGuard, Health, Inactive, NotRestartable, Outcome, Phase, Reactor,
    ReactorHandle, ReactorOwner, ShutdownTimedOut, SystemEvent, SystemEventTrigger, Turn, Undriven, Watchdog, driver,
    park,
};
pub use remote::{
    ReactorThread, RemoteCompleter, RemoteFuture, RemoteResolver, RemoteSender, RemoteTask, WouldDeadlock,
};
pub use report::{HookGuard, Unhandled, on_unhandled};
pub use sync::{
    DeferredLock, DeferredQueue, DeferredSemaphore, Gate, GateClosed, GateGuard, NotHeld, Overflow, Permit,
    QueueClosed, QueueOverflow, QueueSink, QueueStream, QueueUnderflow,
};
pub use time::{Backoff, Clock, CooperativeTask, Cooperator, LoopingCall, TaskFinished, TaskStopped};

/// Runs the programs of the README as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
