//! Deferreds on [tokio]: a [`Reactor`] beside tokio's timers, sockets and tasks, on one thread.
//!
//! # Overview
//!
//! - [`start_thread`] starts a thread with a reactor and a runtime of its own, which the tasks of
//!   any other runtime can call. A program with `#[tokio::main]` begins here.
//! - [`drive`](fn@drive) returns a future that runs a reactor beside other tasks of its thread, in
//!   a `LocalSet` or a `LocalRuntime`.
//! - [`run`], [`run_until`] and [`react`] are for a program without a runtime: they create one, and
//!   own the thread.
//! - Coroutines ([`inline_callbacks`]) await tokio's futures as well as Deferreds.
//! - [`net`] is for network code in callbacks: Twisted's `Protocol` and transport.
//! - [`spawn`](fn@spawn) runs a future as a task of the runtime, and returns a Deferred for its
//!   result.
//!
//! All of `deferred_core` is re-exported.
//!
//! # Inside a tokio program
//!
//! The examples have `tokio = { version = "1", features = ["macros", "rt-multi-thread"] }` among
//! their dependencies. The [`tokio`] that this crate exports is the same, but asks only for `net`,
//! `rt` and `time`.
//!
//! ## When to use it
//!
//! Code that only awaits needs nothing of this crate: `async fn` and tokio's own tasks are simpler,
//! and use all cores. A reactor helps in these cases:
//!
//! - A library calls back, from its own threads or on one thread that must stay the same.
//! - Some state must stay on one thread, and many tasks use it: a connection of SQLite, a handle of
//!   a C library, anything that is not `Send`.
//! - Several observers wait for one result, in a defined order, or callbacks must run inside the
//!   call that produces the result.
//! - Code is ported from Twisted, or from callbacks in another language.
//!
//! ## Blocking work from a task
//!
//! [`ThreadPool::submit`] of deferred-threadpool needs no reactor. It returns a future that any
//! task can await. Unlike `spawn_blocking`, a pool has its own number of threads and can limit its
//! queue, and dropping the future cancels the job: a job that has not begun never runs, and one that
//! runs can check `is_cancelled`.
//!
//! ```
//! use deferred_threadpool::{Failure, ThreadPool};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Failure> {
//!     let pool = ThreadPool::new(2);
//!     let sum = tokio::spawn(pool.submit(|job| {
//!         let mut sum = 0_u64;
//!         for number in 0..1_000_000 {
//!             if number % 1000 == 0 && job.is_cancelled() {
//!                 return Err(Failure::msg("given up"));
//!             }
//!             sum += number;
//!         }
//!         Ok(sum)
//!     }));
//!     assert_eq!(sum.await??, 499_999_500_000);
//!     Ok(())
//! }
//! ```
//!
//! [`ThreadPool::submit`]: https://docs.rs/deferred-threadpool
//!
//! ## A callback becomes a future
//!
//! [`RemoteFuture::new`] returns a future and its completer. Any thread completes it, so a library
//! may call back from where it likes:
//!
//! ```
//! use std::thread;
//! use deferred_tokio::{Failure, RemoteFuture, tokio};
//!
//! /// The library: calls back from a thread of its own.
//! fn look_up(name: &'static str, done: impl FnOnce(Result<usize, String>) + Send + 'static) {
//!     thread::spawn(move || done(if name.is_empty() { Err("no name".into()) } else { Ok(name.len()) }));
//! }
//!
//! fn look_up_async(name: &'static str) -> RemoteFuture<usize> {
//!     let (future, completer) = RemoteFuture::new();
//!     look_up(name, move |result| completer.fire(result.map_err(Failure::msg)));
//!     future
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Failure> {
//!     assert_eq!(look_up_async("deferred").await?, 8);
//!     assert_eq!(look_up_async("").await.unwrap_err().to_string(), "no name");
//!     Ok(())
//! }
//! ```
//!
//! If the library drops its callback, the completer is dropped with it, and the future fails with
//! [`Abandoned`]: it never hangs.
//!
//! ## A loop on a thread of its own
//!
//! A [`ReactorThread`] owns a value that stays on its thread. Each [`call`](ReactorThread::call)
//! runs a function with that value, in the order of the calls, and its future can be awaited by any
//! task. The function may return a Deferred, so the loop goes on while the result is not ready.
//! Dropping the future, as `tokio::time::timeout` does, cancels that Deferred on the loop's thread.
//! That timeout's own error is tokio's `Elapsed`; with `add_timeout` on the Deferred it is
//! [`TimedOut`], and the call sees it.
//!
//! ```
//! use std::cell::RefCell;
//! use std::collections::HashMap;
//! use std::rc::Rc;
//! use std::time::Duration;
//! use deferred_tokio::{Deferred, Failure, Reactor, tokio};
//!
//! /// Not `Send`: it belongs to the thread of its loop.
//! struct Cache {
//!     reactor: Reactor,
//!     values: RefCell<HashMap<u32, Rc<str>>>,
//! }
//!
//! impl Cache {
//!     fn get(self: &Rc<Self>, key: u32) -> Deferred<String> {
//!         if let Some(value) = self.values.borrow().get(&key) {
//!             return Deferred::succeed(value.to_string());
//!         }
//!         let cache = self.clone();
//!         self.reactor.defer_later(Duration::from_millis(5), move || { // loads it
//!             let value: Rc<str> = format!("value {key}").into();
//!             cache.values.borrow_mut().insert(key, value.clone());
//!             Ok(value.to_string())
//!         })
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Failure> {
//!     let cache = deferred_tokio::start_thread(|reactor| {
//!         Ok(Cache { reactor: reactor.clone(), values: RefCell::default() })
//!     })
//!     .await?;
//!
//!     let tasks: Vec<_> = (0..20).map(|key| tokio::spawn(cache.call(move |cache| cache.get(key % 3)))).collect();
//!     for (key, task) in (0..).zip(tasks) {
//!         assert_eq!(task.await??, format!("value {}", key % 3));
//!     }
//!     cache.stop().await
//! }
//! ```
//!
//! ## Deferreds in tasks of one thread
//!
//! The tasks of a `LocalSet` stay on its thread, so they can hold Deferreds and await them. The
//! reactor must run there too: see [`drive`](fn@drive). `Reactor::current` is set only inside the
//! reactor's own calls; a task uses the reactor that it holds, or [enters](Reactor::enter) it, not
//! over an `.await`, for functions that need the current one. Without a driver, nothing of a
//! reactor ever runs; a [report](Undriven) is sent when a task or thread has waited for a second.
//!
//! ## Types that can move between threads
//!
//! | type | `Send` | to |
//! | --- | --- | --- |
//! | [`Deferred`], [`Resolver`], [`Reactor`], [`ReactorOwner`] | no | callbacks may capture `Rc` and `RefCell` |
//! | [`ReactorHandle`], [`ReactorThread`] | yes | call the loop |
//! | [`RemoteFuture`], [`RemoteCompleter`] | yes, if their values are | await and complete a result anywhere |
//! | [`RemoteResolver`], [`RemoteSender`] | yes, if their values are | fire a Deferred, or feed a queue, of the loop |
//! | [`Failure`] | yes | be the error of all of these |
//!
//! ## Time
//!
//! The timers of a reactor on this driver are tokio's. `tokio::time::pause` and `advance` (tokio's
//! feature `test-util`) move them, and they have tokio's resolution of a millisecond. As always
//! with a paused clock, tokio advances it when the runtime has nothing to do, and does not know of
//! work in other threads. So a timeout around a job of a pool, or around a call of a
//! [`ReactorThread`], ends at once in such a test; a test of these drives its reactor in its own
//! runtime, and does not wait for other threads.
//!
//! ## The end
//!
//! When the driver's future ends or is dropped, the reactor is closed: each future of a call, and
//! each Deferred that waits for another thread, a timer, a coroutine or a socket of the loop, fails
//! with [`Abandoned`]. A Deferred whose [`Resolver`] the program itself holds can still be fired,
//! and is not ended: with the reactor its timeout is gone, so code that outlives the loop should
//! not wait for it.
//!
//! [`ReactorThread::stop`] also waits for the [shutdown](SystemEvent::Shutdown) of the loop, which
//! [has a deadline](Reactor::set_shutdown_deadline) of 30 seconds by default, and for blocking tasks of that thread's
//! runtime (`spawn_blocking`, name lookups) that have begun, as the drop of a runtime does.
//!
//! # Crate features
//!
//! `signals` (default), `tracing` and `context` are those of
//! [deferred-core](deferred_core#crate-features). `rustls` is that of
//! [deferred-net](deferred_net#crate-features): TLS under protocols.
//!
//! # Source
//!
//! - `drive`: the driver;
//! - `spawn`: futures as tasks of the runtime;
//! - `net`: protocols and transports, on tokio's sockets.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod drive;
pub mod net;
mod spawn;

pub use deferred_core;
pub use deferred_core::*;
pub use drive::{drive, react, run, run_until, serve, start_thread};
pub use spawn::spawn;
pub use tokio;

/// Runs the programs of the README as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
