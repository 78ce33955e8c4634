//! Deferreds on [smol]: a [`Reactor`] beside smol's executor, timers and I/O, on the same thread.
//!
//! # Overview
//!
//! - [`run`], [`run_until`], [`react`] and [`serve`] own the thread; [`start_thread`] starts a loop
//!   on a thread of its own; [`drive`](fn@drive) returns a future for a program that smol already
//!   runs.
//! - Coroutines ([`inline_callbacks`]) await smol's sockets, files, processes and timers. If a peer
//!   sends without a pause, a coroutine that reads from it must regularly call
//!   `smol::future::yield_now().await`, because smol does not suspend a task that always finds
//!   data.
//! - [`net`] is for network code in callbacks: Twisted's `Protocol` and transport.
//! - [`spawn`](fn@spawn) runs a future in the threads of smol's executor, and returns a Deferred
//!   for its result.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//!
//! deferred_smol::run(|reactor| {
//!     let stopper = reactor.clone();
//!     reactor.call_later(Duration::from_millis(1), move || {
//!         println!("hello");
//!         stopper.stop();
//!     });
//! });
//! ```
//!
//! All of `deferred_core` is re-exported.
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
//! - `spawn`: futures in smol's threads;
//! - `net`: protocols and transports.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod drive;
pub mod net;
mod spawn;

pub use deferred_core;
pub use deferred_core::*;
pub use drive::{drive, react, run, run_until, serve, start_thread};
pub use smol;
pub use spawn::spawn;

/// Runs the programs of the README as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
