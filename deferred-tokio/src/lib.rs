//! Deferreds on [tokio].
#![forbid(unsafe_code)]

mod drive;
pub mod net;
mod spawn;

pub use deferred_core;
pub use deferred_core::*;
pub use drive::{drive, react, run, run_until, start_thread};
pub use spawn::spawn;
pub use tokio;
