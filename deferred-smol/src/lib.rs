//! Deferreds on [smol]: its executor, timers and I/O, and a [`Reactor`] beside them on the same
//! thread.
//!
//! # Where to find what
//!
//! - [`run`], [`run_until`] and [`react`] own the thread; [`drive`] gives a future for a program
//!   that smol runs already;
//! - whatever smol has, sockets, files, processes and timers, is awaited in coroutines:
//!   [`inline_callbacks`]. smol suspends nobody for whom there is something to do: one who reads
//!   from a peer that sends without a pause lets the others have their turn by
//!   `smol::future::yield_now().await`, now and then;
//! - [`net`] is for network code in callbacks: Twisted's `Protocol` and transport;
//! - [`spawn`] runs a future in the threads of smol's executor, and gives a Deferred for it.
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
//! Everything of `deferred_core` is here too.
#![forbid(unsafe_code)]

mod drive;
pub mod net;
mod spawn;

pub use deferred_core;
pub use deferred_core::*;
pub use drive::{Drive, drive, react, run, run_until};
pub use smol;
pub use spawn::spawn;
