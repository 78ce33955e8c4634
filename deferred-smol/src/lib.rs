//! Deferreds on [smol]: its executor, timers and I/O, and a [`Reactor`] beside them on the same thread.
//!
//! [`run`] owns the thread. [`drive`] gives a future for a program that smol runs already.
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
