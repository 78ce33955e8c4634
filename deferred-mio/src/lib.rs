//! An event loop for Deferreds on [mio], without an executor.
//!
//! # Overview
//!
//! - [`run`], [`run_until`], [`react`] and [`serve`] own the thread; [`start_thread`] starts a loop
//!   on a thread of its own; [`drive`](fn@drive) drives a reactor that exists, and [`poll`] handles
//!   the I/O of one that another driver turns.
//! - [`net`] is for network code in callbacks: Twisted's `Protocol` and transport. It also has
//!   sockets for coroutines.
//!
//! Use it for a program whose I/O is this crate's: timers and sockets need fewer system calls than
//! on smol.
//! A program that awaits the sockets of smol or tokio uses the adapter of that name.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//!
//! deferred_mio::run(|reactor| {
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
//! # Waits
//!
//! The loop waits in one system call, for sockets and for its next timer. mio's timeouts are whole
//! milliseconds. On Unix, the part of a wait below a millisecond is waited for separately, so that
//! timers are not late; on other systems it is rounded up.
//!
//! # Crate features
//!
//! `signals` (default), `tracing` and `context` are those of
//! [deferred-core](deferred_core#crate-features). `rustls` is that of
//! [deferred-net](deferred_net#crate-features): TLS under protocols.
//!
//! # Source
//!
//! - `drive`: the driver and the functions that run a program with it;
//! - `poller`: the wait of the loop, and the table of its sources;
//! - `source`: a socket whose readiness the loop knows;
//! - `net`: protocols and transports.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod drive;
pub mod net;
mod poller;
mod source;

pub use deferred_core;
pub use deferred_core::*;
pub use drive::{drive, poll, react, run, run_until, serve, start_thread};

/// Runs the programs of the README as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
