//! Thread pools for blocking libraries, so that they take part in an event loop without blocking
//! it.
//!
//! [`defer_to_thread`] runs a closure in a thread of the reactor's default pool and returns a
//! [`Deferred`] for its result. The callbacks run on the thread that called `defer_to_thread`, in a
//! turn of its reactor. An error or a panic of the closure goes to the errbacks.
//!
//! # Examples
//!
//! ```
//! use deferred_threadpool::{defer_to_thread, park};
//!
//! let length = park::run_until(|_| {
//!     defer_to_thread(|| Ok(std::fs::read_to_string("Cargo.toml")?)) // blocks one thread of the pool
//!         .add_callback(|text| Ok(text.len())) // runs on this thread
//! });
//! assert!(length.unwrap() > 0);
//! ```
//!
//! # Overview
//!
//! - [`defer_to_thread`], [`call_in_thread`] and [`call_multiple_in_thread`] use the default pool
//!   of the current reactor.
//! - A [`ThreadPool`] of your own keeps slow jobs from delaying quick ones. Its
//!   [`ThreadPoolBuilder`] sets the limits of threads and of queued jobs.
//! - A long closure can check [`Job::is_cancelled`], or have a blocking call interrupted by
//!   [`Job::on_cancel`].
//! - [`ThreadPool::submit`] is for code without a reactor.
//! - A [`ConnectionPool`] has one database connection for each thread.
//! - [`PoolStats`] are the statistics of a pool; [`StuckPool`] is the report of a pool that does
//!   not keep up.
//! - [`testing::shuffle_completions`] delivers results in a random order that can be reproduced.
//!
//! All of `deferred_core` is re-exported.
//!
//! # Crate features
//!
//! `signals` (default), `tracing` and `context` are those of
//! [deferred-core](deferred_core#crate-features). With `r2d2` a [`ConnectionPool`] accepts
//! each manager of r2d2; `rusqlite` and `postgres` are transactions, queries and their interruption
//! with these crates.
//!
//! # Source
//!
//! A job travels from `pool` to `worker`, where a thread runs it, and its result back through
//! `completion`:
//!
//! - `pool`, `builder`, `connections`, `stats`, `error`, `testing`: the public interface;
//!   `config`: the settings;
//! - `job`: the box that holds the closure and then the result; `cancel_flag`: its cancellation while
//!   it runs;
//! - `worker`: the queue and the threads, protected by one lock;
//! - `completion`: the delivery of results to a reactor or a `RemoteFuture`;
//! - `sync`: locks, threads and preemption points, which loom or seeded delays can replace; `atomic`:
//!   counters.
//!
//! # Terms
//!
//! | term | meaning |
//! | --- | --- |
//! | job | a submitted closure, later its result |
//! | worker slot | the entry of a thread, with the job that it runs |
//! | waiter | a caller that waits for a place in the queue, or for the end of the pool |
//! | reservation | a place in the queue that is kept for a caller |
//! | abandoned | of a thread: its job was cancelled while it runs |
//! | stuck | of a pool: a queued job has waited longer than the threshold while no thread was free |
//! | completion list | the list through which threads send finished jobs to a reactor |
//! | slab, key | the Deferreds of pending jobs of one type, and the index of one |
//! | sink | the destination of a finished job: a reactor or a `RemoteFuture` |
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod atomic;
mod builder;
mod calls;
mod cancel_flag;
mod completion;
mod config;
mod connections;
mod error;
mod job;
mod pool;
mod stats;
mod sync;
pub mod testing;
mod worker;

pub use builder::ThreadPoolBuilder;
pub use calls::{call_in_thread, call_multiple_in_thread, defer_to_thread, defer_to_thread_with};
pub use cancel_flag::OnCancel;
#[cfg(feature = "postgres")]
pub use connections::PostgresParams;
pub use connections::{
    ConnectionPool, ConnectionPoolBuilder, ConnectionPoolStats, InterruptHandle, ManageConnection, NoTransactions,
    PooledConnection, Query, ReturnFailed, RollbackFailed,
};
pub use deferred_core;
pub use deferred_core::*;
pub use error::{PoolStopped, QueueFull, SpawnFailed, StopTimedOut};
pub use job::Job;
pub use pool::{Backlog, ThreadPool};
pub use stats::{PoolStats, RunningJob, StuckPool};

/// Runs the programs of the README as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
