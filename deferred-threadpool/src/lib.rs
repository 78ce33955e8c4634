//! A pool of threads for blocking libraries, so that they take part in a loop without stopping it.
//!
//! [`defer_to_thread`] runs a closure in the pool and gives a [`Deferred`]. What the closure
//! returns arrives at the callbacks, its error or panic at the errbacks, and those run on the
//! thread that called `defer_to_thread`, in a turn of its reactor.
//!
//! # Examples
//!
//! ```
//! use deferred_threadpool::{defer_to_thread, park};
//!
//! let length = park::run_until(|_| {
//!     defer_to_thread(|| Ok(std::fs::read_to_string("Cargo.toml")?)) // blocks one thread of the pool
//!         .add_callback(|text| Ok(text.len())) // here
//! });
//! assert!(length.unwrap() > 0);
//! ```
//!
//! # Where to find what
//!
//! - [`defer_to_thread`], [`call_in_thread`] and [`call_multiple_in_thread`] use the default pool
//!   of the reactor;
//! - a [`ThreadPool`] of your own keeps slow work from standing in the way of quick work; its
//!   [`ThreadPoolBuilder`] says how many threads it has and how many jobs may wait;
//! - a long [`Job`] can look whether anybody still wants its result;
//! - [`ThreadPool::submit`] is for code that has no reactor;
//! - a [`ConnectionPool`] has a connection to a database for each of its threads;
//! - [`order_completions`] lets a test draw the order in which results arrive, and replay it;
//! - [`PoolStats`], and [`StuckPool`] for a pool that does not keep up.
//!
//! Everything of `deferred_core` is here too.
#![forbid(unsafe_code)]

// The way of a job: `pool` takes the closure, `delivery` puts it into a box (`job`) and notes who
// waits for it (`shelf`); `workers` queues it (`queue`) and has a thread come for it (`crew`, a
// protocol); the thread runs it and brings the box home (`home`, a protocol), where `delivery`
// fires the Deferred in a turn of the loop. `elsewhere` is the short way of a job without a
// reactor.
mod builder;
mod connections;
mod crew;
mod delivery;
mod elsewhere;
mod error;
mod home;
mod job;
mod line;
mod pool;
mod queue;
mod replay;
mod shelf;
mod stats;
mod stuck;
mod sync;
mod workers;

pub use builder::ThreadPoolBuilder;
pub use connections::{ConnectionPool, ManageConnection, NoTransactions};
pub use deferred_core;
pub use deferred_core::*;
pub use error::{PoolStopped, QueueFull, SpawnFailed, StopTimedOut};
pub use job::Job;
pub use pool::{Backlog, ThreadPool, call_in_thread, call_multiple_in_thread, defer_to_thread};
pub use replay::order_completions;
pub use stats::{PoolStats, RunningJob};
pub use stuck::StuckPool;
